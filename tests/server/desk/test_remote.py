"""A studio on a server: the desk over HTTP."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fastmcp import Client

from pipelines.errors import Cancelled
from pipelines.pixels.png import read_picture
from pipelines.records import no_progress
from server.desk.remote import Address, RemoteDesk, Unreachable, address, check
from server.errors import ServerError
from server.protocol.app import create_server
from server.protocol.users import Tokens
from server.settings import Settings
from server.users import Users
from server.version import package_version
from tests.fakes import FakeBackend
from tests.server.desk.serving import TOKEN, served

CAT = {"prompt": "cat", "size": 16, "candidates": 1}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def until(holds: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_drawn_there_is_deployed_and_taken_back_there(desk: RemoteDesk, game: Path) -> None:
    said: list[tuple[int, int, str]] = []
    batch = desk.draw(CAT, 2, lambda *step: said.append(step))
    assert len(batch.pieces) == len(batch.pictures) == 2
    assert max(done for done, _, _ in said) > 0
    placed = desk.deploy(batch.pieces[1].id)
    assert (read_picture(game / "assets" / placed.path) == batch.pictures[1]).all()
    pieces, total = desk.find("cat")
    assert total == 2
    assert {piece.deployed for piece in pieces} == {(), (placed.path,)}
    assert (desk.show(pieces[0]).picture.shape) == (16, 16, 4)
    assert desk.undo().state == "undone"
    assert not (game / "assets" / placed.path).exists()


@pytest.mark.anyio
async def test_an_assistant_on_the_same_server_sees_what_the_studio_drew(desk: RemoteDesk, where: Address) -> None:
    batch = desk.draw(CAT, 1, no_progress)
    async with Client(f"{where}/mcp", auth=where.token) as assistant:
        listed = (await assistant.call_tool("list_assets", {})).structured_content
        assert listed is not None
        assert [asset["asset_id"] for asset in listed["assets"]] == [batch.pieces[0].id]
        drawn = (await assistant.call_tool("generate_sprite", {"prompt": "dog", "size": 16})).structured_content
        assert drawn is not None
        assert drawn["asset_id"] in {piece.id for piece in desk.find()[0]}


def test_every_question_of_the_screens_is_answered(desk: RemoteDesk, game: Path) -> None:
    home = desk.home()
    assert (home.game, home.models, home.newest) == ("mygame", ("embedded",), None)
    assert any(finding.topic == "bevy" for finding in desk.check())
    assert desk.status()["project"]["name"] == "mygame"
    assert desk.trainings() == []
    desk.warm()
    contest = desk.compare(["cat"], ["embedded", "embedded + glow@0.5"], 1, 16, no_progress, blind=True)
    assert desk.vote(contest.id, "A").winner == "A"


def test_errors_are_the_tools_sentences(desk: RemoteDesk) -> None:
    with pytest.raises(ServerError, match=r"0123456789abcdef.*"):
        desk.deploy("0123456789abcdef")
    with pytest.raises(ServerError, match="8 to 96 pixels"):
        desk.draw({"prompt": "cat", "size": 100000}, 1, no_progress)


def test_a_cancel_here_stops_the_drawing_there(desk: RemoteDesk, backend: FakeBackend) -> None:
    backend.steps, backend.gate = 1000, threading.Semaphore(0)

    def give_up(done: int, total: int, message: str) -> None:
        if backend.requests:
            raise Cancelled("Enough.")

    with pytest.raises(Cancelled, match=r"Enough\."):
        desk.draw(CAT, 1, give_up)
    gate = backend.gate

    def cancelled() -> bool:
        gate.release()  # a further step, whose report finds nobody
        return desk.status()["engine"].get("cancelled") == 1

    until(cancelled)
    assert desk.find()[1] == 0
    backend.steps, backend.gate = 1, None
    assert len(desk.draw(CAT, 1, no_progress).pieces) == 1


def test_a_wrong_token_an_empty_port_and_another_program_are_told_apart(where: Address) -> None:
    check(where, package_version())
    with pytest.raises(Unreachable, match="DGX_PIXELS_HTTP_TOKEN"):
        check(replace(where, token="wrong"), package_version())
    with pytest.raises(Unreachable, match="Update one of them"):
        check(where, "0.0.0")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match=f"serve --http --port {port}"):
        check(replace(where, port=port), package_version())


def test_a_server_that_ends_within_an_answer_is_an_error_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
                connection.sendall(head + b'{"progress": [1, 8, ""]}\n')
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):  # closing with a part of the request unread would be a reset
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        where = Address("127.0.0.1", listener.getsockname()[1], "x")
        with pytest.raises(Unreachable, match="ended before it answered"):
            RemoteDesk(lambda: where).home()
        thread.join()


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("close", b"{}", 404),
        ("__init__", b"{}", 404),
        ("home", b"no JSON", 400),
        ("home", b'{"@": "map", "items": {}}', 400),
        ("home", b"[" + b" " * (2 << 20) + b"]", 400),
    ],
)
def test_what_is_not_a_request_of_the_studio_is_refused(where: Address, method: str, body: bytes, status: int) -> None:
    connection = http.client.HTTPConnection(where.host, where.port, timeout=60)
    connection.request("POST", f"/desk/{method}", body, where.headers)
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("http://127.0.0.1:8765/mcp", "http://127.0.0.1:8765"),
        ("localhost:9000", "http://localhost:9000"),
        ("https://spark.example", "https://spark.example:443"),
    ],
)
def test_an_address_is_read_as_clients_write_it(given: str, read: str) -> None:
    assert str(address(given, "")) == read


@pytest.mark.parametrize("given", ["ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_what_is_not_an_address_is_refused(given: str) -> None:
    with pytest.raises(ServerError, match="not an address"):
        address(given, "")


def test_a_user_of_a_shared_server_reaches_the_own_games_alone(
    game: Path, settings: Settings, backend: FakeBackend, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "assets").mkdir(parents=True)
    (other / "Cargo.toml").write_text((game / "Cargo.toml").read_text().replace("mygame", "other"))
    users = Users(settings.data_dir)
    token = users.add("ada", [other])
    server = create_server(settings.model_copy(update={"preload": "none"}), backend, Tokens(users), users)
    with served(server) as port:
        where = Address("127.0.0.1", port, token)
        desk = RemoteDesk(lambda: where, str(other))
        desk.draw(CAT, 1, no_progress)
        assert desk.home().game == "other"
        with pytest.raises(ServerError, match="outside of your games"):
            RemoteDesk(lambda: where, str(game)).home()
        with pytest.raises(Unreachable, match="DGX_PIXELS_HTTP_TOKEN"):
            RemoteDesk(lambda: replace(where, token=TOKEN)).home()
    (line,) = (settings.data_dir / "audit.jsonl").read_text().splitlines()
    assert '"user": "ada", "tool": "studio: draw", "outcome": "ok"' in line
