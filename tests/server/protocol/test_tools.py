"""The tools as a client sees them, in both protocol eras, on a backend that draws blobs."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import ImageContent, Implementation, PromptReference, ResourceTemplateReference, TextContent
from PIL import Image

from pipelines.pixels.png import read_recipe
from pipelines.records import Recipe
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(game: Path, settings: Settings, backend: FakeBackend) -> FastMCP:
    return create_server(settings, backend)


@pytest.fixture(params=["auto", pytest.param("legacy", marks=pytest.mark.slow)])
async def client(server: FastMCP, request: pytest.FixtureRequest) -> AsyncIterator[Client[Any]]:
    async with Client(server, mode=request.param) as client:
        yield client


async def ask(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert answer.structured_content is not None
    return answer.structured_content


async def until(condition: Callable[[], object], limit: float = 10) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def two_clients(server: FastMCP) -> AsyncIterator[tuple[Client[Any], Client[Any]]]:
    async with Client(server) as one, Client(server, mode="legacy") as other:
        yield one, other


async def test_words_become_a_finished_png_in_the_library(client: Client[Any], game: Path) -> None:
    answer = await ask(client, "generate_sprite", prompt="red dragon", size=24, seed=5, colors=8)
    sprite = answer["sprites"][0]
    png = Path(sprite["path"]).read_bytes()
    image = Image.open(BytesIO(png)).convert("RGBA")
    assert image.size == (24, 24)
    assert sprite["passed"]
    assert Path(sprite["path"]).is_relative_to(game / ".dgx-pixels")
    recipe = Recipe.from_json(read_recipe(png) or "")
    assert (recipe.prompt, recipe.width, recipe.seed, recipe.colors) == ("red dragon", 24, 5, 8)


async def test_the_answer_shows_the_picture_and_is_complete_without_it(client: Client[Any]) -> None:
    answer = await client.call_tool("generate_sprite", {"prompt": "red dragon", "count": 3, "size": 16})
    kinds = [type(block) for block in answer.content]
    assert kinds == [ImageContent, TextContent]
    picture, text = answer.content[0], answer.content[1]
    assert isinstance(picture, ImageContent)
    assert isinstance(text, TextContent)
    assert picture.mime_type == "image/png"
    assert len(picture.data) < 700_000
    structured = answer.structured_content or {}
    assert picture.data[:40] not in json.dumps(structured)
    assert {s["seed"] - structured["sprites"][0]["seed"] for s in structured["sprites"]} == {0, 1, 2}
    assert len(structured["paths"]) == 3
    assert json.loads(text.text) == structured
    assert base64.b64decode(picture.data) == Path(structured["preview"]).read_bytes()
    assert "Open this file" in structured["preview_note"]
    assert "`sprites`" in structured["preview_note"]


@pytest.mark.parametrize(("results", "name"), [("image", "any"), ("auto", "codex-mcp-client")])
async def test_a_client_that_drops_pictures_gets_picture_and_text_alone(
    game: Path, settings: Settings, backend: FakeBackend, results: str, name: str
) -> None:
    server = create_server(settings.model_copy(update={"results": results}), backend)
    async with Client(server, client_info=Implementation(name=name, version="1")) as client:
        assert not any(tool.output_schema for tool in await client.list_tools())
        answer = await client.call_tool("generate_sprite", {"prompt": "red dragon"})
    assert answer.structured_content is None
    assert [type(block) for block in answer.content] == [ImageContent, TextContent]
    assert json.loads(answer.content[1].text)["asset_id"]  # pyright: ignore[reportAttributeAccessIssue]


async def test_gates_and_scores_are_in_the_answer_when_asked_for(client: Client[Any]) -> None:
    short = (await ask(client, "generate_sprite", prompt="red dragon", seed=1))["sprites"][0]
    assert "gates" not in short
    long = (await ask(client, "generate_sprite", prompt="red dragon", seed=1, details=True))["sprites"][0]
    assert all(long["gates"].values())


async def test_one_sprite_is_the_best_of_four_and_the_answer_offers_the_others(
    client: Client[Any], backend: FakeBackend
) -> None:
    one = (await ask(client, "generate_sprite", prompt="red dragon", seed=1))["sprites"][0]
    assert [len(request.prompts) for request in backend.requests] == [4]
    assert one["doubtful"] is True  # the fake draws no dragon
    assert set(one["other_seeds"]) < set(backend.requests[0].seeds)
    assert len(one["other_seeds"]) == 3
    again = await ask(client, "generate_sprite", prompt="red dragon", seed=one["other_seeds"][0], candidates=1)
    assert again["asset_id"] != one["asset_id"]
    await ask(client, "generate_sprite", prompt="red dragon", count=4)
    await ask(client, "generate_sprite", prompt="red dragon", count=9)
    assert [len(request.prompts) for request in backend.requests[2:]] == [8, 8, 1]  # two of each; one of each


async def test_details_are_offered_where_an_answer_has_any(client: Client[Any]) -> None:
    for tool in await client.list_tools():
        offered = "details" in tool.input_schema["properties"]
        assert offered == ('"gates"' in json.dumps(tool.output_schema)), tool.name


async def test_the_pictures_of_a_workflow_carry_numbers_that_the_answer_explains(client: Client[Any]) -> None:
    inputs = {"subjects": ["red potion", "gold key"]}
    answer = await client.call_tool("run_workflow", {"workflow": "batch", "inputs": inputs})
    assert answer.structured_content is not None
    made = [item["asset_id"] for item in _items(answer.structured_content["outputs"])]
    assert answer.structured_content["shown"] == list(dict.fromkeys(made))
    assert "`shown`" in answer.structured_content["preview_note"]
    sheet = np.array(Image.open(BytesIO(base64.b64decode(answer.content[0].data))))  # pyright: ignore[reportAttributeAccessIssue]
    assert (sheet[2:18, 2:14] == 20).all(axis=-1).any(), "a dark digit in the corner of the first picture"


def _items(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with an asset_id, anywhere inside."""
    if isinstance(value, dict) and "asset_id" in value:
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _items(item)


