"""A server that was taken over sends an agent what it likes: nothing outside the game's assets is written or read."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.pixels.png import encode_png
from server.agent import wire
from server.agent.client import Agent
from server.agent.wire import Answer, Failed, File, Order, Placed, key_of, new_id, sign
from server.agent.work import LocalGame
from server.desk.remote import Address
from tests.fakes import fake_picture
from tests.server.conftest import CARGO

PNG = encode_png(fake_picture("hero", 1, 16, 16))
TOKEN = "ann's token"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A game, beside a file that nobody may touch."""
    root = tmp_path / "keep"
    (root / "assets").mkdir(parents=True)
    (root / "src").mkdir()
    (root / "src/main.rs").write_text("fn main() {}")
    (root / "Cargo.toml").write_text(CARGO)
    (tmp_path / "secret.txt").write_text("secret")
    return root


@pytest.fixture
def local(root: Path) -> Iterator[LocalGame]:
    game = LocalGame(root)
    yield game
    game.close()


@pytest.fixture
def untouched(tmp_path: Path, root: Path) -> Iterator[None]:
    """Compares everything beside `.dgx-pixels/` with before."""
    before = everything(tmp_path)
    yield
    assert everything(tmp_path) == before


def everything(folder: Path) -> dict[str, bytes | str]:
    paths = (path for path in folder.rglob("*") if ".dgx-pixels" not in path.parts)
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in paths
        if path.is_symlink() or path.is_file()
    }


def bundle(*files: tuple[str, bytes], **more: Any) -> dict[str, Any]:
    """A request as the server sends it."""
    return {
        "op": "put",
        "id": new_id(),
        "asset_id": "0123456789ab",
        "files": [
            {"path": p, "sha256": hashlib.sha256(d).hexdigest(), "data": base64.b64encode(d).decode()} for p, d in files
        ],
        "verify": False,
        "overwrite": True,
        **more,
    }


def answered(local: LocalGame, request: dict[str, Any]) -> Answer:
    """What an agent answers; a request that its form refuses counts as refused."""
    try:
        order = Order.model_validate_json(json.dumps({"request": request}))
    except ValidationError as error:
        return Failed(id=new_id(), error=str(error)[:2000])
    assert order.request is not None
    return local.answer(order.request)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "path",
    [
        "../src/main.rs",
        "../secret.png",
        "../../secret.txt",
        "/etc/passwd",
        "/tmp/a.png",
        "a/../../b.png",
        "./a.png",
        "a//b.png",
        "A.png",
        "a\\b.png",
        ".git/config.png",
        ".dgx-pixels/library.sqlite",
        "a.png\0.rs",
        "a.rs",
        "a.png.meta",
        "a.meta",
        "a.aseprite",
        "con.png",
        "assets/a.png",
        "a" * 300 + ".png",
        "",
    ],
)
def test_paths_that_leave_assets_or_are_no_art_are_refused(local: LocalGame, path: str) -> None:
    for request in (bundle((path, PNG)), bundle(("hero.png", PNG), (path, PNG))):
        assert isinstance(answered(local, request), Failed)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (bundle(), "at least 1"),
        (bundle(*((f"a{n}.png", PNG) for n in range(65))), "at most 64"),
        (bundle(("a.png", PNG), ("a.png", PNG)), "twice"),
        (bundle(("a.png", PNG), ("a.json", b"\xff\xfe")), "UTF-8"),
        (bundle(("a.png", b"MZ not a picture")), "not a PNG"),
        (bundle(("a.png", PNG[:60])), "a.png"),
        (bundle(("a.json", b"{}")), "a.json"),
        (bundle(("a.png", PNG), asset_id="../../etc"), "asset_id"),
        (bundle(("a.png", PNG), id="x"), "id"),
        (bundle(("a.png", PNG), more="x"), "more"),
        ({"op": "run", "id": new_id(), "command": "rm -rf /"}, "op"),
        ({"op": "undo", "id": new_id(), "path": "../../secret.txt"}, "left to undo"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bundles_that_break_a_rule_are_refused_whole(local: LocalGame, request_: dict[str, Any], why: str) -> None:
    answer = answered(local, request_)
    assert isinstance(answer, Failed)
    assert why in answer.error


@pytest.mark.usefixtures("untouched")
def test_bytes_that_do_not_have_their_hash_are_refused(local: LocalGame) -> None:
    request = bundle(("a.png", PNG))
    request["files"][0]["sha256"] = "0" * 64
    answer = answered(local, request)
    assert isinstance(answer, Failed)
    assert "damaged" in answer.error


@pytest.mark.usefixtures("untouched")
def test_a_picture_that_unpacks_to_gigabytes_is_refused(local: LocalGame) -> None:
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = (100_000).to_bytes(4, "big")
    rows = zlib.compress(bytes(50_000_000), 9)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + b"\x08\x06\0\0\0") + chunk(b"IDAT", rows)
    answer = answered(local, bundle(("a.png", bomb)))
    assert isinstance(answer, Failed)
    assert "4096" in answer.error


@pytest.mark.usefixtures("untouched")
def test_files_that_are_too_large_are_refused(local: LocalGame, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="at most 16777216"):
        File(path="a.json", sha256="0" * 64, data=base64.b64encode(bytes((16 << 20) + 1)))
    monkeypatch.setattr("server.agent.work.MOST_BUNDLE_BYTES", len(PNG))
    answer = answered(local, bundle(("a.png", PNG), ("b.png", PNG)))
    assert isinstance(answer, Failed)
    assert "is the most" in answer.error


