"""Pictures as terminal cells: each pixel is a whole number of half cells, on a chequered background.

A half block shows two pixels, one above the other. Where the terminal has no colours or no Unicode a pixel becomes a
shade of text, one cell for two rows. numpy is imported when a picture is first drawn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from pipelines.records import Pixels

Line = list[Segment]
SHADES = " .:-=+*#%@"
CHEQUERS = (128, 114)
"""Greys of the background: black outlines would vanish in a dark terminal, white ones in a light one."""
MOST_ZOOM = 16


def fit(width: int, height: int, columns: int, rows: int) -> int:
    """Returns the largest whole zoom at which a picture fits into cells; 1 where it does not fit at all."""
    return max(1, min(columns // max(width, 1), rows * 2 // max(height, 1), MOST_ZOOM))


def size_in_cells(width: int, height: int, zoom: int) -> tuple[int, int]:
    """Returns the columns and rows of a picture at a zoom."""
    return width * zoom, -(-height * zoom // 2)


def half_blocks(picture: Pixels, zoom: int = 1) -> list[Line]:
    """Draws the picture as lines of half blocks, `width * zoom` cells each."""
    import numpy as np

    from server.features.preview import on_chequers

    rgb = on_chequers(picture, CHEQUERS)[..., :3].astype(np.int32)
    packed = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    packed = packed.repeat(zoom, 0).repeat(zoom, 1)
    if packed.shape[0] % 2:  # the last half row has no picture below: -1 is the terminal's own background
        packed = np.concatenate([packed, np.full((1, packed.shape[1]), -1, packed.dtype)])
    return [_line(top.tolist(), bottom.tolist()) for top, bottom in zip(packed[::2], packed[1::2], strict=True)]


def _line(top: list[int], bottom: list[int]) -> Line:
    """Makes one row of cells, with one segment for each run of equal cells."""
    line: Line = []
    begin = 0
    for x in range(1, len(top) + 1):
        if x == len(top) or top[x] != top[begin] or bottom[x] != bottom[begin]:
            line.append(Segment("▀" * (x - begin), _style(top[begin], bottom[begin])))
            begin = x
    return line


@lru_cache(maxsize=8192)
def _style(top: int, bottom: int) -> Style:
    return Style(color=_color(top), bgcolor=_color(bottom) if bottom >= 0 else None)


def _color(packed: int) -> Color:
    return Color.from_rgb(packed >> 16, packed >> 8 & 255, packed & 255)


def shades(picture: Pixels, zoom: int = 1) -> list[Line]:
    """Draws a picture as lines of text, light pixels as dense characters, for terminals without colours or Unicode."""
    import numpy as np

    light = picture[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    solid = picture[..., 3] >= 128
    low, high = (light[solid].min(), light[solid].max()) if solid.any() else (0.0, 0.0)
    level = 1 + np.rint((light - low) / max(high - low, 1.0) * (len(SHADES) - 2)).astype(int)
    large = np.where(solid, level, 0).repeat(zoom, 0).repeat(zoom, 1)[::2]
    return [[Segment("".join(SHADES[i] for i in row))] for row in large.tolist()]
