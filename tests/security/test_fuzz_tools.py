"""Every tool with arguments made from its own schema, valid and mutated: an answer or a sentence, and nothing outside.

`make fuzz` makes 5,000 calls; `make test-all` a few hundred. Another DGX_PIXELS_FUZZ_SEED makes other calls.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastmcp import Client
from fastmcp.exceptions import ToolError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp_types import Tool

from pipelines.pixels.picture_files import encode_animation
from pipelines.pixels.png import encode_png
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture

CALLS = int(os.environ.get("DGX_PIXELS_FUZZ", "300"))
SEED = int(os.environ.get("DGX_PIXELS_FUZZ_SEED", "0"))
SECONDS = 5.0
"""A call that takes longer hangs."""
RAW = re.compile(r"\b[A-Z][A-Za-z]*(Error|Exception|Warning)\b|Traceback|0x[0-9a-f]{8,}")

WORDS = (
    *("", " ", "red dragon", "stone floor", "sprites/hero.png", "hero.png", "assets", "palette.hex", "none"),
    *("embedded", "0123456789ab", "ff8800", "#FF8800", "clear", "keep", "outer", "batch", "item_set", "corner"),
    *("../../etc/passwd", "/etc/passwd", "/dev/zero", "~nouser/x", ".", "..", "C:\\x", "a/b/../c.png", "con.png"),
    *("a\0b", "\x1b[2J", "\u202egnp.exe", "\ud800", "²³", "٣", "x" * 5000, "[/]", "${inputs.x}", "%s%n"),
    *("NaN", "-1", "1e400", "{}", "[" * 3000, "file:///etc/passwd", "https://localhost/x", "🐉", "\r\n", "pipe.png"),
    *("data:image/png;base64,é", "data:image/png;base64,AAAA", "data:", "assets/hero.png/x", "hero.png\n"),
)
GOOD: dict[str, tuple[Any, ...]] = {
    "prompt": ("red dragon", "stone golem", "imp"),
    "prompts": (["imp"], ["red dragon", "key"]),
    "subjects": (["imp", "key"],),
    "variants": (["embedded", "embedded + glow@0.5"], ["", "+ glow"]),
    "upper": ("grass", "stone floor"),
    "lower": ("", "water"),
    "model": ("", "embedded"),
    "preset": ("",),
    "palette": ("", "none", "palette.hex", "pico-8", "ff0000 00ff00 0000ff"),
    "project": ("",),
    "picture": ("hero.png", "sheet.png", "anim.gif", "assets"),
    "path": ("sprites/hero.png", "sprites/imp.png", ""),
    "dataset": ("assets", "nowhere"),
    "workflow": ("batch", "item_set"),
    "width": (None, 16, 32, 64),
    "height": (None, 16, 32),
    "size": (None, 8, 16, 32),
    "tile_size": (None, 8, 16),
    "colors": (None, 4, 16),
    "count": (1, 2),
    "candidates": (1, 2),
    "seed": (None, 1, 7),
    "seeds": ([1], [1, 2]),
    "pitch": (None, 1, 2),
    "frames": (2, 4),
    "directions": (1, 2, 4),
    "fps": (8,),
    "dither": (0, 2),
    "place": ("", "head"),
    "recolor": ("",),
    "transform": ("", "flip", "trim"),
    "winner": ("A", "tie"),
    "layout": ("wang16", "seamless", "variations", ""),
    "gap": (None, 0),
    "margin": (None, 0),
    "strength": (0.5,),
    "background": ("keep", "clear", "ff00ff"),
    "steps": (None, 1),
}
"""Values that belong together: half of all calls are made of them, so that more than the checks is reached."""
NUMBERS = (0, 1, -1, 2, 3, 8, 16, 17, 32, 33, 64, 65, 255, 256, 4096, 2**31, 2**63, 2**64, -(2**63), 10**30)


def value_of(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema allows, as far as its types go."""
    if "$ref" in schema:
        return st.deferred(lambda: value_of(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return st.one_of(*(value_of(option, root) for option in options))
    match schema.get("type"):
        case "string":
            return st.sampled_from(WORDS) | st.text(max_size=20)
        case "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 64)
            return st.integers(low, max(low, high)) | st.sampled_from(NUMBERS)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(NUMBERS)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(value_of(schema.get("items", {}), root), max_size=4)
        case "object" if properties := schema.get("properties"):
            required = {name: value_of(properties[name], root) for name in schema.get("required", ())}
            others = {name: value_of(form, root) for name, form in properties.items() if name not in required}
            return st.fixed_dictionaries(required, optional=others)
        case _:
            return anything()


def anything() -> st.SearchStrategy[Any]:
    leaf = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.floats(allow_nan=False)
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


def fits(values: tuple[Any, ...], schema: dict[str, Any]) -> bool:
    """Whether the values are meant for this tool's argument: `variants` is a list in one and a number in another."""
    return (schema.get("type") == "array") == isinstance(values[0], list)


@st.composite
def calls(
    draw: Callable[[Any], Any], tools: list[Tool], assets: list[str], comparisons: list[str]
) -> tuple[str, dict[str, Any]]:
    """A tool's name and arguments: valid by the schema, or with one of them replaced, removed or added."""
    tool = draw(st.sampled_from(tools))
    pick = draw(st.integers(0, 19))  # always drawn: what exists by now must not change what is drawn
    schema = tool.input_schema
    arguments = draw(value_of(schema, schema))
    if draw(st.booleans()):  # the game of the working directory, and fewer of the options: more calls get through
        kept = {"project", *draw(st.lists(st.sampled_from(sorted(arguments) or [""]), max_size=6))}
        required = schema.get("required", ())
        arguments = {n: v for n, v in arguments.items() if n in required or (n in kept and n != "project")}
    if "prompt" in arguments and draw(st.booleans()):
        arguments["prompt"] = "red dragon"
    if "asset_id" in arguments and draw(st.booleans()) and assets:
        arguments["asset_id"] = assets[-1 - pick % len(assets)]
    if draw(st.booleans()):
        fitting = [n for n, form in schema["properties"].items() if n in GOOD and fits(GOOD[n], form)]
        required = schema.get("required", ())
        wanted = draw(st.lists(st.sampled_from(fitting or [""]), max_size=3))
        chosen = [n for n in fitting if n in required or n in wanted]
        unknown = {n: v for n, v in arguments.items() if n in required and n not in fitting}
        arguments = unknown | {n: draw(st.sampled_from(GOOD[n])) for n in chosen}
        if tool.name == "slice_sheet" and "layout" in arguments:
            arguments["layout"] = ""  # there it names a file
        if "asset_id" in arguments and assets:
            arguments["asset_id"] = assets[-1 - pick % len(assets)]
        if "comparison_id" in arguments and comparisons:
            arguments["comparison_id"] = comparisons[-1 - pick % len(comparisons)]
    change = draw(st.integers(0, 5))
    if change == 1 and arguments:
        arguments[draw(st.sampled_from(sorted(arguments)))] = draw(anything())
    elif change == 2 and arguments:
        arguments.pop(draw(st.sampled_from(sorted(arguments))))
    elif change == 3:
        arguments[draw(st.text(max_size=12))] = draw(anything())
    return tool.name, arguments


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in folder.rglob("*")}


@pytest.mark.slow
def test_no_call_crashes_hangs_names_an_exception_or_writes_outside(
    game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outside = tmp_path / "outside"
    (outside / "keep").mkdir(parents=True)
    (outside / "keep" / "secret.txt").write_text("secret")
    monkeypatch.setenv("HOME", str(outside))
    os.mkfifo(game / "pipe.png")
    (game / "palette.hex").write_text("ff0000\n00ff00\n0000ff\n")
    sheet = fake_picture("sheet", 1, 64, 32)
    (game / "hero.png").write_bytes(encode_png(fake_picture("hero", 1, 32, 32)))
    (game / "sheet.png").write_bytes(encode_png(sheet))
    (game / "anim.gif").write_bytes(encode_animation([sheet[:, :32], sheet[:, 32:]], [100, 100], True, gif=True))
    (game / "assets" / "hero.png").write_bytes((game / "hero.png").read_bytes())

    def no_worker(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "job")

    monkeypatch.setattr("loras.jobs.subprocess.Popen", no_worker)
    server = create_server(Settings(data_dir=tmp_path / "data"), FakeBackend(steps=1))
    before, cargo = tree(outside), (game / "Cargo.toml").read_bytes()
    assets: list[str] = []
    comparisons: list[str] = []
    made: dict[str, list[int]] = {}
    slowest = (0.0, "")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server)) as client:
        tools = portal.call(client.list_tools)
        ask(portal, client, "train_lora", {"dataset": "nowhere"}, 120)  # imports what is heavy
        for tool, arguments in (
            ("generate_sprite", {"prompt": "imp", "size": 16}),
            ("generate_tileset", {"upper": "grass", "candidates": 1}),
            ("generate_animation", {"prompt": "imp", "size": 16, "motions": ["idle"]}),
            ("fix_pixel_art", {"picture": "hero.png"}),
        ):
            ask(portal, client, tool, arguments, 120)

        @seed(SEED)
        @settings(
            max_examples=CALLS,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        )
        @given(calls(tools, assets, comparisons))
        def each(call: tuple[str, dict[str, Any]]) -> None:
            nonlocal slowest
            name, arguments = call
            begun = time.monotonic()
            answer, message = ask(portal, client, name, arguments)
            slowest = max(slowest, (time.monotonic() - begun, name))
            made.setdefault(name, [0, 0])[bool(message)] += 1
            assert not RAW.search(message), (name, arguments, message)
            assert len(message) <= 2100
            found = [answer.get("asset_id"), *(one.get("asset_id") for one in answer.get("sprites", ()))]
            assets.extend(one for one in found if one)
            comparisons.extend(filter(None, [answer.get("comparison_id")]))

        each()
    unexpected = [record for record in caplog.records if record.getMessage().startswith("unexpected error")]
    assert not unexpected, [record.exc_text or record.exc_info for record in unexpected]
    assert tree(outside) == before
    assert (game / "Cargo.toml").read_bytes() == cargo
    # what is drawn is not uniform: of 500 calls one tool or two may get none
    assert CALLS < 400 or len(made) >= len(tools) - 2
    print(
        f"\n{sum(map(sum, made.values()))} calls, slowest {slowest[0]:.1f} s ({slowest[1]}); answers and errors: {made}"
    )


def ask(
    portal: BlockingPortal, client: Client[Any], name: str, arguments: dict[str, Any], seconds: float = SECONDS
) -> tuple[dict[str, Any], str]:
    """(the answer, the error's message): one of them is empty.

    Raises:
        TimeoutError: the call hangs.
    """

    async def call() -> tuple[dict[str, Any], str]:
        with anyio.fail_after(seconds):
            try:
                return (await client.call_tool(name, arguments)).structured_content or {}, ""
            except (ToolError, MCPError) as error:
                return {}, str(error)
            except UnicodeEncodeError:
                return {}, "The client itself cannot send this text."

    return portal.call(call)
