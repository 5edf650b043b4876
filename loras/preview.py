"""Draw the contact sheet of a dataset and the plot of the loss, with Pillow only."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.records import Pixels

_BACKGROUND, _INK, _FAINT, _LINE = (238, 238, 234), (40, 40, 46), (205, 205, 200), (32, 92, 168)
_HELD = (190, 84, 20)
_CELL, _PAD, _WORDS = 96, 8, 14


def contact_sheet(pictures: Sequence[tuple[Pixels, str]], columns: int = 8, most: int = 64) -> bytes:
    """Returns a PNG of pictures with a line of words under each, enlarged by whole factors; at most `most` of them."""
    shown = list(pictures)[:most]
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    font = ImageFont.load_default(10)
    width, height = columns * (_CELL + _PAD) + _PAD, rows * (_CELL + _WORDS + _PAD) + _PAD
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, words) in enumerate(shown):
        row, column = divmod(index, columns)
        left, top = _PAD + column * (_CELL + _PAD), _PAD + row * (_CELL + _WORDS + _PAD)
        draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=(214, 214, 210))
        tile = enlarged(picture, _CELL)
        sheet.paste(tile, (left + (_CELL - tile.width) // 2, top + (_CELL - tile.height) // 2), tile)
        draw.text((left, top + _CELL + 1), _cut(words, font, _CELL), fill=_INK, font=font)
    return encoded(sheet)


def enlarged(picture: Pixels, side: int) -> Image.Image:
    """Enlarges the picture by the largest whole factor that fits a square of `side` pixels, or shrinks it into one."""
    image = Image.fromarray(picture)
    factor = side // max(image.size)
    if factor:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return image


def loss_plot(
    losses: Sequence[float],
    step: int = 1,
    width: int = 640,
    height: int = 260,
    validations: Sequence[tuple[int, float]] = (),
) -> bytes:
    """Returns a PNG of the loss: single values faint, a moving average over a twentieth of them as a line.

    Args:
        losses: one value every `step` training steps, in order; at least one.
        validations: (training step, loss of the pictures that are held out), a second line.
    """
    values = np.asarray(losses, np.float64)
    span = max(1, len(values) // 20)
    padded = np.concatenate([np.full(span - 1, values[:span].mean()), values])
    mean = np.convolve(padded, np.ones(span) / span, "valid")
    top = max([float(np.quantile(values, 0.98)), *(value for _, value in validations)]) * 1.15 or 1.0
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(11)
    left, right, upper, lower = 52, width - 12, 12, height - 28

    def x(index: float) -> float:
        return left + (right - left) * index / max(1, len(values) - 1)

    def y(value: float) -> float:
        return lower - (lower - upper) * min(value, top) / top

    for part in range(5):
        value = top * part / 4
        draw.line((left, y(value), right, y(value)), fill=_FAINT)
        draw.text((left - 6, y(value)), f"{value:.3g}", fill=_INK, font=font, anchor="rm")
    for index, value in enumerate(values):
        draw.point((x(index), y(value)), fill=(150, 175, 205))
    draw.line([(x(i), y(v)) for i, v in enumerate(mean)], fill=_LINE, width=2)
    held = [(x(max(0, at / step - 1)), y(value)) for at, value in validations]
    if len(held) > 1:
        draw.line(held, fill=_HELD, width=2)
    for at, value in held:
        draw.ellipse((at - 3, value - 3, at + 3, value + 3), fill=_HELD)
    if held:
        said = f"held out {validations[-1][1]:.4f}"
        draw.text((right, upper + 14), said, fill=_HELD, font=font, anchor="ra")
    draw.text((left, height - 20), "0", fill=_INK, font=font)
    draw.text((right, height - 20), f"step {len(values) * step:,}", fill=_INK, font=font, anchor="ra")
    draw.text((right, upper), f"loss {mean[-1]:.4f}", fill=_LINE, font=font, anchor="ra")
    return encoded(image)


def encoded(image: Image.Image) -> bytes:
    """Returns the picture as a PNG."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _cut(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(words + "…") > width:
        words = words[:-1]
    return words.rstrip() + "…"
