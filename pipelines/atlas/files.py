"""Write an atlas's files: TexturePacker's and Aseprite's JSON, bodies, and Rust for Bevy; and a numbered picture.

TexturePacker's form is its "JSON (Hash)" exporter's, with pivots; Aseprite's is its JSON array with frame tags.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.atlas.bodies import Body, bodies
from pipelines.atlas.packing import Atlas, Frame
from pipelines.effects.ramps import RAMPS
from pipelines.records import Pixels
from pipelines.ui.font import colored, text_mask


def measured(atlas: Atlas) -> dict[str, Body]:
    """Maps each frame's name to its body; the frames of a clip share their pivot."""
    groups: dict[str, list[Frame]] = {}
    for frame in atlas.frames:
        groups.setdefault(frame.clip or f"\0{frame.name}", []).append(frame)
    found: dict[str, Body] = {}
    for frames in groups.values():
        found |= zip((f.name for f in frames), bodies([f.image for f in frames]), strict=True)
    return found


def _entry(atlas: Atlas, frame: Frame, body: Body) -> dict[str, Any]:
    place = atlas.places[frame.name]
    height, width = frame.image.shape[:2]
    return {
        "frame": {"x": place.x, "y": place.y, "w": place.width, "h": place.height},
        "rotated": False,
        "trimmed": (place.width, place.height) != (width, height),
        "spriteSourceSize": {"x": place.left, "y": place.top, "w": place.width, "h": place.height},
        "sourceSize": {"w": width, "h": height},
        "pivot": {"x": round(body.pivot[0] / width, 4), "y": round(body.pivot[1] / height, 4)},
    }


def _meta(atlas: Atlas, image_name: str) -> dict[str, Any]:
    size = {"w": atlas.image.shape[1], "h": atlas.image.shape[0]}
    return {"app": "dgx-pixels", "version": "1", "image": image_name, "format": "RGBA8888", "size": size, "scale": "1"}


def texture_packer_json(atlas: Atlas, found: Mapping[str, Body], image_name: str) -> bytes:
    """Writes TexturePacker's JSON hash: a frame record by each name, clips as `animations`."""
    frames = {frame.name: _entry(atlas, frame, found[frame.name]) for frame in atlas.frames}
    clips = {clip: list(names) for clip, names in atlas.clips.items()}
    data = {"frames": frames, "animations": clips, "meta": _meta(atlas, image_name)}
    return (json.dumps(data, indent=1) + "\n").encode()


def aseprite_json(atlas: Atlas, found: Mapping[str, Body], image_name: str) -> bytes:
    """Writes Aseprite's JSON array: durations, and a frame tag for each clip."""
    entries, tags = [], []
    for frame in atlas.frames:
        entry = _entry(atlas, frame, found[frame.name])
        del entry["pivot"]
        entries.append({"filename": frame.name, **entry, "duration": frame.milliseconds})
    for clip, names in atlas.clips.items():
        where = [index for index, frame in enumerate(atlas.frames) if frame.name in names]
        tag = {"name": clip, "from": where[0], "to": where[-1], "direction": "forward"}
        looping = next(frame.loop for frame in atlas.frames if frame.name == names[0])
        tags.append(tag if looping else {**tag, "repeat": "1"})
    data = {"frames": entries, "meta": {**_meta(atlas, image_name), "frameTags": tags}}
    return (json.dumps(data, indent=1) + "\n").encode()


def bodies_json(found: Mapping[str, Body], image_name: str) -> bytes:
    """Writes pivot, collider, hurt box and hull of every frame, in pixels of the whole frame from its upper left."""
    entries = {
        name: {
            "pivot": list(body.pivot),
            "collider": list(body.collider),
            "hurt": list(body.hurt),
            "hull": [list(corner) for corner in body.hull],
        }
        for name, body in found.items()
    }
    return (json.dumps({"image": image_name, "frames": entries}, indent=1) + "\n").encode()


