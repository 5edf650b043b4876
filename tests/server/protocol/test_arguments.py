"""Calls as assistants plausibly write them: each works, or is answered with what to write."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from PIL import Image

from pipelines.pixels.named_palettes import palette_names
from server.protocol.app import create_server
from server.protocol.arguments import asset_path
from server.settings import Settings
from tests.fakes import FakeBackend

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(game: Path, settings: Settings, backend: FakeBackend) -> AsyncIterator[Client[Any]]:
    server = create_server(settings.model_copy(update={"preload": "none"}), backend)
    async with Client(server) as client:
        yield client


async def ask(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert answer.structured_content is not None
    return answer.structured_content


SPRITES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "size as text": ({"size": "16x16"}, {"width": 16, "height": 16}),
    "size with spaces and a unit": ({"size": "16 x 16 px"}, {"width": 16}),
    "size as one number in text": ({"size": "24px"}, {"width": 24}),
    "size as a list": ({"size": [16, 16]}, {"width": 16, "height": 16}),
    "size as a list of two": ({"size": [16, 24]}, {"width": 16, "height": 24}),
    "size as an object": ({"size": {"width": 16, "height": 24}}, {"width": 16, "height": 24}),
    "numbers as text": ({"size": "16", "seed": "7"}, {"width": 16, "seed": 7}),
    "null everywhere": (
        dict.fromkeys(("size", "width", "seed", "model", "palette", "colors", "outline", "project", "negative")),
        {"width": 32},
    ),
    "an outline by its colour": ({"outline": "black"}, {}),
    "an outline by a hex colour": ({"outline": "#000000"}, {}),
    "an outline as yes": ({"outline": True}, {}),
}


async def test_a_sprite_is_drawn(client: Client[Any], subtests: pytest.Subtests) -> None:
    for case, (arguments, expected) in SPRITES.items():
        with subtests.test(case):
            sprite = (await ask(client, "generate_sprite", prompt="red dragon", **arguments))["sprites"][0]
            assert {name: sprite[name] for name in expected} == expected


PALETTES: list[Any] = [
    ["#000000", "#ff0000", "00ff00"],
    '["000000", "ff0000", "00ff00"]',
    "#000000, #ff0000, #00ff00",
    *palette_names(),
    "PICO-8 palette",
    "Game Boy",
    "db32",
]


async def test_a_palette_is_a_list_or_a_name(client: Client[Any], subtests: pytest.Subtests) -> None:
    for palette in PALETTES:
        with subtests.test(palette=palette):
            sprite = (await ask(client, "generate_sprite", prompt="red dragon", palette=palette))["sprites"][0]
            assert set(sprite["palette"]) <= set(await _colors(client, palette))


async def _colors(client: Client[Any], palette: Any) -> set[str]:
    from pipelines.pixels.named_palettes import named_palette

    return set(named_palette(palette) if isinstance(palette, str) else ()) or {"000000", "ff0000", "00ff00"}


PATHS = {
    "assets/hero.png": "hero.png",
    "res://sprites/hero.png": "sprites/hero.png",
    "./hero.png": "hero.png",
    "Hero Knight.PNG": "hero_knight.png",
    "sprites/hero-knight.png": "sprites/hero_knight.png",
    "sprites/HeroKnight": "sprites/hero_knight.png",
    "sprites/items/": "sprites/items/red_dragon.png",
    "{assets}/sprites/hero.png": "sprites/hero.png",
    "sprites\\hero.png": "sprites/hero.png",
}


async def test_a_path_is_made_one_and_the_answer_says_so(
    client: Client[Any], game: Path, subtests: pytest.Subtests
) -> None:
    drawn = await ask(client, "generate_sprite", prompt="red dragon")
    for given, file in PATHS.items():
        with subtests.test(given):
            path = given.replace("{assets}", str(game / "assets"))
            placed = await ask(client, "deploy_asset", asset_id=f"sprite://{drawn['asset_id'].upper()}", path=path)
            assert placed["path"] == file
            assert (game / "assets" / file).is_file()
            assert placed["read_as"] == {"path": file}
            undone = await ask(client, "undo_deploy", path=file if path.endswith("/") else path)
            assert undone["state"] == "undone"


async def test_a_path_outside_is_refused(client: Client[Any], game: Path, subtests: pytest.Subtests) -> None:
    drawn = await ask(client, "generate_sprite", prompt="red dragon")
    for path in ("../hero.png", "/etc/hero.png", "sprites/../../hero.png", "assets/../hero.png"):
        with subtests.test(path):
            with pytest.raises(ToolError, match="cannot be a path"):
                await client.call_tool("deploy_asset", {"asset_id": drawn["asset_id"], "path": path})
            assert not list((game / "assets").iterdir())


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("run_workflow", {"workflow": "batch", "inputs": '{"subjects": ["red potion", "gold key"]}'}),
        ("compare_models", {"prompts": '["red dragon"]', "variants": '["embedded", "embedded"]', "count": 1}),
        ("list_assets", {"limit": None, "words": None}),
        ("get_status", {"project": None}),
    ],
)
async def test_json_in_a_string_and_null_are_read(client: Client[Any], tool: str, arguments: dict[str, Any]) -> None:
    if tool == "compare_models":
        with pytest.raises(ToolError, match="variant"):  # read, and then refused as the same variant twice
            await client.call_tool(tool, arguments)
        return
    assert await ask(client, tool, **arguments)


async def test_colours_are_swapped_however_they_are_written(client: Client[Any], subtests: pytest.Subtests) -> None:
    drawn = await ask(client, "generate_sprite", prompt="red dragon", palette="ff0000 00ff00")
    for recolor in ({"ff0000": "0000ff"}, '{"ff0000": "0000ff"}', [["ff0000", "0000ff"]], "ff0000:0000ff"):
        with subtests.test(str(recolor)):
            edited = await ask(client, "edit_sprite", asset_id=drawn["asset_id"], recolor=recolor)
            assert "0000ff" in edited["palette"]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("generate_sprite", {"description": "imp"}, r"description: there is no such argument \(you mean prompt=\)"),
    ("generate_sprite", {"prompt": "imp", "output_path": "x.png"}, "deploy_asset"),
    ("generate_sprite", {"prompt": "imp", "view": "side"}, "generate_animation"),
    ("generate_sprite", {"prompt": "imp", "direction": "left"}, "generate_animation"),
    ("generate_sprite", {"prompt": "imp", "style": "16-bit"}, r"dgx-pixels\.toml"),
    ("generate_sprite", {"prompt": "imp", "background": "transparent"}, "transparent background already"),
    ("generate_sprite", {"prompt": "imp", "num_images": 4}, "you mean count="),
    ("generate_sprite", {"prompt": "imp", "sead": 4}, "you mean seed="),
    ("generate_sprite", {"prompt": "imp", "xyz": 4}, "The arguments are: prompt, "),
    ("generate_sprite", {"prompt": ["red imp", "blue imp"]}, r"workflow='batch'.*red imp"),
    ("generate_tileset", {"upper": "grass", "tile_size": "16x32"}, "not square"),
    ("list_assets", {"kind": "music"}, "There is no kind 'music'"),
]


async def test_what_cannot_be_meant_is_answered_with_what_to_write(
    client: Client[Any], subtests: pytest.Subtests
) -> None:
    for tool, arguments, answer in REFUSED:
        with subtests.test(tool=tool, arguments=arguments), pytest.raises(ToolError, match=answer):
            await client.call_tool(tool, arguments)


async def test_a_list_of_sprites_is_never_empty_where_there_are_some(
    client: Client[Any], subtests: pytest.Subtests
) -> None:
    await ask(client, "generate_sprite", prompt="imp")
    for kind in ("sprite", "sprites", "Sprites", "images", "all", ""):
        with subtests.test(kind):
            assert (await ask(client, "list_assets", kind=kind))["total"] == 1
    assert (await ask(client, "list_assets", kind="tiles"))["total"] == 0


async def test_camel_case_names_are_read(client: Client[Any], game: Path) -> None:
    drawn = await ask(client, "generate_sprite", prompt="imp")
    assert (await ask(client, "deploy_asset", assetId=drawn["asset_id"]))["state"] == "written"


MOVES = {
    "flip": (16, 24),
    "flip_vertical": (16, 24),
    "rotate 90": (24, 16),
    "rotate_180": (16, 24),
    "pad:2": (20, 28),
}


async def test_a_sprite_is_moved_without_a_model(
    client: Client[Any], backend: FakeBackend, subtests: pytest.Subtests
) -> None:
    drawn = await ask(client, "generate_sprite", prompt="red dragon", width=16, height=24)
    asked = len(backend.requests)
    for transform, size in MOVES.items():
        with subtests.test(transform):
            moved = await ask(client, "edit_sprite", asset_id=drawn["asset_id"], transform=transform)
            assert (moved["width"], moved["height"]) == size
            back = await ask(client, "edit_sprite", asset_id=moved["asset_id"], transform="trim")
            assert back["width"] <= size[0]
            assert len(backend.requests) == asked


async def test_a_flip_twice_is_the_same_picture(client: Client[Any]) -> None:
    drawn = await ask(client, "generate_sprite", prompt="red dragon")
    once = await ask(client, "edit_sprite", asset_id=drawn["asset_id"], transform="flip")
    twice = await ask(client, "edit_sprite", asset_id=once["asset_id"], transform="flip")
    first, last = (Image.open(paths[0]).convert("RGBA").tobytes() for paths in (drawn["paths"], twice["paths"]))
    assert first == last


async def test_an_unknown_move_is_answered_with_the_known_ones(client: Client[Any]) -> None:
    drawn = await ask(client, "generate_sprite", prompt="imp")
    with pytest.raises(ToolError, match="flip_vertical"):
        await client.call_tool("edit_sprite", {"asset_id": drawn["asset_id"], "transform": "explode"})


def test_a_folder_without_a_game_still_gives_a_name() -> None:
    assert asset_path("sprites/") == "sprites/sprite.png"


MEANT = (
    ("generate_sprite", "num_variations", "you mean count="),
    ("generate_sprite", "save_path", "deploy_asset(path=...)"),
    ("generate_sprite", "transparent_background", "transparent background already"),
    ("generate_sprite", "format", "every picture is a PNG"),
    ("generate_sprite", "prompts", "run_workflow(workflow='batch'"),
    ("deploy_asset", "force", "you mean overwrite="),
    ("edit_sprite", "instructions", "you mean prompt="),
    ("edit_sprite", "size", "you mean width="),
    ("fix_pixel_art", "path", "you mean picture="),
    ("fix_pixel_art", "image", "you mean picture="),
    ("slice_sheet", "tile_size", "you mean width="),
    ("slice_sheet", "columns", "width= and height= of a tile"),
    ("generate_tileset", "terrain", "you mean upper="),
    ("generate_tileset", "size", "you mean tile_size="),
    ("list_assets", "query", "you mean words="),
    ("list_assets", "type", "you mean kind="),
    ("run_workflow", "name", "you mean workflow="),
    ("compare_models", "models", "you mean variants="),
    ("get_job", "id", "you mean job_id="),
)


async def test_another_name_is_answered_with_its_meaning(client: Client[Any], subtests: pytest.Subtests) -> None:
    for tool, name, meaning in MEANT:
        with subtests.test(f"{tool}({name}=)"), pytest.raises(ToolError, match=re.escape(meaning)):
            await client.call_tool(tool, {name: "x"})


FORMS: tuple[dict[str, Any], ...] = (
    {"seed": -1},
    {"seed": "random"},
    {"colors": "8 colors"},
    {"outline": "Outer"},
    {"model": "default"},
    {"model": "Embedded"},
)


async def test_another_form_of_a_value_is_read(client: Client[Any], subtests: pytest.Subtests) -> None:
    for arguments in FORMS:
        with subtests.test(str(arguments)):
            assert await ask(client, "generate_sprite", prompt="red dragon", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"motions": ["walking"]}, {"motions": "idle, death"}, {"directions": ["left", "right"]}],
)
async def test_motions_and_directions_are_read(client: Client[Any], arguments: dict[str, Any]) -> None:
    drawn = await ask(client, "generate_sprite", prompt="red dragon")
    assert await ask(client, "generate_animation", asset_id=drawn["asset_id"], **arguments)


async def test_a_folder_that_exists_is_a_folder_without_a_slash(client: Client[Any], game: Path) -> None:
    (game / "assets" / "items").mkdir()
    drawn = await ask(client, "generate_sprite", prompt="red dragon")
    placed = await ask(client, "deploy_asset", asset_id=drawn["asset_id"], path="items")
    assert placed["path"] == "items/red_dragon.png"


async def test_a_palette_that_does_not_exist_is_answered_with_the_names(client: Client[Any]) -> None:
    with pytest.raises(ToolError, match="pico-8"):
        await client.call_tool("generate_sprite", {"prompt": "red dragon", "palette": "grayscale"})
