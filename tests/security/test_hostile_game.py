"""Whatever answers on the game's port: the files are in place, and the deploy answers in time and in a sentence."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from server.deploy.bevy.brp import MOST_BYTES, BrpClient, NotBevy, Refused, Silent
from server.deploy.bevy.doctor import examine
from server.deploy.deploy import deploy
from server.library.records import Asset
from server.studio import Studio

HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"


def reply(value: object) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def refusal(error: object) -> bytes:
    return HEAD + b"\r\n" + json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode()


STATUS = {"info": {"version": "0.19.1"}, "methods": [{"name": "dgx_pixels/status"}, {"name": "world.query"}]}
ANSWERS: dict[str, bytes] = {
    "deep JSON": HEAD + b"\r\n" + b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 200_000,
    "deep whole JSON": HEAD + b"\r\n" + b"[" * 100_000 + b"]" * 100_000,
    "a length of 5000 digits": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\n{}",
    "a number of 5000 digits": HEAD + b"\r\n" + b'{"jsonrpc":"2.0","id":1,"result":' + b"7" * 5000 + b"}",
    "an error that is huge": refusal({"code": 1, "message": "x\x1b[2J" * 300_000}),
    "an error without a message": refusal({"code": "many", "message": {"a": [1]}}),
    "an error code of NaN": HEAD + b"\r\n" + b'{"jsonrpc":"2.0","id":1,"error":{"code":NaN,"message":null}}',
    "a result that is null": reply(None),
    "methods that are numbers": reply({"info": {"version": 7}, "methods": [1, 2]}),
    "methods that are not a list": reply({"info": {"version": "0.19.1"}, "methods": 5}),
    "info that is a list": reply({"info": [], "methods": []}),
    "a status of another form": reply(STATUS),
    "bytes that are not text": HEAD + b"\r\n" + bytes(range(256)),
    "nothing": b"",
    "half a head": b"HTTP/1.0 200 OK\r\nContent-Le",
    "a head without an end": b"HTTP/1.0 200 OK\r\n" + b"X-Fill: y\r\n" * 1000,
}


@contextmanager
def listening(answer: bytes, *, endless: bool = False, waits: bool = False) -> Iterator[int]:
    """A port that sends `answer` to every connection; `endless` repeats it, `waits` keeps the connection open."""
    done = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.recv(1 << 16)
                self.request.sendall(answer)
                while endless:
                    self.request.sendall(answer)
                if waits:
                    done.wait(20)
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            done.set()
            server.shutdown()


@pytest.fixture
def put(studio: Studio, golem: Asset, game: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    def deployed(port: int) -> str:
        monkeypatch.setenv("BRP_EXTRAS_PORT", str(port))
        done = deploy(studio, golem.id, "sprites/golem.png")
        assert (game / "assets/sprites/golem.png").read_bytes() == b"golem"
        assert done.state == "written"
        assert done.verification.state in ("game_not_running", "deployed_unverified")
        note = done.verification.note
        assert "The files are in place" in note
        assert len(note) <= 1200
        assert "\x1b" not in note
        assert "Error" not in note
        return note

    return deployed


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_deploy_is_done_and_reported_for_any_answer_of_the_game(
    kind: str, put: Callable[[int], str], studio: Studio
) -> None:
    with listening(ANSWERS[kind]) as port:
        put(port)
        assert any(f.topic == "running game" for f in examine(studio.require_project()))


def test_an_endless_answer_ends_at_four_megabytes(put: Callable[[int], str]) -> None:
    with listening(HEAD + b"\r\n" + b"[1," * 10_000, endless=True) as port:
        with pytest.raises(NotBevy, match="more than 4 MB"):
            BrpClient(port).call("rpc.discover", timeout=10)
        assert "more than 4 MB" in put(port)


def test_an_answer_of_just_below_the_limit_is_read(tmp_path: Path) -> None:
    with listening(reply("x" * (MOST_BYTES - 1000))) as port:
        assert len(BrpClient(port).call("rpc.discover", timeout=10)) == MOST_BYTES - 1000


@pytest.mark.slow
def test_a_pause_in_the_middle_of_an_answer_ends_the_call(put: Callable[[int], str]) -> None:
    with listening(HEAD + b"Content-Length: 999999\r\n\r\n{", waits=True) as port:
        with pytest.raises(Silent):
            BrpClient(port).call("rpc.discover", timeout=60)
        put(port)


def test_the_text_of_a_refusal_is_clipped_and_its_control_characters_are_visible() -> None:
    with listening(ANSWERS["an error that is huge"]) as port, pytest.raises(Refused) as refused:
        BrpClient(port).call("rpc.discover", timeout=10)
    assert len(str(refused.value)) <= 300
    assert str(refused.value).startswith("x\\x1b[2J")


def odd_values() -> st.SearchStrategy[object]:
    """JSON of any form; texts with escapes, lone surrogates and NUL, and the names that the plugin uses, among them."""
    texts = st.sampled_from(("", "\ud800", "\0", "\x1b]0;x\x07", "../../etc", "sprites/golem.png", "x" * 10_000))
    numbers = st.sampled_from((0, -1, 2**63, 10**400, 1.5, float("nan"), float("inf")))
    names = st.sampled_from(("assets", "generation", "width", "hash", "failed", "error", "held", "protocol", "game"))
    leaf = st.none() | st.booleans() | texts | numbers
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | texts, inner))


@contextmanager
def playing(answer: Callable[[str], object]) -> Iterator[int]:
    """A port that answers each method with what `answer` makes of its name."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length = 0
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            asked = json.loads(self.rfile.read(length) or b"{}")
            self.wfile.write(reply(answer(asked.get("method", ""))))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


@pytest.mark.slow
def test_a_game_that_speaks_the_protocol_and_answers_anything_never_stops_a_deploy(
    studio: Studio, golem: Asset, game: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ["dgx_pixels/status", "dgx_pixels/reload", "dgx_pixels/await", "brp_extras/screenshot", "world.query"]
    good = {"generation": 1, "width": 8, "height": 8, "hash": "0" * 16, "failed": 0, "error": "", "held": True}
    root = str(game / "assets")

    @settings(max_examples=60, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(st.fixed_dictionaries({name: odd_values() for name in known}), st.sampled_from(known), odd_values())
    def each(answers: dict[str, object], odd: str, inside: object) -> None:
        def answer(method: str) -> object:
            state = good | {"error": inside} if odd == "dgx_pixels/await" else good
            if method == "rpc.discover":
                return {"info": {"version": "0.20.1"}, "methods": [{"name": name} for name in known]}
            if method == odd:
                return answers[method]
            if method == "dgx_pixels/status":
                return {"protocol": 2, "game": inside, "asset_root": root, "assets": {"sprites/golem.png": state}}
            return {"assets": {"sprites/golem.png": state}} if method == "dgx_pixels/reload" else state

        with playing(answer) as port:
            monkeypatch.setenv("BRP_EXTRAS_PORT", str(port))
            done = deploy(studio, golem.id, "sprites/golem.png", overwrite=True)
        note = done.verification.note
        assert (game / "assets/sprites/golem.png").read_bytes() == b"golem"
        note.encode()
        assert len(note) <= 1200
        assert "\x1b" not in note
        assert "\0" not in note
        assert not re.search(r"\b[A-Z][A-Za-z]*(Error|Exception)\b", note)

    each()