async def test_a_sheet_is_cut_and_the_answer_shows_the_cuts(client: Client[Any], game: Path) -> None:
    sheet = np.zeros((18, 35, 4), np.uint8)
    sheet[1:17, 1:17] = (200, 40, 40, 255)
    sheet[1:17, 18:34] = (40, 200, 40, 255)
    Image.fromarray(sheet).save(game / "two.png")
    answer = await client.call_tool("slice_sheet", {"picture": str(game / "two.png"), "width": 16})
    assert any(isinstance(block, ImageContent) for block in answer.content)
    told = answer.structured_content
    assert told is not None
    assert (told["count"], told["how"]) == (2, "a grid of 2x1 tiles of 16x16 px, gap 1 px, margin 1 px")
    with Image.open(told["pieces"][1]["path"]) as second:
        assert second.convert("RGBA").getpixel((0, 0)) == (40, 200, 40, 255)
    with pytest.raises(ToolError, match="3 columns and 2 rows of pixels over"):
        await client.call_tool("slice_sheet", {"picture": str(game / "two.png"), "width": 16, "gap": 0, "margin": 0})


async def test_the_same_recipe_gives_the_same_asset(client: Client[Any]) -> None:
    first = await ask(client, "generate_sprite", prompt="red dragon", seed=5)
    again = await ask(client, "generate_sprite", prompt="red dragon", seed=5)
    assert first["asset_id"] == again["asset_id"]
    assert (await ask(client, "list_assets"))["total"] == 1


async def test_drawn_deployed_listed_and_taken_back(client: Client[Any], game: Path) -> None:
    drawn = await ask(client, "generate_sprite", prompt="red dragon")
    placed = await ask(client, "deploy_asset", asset_id=drawn["asset_id"], path="monsters/dragon.png")
    assert placed["state"] == "written"
    assert placed["verification"] == "game_not_running"
    file = game / "assets/monsters/dragon.png"
    assert placed["paths"] == [str(file)]
    assert file.read_bytes() == Path(drawn["paths"][0]).read_bytes()
    listed = await ask(client, "list_assets", words="dragon")
    assert listed["assets"][0]["deployed"] == ["monsters/dragon.png"]
    status = await ask(client, "get_status")
    assert status["deployments"][0]["path"] == "monsters/dragon.png"
    undone = await ask(client, "undo_deploy", path="monsters/dragon.png")
    assert undone["state"] == "undone"
    assert not file.exists()


async def test_the_style_of_the_game_rules(client: Client[Any], game: Path) -> None:
    (game / "ink.hex").write_text("101010\nf0e0d0\n8090a0\n")
    (game / "dgx-pixels.toml").write_text('palette = "ink.hex"\nsize = 16\nprompt_prefix = "tiny"\n')
    sprite = (await ask(client, "generate_sprite", prompt="red dragon"))["sprites"][0]
    assert (sprite["width"], sprite["height"]) == (16, 16)
    assert set(sprite["palette"]) <= {"101010", "f0e0d0", "8090a0"}
    assert (await ask(client, "list_assets"))["assets"][0]["prompt"] == "tiny red dragon"


