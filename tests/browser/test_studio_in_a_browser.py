"""The studio as a person uses it in Chromium: log in, draw, follow, compare, deploy, undo, come back."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from server.protocol.app import create_server
from server.protocol.users import Tokens
from server.settings import Settings
from server.users import Users
from tests.browser.browser import Browser, find_chromium
from tests.fakes import FakeBackend
from tests.server.deploy.bevy.standin import StandIn
from tests.server.desk.serving import served
from tests.server.web.client import drop_lora

SHOTS = os.environ.get("DGX_PIXELS_SHOTS", "")
"""A folder for screenshots that a person looks at."""
RUN = "document.querySelector('.run')"
CARD = "document.querySelector('.run[data-state=done] .card')"
CONNECTED = "document.getElementById('link').textContent === 'connected'"
Serve = Callable[[int], AbstractContextManager[int]]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    command = find_chromium()
    assert command, "No Chromium was found. Run make test-gallery as root, or install it (apt-get install chromium)."
    browser = Browser(command, tmp_path_factory.mktemp("profile"), 1280, 860)
    yield browser
    browser.close()


@pytest.fixture
def game(tmp_path: Path) -> Path:
    root = tmp_path / "game"
    (root / "assets").mkdir(parents=True)
    (root / "Cargo.toml").write_text('[package]\nname = "keep"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.20"\n')
    return root


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(steps=4)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "data", preload="none")
    drop_lora(settings.data_dir, "glow")
    return settings


@pytest.fixture
def serve(settings: Settings, backend: FakeBackend) -> Serve:
    """Starts a server for the users of the data folder."""
    users = Users(settings.data_dir)
    return lambda port: served(create_server(settings, backend, Tokens(users), users), port)


@pytest.fixture
def token(settings: Settings, game: Path) -> str:
    return Users(settings.data_dir).add("ann", [game])


@pytest.fixture
def browser(chromium: Browser, serve: Serve, token: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """A browser in which ann has logged in. At the end nothing has gone wrong on the page."""
    monkeypatch.setenv("BRP_EXTRAS_PORT", "1")  # no game listens there
    chromium.show_as(1280, 860)
    with serve(0) as port:
        chromium.errors.clear()
        chromium.open(f"http://127.0.0.1:{port}/studio/")
        chromium.value("localStorage.clear()")
        chromium.open(f"http://127.0.0.1:{port}/studio/?again")
        log_in(chromium, token)
        yield chromium
        chromium.ask("Page.navigate", url="about:blank")
    refused = [error for error in chromium.errors if "status of 409" not in error]  # a question to the user
    assert refused == []


def log_in(browser: Browser, token: str) -> None:
    enter(browser, token)
    browser.wait(CONNECTED)


def enter(browser: Browser, token: str) -> None:
    """Writes the token where the page has put the focus, and presses Enter."""
    browser.wait("document.activeElement.id === 'token'")
    browser.type(token)
    browser.wait(f"document.getElementById('token').value.length === {len(token)}")
    browser.press("Enter", "\r")


def draw(browser: Browser, prompt: str) -> None:
    """Writes the prompt and presses Enter."""
    browser.click("document.getElementById('prompt')")
    browser.value("document.getElementById('prompt').select()")
    browser.type(prompt)
    browser.press("Enter", "\r")


def show(browser: Browser, name: str) -> None:
    if SHOTS:
        (Path(SHOTS) / f"{name}.png").write_bytes(browser.screenshot())


def test_the_whole_round(
    browser: Browser, backend: FakeBackend, game: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.gate = threading.Semaphore(0)
    browser.click("[...document.querySelectorAll('.examples button')].find(b => b.textContent === 'red dragon')")
    browser.wait(f"{RUN}?.dataset.state === 'loading'")
    backend.gate.release()
    browser.wait(f"{RUN}.querySelector('.say').textContent === 'drawing · step 1 of 4'")
    assert browser.value(f"{RUN}.querySelector('[role=progressbar]').getAttribute('aria-valuenow')") == "1"
    assert browser.value(f"{RUN}.querySelectorAll('.pending').length") == 4
    show(browser, "progress")
    for _ in range(3):
        backend.gate.release()
    backend.gate = None
    browser.wait(f"{CARD} !== null")
    assert browser.value(f"{RUN}.querySelectorAll('.card').length") == 4

    path = "sprites/red_dragon.png"
    with StandIn(game / "assets", held=(path,)) as running:
        monkeypatch.setenv("BRP_EXTRAS_PORT", str(running.port))
        browser.click(f"{CARD}.querySelector('.deploy')")
        browser.wait(f"{CARD}.querySelector('.proof.good') !== null")
    assert "The running game shows it." in browser.value(f"{CARD}.innerText")
    browser.wait(f"{CARD}.querySelector('.shot img').naturalWidth === 32")  # the game's own picture
    assert (game / "assets" / path).is_file()
    show(browser, "proof")

    monkeypatch.setenv("BRP_EXTRAS_PORT", "1")
    second = "document.querySelectorAll('.run .card')[1]"
    browser.click(f"{second}.querySelector('.deploy')")  # the same name: a question first
    browser.wait("document.getElementById('dialog').open")
    assert path in browser.value("document.getElementById('dialog').innerText")
    browser.click("document.querySelector('#dialog footer .primary')")
    browser.wait(f"{second}.querySelector('.proof') !== null")
    for card in (second, CARD):
        if browser.value(f"{card}.querySelector('.proof') === null"):
            browser.value("location.hash = 'library'")
            browser.wait("document.querySelector('#library .undo') !== null")
            card = "document.querySelector('#library .card:has(.undo)')"
        browser.click(f"{card}.querySelector('.undo')")
        browser.wait(f"({card})?.querySelector('.proof') == null")
    assert not (game / "assets" / path).exists()

    kept = browser.value("JSON.stringify([location.href, document.cookie, localStorage, sessionStorage])")
    assert token not in kept
    assert "dgx-pixels-" not in json.loads(kept)[1]  # scripts cannot read the cookie


def test_a_vote_lifts_the_blind(browser: Browser) -> None:
    browser.click("document.querySelector('nav a[href=\"#compare\"]')")
    browser.click("document.getElementById('compare-prompt')")
    browser.type("imp")
    browser.press("Enter", "\r")
    browser.wait("document.querySelectorAll('.contest .column').length === 2")
    told = "document.querySelector('.contest').innerText"
    assert "glow" not in browser.value(told)
    show(browser, "blind")
    browser.click("document.querySelector('.contest [data-winner=B]')")
    browser.wait("document.querySelector('.column.won') !== null")
    assert "You chose " in browser.value(told)
    assert "glow" in browser.value(told)
    assert browser.value("document.querySelectorAll('.contest tbody tr').length") == 2
    show(browser, "vote")


def test_a_prompt_is_text_wherever_it_stands(browser: Browser) -> None:
    browser.value("window.told = []; window.alert = (text) => window.told.push(text)")
    prompt = "<img src=x onerror=alert(1)> <b>bold</b> </script>"
    draw(browser, prompt)
    browser.wait(f"{CARD} !== null")
    assert browser.value(f"{RUN}.querySelector('h3').textContent") == prompt
    browser.click(f"{CARD}.querySelector('.stage')")
    browser.wait("document.getElementById('dialog').open")
    assert browser.value("document.querySelector('#dialog h2').textContent") == prompt
    assert browser.value("document.querySelectorAll('main b, #dialog b, [onerror]').length") == 0
    assert browser.value("window.told.length") == 0


def test_a_closed_tab_loses_nothing(browser: Browser, backend: FakeBackend) -> None:
    address = browser.value("location.href")
    backend.gate = threading.Semaphore(0)
    draw(browser, "gold key")
    browser.wait(f"{RUN}?.dataset.state === 'loading'")
    browser.open("about:blank")
    for _ in range(4):
        backend.gate.release()
    backend.gate = None
    browser.open(address)  # without another login
    browser.wait(f"{CARD} !== null")
    assert browser.value(f"{RUN}.querySelector('h3').textContent") == "gold key"


def test_each_game_shows_its_own(browser: Browser, game: Path, settings: Settings) -> None:
    cave = game.parent / "cave"
    (cave / "assets").mkdir(parents=True)
    (cave / "Cargo.toml").write_text((game / "Cargo.toml").read_text().replace("keep", "cave"))
    (cave / "dgx-pixels.toml").write_text('size = 16\nprompt_prefix = "dark"\n')
    token = Users(settings.data_dir).add("bob", [game, cave])
    browser.click("document.getElementById('logout')")
    log_in(browser, token)
    draw(browser, "gold key")
    browser.wait(f"{CARD} !== null")
    choose = (
        "((g, i) => { g.selectedIndex = i; g.dispatchEvent(new Event('change')); })(document.getElementById('game'),"
    )
    browser.value(f"{choose} 1)")
    browser.wait("document.getElementById('welcome') !== null")
    shown = "document.querySelector('.run:not([hidden])')"
    assert browser.value(f"{shown} === null")
    draw(browser, "gold key")
    browser.wait(f"{shown}?.dataset.state === 'done'")
    assert browser.value(f"{shown}.querySelector('.facts').innerText").startswith("16×16")
    browser.click(f"{shown}.querySelector('.stage')")
    browser.wait("document.getElementById('dialog').open")
    assert browser.value("document.querySelector('#dialog h2').textContent") == "dark gold key"
    browser.click("[...document.querySelectorAll('#dialog footer button')].at(-1)")
    assert browser.value("document.getElementById('prompt').value") == "gold key"  # the game adds the rest again
    browser.value(f"{choose} 0)")
    browser.wait(f"{shown}?.querySelector('.facts').innerText.startsWith('32×32')")


def test_a_game_that_is_broken_says_so_and_leaves_the_others(browser: Browser, game: Path, settings: Settings) -> None:
    cave = game.parent / "cave"
    (cave / "assets").mkdir(parents=True)
    (cave / "Cargo.toml").write_text((game / "Cargo.toml").read_text().replace("keep", "cave"))
    (cave / "dgx-pixels.toml").write_text("size = \n")
    token = Users(settings.data_dir).add("bob", [cave, game])
    browser.click("document.getElementById('logout')")
    enter(browser, token)
    browser.wait("!document.getElementById('banner').hidden")
    assert "dgx-pixels.toml" in browser.value("document.getElementById('banner').innerText")
    browser.value(
        "(g => { g.selectedIndex = 1; g.dispatchEvent(new Event('change')); })(document.getElementById('game'))"
    )
    try:
        browser.wait(CONNECTED)
    except AssertionError:
        print(
            browser.errors,
            browser.value("document.body.innerText"),
            browser.value("document.getElementById('login-error').textContent"),
        )
        raise
    assert browser.value("document.getElementById('banner').hidden")
    draw(browser, "gold key")
    browser.wait(f"{CARD} !== null")


def test_a_server_that_is_started_again_says_so(
    chromium: Browser, serve: Serve, token: str, backend: FakeBackend
) -> None:
    chromium.show_as(1280, 860)
    backend.gate = threading.Semaphore(0)
    with serve(0) as port:
        chromium.open(f"http://127.0.0.1:{port}/studio/")
        chromium.value("localStorage.clear()")
        chromium.open(f"http://127.0.0.1:{port}/studio/?again")
        log_in(chromium, token)
        draw(chromium, "gold key")
        chromium.wait(f"{RUN}?.dataset.state === 'loading'")
    chromium.wait("!document.getElementById('banner').hidden")
    assert "connection to the server is lost" in chromium.value("document.getElementById('banner').innerText")
    show(chromium, "lost")
    with serve(port):
        chromium.wait("!document.getElementById('login').hidden")
        assert "the server was started again" in chromium.value("document.getElementById('login').innerText")
        show(chromium, "again")
        log_in(chromium, token)
        chromium.wait(f"['lost', 'cancelled'].includes({RUN}.dataset.state)")
        assert "server" in chromium.value(f"{RUN}.innerText")
        backend.gate = None
        chromium.click(f"[...{RUN}.querySelectorAll('button')].find(b => b.textContent === 'Draw again')")
        chromium.wait(f"{CARD} !== null")
        chromium.ask("Page.navigate", url="about:blank")
    chromium.errors.clear()


def test_a_cancel_and_a_mistake_say_what_happened(browser: Browser, backend: FakeBackend) -> None:
    backend.gate = threading.Semaphore(0)
    draw(browser, "gold key")
    browser.wait(f"{RUN}?.dataset.state === 'loading'")
    browser.click(f"{RUN}.querySelector('.cancel')")
    browser.wait(f"{RUN}.dataset.state === 'cancelled'")
    backend.gate.release()
    backend.gate = None
    browser.value("document.getElementById('loras').append(new Option('gone@9', 'gone@9'))")
    browser.value("document.querySelector('#create-form details').open = true")
    browser.value("document.getElementById('loras').value = 'gone@9'")
    draw(browser, "gold key")
    browser.wait(f"{RUN}.dataset.state === 'failed'")
    assert "with weights of -2 to 2" in browser.value(f"{RUN}.querySelector('[role=alert]').textContent")
    show(browser, "failed")


def test_the_page_is_used_by_keyboard_and_every_field_has_a_name(browser: Browser) -> None:
    browser.value("document.activeElement.blur()")
    browser.press("/", "/")
    assert browser.value("document.activeElement.id") == "prompt"
    browser.type("gold key")
    browser.press("Enter", "\r")
    browser.wait(f"{CARD} !== null")
    reached: list[str] = []

    def tab() -> bool:
        browser.press("Tab")
        reached.append(browser.value("document.activeElement.className || document.activeElement.id"))
        return reached[-1] == "deploy"

    browser.wait_for(tab, "Tab reaches a card's deploy")
    assert {"size", "count", "palette", "model", "seed", "primary", "stage"} <= set(reached)
    browser.press("Enter", "\r")
    browser.wait(f"{CARD}.querySelector('.proof') !== null")
    nameless = (
        "[...document.querySelectorAll('input, select, textarea, button, a')].filter(e => !(e.labels?.length || "
        "e.getAttribute('aria-label') || e.innerText?.trim() || e.closest('[hidden], details:not([open])')))"
        ".map(e => e.outerHTML)"
    )
    for view in ("create", "library", "compare"):
        browser.value(f"location.hash = '{view}'")
        browser.wait(f"!document.getElementById('view-{view}').hidden")
        assert browser.value(nameless) == []


@pytest.mark.parametrize("density", [1, 1.25, 1.5, 2, 3])
def test_a_pixel_is_a_whole_number_of_the_screens(browser: Browser, density: float) -> None:
    browser.show_as(1280, 860, density=density)
    draw(browser, "gold key")
    browser.wait(f"{CARD} !== null")
    wide = "(c => c.getBoundingClientRect().width * devicePixelRatio / c.width)"
    for canvas in (f"{CARD}.querySelector('canvas')", "document.querySelector('#dialog canvas')"):
        factor = browser.value(f"{wide}({canvas})")
        assert factor == pytest.approx(round(factor), abs=0.01)
        assert round(factor) > 1
        assert browser.value(f"getComputedStyle({canvas}).imageRendering") == "pixelated"
        if not browser.value("document.getElementById('dialog').open"):
            browser.click(f"{CARD}.querySelector('.stage')")
            browser.wait("document.getElementById('dialog').open")


CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (c) => { const [r, g, b] = c.map(v => (v /= 255) <= .04 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$|transparent/.test(c) && c.startsWith('rgb')) return rgb(c); } return [0, 0, 0]; };
  const texts = 'h1, h2, h3, p, label, legend, a, button, .say, .facts, .name, .link, strong, code';
  return [...document.querySelectorAll(texts)]
    .filter(e => e.offsetParent && e.innerText.trim() && !e.disabled && !e.closest('.segments, .chips'))
    .map(e => { const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      return [(a + .05) / (b + .05), e.innerText.slice(0, 40)]; }).filter(([ratio]) => ratio < 4.5);
})()"""


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_view_fits_and_can_be_read(browser: Browser, width: int, scheme: str) -> None:
    browser.show_as(width, 860, scheme)
    draw(browser, "a potion with a very long name that needs more than one line on a narrow screen")
    browser.wait(f"{CARD} !== null")
    browser.click(f"{CARD}.querySelector('.deploy')")
    browser.wait(f"{CARD}.querySelector('.proof') !== null")
    for view in ("create", "library", "compare"):
        browser.value(f"location.hash = '{view}'")
        browser.wait(f"!document.getElementById('view-{view}').hidden")
        browser.wait(f"document.querySelector('#view-{view} :is(.card, .contest, .welcome)') !== null")
        assert browser.value("document.documentElement.scrollWidth") <= width
        assert browser.value(CONTRAST) == []
        show(browser, f"{view}-{width}-{scheme}")
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(18, 19, 26)") is (scheme == "dark")


def test_a_wrong_token_is_refused_in_place(chromium: Browser, serve: Serve, token: str) -> None:
    with serve(0) as port:
        chromium.open(f"http://127.0.0.1:{port}/studio/")
        enter(chromium, token[:-1])
        chromium.wait("!document.getElementById('login-error').hidden")
        assert "knows no such token" in chromium.value("document.getElementById('login-error').textContent")
        assert chromium.value("document.activeElement.id") == "token"
        chromium.ask("Page.navigate", url="about:blank")
    chromium.errors.clear()
