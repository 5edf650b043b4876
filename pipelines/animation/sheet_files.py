"""Read the layout files of sheets: Aseprite's JSON (array and hash), TexturePacker's JSON, and our `*.sheet.json`.

Both editors write the same frame record: `frame` is the rectangle in the sheet, `spriteSourceSize` the trimmed part's
place in the untrimmed `sourceSize`, and `rotated` says that it lies turned clockwise by 90 degrees. Sources: Aseprite's
docs (cli.md, "Sprite sheet") and TexturePacker's "JSON (Hash)" and "JSON (Array)" exporters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.animation.slicing import MOST_PIECES, Piece, Run, Slices
from pipelines.errors import InvalidRequest, TextError
from pipelines.text_files import read_json

DIRECTIONS = ("forward", "reverse", "pingpong", "pingpong_reverse")
MOST_REPEATS = 64
MOST_RUNS = 256
LONGEST_NAME = 200
LONGEST_FRAME = 65_535
"""Milliseconds: what Aseprite's files can hold."""
_MOST_BYTES = 16 << 20
_NUMBER = re.compile(r"[\s_\-.#(]*\d+\)?$")


def layout_of(picture: Path, named: Mapping[str, Path] | None = None) -> Slices | None:
    """Reads the layout beside a picture: of its own name, else a JSON file of the folder that names it; else None.

    `named` is `named_layouts` of the picture's folder, for callers with many pictures of one folder.

    Raises:
        InvalidRequest: a layout is there and cannot be used; it names the file.
    """
    for file in (
        picture.with_suffix(".sheet.json"),
        picture.with_suffix(".json"),
        picture.with_name(f"{picture.name}.json"),
    ):
        if file.is_file() and not file.is_symlink() and (found := read_layout(file, picture.name)):
            return found
    file = (named_layouts(picture.parent) if named is None else named).get(picture.name)
    return read_layout(file, picture.name) if file else None


def named_layouts(folder: Path) -> dict[str, Path]:
    """Maps each picture that a layout file of the folder names to that file."""
    found: dict[str, Path] = {}
    for file in sorted(folder.glob("*.json")):
        if file.name.startswith(".") or file.is_symlink():
            continue
        try:
            data = read_json(file, limit=_MOST_BYTES)
        except (TextError, OSError):
            continue  # another program's file, which need not be readable here
        for name in _pictures_of(data):
            found.setdefault(name, file)
    return found


def read_layout(file: Path, picture: str = "") -> Slices | None:
    """Returns the layout in a JSON file; None where the file is JSON of another kind.

    Args:
        file: the layout file.
        picture: which picture of a layout with several is meant.

    Raises:
        InvalidRequest: it is not text, not JSON, or a layout with a mistake; it names the file.
    """
    try:
        data = read_json(file, limit=_MOST_BYTES)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}. Check the path.") from error
    return parse_layout(data, file.name, picture)


def parse_layout(data: Any, name: str, picture: str = "") -> Slices | None:
    """Returns the layout in a JSON value, as `read_layout`."""
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("tile_size"), list) and "columns" in data:
        return _own(data, name)
    frames, meta = data.get("frames"), data.get("meta")
    if frames is None and isinstance(data.get("textures"), list):
        frames = _multipack(data["textures"], picture)
    if not isinstance(frames, list | dict) or not frames:
        return None
    entries = [(str(k), v) for k, v in frames.items()] if isinstance(frames, dict) else [("", v) for v in frames]
    if not all(isinstance(entry, dict) and "frame" in entry for _, entry in entries):
        return None
    if len(entries) > MOST_PIECES:
        raise InvalidRequest(f"{name} has {len(entries):,} frames; {MOST_PIECES:,} is the most. Split the sheet.")
    pieces = tuple(_piece(entry, key, i, name) for i, (key, entry) in enumerate(entries))
    meta = meta if isinstance(meta, dict) else {}
    tags = meta.get("frameTags")
    listed = tags if isinstance(tags, list) and tags else data.get("animations")
    if isinstance(listed, list | dict) and len(listed) > MOST_RUNS:
        raise InvalidRequest(f"{name} names {len(listed):,} animations; {MOST_RUNS} is the most. Export fewer tags.")
    if isinstance(tags, list) and tags:
        runs = tuple(_tagged(tag, len(pieces), name) for tag in tags)
    elif isinstance(data.get("animations"), dict) and data["animations"]:
        runs = tuple(_listed(data["animations"], pieces, name))
    else:
        runs = tuple(_by_name(pieces))
    editor = "Aseprite" if "aseprite" in str(meta.get("app", "")).lower() or tags else "TexturePacker"
    return Slices(pieces, runs, f"{name} ({editor} JSON)")