async def test_a_preset_reaches_the_model_and_the_recipe(client: Client[Any], backend: FakeBackend) -> None:
    await ask(client, "generate_sprite", prompt="imp", preset="fast")
    assert [request.preset for request in backend.requests] == ["fast"]


async def test_a_palette_of_words_rules_the_colours(client: Client[Any]) -> None:
    sprite = (await ask(client, "generate_sprite", prompt="imp", palette="#000000, ff0000 00ff00"))["sprites"][0]
    image = Image.open(sprite["path"]).convert("RGBA")
    pixels = np.asarray(image)
    colors = {tuple(map(int, pixel[:3])) for pixel in pixels.reshape(-1, 4) if pixel[3]}
    assert colors <= {(0, 0, 0), (255, 0, 0), (0, 255, 0)}


BAD = {
    "an empty prompt": ({"prompt": "  "}, "prompt is empty"),
    "10,000 characters": ({"prompt": "dragon " * 1429}, "10,002 characters|10,003 characters"),
    "1x1": ({"prompt": "imp", "size": 1}, "8 to 96"),
    "97x97": ({"prompt": "imp", "width": 97, "height": 97}, "8 to 96"),
    "no size": ({"prompt": "imp", "size": "large"}, "size=large: .*integer"),
    "no sprites": ({"prompt": "imp", "count": 0}, "count=0"),
    "too many": ({"prompt": "imp", "count": 17}, "1 to 16"),
    "one colour": ({"prompt": "imp", "colors": 1}, "2 to 64"),
    "a strange outline": ({"prompt": "imp", "outline": "dotted"}, "'none', 'outer', 'inner'"),
    "an unknown model": ({"prompt": "imp", "model": "dall-e"}, "no model 'dall-e'"),
    "an unknown argument": ({"prompt": "imp", "colour": "red"}, "colour: there is no such argument"),
    "no prompt": ({}, "prompt: is required"),
    "a negative seed": ({"prompt": "imp", "seed": -2}, "seed"),
    "a palette that is not one": ({"prompt": "imp", "palette": "notes.txt"}, "notes.txt"),
    "a palette that is not there": ({"prompt": "imp", "palette": "none.hex"}, "none.hex"),
    "a palette outside": ({"prompt": "imp", "palette": "../../secret.hex"}, "outside"),
    "no game": ({"prompt": "imp", "project": "/nowhere"}, "no folder /nowhere"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_arguments_are_explained_and_nothing_is_made(client: Client[Any], game: Path, case: str) -> None:
    (game / "notes.txt").write_text("buy milk\n")
    arguments, words = BAD[case]
    with pytest.raises(ToolError, match=words) as error:
        await client.call_tool("generate_sprite", arguments)
    assert "http" not in str(error.value)
    assert not (game / ".dgx-pixels").exists()
    assert not list((game / "assets").iterdir())


async def test_a_broken_style_file_is_named_with_the_key(client: Client[Any], game: Path) -> None:
    (game / "dgx-pixels.toml").write_text("size = 999\n")
    with pytest.raises(ToolError, match=r"dgx-pixels\.toml: size"):
        await client.call_tool("generate_sprite", {"prompt": "imp"})


async def test_a_size_as_text_is_understood(client: Client[Any]) -> None:
    assert (await ask(client, "generate_sprite", prompt="imp", size="16"))["sprites"][0]["width"] == 16


async def test_motions_are_a_list_and_also_understood_as_text(client: Client[Any]) -> None:
    drawn = await ask(client, "generate_sprite", prompt="golem")
    for motions in (["walk", "idle"], "Walk, idle"):
        moved = await ask(client, "generate_animation", asset_id=drawn["asset_id"], motions=motions)
        assert list(moved["clips"]) == ["walk", "idle"]


async def test_progress_grows_and_ends_full(client: Client[Any]) -> None:
    seen: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    await client.call_tool("generate_sprite", {"prompt": "imp"}, progress_handler=note)
    values = [value for value, _ in seen]
    assert values == sorted(set(values))
    assert seen[-1][0] == seen[-1][1]


async def test_cancel_frees_the_engine_and_keeps_nothing(client: Client[Any], backend: FakeBackend) -> None:
    backend.gate, backend.steps = threading.Semaphore(1), 1000
    call = asyncio.create_task(client.call_tool("generate_sprite", {"prompt": "red dragon"}))
    await until(lambda: backend.requests)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(20):
        while (engine := (await ask(client, "get_status"))["engine"])["cancelled"] == 0:
            backend.gate.release()  # one more step: the engine looks for a cancel after each
    assert engine["state"] == "idle"
    assert (await ask(client, "list_assets"))["total"] == 0
    backend.gate, backend.steps = None, 2
    assert (await ask(client, "generate_sprite", prompt="imp"))["asset_id"]


async def test_a_status_is_answered_while_another_client_draws(server: FastMCP, backend: FakeBackend) -> None:
    backend.gate = threading.Semaphore(0)
    async with two_clients(server) as (one, other):
        call = asyncio.create_task(one.call_tool("generate_sprite", {"prompt": "red dragon"}))
        await until(lambda: backend.requests)
        assert (await ask(other, "get_status"))["engine"]["state"] == "busy"
        backend.gate.release(100)
        assert (await call).structured_content


async def test_two_clients_at_the_same_time_both_get_their_own(server: FastMCP) -> None:
    async with two_clients(server) as (one, other):
        answers = await asyncio.gather(
            *(ask(one, "generate_sprite", prompt="red dragon", seed=n) for n in range(5)),
            *(ask(other, "generate_sprite", prompt="blue imp", seed=n) for n in range(5)),
        )
        assert [a["prompt"] for a in answers] == ["red dragon"] * 5 + ["blue imp"] * 5
        assert len({a["asset_id"] for a in answers}) == 10
        assert (await ask(one, "list_assets"))["total"] == 10


async def test_an_unexpected_error_is_logged_under_the_id_that_the_user_sees(
    client: Client[Any], backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise KeyError("unet")

    backend.draw = explode  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ToolError, match=r"\(error [0-9a-f]{8}\).*fault in dgx-pixels") as error:
        await client.call_tool("generate_sprite", {"prompt": "imp"})
    assert "KeyError" not in str(error.value)
    number = str(error.value).split("(error ")[1][:8]
    assert [r for r in caplog.records if number in r.getMessage() and r.exc_info and r.exc_info[0] is KeyError]


async def test_the_list_of_tools_is_stable_and_usable(client: Client[Any], server: FastMCP) -> None:
    tools = await client.list_tools()
    assert [t.name for t in tools] == [t.name for t in await client.list_tools()]
    for tool in tools:
        assert tool.title
        assert (tool.description or "").startswith("Use when")
        assert len(tool.description or "") <= 2048
        assert tool.annotations
        assert tool.annotations.read_only_hint is not None
        assert tool.output_schema
    assert len(server.instructions or "") <= 2048


async def test_the_tools_are_cheap_to_carry(client: Client[Any]) -> None:
    total, answer = 0, 0
    for tool in await client.list_tools():
        schema = json.dumps(tool.input_schema, separators=(",", ":"), ensure_ascii=False)
        total += len(tool.name) + len(tool.description or "") + len(schema)
        assert len((tool.description or "").splitlines()[0]) <= 120
        assert tool.icons
        answer += len(json.dumps(tool.output_schema, separators=(",", ":"), ensure_ascii=False))
    assert total <= 16_000
    assert answer <= 17_000


@pytest.mark.parametrize(
    ("search", "tools"),
    [
        ("image", {"generate_sprite", "fix_pixel_art"}),
        ("icon", {"generate_sprite"}),
        ("texture", {"generate_sprite", "generate_tileset"}),
        ("picture", {"generate_sprite"}),
        ("art", {"run_workflow", "list_assets", "generate_sprite"}),
        ("pixel art", {"fix_pixel_art", "generate_sprite"}),
        ("draw an image of a sword", {"generate_sprite"}),
        ("create game icon", {"generate_sprite"}),
        ("spritesheet", {"generate_animation", "slice_sheet"}),
        ("animate character walk", {"generate_animation"}),
        ("tilemap", {"generate_tileset"}),
        ("tileset", {"generate_tileset"}),
        ("background", {"generate_tileset", "fix_pixel_art"}),
        ("remove background from screenshot", {"fix_pixel_art"}),
        ("recolor sprite", {"edit_sprite"}),
        ("save sprite to assets folder", {"deploy_asset"}),
        ("undo", {"undo_deploy"}),
        ("train lora style", {"train_lora"}),
        ("compare models", {"compare_models"}),
        ("list of items to draw", {"run_workflow"}),
        ("texture atlas colliders", {"pack_sheet"}),
        ("menu buttons", {"generate_ui"}),
        ("explosion effects", {"generate_animation"}),
        ("crop tiles out of a sheet", {"slice_sheet"}),
    ],
)
async def test_a_search_finds_the_tool(client: Client[Any], search: str, tools: set[str]) -> None:
    texts = {one.name: f"{one.name} {one.description}" for one in await client.list_tools()}
    assert tools <= set(_found(search, texts)[:5])


def _stems(text: str) -> list[str]:
    return [word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.lower())]


def _found(search: str, texts: dict[str, str]) -> list[str]:
    """The names of the texts, best first, by BM25 (Robertson and Zaragoza 2009, k1 1.2, b 0.75); none without a hit."""
    parts = {name: _stems(text) for name, text in texts.items()}
    mean = sum(map(len, parts.values())) / len(parts)
    scores = dict.fromkeys(texts, 0.0)
    for word in _stems(search):
        holding = sum(word in part for part in parts.values())
        rarity = math.log(1 + (len(parts) - holding + 0.5) / (holding + 0.5))
        for name, part in parts.items():
            often = part.count(word)
            scores[name] += rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * len(part) / mean))
    return sorted((name for name, score in scores.items() if score), key=lambda name: -scores[name])


