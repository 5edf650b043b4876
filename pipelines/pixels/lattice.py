"""Find the size of a picture that was enlarged with interpolation, with or without noise on top.

Every usual enlargement (nearest, bilinear, bicubic, Lanczos) is a linear map from few native pixels to many, along one
axis after the other. For a number of native pixels the map is inverted by least squares on some rows and columns; what
is left over tells how well the number explains the picture. A number is proved by its neighbours: with one or two cells
more or less the picture has to fit much worse. Gradients and paint fit every number about as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import solveh_banded

from pipelines.pixels.quantize import as_bytes, as_words
from pipelines.records import Pixels

Values = NDArray[np.float32]
Sides = tuple[Values, Values]
"""Values along x, (width, n), and along y, (height, m)."""
SHARP = 2.0
"""A number is proved where its neighbours leave at least this many times its squared error over."""
_FINER = 0.45
"""Compression and noise leave finer cells 0.6 of the squared error or more; a size that is too coarse 0.3 or less."""
_FLAT = 0.1
"""Change in the middle of a cell, as a share of that at its border, up to which the cell is flat (blur: up to 0.03)."""
_ROWS = 24
"""Rows and columns that are looked at."""
_LOOKED_AT = 128
"""Rows and columns of which those are chosen."""
_FEWEST = 8
_MOST = 512
_ROUNDING = 0.08
"""Squared error of values that were rounded to bytes (1/12)."""
_CLIP_ROUNDS = 5
_CONVERGED = 0.99
"""Of the error of the round before, above which another round is not worth the seconds that it takes in a large one."""
_LARGE = 1 << 22
_BAND = 256
"""Rows or columns that are solved for together: 16 MiB of numbers for a side of 4096 pixels."""
_NO_OVERSHOOT = ("nearest", "bilinear")


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(a: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x < 1, near, np.where(x < 2, far, 0))

    return kernel


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], int]] = {
    "nearest": (lambda x: np.ones_like(x), 0),
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic(-0.5), 2),
    "bicubic, sharp": (_cubic(-0.75), 2),
    "Lanczos": (_lanczos, 3),
}
"""Kernel and reach in native pixels. -0.5 is Keys' cubic (Pillow), -0.75 the sharper one (OpenCV, browsers)."""
_SEARCHED = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True, slots=True)
class Lattice:
    """The native size that explains a picture, the kernel that enlarged it, and how much worse its neighbours fit.

    `error`: mean squared difference, in levels, between the picture and its native pixels enlarged again.
    """

    columns: int
    rows: int
    kernel: str
    sharpness: float
    error: float


class _Map:
    """The enlargement of `cells` native pixels to `length`, and its least-squares inverse."""

    def __init__(self, length: int, cells: int, kernel: str) -> None:
        self.cells = cells
        function, reach = KERNELS[kernel]
        center = (np.arange(length) + 0.5) * cells / length
        taps = max(1, 2 * reach)
        first = np.floor(center - (reach - 0.5 if reach else 0)).astype(np.intp)
        at = first[:, None] + np.arange(taps)
        weight = np.where((at >= 0) & (at < cells), function(at + 0.5 - center[:, None]), 0)
        weight /= weight.sum(axis=1, keepdims=True)
        start = np.arange(0, taps * length + 1, taps)
        parts = weight.astype(np.float32).ravel(), at.clip(0, cells - 1).ravel(), start
        self.matrix = sparse.csr_array(parts, shape=(length, cells))
        self.back = self.matrix.T.tocsr()
        square = (self.back @ self.matrix).tocsr()
        self.bands = np.zeros((taps, cells))
        for distance in range(min(taps, cells)):
            self.bands[taps - 1 - distance, distance:] = square.diagonal(distance)
        self.bands[-1] += 1e-4

    def solve(self, values: Values) -> Values:
        """Solves for (cells, n), the native pixels whose enlargement comes nearest to `values` (length, n)."""
        return solveh_banded(self.bands, self.back @ values, check_finite=False).astype(np.float32)

    def apply(self, native: Values) -> Values:
        """Enlarges `native` (cells, n) to (length, n)."""
        return self.matrix @ native

    def error(self, values: Values) -> float:
        """Returns mean squared error of the best native pixels."""
        return float(np.square(self.apply(self.solve(values)) - values).mean())


