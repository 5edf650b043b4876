"""Measure what a game needs to know of a frame: pivot, collider, convex hull, hurt box. Pixels from the upper left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from pipelines.records import Pixels

MOST_CORNERS = 8
"""Of a hull; physics engines slow down with more."""
_CORE = 0.1
"""Share of the drawn pixels that a hurt box leaves out on each side: a weapon's or a hat's tip."""


@dataclass(frozen=True, slots=True)
class Body:
    """Boxes are (x, y, width, height). The pivot is where the figure stands."""

    pivot: tuple[float, float]
    collider: tuple[int, int, int, int]
    hurt: tuple[int, int, int, int]
    hull: tuple[tuple[float, float], ...]


def bodies(frames: Sequence[Pixels]) -> list[Body]:
    """Measures the frames of one clip (or one sprite), all (h, w, 4) of one size.

    They share one pivot, so that a figure does not jitter when it is drawn at it: the lowest row of any frame, and the
    median of the frames' feet.
    """
    drawn = [frame[..., 3] > 0 for frame in frames]
    whole = [mask for mask in drawn if mask.any()]
    if not whole:
        return [Body((0.0, 0.0), (0, 0, 0, 0), (0, 0, 0, 0), ()) for _ in frames]
    ground = max(int(np.flatnonzero(mask.any(axis=1))[-1]) + 1 for mask in whole)
    feet = float(np.median([_feet(mask) for mask in whole]))
    pivot = (round(feet * 2) / 2, float(ground))
    return [Body(pivot, _box(mask), _core(mask), _hull(mask)) for mask in drawn]


def _feet(mask: np.ndarray) -> float:
    """Finds the middle of what is drawn in the lowest quarter."""
    rows = np.flatnonzero(mask.any(axis=1))
    low = mask[rows[-1] - (rows[-1] - rows[0]) // 4 :]
    columns = np.flatnonzero(low.any(axis=0))
    return (columns[0] + columns[-1] + 1) / 2


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    if not mask.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _core(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Finds the box that leaves out a share of the drawn pixels on each side."""
    if not mask.any():
        return 0, 0, 0, 0
    (left, right), (top, bottom) = (_middle(mask.sum(axis=axis)) for axis in (0, 1))
    return left, top, right - left, bottom - top


def _middle(counts: np.ndarray) -> tuple[int, int]:
    share = np.cumsum(counts) / counts.sum()
    return int(np.searchsorted(share, _CORE)), int(np.searchsorted(share, 1 - _CORE)) + 1


def _hull(mask: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Returns the convex hull of the drawn pixels' corners, clockwise on the screen, at most MOST_CORNERS.

    Where it has more, the edge is left out whose loss adds least area outside: its neighbours are lengthened until they
    meet.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return ()
    left = mask[rows].argmax(axis=1)
    right = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    corners = np.concatenate([np.stack([side, rows + dy], axis=1) for side in (left, right) for dy in (0, 1)])
    points = [tuple(map(float, corners[i])) for i in ConvexHull(corners).vertices]
    while len(points) > MOST_CORNERS:
        best: tuple[float, int, tuple[float, float]] | None = None
        for at in range(len(points)):
            a, b, c, d = (np.array(points[(at + k) % len(points)]) for k in range(-1, 3))
            meeting = _meeting(a, b, c, d)
            if meeting is None:
                continue
            added = abs(float((c[0] - b[0]) * (meeting[1] - b[1]) - (c[1] - b[1]) * (meeting[0] - b[0]))) / 2
            if best is None or added < best[0]:
                best = (added, at, meeting)
        if best is None:
            break
        _, at, meeting = best
        points[at] = meeting
        del points[(at + 1) % len(points)]
    return tuple((round(x, 2), round(y, 2)) for x, y in points)


def _meeting(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[float, float] | None:
    """Finds where the lines a-b and d-c meet beyond b and c; None where they do not."""
    first, second = b - a, c - d
    cross = float(first[0] * second[1] - first[1] * second[0])
    if abs(cross) < 1e-9:
        return None
    along = float((d - a)[0] * second[1] - (d - a)[1] * second[0]) / cross
    back = float((d - a)[0] * first[1] - (d - a)[1] * first[0]) / cross
    if along < 1 or back < 1:
        return None
    x, y = a + along * first
    return float(x), float(y)