def _pictures_of(data: Any) -> set[str]:
    """Returns the file names of the pictures that a layout describes."""
    if not isinstance(data, dict):
        return set()
    meta = data.get("meta")
    named = [data.get("image") if "tile_size" in data else None, meta.get("image") if isinstance(meta, dict) else None]
    if isinstance(data.get("textures"), list):
        named += [texture.get("image") for texture in data["textures"] if isinstance(texture, dict)]
    return {Path(one.replace("\\", "/")).name for one in named if isinstance(one, str)}


def _multipack(textures: list[Any], picture: str) -> Any:
    """Returns the frames of one picture of a layout with several."""
    usable = [t for t in textures if isinstance(t, dict)]
    for texture in usable:
        if Path(str(texture.get("image", ""))).name == picture:
            return texture.get("frames")
    return usable[0].get("frames") if len(usable) == 1 else None


def _piece(entry: Mapping[str, Any], key: str, index: int, file: str) -> Piece:
    name = str(entry.get("filename") or key or f"frame {index}")
    try:
        x, y, width, height = (_whole(entry["frame"][side]) for side in "xywh")
        place = entry.get("spriteSourceSize") or {}
        left, top = _whole(place.get("x", 0)), _whole(place.get("y", 0))
        rotated = bool(entry.get("rotated", False))
        if rotated and (place.get("w"), place.get("h")) == (height, width) and width != height:
            width, height = height, width  # a writer that gives the size as it lies in the sheet
        canvas = entry.get("sourceSize") or {"w": left + width, "h": top + height}
        size = _whole(canvas["w"]), _whole(canvas["h"])
        duration = min(max(0, _whole(entry.get("duration", 0))), LONGEST_FRAME)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(
            f"{file}: frame {index} ('{name[:40]}') is not complete ({_why(error)}). Export the sheet again."
        ) from error
    if min(width, height, *size) < 1:
        raise InvalidRequest(
            f"{file}: frame {index} ('{name[:40]}') has {width}x{height} pixels. Export the sheet again."
        )
    return Piece(name[:LONGEST_NAME], x, y, width, height, size, left, top, rotated, duration)


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) if type(error) is ValueError else "a value has the wrong type"


