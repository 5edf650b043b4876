"""Move a sprite's pixels as they are: flip, rotate, trim, pad. No model, no new colours."""

from __future__ import annotations

import re

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

FORMS = "flip, flip_vertical, rotate_90, rotate_180, rotate_270, trim, or pad:2 (pixels on each side)"
MOST_PADDING, LARGEST = 64, 256


def transform(image: Pixels, how: str) -> Pixels:
    """Returns the picture (height, width, 4) after one move.

    Args:
        how: `flip` (left to right), `flip_vertical`, `rotate_90`, `rotate_180`, `rotate_270` (clockwise), `trim`
            (transparent margins go), `pad:N` (N transparent pixels, 1 to 64, on each side).

    Raises:
        InvalidRequest: another word, nothing to trim to, or a side above 256 pixels.
    """
    word = re.sub(r"[^a-z0-9]+", "_", how.strip().lower()).strip("_")
    if word in ("flip", "flip_horizontal", "mirror"):
        return image[:, ::-1].copy()
    if word == "flip_vertical":
        return image[::-1].copy()
    if turn := re.fullmatch(r"rotate_?(90|180|270)", word):
        return np.rot90(image, -int(turn[1]) // 90).copy()
    if word == "trim":
        rows, columns = (np.flatnonzero(image[..., 3].any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            raise InvalidRequest("The sprite is empty: there is nothing to trim it to.")
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    if (padding := re.fullmatch(r"pad_?(\d{1,3})", word)) and 1 <= (width := int(padding[1])) <= MOST_PADDING:
        if max(image.shape[:2]) + 2 * width > LARGEST:
            raise InvalidRequest(f"pad:{width} makes the sprite larger than {LARGEST} pixels. Give less.")
        return np.pad(image, ((width, width), (width, width), (0, 0)))
    raise InvalidRequest(f"transform='{how[:40]}' is not known. Give {FORMS}.")
