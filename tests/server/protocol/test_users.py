"""Several people share one HTTP server: each is let in by name and confined to what is theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError
from fastmcp.server.auth import AccessToken

from pipelines.pixels.png import encode_png
from server.errors import ServerError
from server.protocol.app import create_server
from server.protocol.users import Tokens, caller
from server.settings import Settings
from server.users import Users
from tests.fakes import FakeBackend, fake_picture
from tests.server.conftest import CARGO

OPERATOR = "0123456789abcdef0123"
Connect = Callable[[str], AbstractAsyncContextManager[Client[Any]]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A second game, of somebody else."""
    root = tmp_path / "theirs"
    (root / "assets").mkdir(parents=True)
    (root / "Cargo.toml").write_text(CARGO.replace("mygame", "theirs"))
    return root


@pytest.fixture
def users(settings: Settings) -> Users:
    return Users(settings.data_dir)


@pytest.fixture
async def connect(game: Path, settings: Settings, users: Users) -> AsyncIterator[Connect]:
    """Opens a client with a token, over HTTP as far as the socket."""
    settings = settings.model_copy(update={"preload": "none"})
    server = create_server(settings, FakeBackend(), Tokens(users, OPERATOR), users)
    app = server.http_app(json_response=True, stateless_http=True)

    def http(
        headers: dict[str, str] | None = None,
        timeout: Any = None,
        auth: httpx2.Auth | None = None,
        follow_redirects: bool = True,  # given by fastmcp, and not in the protocol of its factory
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            headers=headers,
            auth=auth,
            timeout=timeout or 60,
            follow_redirects=follow_redirects,
        )

    @asynccontextmanager
    async def client(token: str) -> AsyncIterator[Client[Any]]:
        transport = StreamableHttpTransport("http://127.0.0.1:8765/mcp", auth=token, httpx_client_factory=http)
        async with Client(transport) as opened:
            yield opened

    async with app.router.lifespan_context(app):
        yield client


async def call(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    answer = (await client.call_tool(tool, arguments)).structured_content
    assert answer is not None
    return answer


@pytest.mark.anyio
async def test_a_token_opens_the_users_own_game_and_no_other(
    connect: Connect, users: Users, game: Path, theirs: Path
) -> None:
    async with connect(users.add("ann", [game])) as ann:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        await call(ann, "deploy_asset", asset_id=drawn["asset_id"])
        assert list((game / "assets").rglob("*.png"))
        with pytest.raises(ToolError, match="of your games"):
            await call(ann, "deploy_asset", asset_id=drawn["asset_id"], project=str(theirs))
        with pytest.raises(ToolError, match="of your games"):
            await call(ann, "list_assets", project=str(theirs))
    assert not list((theirs / "assets").rglob("*"))


@pytest.mark.anyio
async def test_a_link_out_of_the_game_opens_no_other(connect: Connect, users: Users, game: Path, theirs: Path) -> None:
    (game / "link").symlink_to(theirs)
    async with connect(users.add("ann", [game])) as ann:
        with pytest.raises(ToolError, match="of your games"):
            await call(ann, "list_assets", project=str(game / "link"))


@pytest.mark.anyio
async def test_what_one_user_drew_is_not_found_by_another(
    connect: Connect, users: Users, game: Path, theirs: Path
) -> None:
    async with connect(users.add("ann", [game])) as ann, connect(users.add("bob", [theirs])) as bob:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        with pytest.raises(ToolError, match=drawn["asset_id"]):
            await call(bob, "deploy_asset", asset_id=drawn["asset_id"])
        with pytest.raises(Exception, match=drawn["asset_id"]):
            await bob.read_resource(f"sprite://{drawn['asset_id']}")


@pytest.mark.anyio
async def test_users_without_a_game_keep_libraries_of_their_own(
    connect: Connect, users: Users, settings: Settings
) -> None:
    async with connect(users.add("ann")) as ann, connect(users.add("bob")) as bob:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        assert (await call(ann, "list_assets"))["total"] == 1
        assert (await call(bob, "list_assets"))["total"] == 0
    assert Path(drawn["paths"][0]).is_relative_to(settings.data_dir / "users" / "ann")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("fix_pixel_art", {"picture": "{outside}/picture.png"}),
        ("slice_sheet", {"picture": "{outside}/picture.png"}),
        ("generate_sprite", {"prompt": "dragon", "sketch": "{outside}/picture.png"}),
        ("generate_sprite", {"prompt": "dragon", "model": "{outside}/model.safetensors"}),
        ("generate_sprite", {"prompt": "dragon", "palette": "{outside}/palette.hex"}),
        ("train_lora", {"dataset": "{outside}", "name": "stolen"}),
        ("run_workflow", {"workflow": "{outside}/workflow.json"}),
    ],
)
async def test_files_outside_of_the_users_games_are_not_read(
    connect: Connect, users: Users, game: Path, theirs: Path, tool: str, arguments: dict[str, Any]
) -> None:
    (theirs / "picture.png").write_bytes(encode_png(fake_picture("secret", 1, 32, 32)))
    (theirs / "model.safetensors").write_bytes(b"secret")
    (theirs / "palette.hex").write_text("112233\n445566\n")
    (theirs / "workflow.json").write_text('{"secret": 1}')
    given = {name: value.replace("{outside}", str(theirs)) for name, value in arguments.items()}
    async with connect(users.add("ann", [game])) as ann:
        with pytest.raises(ToolError, match=r"outside|There is no|not one of"):
            await call(ann, tool, **given)
    assert not list((game / ".dgx-pixels").rglob("*.png"))


