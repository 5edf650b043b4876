"""A server on a port of this machine, and a game that only its agent knows."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

from server.agent.client import Agent
from server.agent.work import LocalGame
from server.desk.remote import Address
from server.protocol.app import create_server
from server.protocol.users import Tokens
from server.settings import Settings
from server.users import Users
from tests.fakes import FakeBackend
from tests.server.conftest import CARGO
from tests.server.desk.serving import served

OPERATOR = "0123456789abcdef0123"
NAME = "ann/keep"
Connect = Callable[[str], AbstractAsyncContextManager[Client[Any]]]
Run = Callable[..., AbstractContextManager[Agent]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    """The root of a game that the server never looks into."""
    root = tmp_path / "developer" / "keep"
    (root / "assets").mkdir(parents=True)
    (root / "Cargo.toml").write_text(CARGO.replace("mygame", "keep"))
    return root


@pytest.fixture
def ann(users: Users) -> str:
    """A user's token."""
    return users.add("ann")


@pytest.fixture
def serve(settings: Settings, users: Users, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Starts a server, on any port or on one."""
    (tmp_path / "server").mkdir()
    monkeypatch.chdir(tmp_path / "server")
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    quiet = settings.model_copy(update={"preload": "none"})

    def start(port: int = 0) -> AbstractContextManager[int]:
        return served(create_server(quiet, FakeBackend(), Tokens(users, OPERATOR), users), port)

    return start


@pytest.fixture
def port(serve: Callable[..., Any]) -> Iterator[int]:
    """Where the server answers."""
    with serve() as found:
        yield found


@pytest.fixture
def connect(port: int) -> Connect:
    """Opens a client with a token."""

    @asynccontextmanager
    async def client(token: str) -> AsyncIterator[Client[Any]]:
        async with Client(StreamableHttpTransport(f"http://127.0.0.1:{port}/mcp", auth=token)) as opened:
            yield opened

    return client


@pytest.fixture
def run(port: int, keep: Path) -> Run:
    """Runs an agent in a thread."""

    @contextmanager
    def running(
        token: str, name: str = NAME, root: Path = keep, at: int = 0, say: Callable[[str], None] = lambda _: None
    ) -> Iterator[Agent]:
        game = LocalGame(root)
        agent = Agent(Address("127.0.0.1", at or port, token), name, game, say)
        thread = threading.Thread(target=agent.run)
        thread.start()
        try:
            yield agent
        finally:
            agent.stop()
            thread.join()
            game.close()

    return running


async def call(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    answer = (await client.call_tool(tool, arguments)).structured_content
    assert answer is not None
    return answer


async def until_connected(client: Client[Any], name: str = NAME) -> None:
    """Waits until the agent of a game has polled."""
    with anyio.fail_after(60):
        while True:
            answer = await client.call_tool("get_status", {"project": name}, raise_on_error=False)
            if answer.structured_content and answer.structured_content["project"].get("agent") == "connected":
                return
            await anyio.sleep(0.02)


async def drawn(client: Client[Any], prompt: str = "red dragon", **more: Any) -> str:
    """Draws a sprite for the game and returns its id."""
    answer = await call(client, "generate_sprite", prompt=prompt, candidates=1, project=NAME, **more)
    return str(answer["asset_id"])
