"""The proof's picture: a labelled row of sprites for everything that is compared, the same words in a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loras.preview import encoded, enlarged
from pipelines.records import Pixels

CELL, GAP, SIDE, FOOT = 64, 4, 128, 18


def picture(rows: Mapping[str, Sequence[Pixels]], words: Sequence[str]) -> bytes:
    """Writes a PNG with a row for each entry: its label on the left (may hold line breaks), column names below."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(12)
    size = SIDE + len(words) * (CELL + GAP), len(rows) * (CELL + GAP) + GAP + FOOT
    image = Image.new("RGB", size, (238, 238, 234))
    ink = ImageDraw.Draw(image)
    for r, (label, pictures) in enumerate(rows.items()):
        top = GAP + r * (CELL + GAP)
        ink.multiline_text((8, top + 6), label, fill=(40, 40, 46), font=font)
        for c, sprite in enumerate(pictures):
            tile = enlarged(sprite, CELL)
            left = SIDE + c * (CELL + GAP)
            ink.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill=(214, 214, 210))
            image.paste(tile, (left, top), tile)
    for c, word in enumerate(words):
        ink.text((SIDE + c * (CELL + GAP), len(rows) * (CELL + GAP) + GAP), word, fill=(40, 40, 46), font=font)
    return encoded(image)
