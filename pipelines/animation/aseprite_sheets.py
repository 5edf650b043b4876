"""Convert between Aseprite files and sheets of this package; tags become clips."""

from __future__ import annotations

import numpy as np

from pipelines.animation.sheet_files import MOST_REPEATS, MOST_RUNS, playing_order
from pipelines.animation.sheets import Sheet
from pipelines.animation.slicing import Run
from pipelines.errors import InvalidRequest
from pipelines.pixels.aseprite import Aseprite, Cel, Layer, Tag
from pipelines.pixels.palette import Palette


def runs_of(sprite: Aseprite, name: str) -> tuple[Run, ...]:
    """Returns the file's tags as animations; without tags, all frames as one called `name`.

    Raises:
        InvalidRequest: more than MOST_RUNS tags.
    """
    if not sprite.tags:
        return (Run(name, tuple(range(len(sprite.durations)))),)
    if len(sprite.tags) > MOST_RUNS:
        raise InvalidRequest(f"{name} has {len(sprite.tags):,} tags; {MOST_RUNS} is the most. Remove some.")
    return tuple(
        Run(tag.name, playing_order(tag.first, tag.last, tag.direction, min(tag.repeat, MOST_REPEATS)), tag.repeat == 0)
        for tag in sprite.tags
    )


def from_sheet(sheet: Sheet, palette: Palette | None = None) -> Aseprite:
    """Returns a sheet as a file of one layer: its clips one after another, with a tag for each."""
    cels: dict[tuple[int, int], Cel] = {}
    durations: list[int] = []
    tags: list[Tag] = []
    for name, clip in sheet.clips.items():
        frames = sheet.frames(name)
        first = len(durations)
        tags.append(Tag(name, first, first + len(frames) - 1, repeat=0 if clip.loop else 1))
        for frame in frames:
            cels[len(durations), 0] = Cel(np.ascontiguousarray(frame))
            durations.append(round(1000 / clip.fps))
    entries = tuple((*color, 255) for color in palette.colors) if palette else ()
    layers = (Layer("sprite"),)
    size = sheet.tile_width, sheet.tile_height
    return Aseprite(*size, tuple(durations), layers, cels, palette=entries, tags=tuple(tags))
