"""Check a result against its source: enlarged again, native pixels have to give the picture that they came from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.grid import Grid
from pipelines.pixels.lattice import enlarge_rows
from pipelines.records import Pixels

SHIFTED = 1.6
"""A grid has to explain the picture this many times as well as the same grid moved by half a cell."""
COARSER = 1.4
"""And this many times as well as the same grid with cells of two or three pixels."""
_STRONG = 40
"""Levels of luma that no noise or compression explains."""
_LUMA = np.array([0.3, 0.55, 0.15], np.float32)
_LINES = 64
_ROUNDING = 1.0


def unexplained(picture: Pixels, native: Pixels, kernel: str) -> float:
    """Returns the share of pixels (0..1) whose luma or alpha differs strongly from `native` enlarged, by some rows."""
    rows = np.arange(0, len(picture), max(1, len(picture) // _LINES))
    return _differing(picture[rows], enlarge_rows(native, picture.shape[1], picture.shape[0], rows, kernel))


def unexplained_cells(picture: Pixels, native: Pixels, grid: Grid) -> float:
    """Returns the same for a grid whose lines may drift; pixels on soft lines are left out."""
    rows = np.arange(0, len(picture), max(1, len(picture) // _LINES))
    at_y = np.searchsorted(grid.y[1:-1], rows + 0.5)
    at_x = np.searchsorted(grid.x[1:-1], np.arange(picture.shape[1]) + 0.5)
    again = native[at_y[:, None], at_x[None]].astype(np.float32)
    again[..., :3] *= again[..., 3:] / 255
    reach = min(1 + 1.5 * grid.blur, 0.3 * min(grid.pitch_x, grid.pitch_y))
    inner_y = _distance(rows + 0.5, grid.y) > reach
    inner_x = _distance(np.arange(picture.shape[1]) + 0.5, grid.x) > reach
    return _differing(picture[rows][inner_y][:, inner_x], again[inner_y][:, inner_x])


def _distance(at: NDArray[np.floating], lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measures from each position to the nearest line."""
    after = np.searchsorted(lines, at).clip(1, len(lines) - 1)
    return np.minimum(np.abs(at - lines[after - 1]), np.abs(lines[after] - at))


def _differing(picture: Pixels, again: NDArray[np.float32]) -> float:
    if not picture.size:
        return 0.0
    alpha = picture[..., 3].astype(np.float32)
    luma = np.abs((again[..., :3] - picture[..., :3] * (alpha[..., None] / 255)) @ _LUMA)
    return float((np.maximum(luma, np.abs(again[..., 3] - alpha)) > _STRONG).mean())


def is_grid(picture: Pixels, grid: Grid) -> bool:
    """Returns whether the cells of `grid` are really those of `picture`, on both axes."""
    if not grid.seen or min(grid.columns, grid.rows) < 8:
        return False
    rows = _plane(picture[:: max(1, len(picture) // _LINES)]).T
    columns = _plane(picture[:, :: max(1, picture.shape[1] // _LINES)])
    for values, lines in ((rows, grid.x), (columns, grid.y)):
        shifted, coarser = contrasts(values, lines)
        if shifted < SHIFTED or coarser < COARSER:
            return False
    return True


def _plane(picture: Pixels) -> NDArray[np.float32]:
    """Computes luma, with clear pixels darker than black."""
    plane = picture[..., :3].astype(np.float32) @ _LUMA
    return plane if (picture[..., 3] > 127).all() else np.where(picture[..., 3] > 127, plane, -64).astype(np.float32)


def contrasts(values: NDArray[np.float32], lines: NDArray[np.float64]) -> tuple[float, float]:
    """Returns how many times the variance inside cells grows: with all lines half a cell off, and with cells merged."""
    own = _within(values, lines) + _ROUNDING
    shifted = _within(values, (lines[:-1] + lines[1:]) / 2)
    merged = min(_within(values, lines[start::step]) for step in (2, 3) for start in range(step))
    return (shifted + _ROUNDING) / own, (merged + _ROUNDING) / own


def _within(values: NDArray[np.float32], lines: NDArray[np.float64]) -> float:
    """Returns the mean variance of `values` (length, n) within the cells between `lines`."""
    length = len(values)
    starts = np.unique(np.clip(np.rint(lines), 0, length).astype(np.intp))
    starts = np.unique(np.concatenate([[0], starts[starts < length]]))
    sums = np.add.reduceat(values, starts, axis=0)
    counts = np.diff(np.append(starts, length))[:, None]
    return float((np.square(values).sum() - (np.square(sums) / counts).sum()) / values.size)