@pytest.mark.usefixtures("untouched")
def test_a_disk_is_never_filled(local: LocalGame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.agent.work.LEAST_ROOM", shutil.disk_usage("/").total)
    answer = answered(local, bundle(("a.png", PNG)))
    assert isinstance(answer, Failed)
    assert "Free some" in answer.error


def test_links_in_assets_are_not_followed(local: LocalGame, root: Path, tmp_path: Path) -> None:
    (root / "assets/out").symlink_to(tmp_path)
    (root / "assets/secret.png").symlink_to(tmp_path / "secret.txt")
    for path in ("out/a.png", "secret.png"):
        answer = answered(local, bundle((path, PNG)))
        assert isinstance(answer, Failed)
        assert "symbolic link" in answer.error
    assert (tmp_path / "secret.txt").read_text() == "secret"
    assert not (tmp_path / "a.png").exists()


def test_what_is_replaced_can_be_undone(local: LocalGame, root: Path) -> None:
    (root / "assets/hero.png").write_bytes(b"drawn by hand")
    assert isinstance(answered(local, bundle(("hero.png", PNG))), Placed)
    assert isinstance(answered(local, {"op": "undo", "id": new_id(), "verify": False}), Placed)
    assert (root / "assets/hero.png").read_bytes() == b"drawn by hand"


# What lies on the wire


Reply = Callable[[str, str, int], tuple[bytes, dict[str, str]]]
"""(kind, session, sequence) -> the body and further headers."""


@contextmanager
def false_server(reply: Reply) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A server that answers hello and then as it likes; yields its port and the answers that it was sent."""
    answers: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if answer := received.get("answer"):
                answers.append(answer)
            session, sequence = self.headers[wire.SESSION], int(self.headers[wire.SEQUENCE])
            if self.path == wire.HELLO:
                body = json.dumps({"session": new_id()}).encode()
                headers = {wire.MAC: sign(key_of(TOKEN), "welcome", session, sequence, body)}
            else:
                body, headers = reply("order", session, sequence)
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1], answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def order(path: str = "hero.png") -> bytes:
    return json.dumps({"request": bundle((path, PNG))}).encode()


def signed(body: bytes, session: str, sequence: int) -> dict[str, str]:
    return {wire.MAC: sign(key_of(TOKEN), "order", session, sequence, body)}


def news_of_a_run(local: LocalGame, port: int, enough: Callable[[list[str]], bool]) -> list[str]:
    """Runs an agent until its news are enough."""
    news: list[str] = []
    heard = threading.Event()

    def say(text: str) -> None:
        news.append(text)
        if enough(news):
            heard.set()

    agent = Agent(Address("127.0.0.1", port, TOKEN), "ann/keep", local, say)
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    try:
        assert heard.wait(60)
    finally:
        agent.stop()
        thread.join()
    return news


def _unsigned(kind: str, session: str, sequence: int) -> tuple[bytes, dict[str, str]]:
    return order(), {}


def _replayed(kind: str, session: str, sequence: int) -> tuple[bytes, dict[str, str]]:
    body = order()
    return body, signed(body, session, sequence + 1)


def _of_another_session(kind: str, session: str, sequence: int) -> tuple[bytes, dict[str, str]]:
    body = order()
    return body, signed(body, new_id(), sequence)


def _changed(kind: str, session: str, sequence: int) -> tuple[bytes, dict[str, str]]:
    body = order()
    return body.replace(b"hero", b"evil"), signed(body, session, sequence)


def _packed(kind: str, session: str, sequence: int) -> tuple[bytes, dict[str, str]]:
    body = order()
    return gzip.compress(body), {**signed(body, session, sequence), "Content-Encoding": "gzip"}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("reply", [_unsigned, _replayed, _of_another_session, _changed, _packed])
def test_a_message_that_is_not_signed_for_this_moment_is_not_believed(local: LocalGame, reply: Reply) -> None:
    with false_server(reply) as (port, answers):
        news = news_of_a_run(local, port, bool)
    assert "does not know the token" in news[0]
    assert not answers


@pytest.mark.usefixtures("untouched")
def test_a_message_without_end_is_not_read_to_its_end(local: LocalGame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.agent.client.MOST_REQUEST", 1 << 20)

    def endless(kind: str, session: str, sequence: int) -> tuple[bytes, dict[str, str]]:
        body = bytes(2 << 20)
        return body, signed(body, session, sequence)

    with false_server(endless) as (port, _):
        news = news_of_a_run(local, port, bool)
    assert "sends more than 1 MB" in news[0]


@pytest.mark.usefixtures("untouched")
def test_a_signed_request_that_breaks_a_rule_is_refused_by_name(local: LocalGame, root: Path) -> None:
    refused = threading.Event()

    def leaving(kind: str, session: str, sequence: int) -> tuple[bytes, dict[str, str]]:
        body = order("../src/main.rs")
        if sequence > 1:
            refused.set()
        return body, signed(body, session, sequence)

    with false_server(leaving) as (port, answers):
        agent = Agent(Address("127.0.0.1", port, TOKEN), "ann/keep", local, lambda _: None)
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        assert refused.wait(60)
        agent.stop()
        thread.join()
    assert answers[0]["op"] == "failed"
    assert "breaks the rules of paths" in answers[0]["error"]
