"""One colour a cell: from a picture and its grid to native pixels. Knows no palette and no background.

Chosen by measurement (docs/finishing.md): the mean of the middle half of a cell's inner samples, per channel; where edges
are soft, what they let in from the neighbours is taken out again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from pipelines.pixels.grid import Grid
from pipelines.records import Pixels

_MOST_SAMPLES = 6


def sample_cells(image: Pixels, grid: Grid) -> Pixels:
    """(rows, columns, 4) RGBA; alpha is soft where the picture's is, or where a cell is covered in part."""
    pitch = min(grid.pitch_x, grid.pitch_y)
    span = float(np.clip(1 - 2.4 * grid.blur / pitch, 0.3, 0.85))
    side = int(np.clip(round(pitch * span), 1, _MOST_SAMPLES))
    at_y, at_x = _inner(grid.y, side, span, image.shape[0]), _inner(grid.x, side, span, image.shape[1])
    samples = image[at_y[:, None], at_x[None]].reshape(grid.rows, side, grid.columns, side, 4)
    samples = samples.transpose(0, 2, 4, 1, 3).reshape(grid.rows, grid.columns, 4, side * side)
    native = _middle_mean(samples)
    leak_x, leak_y = _leak(grid.blur, grid.pitch_x, span), _leak(grid.blur, grid.pitch_y, span)
    if max(leak_x, leak_y) > 0.01 and min(native.shape[:2]) > 2:
        native = _without_leak(_without_leak(native, leak_y).swapaxes(0, 1), leak_x).swapaxes(0, 1)
    return np.clip(np.rint(native), 0, 255).astype(np.uint8)


def _inner(lines: NDArray[np.float64], side: int, span: float, length: int) -> NDArray[np.intp]:
    fraction = 0.5 + (np.arange(side) - (side - 1) / 2) * (span / side)
    at = lines[:-1, None] + np.diff(lines)[:, None] * fraction
    return np.clip(at.astype(np.intp), 0, length - 1).ravel()


def _middle_mean(samples: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean of the middle half along the last axis: as steady as a mean, as deaf to a neighbour's colour as a median."""
    count = samples.shape[-1]
    cut = count // 4
    ordered = np.sort(samples, axis=-1)[..., cut : count - cut]
    return ordered.mean(axis=-1, dtype=np.float64)


def _leak(blur: float, pitch: float, span: float) -> float:
    """Share of a cell's samples that comes from the neighbour on one side, for a Gaussian blur (mean over the span)."""
    if blur <= 0:
        return 0.0
    at = np.linspace(-span / 2, span / 2, 5) * pitch
    beyond = [0.5 - 0.5 * math.erf((pitch / 2 - position) / (blur * math.sqrt(2))) for position in at]
    return float(np.mean(beyond))


def _without_leak(native: NDArray[np.float64], leak: float) -> NDArray[np.float64]:
    """Solves mixed = leak * above + (1 - 2 leak) * own + leak * below along the first axis."""
    rows = native.shape[0]
    leak = min(leak, 0.2)
    bands = np.full((3, rows), leak)
    bands[1] = 1 - 2 * leak
    bands[1, [0, -1]] = 1 - leak
    return solve_banded((1, 1), bands, native.reshape(rows, -1)).reshape(native.shape)
