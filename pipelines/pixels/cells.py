"""Read one colour from each cell of a picture's grid: the native pixels.

Chosen by measurement (docs/finishing.md): the mean of the middle half of a cell's inner samples, per channel; where
edges are soft, what they let in from the neighbours is taken out again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.grid import Grid
from pipelines.pixels.quantize import as_words
from pipelines.records import Pixels

_MOST_SAMPLES = 6
_QUIET = 1.5
"""Levels of noise up to which a single pixel tells a cell's colour."""
_AROUND = np.array([-1.0, 0.0, 1.0])
_EDGE = 24
"""Levels by which neighbouring cells of different colours differ at least."""
_SHARP = 0.6
"""Pixels of blur that a mere shift by part of a pixel explains; it does not reach the middle of a cell."""


def sample_cells(image: Pixels, grid: Grid, noise: float = math.inf) -> Pixels:
    """Samples (rows, columns, 4) RGBA; alpha is soft where the picture's is, or where a cell is covered in part.

    Args:
        image: (h, w, 4) RGBA.
        grid: where the cells are.
        noise: what `measure_noise` found. Where it is next to nothing only the middle of a cell is read: the fewer
            samples, the less comes in from the neighbours.
    """
    pitch = min(grid.pitch_x, grid.pitch_y)
    span = float(np.clip(1 - 2.4 * grid.blur / pitch, 0.3, 0.85)) if noise > _QUIET else max(0.25, 1.5 / pitch)
    side = int(np.clip(round(pitch * span), 1, _MOST_SAMPLES))
    at_y, at_x = _inner(grid.y, side, span, image.shape[0]), _inner(grid.x, side, span, image.shape[1])
    words = as_words(image)  # one gather for each plane instead of four, and nothing to transpose
    planes = [words[y[:, None], x].view(np.uint8).reshape(grid.rows, grid.columns, 4) for y in at_y for x in at_x]
    native = _middle_mean(planes)
    leak_x, leak_y = _leak(grid.blur, grid.pitch_x, span), _leak(grid.blur, grid.pitch_y, span)
    if max(leak_x, leak_y) > 0.01 and min(native.shape[:2]) > 2:
        native = _without_leak(_without_leak(native, leak_y).swapaxes(0, 1), leak_x).swapaxes(0, 1)
    return np.clip(np.rint(native), 0, 255).astype(np.uint8)


def measure_noise(image: Pixels, grid: Grid) -> float:
    """Measures the standard deviation, in levels, of colour in the middle of a cell: the median of cells with an edge.

    `image` is (h, w, 4) RGBA; up to 64 rows and columns of cells are looked at.
    """
    at_y, at_x = (
        np.clip(np.rint(middle[:, None] - 0.5 + _AROUND * _reach(pitch)).astype(np.intp), 0, length - 1)
        for middle, pitch, length in (
            (_some((grid.y[1:] + grid.y[:-1]) / 2), grid.pitch_y, image.shape[0]),
            (_some((grid.x[1:] + grid.x[:-1]) / 2), grid.pitch_x, image.shape[1]),
        )
    )
    samples = image[at_y[:, :, None, None], at_x].astype(np.float32)  # (rows, 3, columns, 3, 4)
    middle = samples[:, 1, :, 1]
    edge = np.abs(np.diff(middle, axis=1)).max(axis=-1) > _EDGE
    spread = np.sqrt(samples.var(axis=(1, 3), ddof=1).mean(axis=-1))[:, 1:]
    return float(np.median(spread[edge])) if edge.any() else 0.0


def _reach(pitch: float) -> float:
    """Returns the pixels from a cell's middle within which its colour is still its own; more than one pixel is read."""
    return max(0.12 * pitch, 0.5) if pitch >= 3.5 else (pitch - 1) / 2


def _some(middles: NDArray[np.float64]) -> NDArray[np.float64]:
    return middles[(len(middles) - 64) // 2 :][:64] if len(middles) > 64 else middles


def _inner(lines: NDArray[np.float64], side: int, span: float, length: int) -> NDArray[np.intp]:
    """Finds (side, cells), the pixels of each cell that are looked at."""
    fraction = 0.5 + (np.arange(side) - (side - 1) / 2) * (span / side)
    at = lines[:-1, None] + np.diff(lines)[:, None] * fraction
    return np.clip(at.astype(np.intp), 0, length - 1).T


def _middle_mean(samples: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Returns the mean of the middle half of the samples, which ignores a neighbour's colour as a median does.

    Where noise was cut off at 0 or 255, the mean is biased and the median is returned.
    """
    count = len(samples)
    cut = count // 4
    ordered = _sorted(samples)
    middle = ordered[cut : count - cut]
    mean = np.sum(middle, axis=0, dtype=np.uint16).astype(np.float32) / len(middle)
    median = (ordered[(count - 1) // 2].astype(np.float32) + ordered[count // 2]) / 2
    return np.where((middle[0] == 0) | (middle[-1] == 255), median, mean)


def _sorted(planes: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Sorts every pixel through the planes: Batcher's merge exchange (Knuth, TAOCP 3, algorithm 5.2.2M).

    Each comparison is one minimum and one maximum of whole planes: 20 times as fast here as `np.sort` along an axis.
    """
    ordered = list(planes)
    count = len(ordered)
    top = 1 << max(count - 1, 1).bit_length() - 1
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            for i in range(count - d):
                if i & p == r:
                    low, high = ordered[i], ordered[i + d]
                    ordered[i], ordered[i + d] = np.minimum(low, high), np.maximum(low, high)
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return ordered


def _leak(blur: float, pitch: float, span: float) -> float:
    """Returns the share of samples from the neighbour on one side, for a Gaussian blur (mean over the span)."""
    if blur < _SHARP:
        return 0.0
    at = np.linspace(-span / 2, span / 2, 5) * pitch
    beyond = [0.5 - 0.5 * math.erf((pitch / 2 - position) / (blur * math.sqrt(2))) for position in at]
    return float(np.mean(beyond))


def _without_leak(native: NDArray[np.floating], leak: float) -> NDArray[np.floating]:
    """Solves mixed = leak * above + (1 - 2 leak) * own + leak * below along the first axis."""
    rows = native.shape[0]
    leak = min(leak, 0.2)
    bands = np.full((3, rows), leak)
    bands[1] = 1 - 2 * leak
    bands[1, [0, -1]] = 1 - leak
    from scipy.linalg import solve_banded

    return solve_banded((1, 1), bands, native.reshape(rows, -1)).reshape(native.shape)