@pytest.mark.anyio
async def test_the_operators_token_may_do_everything(connect: Connect, users: Users, game: Path, theirs: Path) -> None:
    users.add("ann", [game])
    async with connect(OPERATOR) as operator:
        drawn = await call(operator, "generate_sprite", prompt="red dragon", candidates=1)
        await call(operator, "deploy_asset", asset_id=drawn["asset_id"], project=str(theirs))
    assert list((theirs / "assets").rglob("*.png"))


@pytest.mark.anyio
async def test_a_removed_token_is_refused_from_the_next_request_on(connect: Connect, users: Users, game: Path) -> None:
    token = users.add("ann", [game])
    async with connect(token) as ann:
        await call(ann, "list_assets")
        users.remove("ann")
        with pytest.raises(Exception, match="error response"):
            await call(ann, "list_assets")


def test_a_user_who_is_removed_while_a_request_runs_does_not_become_the_operator(users: Users) -> None:
    with pytest.raises(ServerError, match="removed"):
        caller(users, AccessToken(token="t", client_id="user:ann", scopes=[]))


def test_confining_users_needs_no_extra(users: Users) -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; import server.protocol.users"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.anyio
async def test_pixels_beyond_a_users_minute_are_refused(connect: Connect, users: Users, game: Path) -> None:
    async with connect(users.add("ann", [game], pixels_per_minute=40 * 40)) as ann:
        await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        with pytest.raises(ToolError, match="Ask again in"):
            await call(ann, "generate_sprite", prompt="blue dragon", candidates=1)


@pytest.mark.anyio
async def test_each_change_has_a_line_in_the_audit_file_and_reading_has_none(
    connect: Connect, users: Users, game: Path, theirs: Path, settings: Settings
) -> None:
    async with connect(users.add("ann", [game])) as ann:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        await call(ann, "list_assets")
        with pytest.raises(ToolError):
            await call(ann, "deploy_asset", asset_id=drawn["asset_id"], project=str(theirs))
    lines = [json.loads(line) for line in (settings.data_dir / "audit.jsonl").read_text().splitlines()]
    assert [(line["user"], line["tool"], line["outcome"]) for line in lines] == [
        ("ann", "generate_sprite", "ok"),
        ("ann", "deploy_asset", "error"),
    ]
    assert lines[0]["asset"] == drawn["asset_id"]
    assert lines[1]["project"] == str(theirs)
