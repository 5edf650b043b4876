"""Read the arguments of a tool call as an assistant plausibly writes them.

The input schemas are strict and small. Models still write "32x32", `null`, `assets/Hero Knight.PNG`, a list of colours
or JSON inside a string. This middleware turns those into what the schema asks for before it is checked, and puts what
it changed into the answer as `read_as`. An argument that does not exist is answered with the names that do.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import anyio.to_thread
from fastmcp.exceptions import ToolError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import Tool, ToolResult

from pipelines.choices import Outline
from server.errors import ServerError
from server.protocol.schemas import inlined, small_answer, small_schema
from server.studio import Studio

OUTLINES = get_args(Outline)
KINDS = {
    "sprite": ("sprites", "image", "images", "icon", "icons", "picture", "pictures"),
    "sheet": ("sheets", "spritesheet", "spritesheets", "animation", "animations"),
    "tileset": ("tilesets", "tile", "tiles", "tilemap", "tilemaps"),
    "palette": ("palettes",),
}
MEANINGS = {
    "prompt": (
        "description",
        "text",
        "subject",
        "query",
        "name",
        "object",
        "prompt_text",
        "instructions",
        "instruction",
    ),
    "negative": ("negative_prompt", "avoid", "exclude"),
    "count": ("n", "num", "number", "num_images", "amount", "quantity", "batch_size", "variations", "num_variations"),
    "size": ("resolution", "dimensions", "dimension", "pixels", "image_size", "sprite_size"),
    "colors": ("colours", "num_colors", "max_colors", "color_count", "palette_size"),
    "palette": ("color", "colour", "color_palette", "colour_palette"),
    "asset_id": ("id", "asset", "sprite", "sprite_id", "image_id"),
    "path": ("output_path", "destination", "dest", "target", "file", "filename", "file_path", "save_path"),
    "picture": ("image", "path", "file", "input", "source", "image_path", "input_path", "file_path", "sheet"),
    "overwrite": ("force", "replace"),
    "words": ("query", "search", "filter", "text", "name", "prompt"),
    "kind": ("type", "category", "asset_type"),
    "upper": ("terrain", "prompt", "description", "tile", "top", "ground"),
    "lower": ("bottom", "base"),
    "tile_size": ("size", "resolution"),
    "width": ("size", "tile_size", "tile_width", "frame_width", "cell_size"),
    "height": ("tile_height", "frame_height"),
    "job_id": ("id", "job"),
    "workflow": ("name", "recipe"),
    "variants": ("models", "loras"),
    "motions": ("motion", "animations", "animation", "actions", "action"),
    "frames": ("num_frames", "frame_count"),
    "background": ("ground", "matte"),
    "transform": ("flip", "mirror", "rotate", "rotation", "crop", "trim", "pad", "padding"),
    "project": ("project_path", "root", "game", "cwd", "project_dir"),
}
"""Argument -> other names that models give it."""
ELSEWHERE = {
    "deploy_asset(path=...) writes the file into the game": MEANINGS["path"] + ("output", "save_to", "folder", "path"),
    "generate_animation(motions=..., directions=...) makes views and motions": (
        *("view", "direction", "directions", "angle", "facing", "pose"),
        *MEANINGS["motions"],
        *MEANINGS["frames"],
        "frames",
        "fps",
    ),
    "the game's dgx-pixels.toml sets the style of everything (palette, outline, prompt_prefix)": ("style", "theme"),
    "preset= sets speed and quality": ("steps", "guidance", "guidance_scale", "cfg", "quality"),
    "sprites have a transparent background already": (
        *("background", "transparent", "transparent_background", "transparency", "alpha"),
    ),
    "every picture is a PNG": ("format", "output_format", "file_type"),
    "run_workflow(workflow='batch', inputs={'subjects': [...]}) draws a list": ("prompts", "items", "subjects"),
    "width= and height= of a tile are enough": ("columns", "rows", "cols"),
    "train_lora teaches a style, and the game's dgx-pixels.toml names the LoRAs": ("lora", "loras"),
}
_NO_BACKGROUND = ("remove", "removed", "transparent", "none", "true", "yes")
_MOTIONS = {
    **{"walking": "walk", "running": "run", "idling": "idle", "standing": "idle", "attacking": "attack"},
    **{"death": "die", "dying": "die", "dead": "die", "hit": "hurt", "damage": "hurt"},
}
"""Other words for motions."""
_SIZE = re.compile(r"\s*(\d{1,9})\s*(?:px)?\s*(?:[x×*,]\s*(\d{1,9})\s*(?:px)?)?\s*", re.IGNORECASE)
_ID = re.compile(r"(?:sprite|tileset|sheet|asset)://", re.IGNORECASE)
_COLOR = re.compile(r"#?[0-9a-f]{6}|#[0-9a-f]{3}", re.IGNORECASE)
_COLOR_NAMES = ("black", "white", "dark", "brown", "gray", "grey", "blue", "red", "green", "purple", "navy")


class Arguments(Middleware):
    """Reads plausible forms of arguments; says what became of them in `read_as`."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`.

        Raises:
            ToolError: an argument does not exist, or has a meaning that another tool serves.
        """
        name, given = context.message.name, dict(context.message.arguments or {})
        server = context.fastmcp_context.fastmcp if context.fastmcp_context else None
        tool = await server.get_tool(name) if server else None
        if tool is None:
            return await call_next(context)  # answers that the tool does not exist
        schema = tool.parameters
        read = read_arguments(schema, given)
        if isinstance(read.get("path"), str) and read["path"].strip() and name in ("deploy_asset", "undo_deploy"):
            read["path"] = await anyio.to_thread.run_sync(self._path, read)
        if name == "list_assets":
            read |= {"kind": kind_of(str(read.get("kind") or ""))}
        said = {key: value for key, value in read.items() if key in ("path", "outline") and given.get(key) != value}
        result = await call_next(context.copy(message=context.message.model_copy(update={"arguments": read})))
        if said and type(result) is ToolResult and result.structured_content is not None and not result.is_error:
            result.structured_content = {**result.structured_content, "read_as": said}
        return result

    async def on_list_tools(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Sequence[Tool]:
        """Lists the tools with small schemas: what this middleware reads anyway need not be in them."""
        small, said = [], []
        for tool in await call_next(context):
            update: dict[str, Any] = {"parameters": small_schema(inlined(tool.parameters))}
            if tool.output_schema:
                answer = small_schema(inlined(tool.output_schema))
                update["output_schema"] = small_answer(answer, described=answer not in said)
                said.append(answer)
            small.append(tool.model_copy(update=update))
        return small

    def _path(self, arguments: dict[str, Any]) -> str:
        """Reads `arguments["path"]` as a path relative to assets/ in lower snake case."""
        named = arguments.get("project")
        folder, default = None, "sprite.png"
        try:
            game = self._studio.project(named if isinstance(named, str) and named else None)
            folder = game.assets if game else None
            asset_id = arguments.get("asset_id")
            if game and isinstance(asset_id, str) and "." not in arguments["path"].rpartition("/")[2]:
                from server.deploy.deploy import default_path

                default = default_path(self._studio.find_asset(asset_id, game)[1], game).rsplit("/", 1)[-1]
        except ServerError:
            pass  # the tool says it
        return asset_path(arguments["path"], folder, default)


def read_arguments(schema: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Reads the arguments as the tool's input schema names and types them.

    Raises:
        ToolError: one does not exist, or `prompt` is a list.
    """
    known: dict[str, Any] = schema.get("properties", {})
    required = schema.get("required", ())
    named = {_known_name(name, known): value for name, value in given.items()}
    if unknown := [name for name in named if name not in known]:
        raise ToolError(unknown_arguments(unknown, known))
    read = {name: value for name, value in named.items() if value is not None or name in required}
    if isinstance(read.get("prompt"), list):
        raise ToolError(
            "prompt is one text, not a list. Call the tool once for each, or draw them together: "
            f"run_workflow(workflow='batch', inputs={json.dumps({'subjects': read['prompt']})})."
        )
    for name in list(read):
        for read_one in (*_READERS.get(name, ()), _from_json(known[name])):
            read[name] = read_one(read[name])
    read = {name: value for name, value in read.items() if value is not None or name in required}
    for name in ("size", "tile_size"):
        if isinstance(side := read.get(name), tuple):
            del read[name]
            read |= _sides(name, side, known)
    return read


