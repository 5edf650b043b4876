"""Find exact nearest-neighbour enlargements: every pixel repeated a whole number of times.

An enlargement is proved when all lines across which the picture changes lie on one lattice. Few lines can do so by
chance, so each result says how strong the evidence is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.quantize import ALPHA, as_words
from pipelines.records import Pixels

Lines = NDArray[np.intp]
SMALLEST = 16
"""Pixels a side: a result below this needs strong evidence, since most sprites have more."""
MAYBE_NATIVE = 96
"""Pixels of the longer side up to which a picture with weak evidence is taken for native."""
TELLING = 10.0
"""Bits of evidence from which a small picture is taken for an enlargement: of 25,165 finished sprites of up to 96 px
none has that much without strong evidence."""
_DENSE = 0.6
_FEW_LINES = 8


@dataclass(frozen=True, slots=True)
class Enlargement:
    """Whole-number factors, the first line's place on each axis (0: not cropped), and whether the evidence is strong.

    `strong`: so many different lines fit that chance is ruled out. Otherwise finer grids are as likely.
    `evidence`: bits by which the lines speak against a native drawing; 0 where the first cell is cut.
    """

    factor_x: int
    factor_y: int
    phase_x: int
    phase_y: int
    strong: bool
    evidence: float = 0.0


def without_hidden_colors(image: Pixels) -> Pixels:
    """Clears all channels of `image` ((h, w, 4) RGBA) where alpha is 0; returns the same array where all are clear."""
    words = as_words(image)
    clear = (words & ALPHA) == 0
    if not clear.any() or not words[clear].any():
        return image
    image = image.copy()
    image[clear] = 0
    return image


def change_lines(frames: Sequence[Pixels]) -> tuple[Lines, Lines]:
    """Positions 1..width-1 and 1..height-1 of the lines across which any of the frames changes."""
    across = np.zeros(frames[0].shape[1] - 1, bool)
    down = np.zeros(frames[0].shape[0] - 1, bool)
    for frame in frames:
        packed = as_words(without_hidden_colors(frame))
        _add_changes(across, packed)
        _add_changes(down, packed.T)
    return np.flatnonzero(across) + 1, np.flatnonzero(down) + 1


def _add_changes(changed: NDArray[np.bool_], packed: NDArray[np.uint32]) -> None:
    """Marks the lines between the columns of `packed` (h, w) across which any row changes; some rows often tell all."""
    for rows in (packed[:: max(1, len(packed) // 16)], packed):
        rest = np.flatnonzero(~changed)
        if len(rest) > len(changed) // 2:
            changed |= (rows[:, 1:] != rows[:, :-1]).any(axis=0)
        elif len(rest):
            changed[rest] = (rows[:, rest + 1] != rows[:, rest]).any(axis=0)


def find_enlargement(x: Lines, y: Lines, width: int, height: int) -> Enlargement | None:
    """Returns the coarsest exact enlargement that the change lines allow; None where there is none.

    The factors differ between the axes only where both have strong evidence. A cropped enlargement (the first cell
    cut) also needs strong evidence.
    """
    if not len(x) or not len(y):
        return None
    step_x, step_y = int(np.gcd.reduce(np.append(x, width))), int(np.gcd.reduce(np.append(y, height)))
    square = int(np.gcd(step_x, step_y))
    if step_x != step_y and _dense(x, step_x) and _dense(y, step_y):
        return Enlargement(step_x, step_y, 0, 0, True)
    cropped = _cropped(x, y)
    if cropped and cropped.factor_x > square:
        return cropped
    if square > 1:
        lines, size = (x // square, y // square), (width // square, height // square)
        evidence = _different(*lines, *size) * math.log2(square)
        return Enlargement(square, square, 0, 0, is_strong(*lines, *size), evidence)
    return None


def _cropped(x: Lines, y: Lines) -> Enlargement | None:
    step = int(np.gcd.reduce(np.concatenate([x - x[0], y - y[0]])))
    if step < 2 or not (_dense(x, step) and _dense(y, step)):
        return None
    return Enlargement(step, step, int(x[0] % step), int(y[0] % step), True)


def _dense(lines: Lines, step: int) -> bool:
    """Returns whether lines on a lattice of `step` are many, and use most places between the first and the last."""
    places = (lines[-1] - lines[0]) // step + 1
    return len(lines) >= _FEW_LINES and len(lines) >= _DENSE * places


def is_strong(x: Lines, y: Lines, columns: int, rows: int) -> bool:
    """Returns whether the lines of a native picture prove its size: eight or more different ones after mirroring.

    Drawings are often symmetric, so a line and its mirror image count once; and icons are often drawn on every second
    pixel, so that the lines also have to use most of their places on one axis.
    """
    return _different(x, y, columns, rows) >= _FEW_LINES and any(
        len(lines) >= _DENSE * (lines[-1] - lines[0] + 1) for lines in (x, y) if len(lines) >= 4
    )


def _different(x: Lines, y: Lines, columns: int, rows: int) -> int:
    """Counts lines that are not the mirror image of another one."""
    return len(np.unique(np.minimum(x, columns - x))) + len(np.unique(np.minimum(y, rows - y)))


def shrink(image: Pixels, found: Enlargement) -> Pixels:
    """Takes one pixel per cell, in the cell's colour. A cell at the border that is less than half inside is omitted."""
    rows = _middles(image.shape[0], found.factor_y, found.phase_y)
    columns = _middles(image.shape[1], found.factor_x, found.phase_x)
    return np.ascontiguousarray(image[rows[:, None], columns[None]])


def _middles(length: int, factor: int, phase: int) -> Lines:
    starts = np.arange(phase - factor if phase else 0, length, factor)
    ends = np.minimum(starts + factor, length)
    starts = np.maximum(starts, 0)
    return ((starts + ends - 1) // 2)[2 * (ends - starts) >= factor]