@lru_cache(maxsize=128)
def _map(length: int, cells: int, kernel: str) -> _Map:
    """Makes one map a triple: a picture needs the same ones several times, and pictures of one size come in numbers."""
    return _Map(length, cells, kernel)


def _sampled(image: Pixels) -> Sides:
    """Samples luma (and alpha) of some columns and some rows that change."""
    return _luma(_rows_that_change(image)), _luma(_rows_that_change(image.swapaxes(0, 1)))


def _rows_that_change(image: Pixels) -> Pixels:
    """Takes up to _ROWS rows of `image`, evenly spaced among those that change at all."""
    some = as_bytes(as_words(image)[:: max(1, len(image) // _LOOKED_AT)])
    green, alpha = some[..., 1], some[..., 3]
    differs = green[:, 1:] != green[:, :-1]
    if alpha.min() < 255:
        differs |= alpha[:, 1:] != alpha[:, :-1]
    change = differs.sum(axis=1)
    rows = np.flatnonzero(change > 0.1 * change.max()) if change.any() else np.zeros(0, np.intp)
    return some[rows[np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).astype(int)]]


def _luma(image: Pixels) -> Values:
    """Computes luma (and alpha) of rows of `image`, (width, rows)."""
    chosen = image.astype(np.float32)
    color, alpha = chosen[..., :3] @ np.array([0.3, 0.55, 0.15], np.float32), chosen[..., 3]
    planes = [color] if (alpha == 255).all() else [color * (alpha / 255), alpha]
    return np.ascontiguousarray(np.concatenate(planes).T)


def _shortlist(sides: Sides) -> list[tuple[int, int]]:
    """Lists (columns, rows) worth a try: those of whole factors, and those whose knots the second difference shows."""
    width, height = len(sides[0]), len(sides[1])
    shared = math.gcd(width, height)
    sizes = {(width // k, height // k) for k in range(2, 65) if shared % k == 0}
    step = width // shared
    for values, length in zip(sides, (width, height), strict=True):
        second = np.abs(np.diff(values, 2, axis=0)).mean(axis=1)
        spectrum = np.abs(np.fft.rfft(second - second.mean()))
        peaks = np.flatnonzero((spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] >= spectrum[2:])) + 1
        for peak in peaks[np.argsort(-spectrum[peaks], kind="stable")[:5]]:
            columns = round(peak * width / length / step) * step
            if columns:
                sizes.add((columns, columns * height // width))
    most = min(_MOST, width // 2)
    return sorted(size for size in sizes if min(size) >= _FEWEST and size[0] <= most)


def find_lattice(
    image: Pixels, sizes: Iterable[tuple[int, int]] | None = None, *, believed: bool = False
) -> Lattice | None:
    """Returns the coarsest native size of `image` ((h, w, 4) RGBA) that is proved; None where none is.

    Args:
        image: the picture, at least twice as large as its native size on both axes.
        sizes: the (columns, rows) to choose from; None looks for them.
        believed: the first size is right, and only its kernel is looked for. The sharpness is 0 then.
    """
    if min(image.shape[:2]) < 2 * _FEWEST:
        return None
    sides = _sampled(image)
    if not all(side.size for side in sides):
        return None
    for columns, rows in sizes if sizes is not None else _shortlist(sides):
        errors = {kernel: _errors(sides, columns, rows, kernel) for kernel in _SEARCHED}
        kernel = min(errors, key=lambda name: sum(errors[name]))
        if believed:
            return Lattice(columns, rows, kernel, 0.0, sum(errors[kernel]) / 2)
        sharpness = _sharpness(sides, (columns, rows), kernel, errors[kernel])
        if sharpness >= SHARP and not (kernel == "nearest" and _finer_fits(sides, columns, rows, sum(errors[kernel]))):
            return Lattice(columns, rows, kernel, sharpness, sum(errors[kernel]) / 2)
    return None


def _finer_fits(sides: Sides, columns: int, rows: int, error: float) -> bool:
    """Returns whether cells of half or a third the size explain much more: then noise is not what is left over."""
    return any(
        sum(_errors(sides, m * columns, m * rows, "nearest")) < _FINER * error
        for m in (2, 3)
        if 2 * m * columns <= len(sides[0]) and 2 * m * rows <= len(sides[1])
    )


def has_plateaus(image: Pixels, columns: int, rows: int) -> bool:
    """Returns whether the middles of the cells are flat, although their borders may be soft: blurred pixels.

    Interpolation keeps changing in the middle of a cell, half as fast as at its border or faster. `image` is
    (h, w, 4) RGBA.
    """
    for side, cells in zip(_sampled(image), (columns, rows), strict=True):
        if len(side) < 3 * cells:
            return False
        change = np.abs(np.diff(side, axis=0)).mean(axis=1)
        lines = np.arange(1, cells) * (len(side) / cells)
        middles = lines + len(side) / cells / 2
        at_lines, at_middles = (np.interp(at - 1, np.arange(len(change)), change).mean() for at in (lines, middles))
        if at_middles > _FLAT * at_lines:
            return False
    return True


def _errors(sides: Sides, columns: int, rows: int, kernel: str) -> tuple[float, float]:
    x, y = (
        _map(len(side), cells, kernel).error(side) + _ROUNDING
        for side, cells in zip(sides, (columns, rows), strict=True)
    )
    return x, y


def _sharpness(sides: Sides, size: tuple[int, int], kernel: str, own: tuple[float, float]) -> float:
    """Returns how many times the squared error the next numbers of cells leave over, on the axis where that is less."""
    least = math.inf
    for side, cells, error in zip(sides, size, own, strict=True):
        for other in (cells - 1, cells + 1, cells - 2, cells + 2):
            if 2 <= other <= len(side) // 2 + 1:
                least = min(least, (_map(len(side), other, kernel).error(side) + _ROUNDING) / error)
                if least < SHARP:
                    return least
    return least


def read_lattice(image: Pixels, lattice: Lattice) -> tuple[Pixels, Lattice]:
    """Solves for the native pixels of `image`, (rows, columns, 4) RGBA, by least squares; names the kernel too."""
    kernel = lattice.kernel if lattice.kernel == "nearest" else _kernel(image, lattice)
    map_x, map_y = _map(image.shape[1], lattice.columns, kernel), _map(image.shape[0], lattice.rows, kernel)
    native, error = _solved(image, map_x, map_y, 0 if kernel in _NO_OVERSHOOT else _CLIP_ROUNDS)
    alpha = native[..., 3:]
    native[..., :3] *= 255 / np.maximum(alpha, 1)
    native[alpha[..., 0] < 1.5] = 0
    pixels = np.clip(np.rint(native), 0, 255).astype(np.uint8)
    return pixels, Lattice(lattice.columns, lattice.rows, kernel, lattice.sharpness, error)


def _kernel(image: Pixels, lattice: Lattice) -> str:
    """Returns the smooth kernel that explains one channel of some rows and columns best."""
    best = np.inf, lattice.kernel
    for kernel in KERNELS:
        if kernel == "nearest":
            continue
        error = 0.0
        for side, cells in ((image, lattice.columns), (image.swapaxes(0, 1), lattice.rows)):
            chosen = _rows_that_change(side).astype(np.float32)
            alpha = chosen[..., 3]
            values = np.concatenate([chosen[..., 1] * (alpha / 255), alpha]).T.astype(np.float32)
            top = np.concatenate([alpha, np.full_like(alpha, 255)]).T.astype(np.float32)
            one = _map(len(values), cells, kernel)
            error += _unclipped(values, top, one.solve, one.apply, 0 if kernel in _NO_OVERSHOOT else _CLIP_ROUNDS)[1]
        if error < best[0]:
            best = error, kernel
    return best[1]


def _unclipped(
    values: Values, top: Values, solve: Callable[[Values], Values], apply: Callable[[Values], Values], rounds: int
) -> tuple[Values, float]:
    """Returns the native values, and the mean squared error of their enlargement.

    Cubic and Lanczos kernels overshoot, and a file clips what is below 0 or above `top`. A clipped value only says that
    the enlargement was at least that far out, so it follows the model there.
    """
    target = values
    while True:
        native = solve(target)
        again = apply(native)
        if not rounds:
            return native, float(np.square(np.clip(again, 0, top) - values).mean())
        rounds -= 1
        out = ((values < 0.5) & (again < values)) | ((values > top - 0.5) & (again > values))
        target = np.where(out, again, values)


def _solved(image: Pixels, map_x: _Map, map_y: _Map, rounds: int) -> tuple[Values, float]:
    """Does for a whole picture what `_unclipped` does for lines, some columns and rows at a time.

    Of what is as large as the picture only the target is kept, and only where something was clipped.

    Returns:
        (rows, columns, 4) values with colours multiplied by alpha, and the mean squared error of their enlargement.
    """
    height, width = image.shape[:2]
    target: Values | None = None
    before = math.inf
    while True:
        half = np.empty((map_y.cells, width, 4), np.float32)
        for columns in _bands(width):
            part = _multiplied(image[:, columns]) if target is None else target[:, columns]
            half[:, columns] = map_y.solve(part.reshape(height, -1)).reshape(len(half), -1, 4)
        native = np.empty((len(half), map_x.cells, 4), np.float32)
        for rows in _bands(len(half)):
            turned = np.ascontiguousarray(half[rows].swapaxes(0, 1)).reshape(width, -1)
            native[rows] = map_x.solve(turned).reshape(native.shape[1], -1, 4).swapaxes(0, 1)
        del half
        native = _in_range(native)
        error = 0.0
        for rows in _bands(height):
            values = _multiplied(image[rows])
            again = _along_both(native, lambda part, rows=rows: map_y.matrix[rows] @ part, map_x.apply)
            top = np.full_like(values, 255)
            top[..., :3] = values[..., 3:]
            if rounds:
                out = ((values < 0.5) & (again < values)) | ((values > top - 0.5) & (again > values))
                if target is None and out.any():
                    target = _multiplied(image)
                if target is not None:
                    target[rows] = np.where(out, again, values)
            error += float(np.square(np.clip(again, 0, top) - values).sum())
        if not rounds or target is None or (height * width > _LARGE and error > _CONVERGED * before):
            return native, error / image.size
        rounds, before = rounds - 1, error


def _bands(length: int) -> list[slice]:
    return [slice(begin, min(begin + _BAND, length)) for begin in range(0, length, _BAND)]


def _multiplied(image: Pixels) -> Values:
    """Returns the picture as numbers, its colours multiplied by alpha."""
    values = image.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    return values


def _in_range(native: Values) -> Values:
    """Clips native values to what a picture can have: alpha 0..255, colours multiplied by alpha 0..alpha."""
    native[..., 3] = np.clip(native[..., 3], 0, 255)
    native[..., :3] = np.clip(native[..., :3], 0, native[..., 3:])
    return native


def _along_both(values: Values, down: Callable[[Values], Values], across: Callable[[Values], Values]) -> Values:
    """Maps `values` (h, w, 4) with one map along y and another one along x."""
    _, width, channels = values.shape
    half = down(values.reshape(len(values), -1)).reshape(-1, width, channels)
    whole = across(np.ascontiguousarray(half.swapaxes(0, 1)).reshape(width, -1))
    return np.ascontiguousarray(whole.reshape(len(whole), -1, channels).swapaxes(0, 1))


def enlarge_rows(native: Pixels, width: int, height: int, rows: NDArray[np.intp], kernel: str) -> Values:
    """Enlarges `native` ((h, w, 4) RGBA) to `height` and `width`, of which only `rows`: (rows, width, 4).

    Colours are multiplied by alpha, values clipped to 0..255.
    """
    values = native.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    map_y, map_x = _map(height, native.shape[0], kernel).matrix[rows], _map(width, native.shape[1], kernel)
    return np.clip(_along_both(values, lambda part: map_y @ part, map_x.apply), 0, 255)