def unknown_arguments(unknown: list[str], known: dict[str, Any]) -> str:
    """Says of arguments that do not exist what they probably mean, and which names do exist."""
    lines = []
    for name in unknown:
        meant = next((arg for arg, others in MEANINGS.items() if name in others and arg in known), "")
        other = next((where for where, names in ELSEWHERE.items() if name in names), "")
        meant = meant or ("" if other else next(iter(difflib.get_close_matches(name, known, 1, 0.75)), ""))
        hint = f" (you mean {meant}=)" if meant else f" ({other})" if other else ""
        lines.append(f"{name}: there is no such argument{hint}")
    return f"{'; '.join(lines)}. The arguments are: {', '.join(known)}."


def asset_path(path: str, assets: Path | None = None, default: str = "sprite.png") -> str:
    """Makes a path relative to assets/ in lower snake case with an ending.

    Args:
        path: `assets/x.png`, `res://x.png`, `./x`, an absolute path inside `assets`; with `/` at the end a folder.
        assets: the game's assets folder.
        default: the file's name where `path` is a folder.
    """
    text = path.strip().replace("\\", "/").removeprefix("res://").removeprefix("assets://")
    if assets is not None and text.startswith("/"):
        for root in {assets, assets.resolve()}:
            text = text.removeprefix(f"{root}/")
    if text.startswith("/") or ".." in text.split("/"):
        return path.strip()  # outside: the tool refuses it and says why
    while text.startswith("./"):
        text = text[2:]
    text = text.removeprefix("assets/")
    if assets is not None and text and (assets / text).is_dir():
        text = f"{text.rstrip('/')}/"
    if text.endswith("/") or not text:
        text += default
    folders, _, file = text.rpartition("/")
    stem, dot, ending = file.rpartition(".")
    stem, ending = (stem, ending.lower()) if dot and len(ending) <= 4 else (file, "png")
    parts = [_snake(part) for part in folders.split("/") if part not in ("", ".")]
    return "/".join([*parts, f"{_snake(stem)}.{ending}"])


