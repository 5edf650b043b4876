"""What other pages, other programs and other addresses cannot do to the studio's page."""

from __future__ import annotations

import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.protocol.app import create_server
from server.protocol.users import Tokens
from server.settings import Settings
from server.users import Users
from server.web import routes
from server.web.sessions import LASTS, MOST_SESSIONS, Sessions
from tests.fakes import FakeBackend
from tests.server.conftest import CARGO
from tests.server.desk.serving import TOKEN, served
from tests.server.web.client import Page

PAGE = Path(routes.__file__).parent / "page"
WRITES = ("runs", "deploy", "undo", "vote", "logout", "runs/0123456789abcdef/cancel", "runs/0123456789abcdef/forget")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a game and the server's data."""
    root = tmp_path_factory.mktemp("fences")
    (root / "game" / "assets").mkdir(parents=True)
    (root / "game" / "Cargo.toml").write_text(CARGO)
    return root


@pytest.fixture(scope="module")
def token(home: Path) -> str:
    return Users(home / "data").add("ann", [home / "game"])


@pytest.fixture(scope="module")
def port(home: Path, token: str) -> Iterator[int]:
    """One server for all: nothing here gets in."""
    settings, users = Settings(data_dir=home / "data", preload="none"), Users(home / "data")
    with served(create_server(settings, FakeBackend(), Tokens(users, TOKEN), users)) as port:
        yield port


@pytest.fixture
def ann(port: int, token: str) -> Page:
    page = Page(port)
    page.log_in(token)
    return page


def fetch(port: int, path: str) -> tuple[dict[str, str], str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode(errors="replace")


def test_the_page_lets_nothing_inline_foreign_or_framed_in(port: int) -> None:
    for name in routes.PAGES:
        headers, _ = fetch(port, f"/studio/{name}")
        rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == rules["form-action"] == rules["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_files_of_the_page_are_all_served_and_need_nothing_else(port: int) -> None:
    assert {path.name for path in PAGE.iterdir()} == {name or "index.html" for name in routes.PAGES}
    for path in PAGE.iterdir():
        text = path.read_bytes().decode(errors="replace")
        foreign = re.findall(r"https?://[^\s\"')]+", text)
        assert [address for address in foreign if "html.spec.whatwg.org" not in address] == []  # named in a comment
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)


def test_addresses_lead_to_the_page_and_to_no_other_file(port: int) -> None:
    assert "<title>dgx-pixels studio" in fetch(port, "/")[1]
    assert "<title>dgx-pixels studio" in fetch(port, "/studio")[1]
    for path in ("/studio/../app.py", "/studio/%2e%2e/routes.py", "/studio/index.html", "/studio/page/studio.js"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(port, path)


def test_the_cookie_is_for_this_server_alone_and_the_token_is_in_no_header_address_or_log(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    page = Page(port)
    _, said, answer = page.send("POST", "login", {"token": TOKEN})
    cookie = answer.getheader("set-cookie") or ""
    assert cookie.startswith(f"dgx-pixels-{port}=")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/studio"} <= parts
    page.log_in(TOKEN)
    page.get("home")
    assert TOKEN not in cookie + json.dumps(said)
    assert TOKEN not in caplog.text


def test_a_wrong_token_is_refused(port: int) -> None:
    status, said, answer = Page(port).send("POST", "login", {"token": "wrong" * 5})
    assert (status, said["code"]) == (401, "login")
    assert answer.getheader("set-cookie") is None


@pytest.mark.parametrize("path", WRITES)
def test_a_request_of_another_page_changes_nothing(ann: Page, path: str) -> None:
    body = {"asset_id": "0123456789ab"} if path == "deploy" else {}
    foreign = f"http://127.0.0.1:{ann.port + 1}"
    for headers in (
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": foreign},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert ann.send("POST", path, body, headers)[0] == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert ann.send("POST", path, body, {"Content-Type": kind})[0] == 415
    assert ann.send("POST", path, body, {"X-Studio-Key": ""})[0] == 401
    assert ann.send("POST", path, body, {"X-Studio-Key": "x" * 43})[0] == 401
    assert ann.send("POST", path, body, {"Cookie": ""})[0] == 401
    assert ann.send("GET", path)[0] in (404, 405)
    assert ann.get("home")["user"] == "ann"  # not logged out either


@pytest.mark.parametrize("path", ["home", "library", "contests", "events"])
def test_reading_needs_both_halves_of_the_session(ann: Page, path: str) -> None:
    assert ann.send("GET", path, headers={"Cookie": ""})[0] == 401
    assert ann.send("GET", path, headers={"X-Studio-Key": ""})[0] == 401


def test_a_login_from_another_page_is_refused(port: int) -> None:
    page = Page(port)
    assert page.send("POST", "login", {"token": TOKEN}, {"Origin": "https://evil.example"})[0] == 403
    assert page.send("POST", "login", {"token": TOKEN}, {"Content-Type": "text/plain"})[0] == 415


def test_a_foreign_host_name_does_not_reach_the_page(ann: Page) -> None:
    assert ann.send("GET", "home", headers={"Host": "evil.example"})[0] == 421


def test_a_session_ends_with_the_logout(ann: Page) -> None:
    ann.post("logout")
    assert ann.send("GET", "home")[0] == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"token": 1}', b'{"token": "x", "more": 1}', b"[" * 60_000])
def test_odd_bodies_are_refused(ann: Page, body: bytes) -> None:
    assert ann.send("POST", "login", body)[0] == 400
    assert ann.send("POST", "runs", body)[0] == 400


def test_a_long_body_is_refused(ann: Page) -> None:
    assert ann.send("POST", "runs", b" " * 70_000)[0] == 413


@pytest.mark.parametrize("offset", ["-1", "x", "1e9", "9" * 30])
def test_odd_offsets_are_refused(ann: Page, offset: str) -> None:
    assert ann.send("GET", f"library?offset={offset}")[0] == 400


def test_a_broken_file_of_tokens_lets_nobody_in(ann: Page, home: Path, token: str) -> None:
    file = Users(home / "data").file
    kept = file.read_bytes()
    file.write_text("[{}]")
    assert ann.send("GET", "home")[0] >= 400
    assert ann.send("POST", "login", {"token": token})[0] >= 400
    file.write_bytes(kept)


def test_a_session_lasts_half_a_day_and_needs_its_key() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    session = sessions.open("token")
    assert sessions.find(session.cookie, session.key) == session
    assert sessions.find(session.cookie, "é") is None
    assert sessions.find("", "") is None
    now[0] = LASTS
    assert sessions.find(session.cookie, session.key) is None


def test_the_oldest_session_makes_room() -> None:
    sessions = Sessions()
    first, second = sessions.open("a"), sessions.open("b")
    for _ in range(MOST_SESSIONS - 1):
        sessions.open("c")
    assert sessions.find(first.cookie, first.key) is None
    assert sessions.find(second.cookie, second.key) == second
