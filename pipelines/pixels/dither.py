"""Dither two palette colours by a Bayer matrix: for still pictures that ask for it, never by default."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels

SIZES = (0, 2, 4, 8)
_PART = 1 << 21
_WIDEST = 0.25
"""OKLab distance beyond which two colours make a pattern, not a shade."""


def bayer(size: int) -> NDArray[np.float64]:
    """Makes (size, size) thresholds between 0 and 1; `size` is 2, 4 or 8. It starts at every tile's origin."""
    matrix = np.zeros((1, 1))
    while len(matrix) < size:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return (matrix + 0.5) / size**2


def dither(image: Pixels, palette: Palette, size: int) -> Pixels:
    """Dithers `image` ((h, w, 4) RGBA): each pixel takes one of its two nearest colours of the palette.

    A colour of the palette stays as it is.
    """
    height, width = image.shape[:2]
    if len(palette) < 2:
        return _painted(image, palette, np.zeros((height, width), np.intp))
    threshold = np.tile(bayer(size), (height // size + 1, width // size + 1))[:height, :width]
    index = np.empty((height, width), np.intp)
    rows = max(1, _PART // (width * len(palette)))
    for top in range(0, height, rows):  # in parts: a distance to every colour for every pixel may be gigabytes
        band = slice(top, top + rows)
        index[band] = _woven(image[band], palette.lab.astype(np.float64), threshold[band])
    return _painted(image, palette, index)


def _woven(image: Pixels, colors: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.intp]:
    """Returns the (h, w) index of the colour that each pixel takes."""
    lab = to_oklab(image[..., :3]).astype(np.float64)
    distance = np.square(lab[:, :, None] - colors).sum(-1)
    near = distance.argmin(axis=-1)
    np.put_along_axis(distance, near[..., None], np.inf, axis=-1)
    next_near = distance.argmin(axis=-1)
    way = colors[next_near] - colors[near]
    length = np.square(way).sum(-1)
    share = np.clip(((lab - colors[near]) * way).sum(-1) / np.maximum(length, 1e-12), 0, 1)
    mixed = (share > threshold) & (length < _WIDEST**2)
    return np.where(mixed, next_near, near)


def _painted(image: Pixels, palette: Palette, index: NDArray[np.intp]) -> Pixels:
    result = np.empty_like(image)
    result[..., :3] = palette.rgb[index]
    result[..., 3] = image[..., 3]
    result[image[..., 3] == 0] = 0
    return result
