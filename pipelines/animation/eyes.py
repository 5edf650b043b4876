"""Find the eyes of a small front view, and put one back into painted side views that lost it.

A sheet is painted pixel by pixel, the surest first; a single eye pixel is never the surest colour of its place, so it
gets lost, and with it what tells left from right. The back view has no eyes; one that was copied there is covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.records import Pixels

_LUMA = np.array([0.299, 0.587, 0.114])
_DARKER = 1.5
"""How much more contrast marks need that are lighter than what is between them; eyes are mostly darker."""


@dataclass(frozen=True, slots=True, eq=False)
class Eyes:
    """A pair of eyes in a front view.

    Attributes:
        top, bottom: first and last row.
        columns: first and last column of the pair.
        crown: first drawn row of the figure, which the rows are relative to in other cells.
        color: RGBA of an eye.
        faces: (n, 4) RGBA of what is between the eyes.
    """

    top: int
    bottom: int
    columns: tuple[int, int]
    crown: int
    color: NDArray[np.uint8]
    faces: NDArray[np.uint8]


def _inside(opaque: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wide = np.pad(opaque, 1)
    return opaque & wide[1:-1, :-2] & wide[1:-1, 2:] & wide[:-2, 1:-1] & wide[2:, 1:-1]


def find_eyes(sprite: Pixels) -> Eyes | None:
    """Returns the two small marks in the upper part that mirror each other and stand out most, or None.

    Args:
        sprite: (height, width, 4) front view with hard alpha.
    """
    opaque = sprite[..., 3] > 0
    rows = np.flatnonzero(opaque.any(axis=1))
    if not rows.size:
        return None
    crown, height = int(rows[0]), int(rows[-1] - rows[0] + 1)
    head = opaque[crown : crown + max(2, round(height * 0.6))]
    columns = np.flatnonzero(head.any(axis=0))
    axis = float(columns[0] + columns[-1]) / 2
    inside = _inside(opaque)
    inside[: crown + round(height * 0.2)] = False
    inside[crown + round(height * 0.68) :] = False
    widest = max(1, round(height * 0.2))
    apart = max(4.0, (columns[-1] - columns[0] + 1) * 0.6)
    best, found = 40.0, None
    for color in np.unique(sprite[inside], axis=0):
        labelled: Any = ndimage.label((sprite == color).all(axis=-1) & inside)
        marks, count = labelled
        boxes = list(ndimage.find_objects(marks)) if count <= 12 else []
        small = [b for b in boxes if b[1].stop - b[1].start <= widest and b[0].stop - b[0].start <= widest]
        for i, left in enumerate(small):
            for right in small[i + 1 :]:
                a, b = (left, right) if left[1].start < right[1].start else (right, left)
                gap = b[1].start - a[1].stop
                even = abs(a[1].start + b[1].stop - 1 - 2 * axis) <= 2
                if a[0] != b[0] or not even or gap < 1 or b[1].stop - a[1].start > apart:
                    continue
                between = sprite[a[0], a[1].stop : b[1].start].reshape(-1, 4)
                shades, counts = np.unique(between, axis=0, return_counts=True)
                face = shades[int(counts.argmax())]
                contrast = float((face[:3].astype(float) - color[:3]) @ _LUMA)
                contrast = contrast if contrast > 0 else -contrast / _DARKER
                if contrast > best and face[3]:
                    best = contrast
                    faces = shades[(shades[:, 3] > 0) & (shades != color).any(axis=-1)]
                    found = Eyes(a[0].start, a[0].stop - 1, (a[1].start, b[1].stop - 1), crown, color, faces)
    return found


def with_eyes(cells: NDArray[np.uint8], eyes: Eyes) -> NDArray[np.uint8]:
    """Returns a sheet (4, cells, size, size, 4) with an eye in each side view and none in the back."""
    made = cells.copy()
    for cell in made[1]:
        _seen_left(cell, eyes)
    for cell in made[2]:
        _seen_left(cell[:, ::-1], eyes)
    for cell in made[3]:
        _covered(cell, eyes)
    return made


def _rows(cell: Pixels, eyes: Eyes) -> tuple[int, int]:
    """Returns the first and last row of the eyes in another cell, whose figure may stand higher or lower."""
    drawn = np.flatnonzero((cell[..., 3] > 0).any(axis=1))
    down = int(drawn[0]) - eyes.crown if drawn.size else 0
    return max(eyes.top + down, 0), min(eyes.bottom + down, cell.shape[0] - 1)


def _seen_left(cell: Pixels, eyes: Eyes) -> None:
    """Changes a view to the left in place: an eye on the second pixel of the face, unless there is one."""
    opaque = cell[..., 3] > 0
    top, bottom = _rows(cell, eyes)
    near = slice(max(top - 1, 0), bottom + 2)
    columns = np.flatnonzero(opaque[near].any(axis=0))
    if not columns.size:
        return
    front = int(columns[0]) + round((columns[-1] - columns[0] + 1) * 0.6)
    marks = (cell == eyes.color).all(axis=-1) & _inside(opaque)
    if marks[near, :front].any():
        return
    face = (cell[:, :, None] == eyes.faces).all(axis=-1).any(axis=-1)
    for row in (bottom, bottom + 1, bottom - 1, bottom + 2):
        if not 0 <= row < cell.shape[0]:
            continue
        seen = np.flatnonzero(face[row, :front])
        if seen.size:
            first = int(seen[0])
            column = first + 1 if first + 1 < cell.shape[1] and face[row, first + 1] else first
            for r in range(row - (bottom - top), row + 1):
                if r >= 0 and opaque[r, column] and (r == row or face[r, column]):
                    cell[r, column] = eyes.color
            return


def _covered(cell: Pixels, eyes: Eyes) -> None:
    """Changes a back view in place: what looks like the front's eyes takes the colour beside it."""
    opaque = cell[..., 3] > 0
    top, bottom = _rows(cell, eyes)
    marks = (cell == eyes.color).all(axis=-1) & _inside(opaque)
    first, last = eyes.columns
    for row in range(top, bottom + 1):
        for column in np.flatnonzero(marks[row]):
            if min(abs(column - first), abs(column - last)) > 1:
                continue
            for other in (column - 1, column + 1):
                if 0 <= other < cell.shape[1] and opaque[row, other] and not marks[row, other]:
                    cell[row, column] = cell[row, other]
                    break
