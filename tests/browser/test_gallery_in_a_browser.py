"""The results page as a person uses it: filter, open, zoom, play, choose, compare, vote."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.pixels.png import encode_png
from pipelines.records import no_progress
from server.features.animations import generate_animation
from server.features.requests import AnimationRequest, SpriteRequest
from server.features.sprites import generate_sprites
from server.gallery.build import data_uri, gallery_page, write_gallery
from server.gallery.serve import gallery_server
from server.settings import Settings
from server.studio import Studio
from tests.browser.browser import Browser, find_chromium
from tests.fakes import FakeBackend

Votes = list[tuple[str, str]]
CARDS = "document.querySelectorAll('.card')"


def wrong(browser: Browser) -> list[str]:
    """What the page did wrong; that a browser asks every server for its icon is not the page's doing."""
    return [error for error in browser.errors if "favicon" not in error]


def comparison() -> dict[str, Any]:
    def option(key: str, shade: int) -> dict[str, Any]:
        png = encode_png(np.full((16, 16, 4), (shade, 90, 90, 255), np.uint8))
        return {"key": key, "label": f"model {key}", "png": data_uri(png), "width": 16, "height": 16}

    return {"id": "c1", "prompt": "which potion?", "options": [option("a", 40), option("b", 200)], "voted": None}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    root = tmp_path_factory.mktemp("game")
    (root / "assets").mkdir()
    (root / "Cargo.toml").write_text(
        '[package]\nname = "browsed"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.19"\n'
    )
    studio = Studio(Settings(project=root, data_dir=root / "data"), FakeBackend())
    for seed, prompt in enumerate(("red dragon", "blue potion", "gold <b>key</b>")):
        generate_sprites(studio, SpriteRequest(prompt=prompt, seed=seed), no_progress)
    wanted = AnimationRequest(prompt="green goblin", motions=("walk", "idle"), seed=5, fps=12)
    generate_animation(studio, wanted, no_progress)
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    command = find_chromium()
    assert command, "No Chromium was found. Run make test-gallery as root, or install it (apt-get install chromium)."
    browser = Browser(command, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(studio: Studio, browser: Browser) -> Iterator[tuple[Browser, Votes]]:
    """The page, served; and the votes that it sent."""
    votes: Votes = []
    library = studio.library(studio.project())
    server, address = gallery_server(
        lambda vote_url, page: gallery_page(library, "browsed", [comparison()], vote_url, page),
        lambda entry, winner: votes.append((entry, winner)),
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    browser.errors.clear()
    browser.open(address)
    yield browser, votes
    server.shutdown()
    server.server_close()
    thread.join()
    assert wrong(browser) == []


def test_every_asset_is_a_card_with_its_picture(page: tuple[Browser, Votes]) -> None:
    browser, _ = page
    assert browser.value(f"{CARDS}.length") == 5  # three sprites, a sheet and the sprite that it was made of
    browser.wait(
        "[...document.querySelectorAll('.card canvas')].every(c => "
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0))"
    )
    assert browser.value("document.body.innerText").count("gold <b>key</b>") == 1


def test_words_and_kind_filter(page: tuple[Browser, Votes]) -> None:
    browser, _ = page
    browser.click("document.getElementById('filter')")
    browser.type("blue pot")
    assert browser.value("document.getElementById('count').textContent") == "1 of 5"
    assert browser.value(f"{CARDS}[0].innerText").startswith("blue potion")
    browser.type("x")
    assert "Nothing matches the filter." in browser.value("document.getElementById('grid').innerText")
    browser.value(
        "document.getElementById('filter').value = ''; const k = document.getElementById('kind');"
        "k.value = 'sheet'; k.dispatchEvent(new Event('input'))"
    )
    assert browser.value(f"{CARDS}.length") == 1


def test_a_click_opens_an_asset_with_its_recipe_and_zoom(page: tuple[Browser, Votes]) -> None:
    browser, _ = page
    browser.click("[...document.querySelectorAll('.card')].find(c => c.innerText.includes('red dragon'))")
    assert browser.value("document.getElementById('dialog').open")
    told = browser.value("document.getElementById('dialog').innerText")
    assert '"seed": 0' in told
    assert "sprite.png" in told
    wide = "parseInt(document.querySelector('dialog canvas').style.width)"
    before = browser.value(wide)
    browser.click("document.querySelector('dialog [aria-label=larger]')")
    assert browser.value(wide) == before + browser.value("document.querySelector('dialog canvas').width")
    browser.click("[...document.querySelectorAll('dialog button')].find(b => b.textContent === 'close')")
    assert not browser.value("document.getElementById('dialog').open")


def test_a_sheet_plays(page: tuple[Browser, Votes]) -> None:
    browser, _ = page
    browser.click("[...document.querySelectorAll('.card')].find(c => c.innerText.includes('sheet'))")
    frame = "document.querySelector('dialog canvas').toDataURL()"
    seen = {browser.value(frame)}
    first = browser.screenshot()
    browser.wait_for(lambda: seen.add(browser.value(frame)) or len(seen) >= 3, "three frames were shown")
    browser.wait_for(lambda: browser.screenshot() != first, "two screenshots differ")
    browser.click("[...document.querySelectorAll('dialog button')].find(b => b.textContent === 'whole picture')")
    assert browser.wait("document.querySelector('dialog img').naturalWidth") == 4 * 32


def test_chosen_assets_are_shown_side_by_side(page: tuple[Browser, Votes]) -> None:
    browser, _ = page
    assert browser.value("document.getElementById('compare').disabled")
    for index in (0, 1):
        browser.click(f"{CARDS}[{index}].querySelector('input')")
    assert not browser.value("document.getElementById('dialog').open")  # a tick opens nothing
    browser.click("document.getElementById('compare')")
    assert browser.value("document.querySelectorAll('dialog figure').length") == 2


def test_a_vote_is_sent_once_and_shown(page: tuple[Browser, Votes]) -> None:
    browser, votes = page
    browser.click("document.querySelectorAll('#votes button')[1]")
    browser.wait("document.querySelectorAll('#votes button')[1].textContent === 'your vote'")
    assert votes == [("c1", "b")]
    assert browser.value("[...document.querySelectorAll('#votes button')].every(b => b.disabled)")


def test_older_assets_are_on_further_pages(studio: Studio, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.gallery.build.PAGE_SIZE", 2)
    library = studio.library(studio.project())
    browser.errors.clear()
    browser.open(Path(write_gallery(library, "browsed")).as_uri())
    count = "document.getElementById('count').textContent"
    assert browser.value(count) == "2 of 2 (5 in all)"
    browser.click("document.querySelector('#pages a[rel=next]')")
    browser.wait("location.href.endsWith('gallery-2.html')")
    browser.click("document.querySelector('#pages a[rel=next]')")
    browser.wait("location.href.endsWith('gallery-3.html')")
    assert browser.value(count) == "1 of 1 (5 in all)"
    assert browser.value("document.querySelector('#pages a[rel=next]')") is None
    assert wrong(browser) == []


def test_the_written_file_works_alone_and_takes_no_votes(studio: Studio, browser: Browser) -> None:
    library = studio.library(studio.project())
    browser.errors.clear()
    browser.open(Path(write_gallery(library, "browsed", [comparison()])).as_uri())
    assert browser.value(f"{CARDS}.length") == 5
    assert browser.value("[...document.querySelectorAll('#votes button')].every(b => b.disabled)")
    assert wrong(browser) == []
