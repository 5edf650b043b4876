"""Assets of a cloned game whose recipe, details, report or picture are odd: tools answer, or say what is wrong."""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from PIL import Image

from pipelines.pixels.png import encode_png
from pipelines.records import Recipe
from server.cli.app import main
from server.library.store import Library
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture

RAW = re.compile(r"\b[A-Z][A-Za-z]*(Error|Exception|Warning)\b|Traceback|unexpected|object has no|not subscriptable")
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"


def save(picture: np.ndarray, mode: str = "RGBA") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, "PNG")
    return file.getvalue()


SPRITE = encode_png(fake_picture("imp", 1, 16, 16))
RECIPES: dict[str, dict[str, Any]] = {
    "no_colours": {"palette": ["zz"]},
    "many_colours": {"palette": [f"{i:06x}" for i in range(5000)]},
    "empty_colour": {"palette": [""]},
    "huge": {"width": 10**9, "height": 10**9},
    "negative": {"width": -5, "height": 0},
    "number_too_long": {"seed": 10**30, "colors": 10**30},
    "odd_seed": {"seed": -1, "steps": -5, "guidance": 1e308, "candidates": 10**9},
    "outline": {"outline": "x" * 1000},
    "preset": {"preset": "nothing"},
    "model": {"model": ESCAPES},
    "escapes": {"prompt": ESCAPES * 20, "negative": ESCAPES},
    "long_prompt": {"prompt": "x" * 10**6},
    "layout": {"options": {"layout": 7, "upper": ["a"], "lower": {"b": 1}}},
    "no_layout": {"options": {}},
    "unknown_layout": {"options": {"layout": "wang16", "upper": ESCAPES, "lower": ESCAPES, "variants": "x"}},
    "variants": {"options": {"layout": "variations", "upper": "grass", "variants": 10**9}},
    "batch": {"options": {"batch": 7, "dither": "x", "ground": [1], "edit": 7, "fix": [], "slice": None}},
    "batch_list": {"options": {"batch": {"prompts": [1] * 100, "seeds": "x", "index": -1}}},
    "deep": {"options": {"a": json.loads("[" * 500 + "]" * 500)}},
}
DETAILS: dict[str, tuple[Any, Any]] = {
    "numbers": ({"palette": 7, "sheet": 7, "unknown_words": 7}, {"passed": 7, "gates": 7, "scores": 7}),
    "texts": ({"palette": "abc", "sheet": "x", "unknown_words": ESCAPES}, {"passed": "x", "gates": "x"}),
    "lists": ({"palette": [1, None, ESCAPES], "sheet": [1], "unknown_words": [1, {}]}, {"gates": [1], "scores": [[]]}),
    "sheet": (
        {
            "sheet": {
                "tile_size": ["x", None],
                "columns": 10**9,
                "rows": -1,
                "animations": {"a": {"first": 9, "last": 1}},
            }
        },
        {"gates": {ESCAPES: ESCAPES}, "scores": {"a": "x"}},
    ),
    "empty": ({}, {}),
}
PICTURES: dict[str, bytes] = {
    "not_a_picture": b"no picture",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n{ } loop\n",
    "other_size": encode_png(fake_picture("imp", 1, 3, 70)),
    "large": save(np.zeros((4096, 4096, 4), np.uint8)),
    "empty": encode_png(np.zeros((16, 16, 4), np.uint8)),
    "soft": encode_png(np.full((16, 16, 4), 100, np.uint8)),
    "gray": save(np.full((16, 16, 4), 100, np.uint8), "L"),
}


