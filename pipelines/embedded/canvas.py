"""Place a picture on the canvas that the embedded model and its judge see."""

from __future__ import annotations

import numpy as np

from pipelines.records import Pixels

SIZE = 32
"""Width and height of the canvas that the model was trained on, in pixels."""
CLEAR = (128, 128, 128, 0)
"""A transparent pixel as RGBA bytes: (0, 0, 0, -1) in the model's range of -1..1."""


def place(image: Pixels) -> tuple[Pixels, int] | None:
    """Places an RGBA picture of any size on a 32x32 canvas with hard alpha.

    A picture of up to 16x16 is doubled. Others stand at the bottom of the canvas, centred; a picture with a side above
    32 is cropped to its opaque pixels first.

    Returns:
        The canvas, (32, 32, 4) uint8, and the native size (16 or 32); None where the picture is empty or too large.
    """
    image = np.where(image[..., 3:] >= 128, image | np.array([0, 0, 0, 255], np.uint8), np.array(CLEAR, np.uint8))
    if max(image.shape[:2]) > SIZE:
        rows, columns = np.nonzero(image[..., 3])
        if not rows.size or max(np.ptp(rows), np.ptp(columns)) >= SIZE:
            return None
        image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    native = 16 if max(image.shape[:2]) <= 16 else 32
    if native == 16:
        image = image.repeat(2, axis=0).repeat(2, axis=1)
    if not image[..., 3].any():
        return None
    height, width = image.shape[:2]
    canvas = np.empty((SIZE, SIZE, 4), np.uint8)
    canvas[:] = CLEAR
    left = (SIZE - width) // 2 // 2 * 2
    canvas[SIZE - height :, left : left + width] = image
    return canvas, native
