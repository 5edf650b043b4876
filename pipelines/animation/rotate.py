"""Rotate parts of a sprite by any angle without new colours.

The part is enlarged eight times by Scale2x (Mazzoleni 2001), which keeps pixel edges clean, then sampled at the nearest
point, as RotSprite (Xenowhirl 2007) does. Quarter turns are exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.resample import scale2x
from pipelines.records import Pixels

_FACTOR = 8


class Turnable:
    """A part that is turned again and again: its enlargement is made once, when it is first needed."""

    def __init__(self, picture: Pixels) -> None:
        self.picture = picture
        self._large: NDArray[np.uint32] | None = None

    def turned(self, degrees: float, pivot: tuple[float, float], to: tuple[float, float]) -> Pixels:
        """Returns the part turned clockwise about `pivot`, which comes to lie at `to`.

        Args:
            degrees: clockwise on the screen; below 1 degree the part is only moved, by whole pixels.
            pivot: (x, y) in pixels of the part's canvas.
            to: (x, y) in pixels of the same canvas.

        Returns:
            A picture of the same size; what leaves the canvas is cut.
        """
        height, width = self.picture.shape[:2]
        if abs(degrees) < 1:
            return moved(self.picture, round(to[0] - pivot[0]), round(to[1] - pivot[1]))
        if self._large is None:
            packed = np.ascontiguousarray(self.picture).view(np.uint32)[..., 0]
            self._large = scale2x(scale2x(scale2x(packed)))
        angle = np.deg2rad(degrees)
        y, x = np.mgrid[:height, :width].astype(float)
        x, y = x - to[0], y - to[1]
        source_x = np.cos(angle) * x + np.sin(angle) * y + pivot[0] + 0.5
        source_y = -np.sin(angle) * x + np.cos(angle) * y + pivot[1] + 0.5
        at_x = np.floor(source_x * _FACTOR).astype(np.intp)
        at_y = np.floor(source_y * _FACTOR).astype(np.intp)
        inside = (at_x >= 0) & (at_x < width * _FACTOR) & (at_y >= 0) & (at_y < height * _FACTOR)
        result = np.zeros((height, width), np.uint32)
        result[inside] = self._large[at_y[inside], at_x[inside]]
        return result[..., None].view(np.uint8)


def moved(picture: Pixels, right: int, down: int) -> Pixels:
    """Returns the picture shifted by whole pixels; what leaves the canvas is cut, what enters is clear."""
    height, width = picture.shape[:2]
    result = np.zeros_like(picture)
    if abs(right) >= width or abs(down) >= height:
        return result
    result[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = picture[
        max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return result