def calls(asset_id: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("list_assets", {}),
        ("list_assets", {"query": "imp"}),
        ("edit_sprite", {"asset_id": asset_id, "transform": "flip"}),
        ("edit_sprite", {"asset_id": asset_id, "recolor": "ff0000:00ff00"}),
        ("edit_sprite", {"asset_id": asset_id, "palette": "pico-8"}),
        ("edit_sprite", {"asset_id": asset_id, "width": 8}),
        ("edit_sprite", {"asset_id": asset_id, "prompt": "red imp", "seed": 1}),
        ("generate_animation", {"asset_id": asset_id, "motions": ["idle"], "frames": 2}),
        ("generate_tileset", {"upper": asset_id, "layout": "seamless", "candidates": 1, "seed": 1}),
        ("generate_tileset", {"upper": f"{asset_id}:upper", "lower": "water", "candidates": 1, "seed": 1}),
        ("fix_pixel_art", {"picture": asset_id}),
        ("slice_sheet", {"picture": asset_id, "width": 8}),
        ("run_workflow", {"workflow": "arrange.json", "inputs": {}}),
        ("deploy_asset", {"asset_id": asset_id, "path": "a.png", "verify": False}),
        ("undo_deploy", {}),
        ("get_status", {}),
    ]


def hostile(game: Path, kind: str, recipe: Any, details: Any, report: Any, picture: bytes) -> str:
    """Puts an asset with these values into the game's library; its id."""
    library = Library(game / ".dgx-pixels")
    file = "tileset.png" if kind == "tileset" else "sheet.png" if kind == "sheet" else "sprite.png"
    asset = library.add(kind, {file: picture}, Recipe(kind, "imp", 16, 16, 1))
    library.close()
    with closing(sqlite3.connect(game / ".dgx-pixels/library.sqlite")) as connection, connection:
        values = json.loads(asset.recipe.to_json()) | recipe
        connection.execute(
            "UPDATE assets SET recipe = ?, details = ?, report = ?",
            (json.dumps(values), json.dumps(details), json.dumps(report)),
        )
    step = {"name": "one", "do": "arrange", "with": {"asset_ids": [asset.id, asset.id], "title": "t"}}
    (game / "arrange.json").write_text(json.dumps({"name": "arrange", "description": "d", "steps": [step]}))
    return asset.id


CASES = [
    *[pytest.param("sprite", value, {}, {}, SPRITE, id=f"recipe_{name}") for name, value in RECIPES.items()],
    *[pytest.param("tileset", value, {}, {}, SPRITE, id=f"tileset_{name}") for name, value in RECIPES.items()],
    *[pytest.param("sprite", {}, d, r, SPRITE, id=f"details_{name}") for name, (d, r) in DETAILS.items()],
    *[pytest.param("sheet", {}, d, r, SPRITE, id=f"sheet_{name}") for name, (d, r) in DETAILS.items()],
    *[pytest.param("sprite", {}, {}, {}, picture, id=f"picture_{name}") for name, picture in PICTURES.items()],
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "recipe", "details", "report", "picture"), CASES)
async def test_every_tool_answers_or_says_what_is_wrong(
    game: Path,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    recipe: Any,
    details: Any,
    report: Any,
    picture: bytes,
) -> None:
    asset_id = hostile(game, kind, recipe, details, report, picture)
    said: dict[str, str] = {}
    with caplog.at_level(logging.ERROR):
        async with Client(create_server(settings, FakeBackend(steps=1))) as client:
            for number, (tool, arguments) in enumerate(calls(asset_id)):
                try:
                    await client.call_tool(tool, arguments)
                except ToolError as error:
                    said[f"{number} {tool}"] = str(error)
    faults = {name: text for name, text in said.items() if RAW.search(text) or len(text) > 2100}
    trouble = [
        record.exc_text or str(record.exc_info) for record in caplog.records if "unexpected" in record.getMessage()
    ]
    assert not faults, (faults, trouble)


@pytest.mark.parametrize(
    "words", [["status"], ["gallery"], ["check"], ["show", "arrange.json"], ["export", "{id}"], ["undo"]]
)
def test_no_command_writes_a_control_character_of_a_game_s_library(
    game: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    details = {"palette": [ESCAPES], "unknown_words": [ESCAPES]}
    asset_id = hostile(
        game, "sprite", {"prompt": ESCAPES, "model": ESCAPES}, details, {"gates": {ESCAPES: False}}, SPRITE
    )
    with pytest.raises(SystemExit):
        main([word.format(id=asset_id) for word in words])
    printed = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e") & set(printed.err + printed.out)
