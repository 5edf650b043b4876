"""Check a result against its source: enlarged again, native pixels have to give the picture that they came from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.grid import Grid
from pipelines.pixels.lattice import enlarge_pixels
from pipelines.records import Pixels

SHIFTED = 1.6
"""A grid has to explain the picture this many times as well as the same grid moved by half a cell."""
COARSER = 1.4
"""And this many times as well as the same grid with cells of two or three pixels."""
_STRONG = 48
"""Levels in a channel that no noise or compression explains."""
_LINES = 96
_ROUNDING = 1.0


def unexplained(picture: Pixels, native: Pixels, kernel: str) -> float:
    """Share of the pixels (0..1) that differ strongly from `native` enlarged again."""
    again = enlarge_pixels(native, picture.shape[1], picture.shape[0], kernel)
    alpha = picture[..., 3:].astype(np.float32) / 255
    color = np.abs(again[..., :3] - picture[..., :3] * alpha).max(axis=-1)
    return float((np.maximum(color, np.abs(again[..., 3] - picture[..., 3])) > _STRONG).mean())


def is_grid(picture: Pixels, grid: Grid) -> bool:
    """Whether the cells of `grid` are really those of `picture`, on both axes."""
    if not grid.seen or min(grid.columns, grid.rows) < 8:
        return False
    plane = picture[..., :3].astype(np.float32) @ np.array([0.3, 0.55, 0.15], np.float32)
    if (picture[..., 3] < 255).any():
        plane = np.where(picture[..., 3] > 127, plane, -64)
    rows = plane[:: max(1, len(plane) // _LINES)].T
    columns = plane[:, :: max(1, plane.shape[1] // _LINES)]
    for values, lines in ((rows, grid.x), (columns, grid.y)):
        shifted, coarser = contrasts(values, lines)
        if shifted < SHIFTED or coarser < COARSER:
            return False
    return True


def contrasts(values: NDArray[np.float32], lines: NDArray[np.float64]) -> tuple[float, float]:
    """How many times the variance inside cells grows: with all lines half a cell off, and with cells merged."""
    own = _within(values, lines) + _ROUNDING
    shifted = _within(values, (lines[:-1] + lines[1:]) / 2)
    merged = min(_within(values, lines[start::step]) for step in (2, 3) for start in range(step))
    return (shifted + _ROUNDING) / own, (merged + _ROUNDING) / own


def _within(values: NDArray[np.float32], lines: NDArray[np.float64]) -> float:
    """Mean variance of `values` (length, n) within the cells between `lines`."""
    length = len(values)
    starts = np.unique(np.clip(np.rint(lines), 0, length).astype(np.intp))
    starts = np.unique(np.concatenate([[0], starts[starts < length]]))
    sums = np.add.reduceat(values, starts, axis=0)
    counts = np.diff(np.append(starts, length))[:, None]
    return float((np.square(values).sum() - (np.square(sums) / counts).sum()) / values.size)
