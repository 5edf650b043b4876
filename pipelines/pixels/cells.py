"""One colour a cell: from a picture and its grid to native pixels. Knows no palette and no background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.grid import Grid
from pipelines.records import Pixels

_MOST_SAMPLES = 5


def sample_cells(image: Pixels, grid: Grid) -> Pixels:
    """(rows, columns, 4): the median of each cell's inner half; alpha is the mean of the same samples."""
    samples = inner_samples(image, grid)
    native = np.empty((*samples.shape[:2], 4), np.uint8)
    native[..., :3] = np.sort(samples[..., :3], axis=2)[:, :, samples.shape[2] // 2]
    native[..., 3] = np.rint(samples[..., 3].mean(axis=2))
    return native


def inner_samples(image: Pixels, grid: Grid) -> NDArray[np.uint8]:
    """(rows, columns, n, 4): n = 1, 4, 9, 16 or 25 pixels spread over each cell's inner half."""
    side = int(np.clip(round(min(grid.pitch_x, grid.pitch_y) * 0.6), 1, _MOST_SAMPLES))
    at_y, at_x = _inner(grid.y, side, image.shape[0]), _inner(grid.x, side, image.shape[1])
    picked = image[at_y[:, None], at_x[None]]
    shaped = picked.reshape(grid.rows, side, grid.columns, side, 4).swapaxes(1, 2)
    return shaped.reshape(grid.rows, grid.columns, side * side, 4)


def _inner(lines: NDArray[np.float64], side: int, length: int) -> NDArray[np.intp]:
    fraction = 0.5 + (np.arange(side) - (side - 1) / 2) * (0.6 / side)
    at = lines[:-1, None] + np.diff(lines)[:, None] * fraction
    return np.clip(at.astype(np.intp), 0, length - 1).ravel()
