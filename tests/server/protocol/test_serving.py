"""HTTP: who is let in, and what is refused before anything listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from server.errors import ServerError
from server.protocol.app import create_server
from server.protocol.http_token import OneToken
from server.protocol.serving import serve, serve_http
from server.settings import Settings
from tests.fakes import FakeBackend

TOKEN = "0123456789abcdef0123"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def web(game: Path, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    server = create_server(settings, FakeBackend(), OneToken(TOKEN))
    app = server.http_app(host_origin_protection=True)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8765") as client,
    ):
        yield client


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({}, 401),
        ({"Authorization": "Bearer 0123456789abcdef0124"}, 401),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}, 403),
    ],
)
async def test_only_the_token_on_this_machine_is_let_in(
    web: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    accept = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    answer = await web.post("/mcp", json=HELLO, headers={**accept, **headers})
    assert answer.status_code == status


@pytest.mark.parametrize("token", [None, SecretStr("short")])
def test_http_without_a_good_token_does_not_start(settings: Settings, token: SecretStr | None) -> None:
    with pytest.raises(ServerError, match="DGX_PIXELS_HTTP_TOKEN"):
        serve_http(settings.model_copy(update={"http_token": token}))


def test_a_cluster_is_not_served_over_stdio_where_ray_prints() -> None:
    with pytest.raises(ServerError, match="needs --http"):
        serve(cluster="auto")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", "::"])
def test_http_beyond_this_machine_does_not_start(settings: Settings, host: str) -> None:
    with pytest.raises(ServerError, match="not a loopback"):
        serve_http(settings.model_copy(update={"http_host": host, "http_token": SecretStr(TOKEN)}))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({}, 401),
        ({"Authorization": "Bearer 0123456789abcdef0124"}, 401),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}, 403),
    ],
)
async def test_the_desk_lets_in_whom_the_tools_let_in(
    web: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    question = {"@": "map", "items": {"project": "", "arguments": {"@": "map", "items": {}}}}
    assert (await web.get("/desk", headers=headers)).status_code == status
    assert (await web.post("/desk/find", json=question, headers=headers)).status_code == status
