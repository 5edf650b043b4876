"""Make previews of pixel art for assistants, terminals and pages.

Pictures are enlarged by whole factors with nearest neighbour, laid on a chequered background and set side by side.
Pillow and numpy are imported when first used.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.records import Pixels

LIMIT = 512
"""The longest side of a preview in pixels: some clients refuse results of a megabyte."""
_LIGHT, _DARK, _BETWEEN, _GAP = 205, 180, 255, 8


def preview_png(pictures: Sequence[Pixels], limit: int = LIMIT, *, numbered: bool = False) -> bytes:
    """Returns one PNG of all pictures, in rows, as large as `limit` allows; a picture larger than that is made smaller.

    Args:
        pictures: (height, width, 4) RGBA each, at least one.
        limit: the longest side of the result in pixels.
        numbered: write 1, 2, ... into the corner of each of several pictures.
    """
    import numpy as np
    from PIL import Image

    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    height = max(p.shape[0] for p in pictures)
    width = max(p.shape[1] for p in pictures)
    room = min((limit - _GAP * (columns - 1)) / (columns * width), (limit - _GAP * (rows - 1)) / (rows * height))
    scale = max(1, int(room))
    size = (rows * height * scale + _GAP * (rows - 1), columns * width * scale + _GAP * (columns - 1), 3)
    sheet = np.full(size, _BETWEEN, np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        large = on_chequers(picture)[..., :3].repeat(scale, 0).repeat(scale, 1)
        top, left = row * (height * scale + _GAP), column * (width * scale + _GAP)
        sheet[top : top + large.shape[0], left : left + large.shape[1]] = large
    image = Image.fromarray(sheet)
    if numbered and len(pictures) > 1:
        _number(
            image,
            [
                (i % columns * (width * scale + _GAP), i // columns * (height * scale + _GAP))
                for i in range(len(pictures))
            ],
        )
    if max(image.size) > limit:
        image.thumbnail((limit, limit), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)  # enlarged pixels are small at any level
    return out.getvalue()


def _number(image: Any, corners: Sequence[tuple[int, int]]) -> None:
    """Writes 1, 2, ... at the corners: dark on a light label."""
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for number, (left, top) in enumerate(corners, 1):
        box = draw.textbbox((left + 4, top + 2), str(number), font=font)
        draw.rectangle((left, top, box[2] + 4, box[3] + 3), fill=(255, 255, 255))
        draw.text((left + 4, top + 2), str(number), font=font, fill=(20, 20, 20))


def fitted(picture: Pixels, side: int) -> Pixels:
    """Returns the picture about `side` pixels long: enlarged by a whole factor, or made smaller where it is longer."""
    import numpy as np
    from PIL import Image

    longest = max(picture.shape[:2])
    if longest <= side:
        factor = max(1, side // longest)
        return picture.repeat(factor, 0).repeat(factor, 1)
    size = tuple(max(1, round(length * side / longest)) for length in (picture.shape[1], picture.shape[0]))
    return np.array(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.LANCZOS))


def on_chequers(picture: Pixels, greys: tuple[int, int] = (_LIGHT, _DARK), cell: int = 4) -> Pixels:
    """Puts a picture on an opaque chequerboard of two `greys`; a square has `cell` of the picture's pixels a side."""
    import numpy as np

    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    background = np.where((x // cell + y // cell) % 2, greys[1], greys[0]).astype(np.float32)[..., None]
    alpha = picture[..., 3:].astype(np.float32) / 255
    mixed = picture[..., :3] * alpha + background * (1 - alpha)
    return np.concatenate([np.rint(mixed), np.full_like(background, 255)], axis=2).astype(np.uint8)
