"""A pixel font: the glyphs of `font.txt`, coloured and outlined, as a sheet with a BMFont file.

The text form of BMFont's descriptor is that of AngelCode's documentation (bmfont, "Font descriptor file format").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.records import Pixels

ROWS, BASE = 8, 7
"""Rows of a glyph, and how many of them are above the base line."""
SPACE = 3
"""Width of the space in pixels."""
COLUMNS = 16
"""Glyphs in a row of the sheet."""
FIRST, LAST = 32, 126

Mask = NDArray[np.bool_]


@cache
def glyphs() -> dict[str, Mask]:
    """Maps each character to the (ROWS, width) mask of its glyph, the space included."""
    found: dict[str, Mask] = {" ": np.zeros((ROWS, SPACE), bool)}
    for line in Path(__file__).with_name("font.txt").read_text(encoding="utf-8").splitlines():
        if not line or (line[0] == "#" and not set(line[2:]) <= set("#./")):
            continue
        rows = line[2:].split("/")
        glyph = np.zeros((ROWS, max(map(len, rows))), bool)
        for y, row in enumerate(rows):
            for x, pixel in enumerate(row):
                glyph[y, x] = pixel == "#"
        found[line[0]] = glyph
    return found


def text_mask(text: str) -> Mask:
    """Returns (ROWS, width) of a line of text; characters without a glyph become '?'."""
    known = glyphs()
    parts = []
    for character in text:
        parts += [known.get(character, known["?"]), np.zeros((ROWS, 1), bool)]
    return np.concatenate(parts[:-1], axis=1) if parts else np.zeros((ROWS, 0), bool)


def colored(mask: Mask, ramp: Sequence[tuple[int, int, int]], *, outline: bool = True) -> Pixels:
    """Returns (rows + 2, width + 2, 4): glyphs lit from above in the ramp's light colours, with a dark outline.

    Args:
        mask: what is drawn.
        ramp: five colours from dark to light; the outline is the first.
        outline: without it the rim stays clear.
    """
    height, width = mask.shape
    picture = np.zeros((height + 2, width + 2, 4), np.uint8)
    if outline:
        padded = np.pad(mask, 2)
        rim = np.zeros((height + 2, width + 2), bool)
        for dy in range(3):
            for dx in range(3):
                rim |= padded[dy : dy + height + 2, dx : dx + width + 2]
        picture[rim] = (*ramp[0], 255)
    for y in range(height):
        color = ramp[4] if y < 4 else ramp[3]
        picture[y + 1, 1:-1][mask[y]] = (*color, 255)
    return picture


@dataclass(frozen=True, slots=True, eq=False)
class Font:
    """A sheet of glyphs, `cell` pixels each (width, height), and its BMFont descriptor."""

    image: Pixels
    cell: tuple[int, int]
    descriptor: bytes


def make_font(ramp: Sequence[tuple[int, int, int]], *, outline: bool = True, image_name: str = "font.png") -> Font:
    """Lays out ASCII 32 to 126, 16 glyphs a row, and describes every glyph for programs that read BMFont."""
    known = glyphs()
    width, height = max(glyph.shape[1] for glyph in known.values()) + 2, ROWS + 2
    rows = -(-(LAST - FIRST + 1) // COLUMNS)
    image = np.zeros((rows * height, COLUMNS * width, 4), np.uint8)
    lines = []
    for code in range(FIRST, LAST + 1):
        glyph = known[chr(code)]
        y, x = divmod(code - FIRST, COLUMNS)
        picture = colored(glyph, ramp, outline=outline)
        image[y * height : (y + 1) * height, x * width : x * width + picture.shape[1]] = picture
        lines.append(
            f"char id={code} x={x * width} y={y * height} width={picture.shape[1]} height={height} xoffset=-1 "
            f"yoffset=-1 xadvance={glyph.shape[1] + 1} page=0 chnl=15"
        )
    head = [
        'info face="dgx pixels" size=8 bold=0 italic=0 charset="" unicode=1 stretchH=100 smooth=0 aa=1 '
        f"padding=0,0,0,0 spacing=0,0 outline={int(outline)}",
        f"common lineHeight={ROWS + 2} base={BASE} scaleW={image.shape[1]} scaleH={image.shape[0]} pages=1 packed=0 "
        "alphaChnl=0 redChnl=0 greenChnl=0 blueChnl=0",
        f'page id=0 file="{image_name}"',
        f"chars count={len(lines)}",
    ]
    return Font(image, (width, height), ("\n".join([*head, *lines]) + "\n").encode())
