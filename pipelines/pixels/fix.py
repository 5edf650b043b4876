"""Any picture, or the frames of one, back to real pixels: finds out what `finish` has to be told. Needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.pixels.cells import sample_cells
from pipelines.pixels.finish import Finished, FinishOptions, finish_together
from pipelines.pixels.grid import Grid, find_grid, regular_grid
from pipelines.pixels.matte import cut_ground, key_color
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels

COLORS = 32
SMALL = 128
"""Sides up to this may be native already: a grid in them has to be plain to count."""
PAINT_SIDE = 64
"""Pixels of the longer side that a picture without a grid gets, where no size is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """The finished frames, the pitch that was found (1: native already), and whether there was a grid at all."""

    frames: list[Finished]
    pitch: float
    paint: bool


def fix_pictures(
    frames: Sequence[Pixels],
    *,
    width: int | None = None,
    height: int | None = None,
    pitch: float | None = None,
    colors: int = COLORS,
    palette: Palette | None = None,
    ground: str = "keep",
    outline: str = "none",
    dither: int = 0,
) -> Fixed:
    """Finds the grid (one for all frames, which have one size), and finishes what is in its cells.

    Args:
        frames: (h, w, 4) RGBA each.
        width: finished size; None: as many pixels as the grid has.
        height: the same.
        pitch: pixels of the picture for each real pixel, where it is known; None: looked for.
        colors: most colours, where no palette rules.
        palette: to lock to.
        ground: "keep", "clear" (what touches the border in one colour), or that colour as RRGGBB.
        outline: as FinishOptions.
        dither: as FinishOptions.

    Raises:
        InvalidRequest: frames of different sizes, or an option out of range.
    """
    if len({frame.shape for frame in frames}) != 1:
        raise InvalidRequest("The frames have different sizes. Fix them one by one.")
    if pitch is not None and not 1 <= pitch <= 1024:
        raise InvalidRequest(f"pitch is 1 to 1024 pixels, not {pitch}.")
    if ground not in ("keep", "clear"):
        key_color(ground)
    high, wide = frames[0].shape[:2]
    grid = None if pitch == 1 else _grid(frames[0], pitch)
    paint = pitch is None and grid is None and max(high, wide) > SMALL
    if paint:
        scale = max(wide / (width or PAINT_SIDE), high / (height or PAINT_SIDE))
        grid = regular_grid(wide, high, max(1, round(wide / scale)), max(1, round(high / scale)))
    natives = [sample_cells(frame, grid) for frame in frames] if grid is not None else list(frames)
    if ground != "keep" and all((native[..., 3] == 255).all() for native in natives):
        natives = [cut_ground(native, None if ground == "clear" else key_color(ground)) for native in natives]
    options = FinishOptions(
        width=width or height or natives[0].shape[1],
        height=height or width or natives[0].shape[0],
        colors=colors,
        palette=palette,
        pitch=1,
        outline=outline,
        dither=dither,
        place=width is not None or height is not None,
    )
    found = 1.0 if grid is None else (grid.pitch_x + grid.pitch_y) / 2
    return Fixed(finish_together(natives, options), found, paint)


def _grid(picture: Pixels, pitch: float | None) -> Grid | None:
    """The grid, if there is one to be seen; a `pitch` that a caller knows is believed."""
    grid = find_grid(picture, pitch)
    if pitch is not None:
        return grid
    found = (grid.pitch_x + grid.pitch_y) / 2
    score = float(np.mean([grid.score_x, grid.score_y]))
    # in a small native drawing some comb fits by chance; in one that was enlarged nearly all change is on the lines
    plain = max(picture.shape[:2]) > SMALL or score >= 1 + 0.3 * (found - 1)
    return grid if grid.seen and plain else None
