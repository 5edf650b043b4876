"""Pictures in a terminal: two pixels a character cell, by half-block characters in true colour.

rich reduces the colours to what the terminal has; without colours or without Unicode a picture becomes shades of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from pipelines.records import Pixels

_SHADES = " .:-=+*#%@"


def picture_text(picture: Pixels, console: Console) -> Text:
    """The picture ((height, width, 4), any size) as text of `width` columns and half as many rows as it is high."""
    if console.color_system is None or not console.encoding.lower().startswith("utf"):
        return _shades(picture)
    return _half_blocks(picture)


def _half_blocks(picture: Pixels) -> Text:
    text = Text(no_wrap=True, end="")
    height, width = picture.shape[:2]
    for y in range(0, height, 2):
        for x in range(width):
            top = _color(picture[y, x])
            bottom = _color(picture[y + 1, x]) if y + 1 < height else None
            match (top, bottom):
                case None, None:
                    text.append(" ")
                case None, _:
                    text.append("▄", Style(color=bottom))
                case _, None:
                    text.append("▀", Style(color=top))
                case _:
                    text.append("▀", Style(color=top, bgcolor=bottom))
        text.append("\n" if y + 2 < height else "")
    return text


def _shades(picture: Pixels) -> Text:
    import numpy as np

    light = picture[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    solid = picture[..., 3] >= 128
    low, high = (light[solid].min(), light[solid].max()) if solid.any() else (0.0, 0.0)
    level = 1 + np.rint((light - low) / max(high - low, 1.0) * (len(_SHADES) - 2)).astype(int)
    shades = np.where(solid, level, 0)[::2]
    return Text("\n".join("".join(_SHADES[i] for i in row) for row in shades), no_wrap=True)


def _color(pixel: Pixels) -> Color | None:
    r, g, b, a = (int(v) for v in pixel)
    return Color.from_rgb(r, g, b) if a >= 128 else None
