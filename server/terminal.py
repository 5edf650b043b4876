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
    rows = []
    for y in range(0, picture.shape[0], 2):
        row = ""
        for r, g, b, a in picture[y].astype(int):
            light = (r * 299 + g * 587 + b * 114) / 255_000
            row += _SHADES[1 + round(light * (len(_SHADES) - 2))] if a >= 128 else " "
        rows.append(row)
    return Text("\n".join(rows), no_wrap=True)


def _color(pixel: Pixels) -> Color | None:
    r, g, b, a = (int(v) for v in pixel)
    return Color.from_rgb(r, g, b) if a >= 128 else None
