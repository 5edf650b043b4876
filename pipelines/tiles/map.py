"""Make random legal maps that show a tileset as a game uses it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.tiles.geometry import EAST, NORTH, SOUTH, WEST, Cells, blob_mask, blob_table
from pipelines.tiles.layouts import PLAIN, Layout

Indices = NDArray[np.int32]
"""(rows, columns) tile indices; -1 is an empty place."""


def random_map(layout: Layout, count: int, columns: int = 12, rows: int = 8, seed: int = 0) -> Indices:
    """Returns a map in which only tiles meet that may, for a set of `count` tiles. Same arguments, same map."""
    rng = np.random.default_rng(seed)
    match layout.name:
        case "wang16" | "cliffs":
            corners = random_cells(rng, rows + 1, columns + 1)
            return corner_indices(corners)
        case "blob47":
            return blob_indices(random_cells(rng, rows, columns))
        case "edge16":
            return _paths(rng, rows, columns)
        case "platformer":
            cells = _hills(rng, rows, columns)
            return np.where(cells, blob_indices(cells), -1).astype(np.int32)
        case _:
            return rng.integers(0, count, (rows, columns)).astype(np.int32)


def corner_indices(corners: Cells) -> Indices:
    """Returns the corner tiles between (rows + 1, columns + 1) corners: the index is the mask."""
    bits = corners.astype(np.int32)
    return bits[:-1, :-1] + 2 * bits[:-1, 1:] + 4 * bits[1:, :-1] + 8 * bits[1:, 1:]


def blob_indices(cells: Cells) -> Indices:
    """Returns the blob tiles of a map of cells; lower cells get the plain tile."""
    table = blob_table()
    rows, columns = cells.shape
    indices = np.full((rows, columns), PLAIN, np.int32)
    for y in range(rows):
        for x in range(columns):
            if cells[y, x]:
                indices[y, x] = table[blob_mask(cells, y, x)]
    return indices


def random_cells(rng: np.random.Generator, rows: int, columns: int) -> Cells:
    """Makes about half the cells upper, in blots of a few cells, so that every kind of corner occurs."""
    values = ndimage.gaussian_filter(rng.normal(size=(rows, columns)), 0.9, mode="nearest")
    return values > np.quantile(values, 0.48)


def _paths(rng: np.random.Generator, rows: int, columns: int) -> Indices:
    """Walks randomly between neighbouring cells; every step sets the two sides that meet there."""
    masks = np.zeros((rows, columns), np.int32)
    steps = ((-1, 0, NORTH, SOUTH), (0, 1, EAST, WEST), (1, 0, SOUTH, NORTH), (0, -1, WEST, EAST))
    for _ in range(max(3, rows * columns // 24)):
        y, x = int(rng.integers(rows)), int(rng.integers(columns))
        way = int(rng.integers(4))
        for _ in range(columns):
            if rng.random() < 0.35:
                way = int(rng.integers(4))
            dy, dx, out, back = steps[way]
            if 0 <= y + dy < rows and 0 <= x + dx < columns:
                masks[y, x] |= out
                y, x = y + dy, x + dx
                masks[y, x] |= back
    return masks


def _hills(rng: np.random.Generator, rows: int, columns: int) -> Cells:
    """Makes ground with steps, and a few ledges above it."""
    height, cells = rows // 3, np.zeros((rows, columns), np.bool_)
    for x in range(columns):
        if x % 2 == 0:
            height = int(np.clip(height + rng.integers(-1, 2), 1, rows // 2))
        cells[rows - height :, x] = True
    for _ in range(columns // 4):
        y, x, length = int(rng.integers(1, rows // 2)), int(rng.integers(columns - 2)), int(rng.integers(1, 5))
        cells[y, x : x + length] = True
    return cells
