"""Show pictures in a terminal: two pixels per character cell, with half-block characters in true colour.

rich reduces the colours to what the terminal has; without colours or without Unicode a picture becomes shades of text.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from pipelines.records import Pixels

_SHADES = " .:-=+*#%@"
_BACKGROUND = (128, 114)


def picture_text(picture: Pixels, console: Console) -> Text:
    """Draws a picture (height, width, 4) of any size as text of `width` columns and half as many rows as it is high."""
    if console.color_system is None or not console.encoding.lower().startswith("utf"):
        return _shades(picture)
    return _half_blocks(picture)


def _half_blocks(picture: Pixels) -> Text:
    from server.features.preview import on_chequers

    text = Text(no_wrap=True, end="")
    # on a grey background: black outlines would vanish in a dark terminal, white ones in a light one
    rows = on_chequers(picture, _BACKGROUND)[..., :3].tolist()
    for top, bottom in zip_longest(rows[::2], rows[1::2]):
        text.append("\n" if text else "")
        for x, color in enumerate(top):
            text.append("▀", Style(color=_color(color), bgcolor=_color(bottom[x]) if bottom else None))
    return text


def _shades(picture: Pixels) -> Text:
    import numpy as np

    light = picture[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    solid = picture[..., 3] >= 128
    low, high = (light[solid].min(), light[solid].max()) if solid.any() else (0.0, 0.0)
    level = 1 + np.rint((light - low) / max(high - low, 1.0) * (len(_SHADES) - 2)).astype(int)
    shades = np.where(solid, level, 0)[::2]
    return Text("\n".join("".join(_SHADES[i] for i in row) for row in shades), no_wrap=True)


def _color(rgb: list[int]) -> Color:
    return Color.from_rgb(*rgb)
