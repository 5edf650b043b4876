"""Pictures as the terminal's own graphics: Kitty's protocol with placeholders in the text, or Sixel.

Both are sent at their exact size in pixels, so that the terminal scales nothing. Sources: the pages "Terminal graphics
protocol" of Kitty (unicode placeholders), and "Sixel Graphics" in DEC's VT330/VT340 Programmer Reference Manual.
"""

from __future__ import annotations

import base64
import itertools
import os
import unicodedata
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from rich.color import Color
from rich.segment import ControlType, Segment
from rich.style import Style

if TYPE_CHECKING:
    from pipelines.records import Pixels

PLACEHOLDER = "\U0010eeee"
CHUNK = 4096
"""Characters of one message; Kitty takes no longer ones."""
MOST_COLORS = 256
"""Of a Sixel picture: the registers that terminals have."""
MOST_SCALE = 64
LAST_MARK = 0x82D
_numbers = itertools.count(1 + os.getpid() % 0xFFFF * 0x80)


@dataclass
class Graphics:
    """What the terminal draws with, and the pixels of a cell (width, height)."""

    kind: Literal["kitty", "sixel"]
    cell: tuple[int, int]


@dataclass(frozen=True)
class Drawing:
    """A picture for the terminal, a rectangle of `columns` by `rows` cells.

    `data` is what draws it: of Kitty once, before the first line of placeholders; of Sixel behind all lines.
    """

    columns: int
    rows: int
    data: str
    number: int = 0


def fit_pixels(width: int, height: int, columns: int, rows: int, cell: tuple[int, int]) -> int:
    """Returns the largest whole scale at which a picture fits into cells, at least 1."""
    return max(1, min(columns * cell[0] // max(width, 1), rows * cell[1] // max(height, 1), MOST_SCALE))


def canvas(picture: Pixels, scale: int, room: tuple[int, int], pan: tuple[int, int], cell: tuple[int, int]) -> Pixels:
    """Returns the picture enlarged, in the middle of as many whole cells as it covers, transparent beside it.

    Args:
        picture: (height, width, 4).
        room: columns and rows; what is larger is cut off, `pan` cells away from its middle.
    """
    import numpy as np

    large = picture.repeat(scale, 0).repeat(scale, 1)
    parts = []
    for length, cells, side, by in zip(large.shape[1::-1], room, cell, pan, strict=True):
        whole = min(-(-length // side), cells) * side
        begin = (whole - length) // 2
        parts.append((whole, min(max(begin - by * side, whole - length), 0) if length > whole else begin))
    (width, left), (height, top) = parts
    result = np.zeros((height, width, 4), np.uint8)
    seen = large[max(-top, 0) : max(-top, 0) + height, max(-left, 0) : max(-left, 0) + width]
    result[max(top, 0) : max(top, 0) + seen.shape[0], max(left, 0) : max(left, 0) + seen.shape[1]] = seen
    return result


def draw(picture: Pixels, graphics: Graphics) -> Drawing | None:
    """Returns a picture of whole cells for the terminal; None: too many colours for Sixel, or rows for Kitty."""
    columns, rows = picture.shape[1] // graphics.cell[0], picture.shape[0] // graphics.cell[1]
    if graphics.kind == "kitty":
        if rows > len(row_marks()):
            return None
        number = next(_numbers) & 0xFFFFFF
        return Drawing(columns, rows, kitty(picture, number, columns, rows), number)
    data = sixel(picture)
    return Drawing(columns, rows, data) if data else None


def raw(text: str) -> Segment:
    """Returns a segment that takes no cell and is written as it is."""
    return Segment(text, None, [(ControlType.CURSOR_FORWARD, 0)])


def kitty(picture: Pixels, number: int, columns: int, rows: int) -> str:
    """Returns the messages that send a picture and place it wherever its placeholders are."""
    data = base64.b64encode(zlib.compress(picture.tobytes(), 6)).decode()
    keys = f"a=T,U=1,q=2,f=32,o=z,i={number},s={picture.shape[1]},v={picture.shape[0]},c={columns},r={rows},"
    messages = []
    for begin in range(0, len(data), CHUNK):
        more = int(begin + CHUNK < len(data))
        messages.append(f"\x1b_G{keys}m={more};{data[begin : begin + CHUNK]}\x1b\\")
        keys = ""
    return "".join(messages)


def kitty_delete(number: int) -> str:
    """Returns the message that frees a picture."""
    return f"\x1b_Ga=d,d=I,q=2,i={number}\x1b\\"


def placeholders(drawing: Drawing, row: int) -> Segment:
    """Returns a line of cells in which Kitty shows a row of the picture; the colour is the picture's number.

    The first cell names its row and column, the others follow it.
    """
    text = f"{PLACEHOLDER}{row_marks()[row]}{row_marks()[0]}{PLACEHOLDER * (drawing.columns - 1)}"
    number = drawing.number
    return Segment(text, Style(color=Color.from_rgb(number >> 16, number >> 8 & 255, number & 255)))


@cache
def row_marks() -> str:
    """Returns the first marks by which Kitty counts rows and columns.

    By its rule: combining characters above the letter that neither decompose nor are part of a composed letter. Its
    table is that of Unicode 6.0; up to `LAST_MARK` nothing was added since.
    """
    composed = set()
    for code in range(0xC0, 0x2000):  # letters that may hold one of these marks
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            composed.add(int(parts[1], 16))
    return "".join(
        chr(code)
        for code in range(0x300, LAST_MARK + 1)
        if unicodedata.combining(chr(code)) == 230 and not unicodedata.decomposition(chr(code)) and code not in composed
    )


def sixel(picture: Pixels) -> str:
    """Returns a picture as Sixel, transparent pixels left as they are; empty where it has too many colours."""
    import numpy as np

    solid = picture[..., 3] >= 128
    colors, places = np.unique(picture[..., :3][solid], axis=0, return_inverse=True)
    if len(colors) > MOST_COLORS:
        return ""
    index = np.full(solid.shape, -1)
    index[solid] = places.reshape(-1)
    out = [f'\x1bP0;1;0q"1;1;{picture.shape[1]};{picture.shape[0]}']
    out += [f"#{n};2;{r};{g};{b}" for n, (r, g, b) in enumerate(np.rint(colors / 2.55).astype(int).tolist())]
    for top in range(0, len(index), 6):
        band = index[top : top + 6]
        bits = (1 << np.arange(len(band)))[:, None]
        for number in np.unique(band[band >= 0]).tolist():
            out.append(f"#{number}{_runs((np.where(band == number, bits, 0).sum(0) + 63).tolist())}$")
        out.append("-")
    return "".join([*out, "\x1b\\"])


def _runs(codes: list[int]) -> str:
    """Returns characters, with repeats counted."""
    runs = ((chr(code), len(list(same))) for code, same in itertools.groupby(codes))
    return "".join(letter * count if count < 4 else f"!{count}{letter}" for letter, count in runs)
