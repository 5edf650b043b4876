"""Control sequences in names and prompts are shown, not obeyed; idle and odd HTTP clients cost nothing."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli.app import main
from server.cli.console import SafeConsole, shown
from server.gallery import serve
from server.gallery.serve import gallery_server

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"


def output(value: str) -> str:
    file = io.StringIO()
    SafeConsole(file=file, width=200, force_terminal=True, color_system="truecolor").print(value, highlight=False)
    return file.getvalue()


def test_control_characters_of_a_text_are_visible_and_rich_still_colours() -> None:
    printed = output(f"[bold red]dgx[/] {shown(ESCAPES + '[/] [link=file:///etc]x')}")
    assert "\x1b[1;31mdgx\x1b[0m" in printed
    rest = printed.replace("\x1b[1;31mdgx\x1b[0m", "")
    assert "\\x1b]0;owned\\x07" in rest
    assert "\\u202e" in rest
    assert "[link=file:///etc]x" in rest
    assert not set("\x1b\x07\x9b\u202e") & set(rest)


def test_even_a_text_that_was_not_escaped_sends_no_control_character() -> None:
    assert not set("\x1b\x07\x9b\u202e") & set(output(ESCAPES))


@pytest.mark.parametrize(
    "words",
    [
        ["deploy", ESCAPES],
        ["deploy", "0123456789ab", ESCAPES],
        ["fix", f"{ESCAPES}.png"],
        ["validate", ESCAPES],
        ["show", ESCAPES],
        ["run", ESCAPES],
        ["run", "batch", "--set", f"{ESCAPES}=1"],
        ["models", ESCAPES],
        ["palette", "extract", ESCAPES],
        ["palette", ESCAPES, "."],
        ["check", ESCAPES],
        [ESCAPES],
    ],
)
def test_no_command_writes_a_control_character_of_its_arguments(
    words: list[str], game: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code
    captured = capsys.readouterr()
    assert captured.err + captured.out
    assert not set("\x1b\x07\x9b\u202e") & set(captured.err + captured.out)


def test_a_file_name_with_escapes_in_a_listing_is_visible(game: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (game / "assets" / f"{ESCAPES}.png").write_bytes(b"no picture")
    (game / "assets" / "good.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit):
        main(["palette", "extract", str(game / "assets")])
    main_output = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e") & set(main_output.err + main_output.out)


@pytest.fixture
def page() -> Iterator[tuple[int, str, list[tuple[str, str]]]]:
    votes: list[tuple[str, str]] = []
    server, address = gallery_server(
        lambda url, number: "<p>page</p>", lambda entry, winner: votes.append((entry, winner))
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_port, address.split(str(server.server_port))[1], votes
    finally:
        server.shutdown()
        server.server_close()


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(4096):
            answer += data
    return answer


def post(path: str, body: bytes, length: bytes | None = None) -> bytes:
    size = str(len(body)).encode() if length is None else length
    return f"POST {path}vote HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ".encode() + size + b"\r\n\r\n" + body


GOOD = json.dumps({"comparison": "a", "winner": "b"}).encode()


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (GOOD, b"abc"),
        (GOOD, b"-5"),
        (GOOD, b"9" * 5000),
        (GOOD, b""),
        (GOOD, b"1e3"),
        (GOOD, "٣٣".encode()),
        (b"[" * 4000, None),
        (b"\xff\xfe", None),
        (b"[]", None),
        (b'{"comparison": 1, "winner": {}}', None),
        (b"", None),
    ],
)
def test_an_odd_vote_is_a_bad_request(
    page: tuple[int, str, list[tuple[str, str]]], body: bytes, length: bytes | None
) -> None:
    port, path, votes = page
    assert ask(port, post(path, body, length)).startswith(b"HTTP/1.0 400 ")
    assert votes == []
    assert ask(port, post(path, GOOD)).startswith(b"HTTP/1.0 200 ")
    assert votes == [("a", "b")]


@pytest.mark.slow
def test_three_hundred_idle_connections_hold_few_threads_and_soon_none(
    page: tuple[int, str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, path, _ = page
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    try:
        until(lambda: threading.active_count() - before <= serve.MOST_CONNECTIONS)
        monkeypatch.setattr(serve, "MOST_SECONDS", 0.2)
        for connection in idle[:5]:
            connection.sendall(b"GET / HT")
        until(lambda: threading.active_count() <= before)
        assert ask(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()).endswith(b"<p>page</p>")
    finally:
        for connection in idle:
            connection.close()


def until(condition: object, limit: float = 15) -> None:
    assert callable(condition)
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.slow
def test_the_http_server_closes_idle_connections_and_refuses_odd_requests(game: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = "0123456789abcdef"
    program = (
        "import server.protocol.http_limits as limits; limits.REQUEST_SECONDS = 1.0\n"
        "from server.cli.app import main; main(['serve', '--http'])"
    )
    root = str(Path(__file__).parents[2])
    environment = {
        "DGX_PIXELS_HTTP_TOKEN": token,
        "DGX_PIXELS_HTTP_PORT": str(port),
        "DGX_PIXELS_DATA_DIR": str(tmp_path / "data"),
        "PYTHONPATH": root,
    }
    with subprocess.Popen([sys.executable, "-c", program], env=os.environ | environment, cwd=game) as server:
        try:
            until(lambda: listens(port), 60)
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
            idle[0].sendall(b"POST /mcp HTTP/1.1\r\nHost: 127.0")
            for connection in idle:
                connection.settimeout(20)
                assert connection.recv(1) == b""
                connection.close()
            head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            head += "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            assert b" 400 " in first_line(port, f"{head}Content-Length: abc\r\n\r\n".encode())
            for body in (b"{", b"[" * 100_000, b"\xff"):
                request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
                assert b" 400 " in first_line(port, request), body[:3]
        finally:
            server.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def first_line(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(4096).split(b"\r\n")[0]
