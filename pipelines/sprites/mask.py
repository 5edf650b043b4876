"""Read which pixels an edit may change: a part by its name, rectangles, or a picture."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

MOST_RECTANGLES = 64
_NUMBERS = re.compile(r"[\d\s,;x+-]+")


def is_rectangles(text: str) -> bool:
    """Returns whether a text is made of numbers, as "4,0,8,6; 20,10,4,4" is."""
    return bool(_NUMBERS.fullmatch(text)) and any(letter.isdigit() for letter in text)


def mask_of_rectangles(text: str, width: int, height: int) -> NDArray[np.bool_]:
    """Returns (height, width), True inside the rectangles "x,y,width,height; ..." in pixels of the sprite.

    What lies outside of the sprite is cut off.

    Raises:
        InvalidRequest: a rectangle has another form, or all of them are outside of the sprite.
    """
    parts = [part for part in text.split(";") if part.strip()]
    if len(parts) > MOST_RECTANGLES:
        raise InvalidRequest(f"{len(parts)} rectangles are too many: give up to {MOST_RECTANGLES}, or a mask picture.")
    mask = np.zeros((height, width), bool)
    for part in parts:
        numbers = re.findall(r"-?\d{1,6}", part)
        if len(numbers) != 4:
            raise InvalidRequest(
                f"'{part.strip()[:40]}' is not a rectangle. Write x,y,width,height in pixels, several with ';' between."
            )
        x, y, wide, high = map(int, numbers)
        mask[max(0, y) : max(0, y + high), max(0, x) : max(0, x + wide)] = True
    if not mask.any():
        raise InvalidRequest(
            f"The rectangles hold no pixel of the sprite, which is {width}x{height}. x and y begin at 0."
        )
    return mask


def mask_of_picture(picture: Pixels, width: int, height: int) -> NDArray[np.bool_]:
    """Returns (height, width), True where a mask picture (h, w, 4) says that the sprite may change.

    A picture with transparent pixels marks by its opaque ones, another by its light ones. It has the sprite's size, or
    is a whole enlargement of it, as a preview is; a pixel is marked where more than half of its block is.

    Raises:
        InvalidRequest: another size, or nothing or everything is marked.
    """
    high, wide = picture.shape[:2]
    factor = wide // width
    if factor < 1 or (wide, high) != (width * factor, height * factor):
        raise InvalidRequest(
            f"The mask is {wide}x{high}; the sprite is {width}x{height}. Give a mask of that size, or a whole "
            "multiple of it."
        )
    clear = picture[..., 3] < 128
    marked = ~clear if clear.any() else picture[..., :3].mean(axis=-1) >= 128
    shares = marked.reshape(height, factor, width, factor).mean(axis=(1, 3))
    mask = shares > 0.5
    if not mask.any():
        raise InvalidRequest("The mask marks no pixel. Paint white, or leave opaque, what may change.")
    return mask
