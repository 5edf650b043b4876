"""A client that can ask its user is asked; another gets the error with the argument to give. Both protocol eras."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.exceptions import ToolError

from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend

pytestmark = pytest.mark.anyio
Handler = Callable[..., Awaitable[Any]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["auto", "legacy"])
def connect(game: Path, settings: Settings, backend: FakeBackend, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client that answers with the choice that begins with `answer`, or has no user to ask."""

    def make(answer: str | None, asked: list[str] | None = None) -> Client[Any]:
        server = create_server(settings.model_copy(update={"preload": "none"}), backend)
        if answer is None:
            return Client(server, mode=request.param)

        async def handler(message: str, response_type: Any, params: Any, context: Any) -> Any:
            if asked is not None:
                asked.append(message)
            if not answer:
                return ElicitResult(action="decline")
            (field,) = params.requested_schema["properties"].items()
            return {field[0]: next(choice for choice in field[1]["enum"] if choice.startswith(answer))}

        return Client(server, mode=request.param, elicitation_handler=handler)

    return make


async def drawn(client: Client[Any], **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool("generate_sprite", {"prompt": "red dragon", **arguments})
    return answer.structured_content or {}


async def test_a_file_in_the_way_is_replaced_when_the_user_says_so(connect: Callable[..., Any], game: Path) -> None:
    (game / "assets/dragon.png").write_bytes(b"something else")
    asked: list[str] = []
    async with connect("replace", asked) as client:
        asset = (await drawn(client))["asset_id"]
        placed = await client.call_tool("deploy_asset", {"asset_id": asset, "path": "dragon.png"})
    assert placed.structured_content["state"] == "replaced"
    assert len(asked) == 1
    assert "dragon.png" in asked[0]


@pytest.mark.parametrize("answer", ["keep", "", None])
async def test_a_file_in_the_way_stays_otherwise(connect: Callable[..., Any], game: Path, answer: str | None) -> None:
    (game / "assets/dragon.png").write_bytes(b"something else")
    async with connect(answer) as client:
        asset = (await drawn(client))["asset_id"]
        with pytest.raises(ToolError, match="overwrite=true"):
            await client.call_tool("deploy_asset", {"asset_id": asset, "path": "dragon.png"})
    assert (game / "assets/dragon.png").read_bytes() == b"something else"


async def test_the_user_chooses_among_several_sprites(connect: Callable[..., Any], game: Path) -> None:
    async with connect("2:") as client:
        sprites = (await drawn(client, count=3))["sprites"]
        ids = [sprite["asset_id"] for sprite in sprites]
        placed = await client.call_tool("deploy_asset", {"asset_id": ids, "path": "dragon.png"})
    assert placed.structured_content["asset_id"] == ids[1]
    assert (game / "assets/dragon.png").read_bytes() == Path(sprites[1]["path"]).read_bytes()


async def test_the_user_says_which_game_of_a_workspace(connect: Callable[..., Any], tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    for name in ("dungeon", "farm"):
        (root / name).mkdir(parents=True)
        (root / name / "Cargo.toml").write_text(f'[package]\nname = "{name}"\n[dependencies]\nbevy = "0.20"\n')
    (root / "Cargo.toml").write_text('[workspace]\nmembers = ["dungeon", "farm"]\n')
    async with connect("farm") as client:
        answer = await drawn(client, project=str(root))
    assert Path(answer["paths"][0]).is_relative_to(root / "farm")
    async with connect(None) as client:
        with pytest.raises(ToolError, match="several Bevy crates"):
            await drawn(client, project=str(root))