def _whole(value: Any) -> int:
    """Returns a whole number. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9 or int(value) != value:
        raise ValueError(f"{str(value)[:40]!r} is not a whole number")
    return int(value)


def _tagged(tag: Any, count: int, file: str) -> Run:
    """Returns a frame tag as a run: `repeat` is missing where it loops for ever."""
    try:
        name, first, last = str(tag["name"]), _whole(tag["from"]), _whole(tag["to"])
        direction = str(tag.get("direction", "forward"))
        repeat = int(str(tag.get("repeat") or 0)[:9])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(f"{file}: a frame tag is not complete ({_why(error)}). Export the sheet again.") from error
    if not 0 <= first <= last < count:
        raise InvalidRequest(
            f"{file}: the tag '{name[:40]}' names frames {first} to {last}; there are {count}, counted from 0. "
            "Export again."
        )
    if direction not in DIRECTIONS:
        known = ", ".join(DIRECTIONS)
        raise InvalidRequest(
            f"{file}: the tag '{name[:40]}' has the direction '{str(direction)[:40]}'. Known: {known}."
        )
    if not 0 <= repeat <= MOST_REPEATS:
        raise InvalidRequest(f"{file}: the tag '{name[:40]}' repeats {repeat} times; {MOST_REPEATS} is the most.")
    return Run(name[:LONGEST_NAME], playing_order(first, last, direction, repeat), loop=repeat == 0)


def playing_order(first: int, last: int, direction: str = "forward", repeat: int = 0) -> tuple[int, ...]:
    """Returns the frames of a tag in the order in which Aseprite plays them.

    `repeat` 0 is one round of an endless loop. A ping-pong does not show its ends twice; each way counts as one repeat.
    """
    way = list(range(first, last + 1))
    if direction in ("reverse", "pingpong_reverse"):
        way.reverse()
    if not direction.startswith("pingpong") or first == last:
        return tuple(way * max(1, repeat))
    if repeat == 0:
        return tuple(way + way[-2:0:-1])
    order = list(way)
    for turn in range(1, repeat):
        order += (way if turn % 2 == 0 else way[::-1])[1:]
    return tuple(order)


def _listed(animations: Mapping[str, Any], pieces: tuple[Piece, ...], file: str) -> Iterator[Run]:
    """Reads the `animations` of TexturePacker's PixiJS form: lists of frame names."""
    known = {piece.name: index for index, piece in enumerate(pieces)}
    for name, frames in animations.items():
        usable = isinstance(frames, list) and len(frames) <= MOST_PIECES
        missing = [frame for frame in frames if str(frame) not in known] if usable else [name]
        if missing:
            raise InvalidRequest(
                f"{file}: the animation '{name[:40]}' names '{str(missing[0])[:40]}', which is not a frame of it."
            )
        yield Run(str(name)[:LONGEST_NAME], tuple(known[str(frame)] for frame in frames))


def _by_name(pieces: tuple[Piece, ...]) -> Iterator[Run]:
    """Takes frames whose names differ only in their last number as one animation."""
    groups: dict[str, list[int]] = {}
    for index, piece in enumerate(pieces):
        stem = re.sub(r"\.(?:aseprite|ase|png|gif|webp|bmp|psd|tga)$", "", piece.name, flags=re.IGNORECASE)
        groups.setdefault(_NUMBER.sub("", stem) or stem, []).append(index)
    for name, indices in groups.items():
        yield Run(name, tuple(indices))


def _own(data: Mapping[str, Any], file: str) -> Slices | None:
    """Reads our `*.sheet.json`: tiles of one size row by row, with named animations."""
    try:
        width, height = (_whole(side) for side in data["tile_size"])
        columns, rows = _whole(data["columns"]), _whole(data["rows"])
        animations = data.get("animations") or {}
        if len(animations) > MOST_RUNS:
            raise ValueError(f"it names {len(animations):,} animations")
        spans = {
            str(name)[:LONGEST_NAME]: (
                _whole(a["first"]),
                _whole(a["last"]),
                float(a.get("fps", 8)),
                bool(a.get("loop", True)),
            )
            for name, a in animations.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(
            f"{file} is not a complete sheet layout ({_why(error)}). Deploy the sheet again."
        ) from error
    if min(width, height, columns, rows) < 1 or columns * rows > MOST_PIECES:
        raise InvalidRequest(
            f"{file} describes {columns}x{rows} tiles of {width}x{height} pixels; 1 to {MOST_PIECES:,} can be cut."
        )
    durations = [0] * (columns * rows)
    for name, (first, last, fps, _) in spans.items():
        if not 0 <= first <= last < columns * rows or not 0.1 <= fps <= 1000:
            raise InvalidRequest(
                f"{file}: the animation '{name[:40]}' ({first} to {last} at {fps} fps) does not fit the tiles."
            )
        durations[first : last + 1] = [round(1000 / fps)] * (last - first + 1)
    size = width, height
    pieces = tuple(
        Piece(f"tile {i}", i % columns * width, i // columns * height, *size, size, duration=durations[i])
        for i in range(columns * rows)
    )
    runs = tuple(Run(name, tuple(range(first, last + 1)), loop) for name, (first, last, _, loop) in spans.items())
    return Slices(pieces, runs, f"{file} (a sheet of dgx-pixels)")