def kind_of(kind: str) -> str:
    """Finds the kind of asset that a word means; empty for all.

    Raises:
        ToolError: the kind is unknown.
    """
    word = kind.strip().lower().replace(" ", "").replace("_", "")
    if word in ("", "all", "any"):
        return ""
    for name, others in KINDS.items():
        if word == name or word in others:
            return name
    raise ToolError(f"There is no kind '{kind}'. The kinds are: {', '.join(KINDS)}; leave it out for all.")


def _known_name(name: str, known: dict[str, Any]) -> str:
    """Reads `assetId` and `asset-id` as `asset_id`, where there is such an argument."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()
    return snake if name not in known and snake in known else name


def _snake(text: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", text.strip())
    return re.sub(r"[^a-z0-9_]+", "_", words.lower()).strip("_") or "sprite"


def _size(value: Any) -> Any:
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        value = [int(side) for side in found.groups() if side]
    if isinstance(value, dict) and {"width", "height"} <= value.keys():
        value = [value["width"], value["height"]]
    if not isinstance(value, list) or len(value) not in (1, 2):
        return value
    return value[0] if len(set(map(str, value))) == 1 else tuple(value)


def _sides(name: str, side: tuple[Any, ...], known: dict[str, Any]) -> dict[str, Any]:
    if name == "size" and "width" in known and "height" in known:
        return dict(zip(("width", "height"), side, strict=True))
    raise ToolError(f"{name}: {side[0]}x{side[1]} is not square. Give one number of pixels.")


def _id(value: Any) -> Any:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return _ID.sub("", value.strip()).lower() if isinstance(value, str) else value


def _colors_text(value: Any) -> Any:
    if isinstance(value, str) and value.strip().startswith("["):
        value = _parsed(value)
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _outline(value: Any) -> Any:
    if isinstance(value, bool):
        return "outer" if value else "none"
    if not isinstance(value, str):
        return value
    if value.strip().lower() in OUTLINES:
        return value.strip().lower()
    word = value.strip().lower()
    if word in ("no", "false", "off"):
        return "none"
    colored = _COLOR.fullmatch(word) or any(part in _COLOR_NAMES for part in re.split(r"\W+", word))
    return "outer" if colored or word in ("yes", "true", "on", "full", "all") else value


def _recolor(value: Any) -> Any:
    if isinstance(value, str) and value.strip().startswith(("{", "[")):
        value = _parsed(value)
    if isinstance(value, dict):
        return ", ".join(f"{old}:{new}" for old, new in value.items())
    if isinstance(value, list) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value):
        return ", ".join(f"{old}:{new}" for old, new in value)
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _seed(value: Any) -> Any:
    """Reads -1 and "random" as no seed."""
    return None if value in (-1, "-1", "random") else value


def _first_number(value: Any) -> Any:
    """Reads "8 colors" as 8."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*[a-z]+\s*", value, re.IGNORECASE) if isinstance(value, str) else None
    return int(found[1]) if found else value