def bevy_module(atlas: Atlas, found: Mapping[str, Body], path: str) -> str:
    """Writes a Rust module: the atlas's layout, and each frame's anchor, collider and hurt box about the pivot.

    Args:
        atlas: the packed frames.
        found: their bodies, by name.
        path: its picture in assets/.
    """
    rows = []
    for name, body in found.items():
        p = atlas.places[name]
        x, y = body.pivot
        # an anchor counts in sides of the trimmed part from its middle, y up
        anchor = ((x - p.left) / p.width - 0.5, 0.5 - (y - p.top) / p.height)
        rect = f"[{p.x}, {p.y}, {p.x + p.width}, {p.y + p.height}]"
        boxes = ", ".join(_box(box, x, y) for box in (body.collider, body.hurt))
        rows.append(f'    Frame {{ name: "{name}", rect: {rect}, anchor: {_floats(*anchor)}, boxes: [{boxes}] }},\n')
    height, width = atlas.image.shape[:2]
    return (
        "use bevy::prelude::*;\n\n"
        "/// A frame of the atlas. `anchor` puts the pivot (the feet) at the entity's place. `boxes` are the\n"
        "/// collider and the hurt box as [left, bottom, width, height] in pixels from the pivot, y up.\n"
        '#[allow(dead_code, reason = "a game reads what it needs")]\n'
        "pub struct Frame {\n    pub name: &'static str,\n    pub rect: [u32; 4],\n    pub anchor: [f32; 2],\n"
        "    pub boxes: [[f32; 4]; 2],\n}\n\n"
        f'pub const IMAGE: &str = "{path}";\n\n'
        f"pub const FRAMES: [Frame; {len(rows)}] = [\n{''.join(rows)}];\n\n"
        "/// The layout for a `TextureAtlas`: the index of a frame is its place in FRAMES.\n"
        "pub fn atlas_layout() -> TextureAtlasLayout {\n"
        f"    let mut layout = TextureAtlasLayout::new_empty(UVec2::new({width}, {height}));\n"
        "    for Frame { rect: [left, top, right, bottom], .. } in FRAMES {\n"
        "        layout.add_texture(URect::new(left, top, right, bottom));\n    }\n    layout\n}\n"
    )


def _box(box: tuple[int, int, int, int], x: float, y: float) -> str:
    left, top, width, height = box
    return _floats(left - x, y - top - height, width, height)


def _floats(*values: float) -> str:
    return f"[{', '.join(map(_float, values))}]"


def _float(value: float) -> str:
    text = f"{value:.4f}".rstrip("0")
    return "0.0" if text in ("-0.", "0.") else f"{text}0" if text.endswith(".") else text


MOST_SHOWN = 1 << 23
"""Pixels of a numbered picture; rows of frames that do not fit are left out of it."""


def numbered(atlas: Atlas) -> Pixels:
    """Draws a picture for people: every frame in order with its number; a new row for each clip, named.

    Frames are shown at twice their size where that stays within MOST_SHOWN pixels.
    """
    rows: list[tuple[str, list[tuple[int, Pixels]]]] = []
    for index, frame in enumerate(atlas.frames):
        title = frame.clip
        if not rows or rows[-1][0] != title or (not title and len(rows[-1][1]) >= 8):
            rows.append((title, []))
        rows[-1][1].append((index, frame.image))
    columns = max(len(row) for _, row in rows)
    high, wide = (max(frame.image.shape[axis] for frame in atlas.frames) for axis in (0, 1))
    zoom = 2 if len(rows) * columns * high * wide * 4 <= MOST_SHOWN else 1
    rows = rows[: max(1, MOST_SHOWN // ((high * zoom + 24) * (wide * zoom + 4) * columns))]
    cell_w = max(frame.image.shape[1] for frame in atlas.frames) * zoom + 4
    cell_h = max(frame.image.shape[0] for frame in atlas.frames) * zoom + 12
    titled = any(title for title, _ in rows)
    top = 11 if titled else 0
    picture = np.zeros((len(rows) * (cell_h + top), max(columns * cell_w, 120), 4), np.uint8)
    picture[:] = (52, 56, 74, 255)
    ink = RAMPS["black"][:1]
    for number, (title, row) in enumerate(rows):
        y = number * (cell_h + top)
        if title:
            _put(picture, colored(text_mask(title.replace("_", " ")), (*ink, *RAMPS["yellow"][1:])), 2, y)
        for column, (index, image) in enumerate(row):
            x = column * cell_w
            _put(picture, image.repeat(zoom, 0).repeat(zoom, 1), x + 2, y + top)
            _put(picture, colored(text_mask(str(index)), (*ink, *RAMPS["white"][1:])), x + 2, y + top + cell_h - 12)
    return picture


def _put(canvas: Pixels, picture: Pixels, x: int, y: int) -> None:
    part = picture[: canvas.shape[0] - y, : canvas.shape[1] - x]
    place = canvas[y : y + part.shape[0], x : x + part.shape[1]]
    drawn = part[..., 3] > 0
    place[drawn] = part[drawn]