async def test_a_sprite_can_be_read_as_a_resource(client: Client[Any]) -> None:
    drawn = await ask(client, "generate_sprite", prompt="imp")
    contents = await client.read_resource(drawn["sprites"][0]["uri"])
    assert contents[0].mime_type == "image/png"
    index = json.loads((await client.read_resource("gallery://index"))[0].text)  # pyright: ignore[reportAttributeAccessIssue]
    assert index["assets"][0]["asset_id"] == drawn["asset_id"]


@pytest.mark.parametrize("uri", ["sprite://0123456789ab", "sprite://nonsense", "sprite://..%2f..%2fetc%2fpasswd"])
async def test_a_resource_that_is_not_there_is_an_error(client: Client[Any], uri: str) -> None:
    with pytest.raises(MCPError):
        await client.read_resource(uri)


async def test_models_are_listed_with_the_default(client: Client[Any]) -> None:
    answer = await ask(client, "list_models")
    assert answer["default"] == "embedded"
    assert answer["models"][0]["licence"] == "CC0-1.0"


async def test_without_a_game_sprites_go_to_the_users_library(
    client: Client[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = await ask(client, "generate_sprite", prompt="imp")
    assert Path(answer["paths"][0]).is_relative_to(tmp_path / "data")
    assert "project=" in answer["next_step"]
    placed = await ask(client, "deploy_asset", asset_id=answer["asset_id"], project=str(tmp_path / "mygame"))
    assert placed["path"] == "sprites/imp.png"


async def test_prompts_are_offered_and_their_subject_completed(client: Client[Any]) -> None:
    names = {prompt.name for prompt in await client.list_prompts()}
    assert {"new_sprite", "game_art"} <= names
    message = (await client.get_prompt("new_sprite", {"subject": "red dragon"})).messages[0]
    assert "red dragon" in message.content.text  # pyright: ignore[reportAttributeAccessIssue]
    reference = PromptReference(type="ref/prompt", name="new_sprite")
    found = await client.complete(reference, {"name": "subject", "value": "red drag"})
    assert "red dragon" in found.values


async def test_ids_of_sprites_are_completed(client: Client[Any]) -> None:
    drawn = await ask(client, "generate_sprite", prompt="imp")
    reference = ResourceTemplateReference(type="ref/resource", uri="sprite://{asset_id}")
    found = await client.complete(reference, {"name": "asset_id", "value": drawn["asset_id"][:3]})
    assert found.values == [drawn["asset_id"]]


async def test_sixty_waiting_calls_leave_the_server_able_to_answer(game: Path, settings: Settings) -> None:
    backend = FakeBackend(steps=1)
    backend.gate = threading.Semaphore(0)
    server = create_server(settings.model_copy(update={"preload": "none"}), backend)
    waiting = 0
    async with Client(server) as client, anyio.create_task_group() as tasks:
        for seed in range(60):
            arguments = {"prompt": "red dragon", "candidates": 1, "seed": seed}
            tasks.start_soon(client.call_tool, "generate_sprite", arguments)
        with anyio.move_on_after(20):  # the backend gives up after 30
            while waiting < 59:
                status = (await client.call_tool("get_status", {})).structured_content
                assert status is not None
                waiting = len(status["engine"].get("queued", []))
        backend.gate.release(1000)
    assert waiting == 59