def _share(value: Any) -> Any:
    """Reads "50%" as 0.5."""
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*%\s*", value) if isinstance(value, str) else None
    return float(found[1]) / 100 if found else value


def _model(value: Any) -> Any:
    word = value.strip().lower() if isinstance(value, str) else ""
    return "" if word in ("default", "auto") else word if word in ("embedded", "sdxl") else value


def _background(value: Any) -> Any:
    """Reads what means that a background goes away as `clear`."""
    gone = value is True or (isinstance(value, str) and value.strip().lower() in _NO_BACKGROUND)
    return "clear" if gone else value


def _motions(value: Any) -> Any:
    words = [part for part in re.split(r"[\s,]+", value) if part] if isinstance(value, str) else value
    if not isinstance(words, list) or (isinstance(value, str) and value.strip().startswith("[")):
        return value
    return [_MOTIONS.get(str(word).strip().lower(), word) for word in words]


def _directions(value: Any) -> Any:
    """Reads named directions as their number."""
    return len(value) if isinstance(value, list) else value


def _workflow(value: Any) -> Any:
    """Reads "item set" and "Item-Set" as item_set; the path of a file stays."""
    is_file = not isinstance(value, str) or "/" in value or "." in value
    return value if is_file else re.sub(r"[\s-]+", "_", value.strip().lower())


def _listed(value: Any) -> Any:
    """Reads one text where a list is asked for as a list; JSON is parsed first."""
    return [value] if isinstance(value, str) and not value.strip().startswith("[") else value


def _from_json(schema: dict[str, Any]) -> Callable[[Any], Any]:
    """Reads JSON out of a string where the schema asks for an object or an array."""
    kinds = {schema.get("type"), *(option.get("type") for option in schema.get("anyOf", ()))}

    def read(value: Any) -> Any:
        wanted = isinstance(value, str) and bool(kinds & {"object", "array"})
        return _parsed(value) if wanted and value.strip().startswith(("{", "[")) else value

    return read


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


_READERS: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "size": (_size,),
    "tile_size": (_size,),
    "asset_id": (_id,),
    "palette": (_colors_text,),
    "outline": (_outline,),
    "recolor": (_recolor,),
    "prompts": (_listed,),
    "seed": (_seed,),
    "colors": (_first_number,),
    "strength": (_share,),
    "model": (_model,),
    "background": (_background,),
    "motions": (_motions,),
    "directions": (_directions,),
    "workflow": (_workflow,),
}
