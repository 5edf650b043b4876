"""Masks, atlas orders and distance fields of tile layouts: where a border runs, before anything has a colour.

A map is a grid of cells that show the upper terrain or the lower one. A blob tile is a cell and knows its neighbours;
a corner tile lies on the dual grid, half a cell off, and sees a quarter of four cells; an edge tile is a piece of a
path between the middles of cells. Every border is a distance field of nearby cells, so a tile's edge depends on nothing
but what the neighbour beyond that edge knows too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]
"""(h, w): distance in pixels from the terrain's border, positive inside the upper terrain."""
Cells = NDArray[np.bool_]
"""(rows, columns): True shows the upper terrain."""

NW, NE, SW, SE = 1, 2, 4, 8
"""Bits of a corner mask: the corners that show the upper terrain."""
NORTH, EAST, SOUTH, WEST = 1, 2, 4, 8
"""Bits of an edge mask: the sides that a path leaves by."""
NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""(dy, dx) of the bits 1, 2, 4, ... 128 of a blob mask: north, then clockwise. The cell itself is upper."""


FLAT = 2.5
"""Pixels beside a cell's side in which a border runs straight: a line and a shore are two pixels wide."""


@dataclass(frozen=True, slots=True)
class Rim:
    """How a border lies, in pixels: `inset` into the upper cells, corners rounded by `rounding`, waves of at most
    `wobble`. inset + rounding stays below half a tile, so that no border is seen from two tiles away."""

    inset: float
    rounding: float
    wobble: float


def reduce_mask(mask: int) -> int:
    """Removes from a blob mask diagonals that cannot be seen: a diagonal counts only between two sides."""
    for bit in (1, 3, 5, 7):
        if not (mask >> (bit - 1) & 1 and mask >> ((bit + 1) % 8) & 1):
            mask &= ~(1 << bit)
    return mask


BLOB_MASKS: tuple[int, ...] = tuple(sorted({reduce_mask(mask) for mask in range(256)}))
"""The 47 masks that are left, ascending: the tile's place in the atlas is the place here."""


def blob_table() -> list[int]:
    """Lists 256 tile indices, one for each mask of neighbours."""
    index = {mask: i for i, mask in enumerate(BLOB_MASKS)}
    return [index[reduce_mask(mask)] for mask in range(256)]


def corner_cells(mask: int) -> Cells:
    """Returns (2, 2), the four cells around a corner tile."""
    return np.array([[mask & NW, mask & NE], [mask & SW, mask & SE]], np.bool_)


def blob_cells(mask: int) -> Cells:
    """Returns (3, 3), an upper cell and its neighbours."""
    cells = np.zeros((3, 3), np.bool_)
    cells[1, 1] = True
    for bit, (dy, dx) in enumerate(NEIGHBOURS):
        cells[1 + dy, 1 + dx] = bool(mask >> bit & 1)
    return cells


def blob_mask(cells: Cells, y: int, x: int) -> int:
    """Returns the reduced mask of a cell of a map; beyond the map's border its edge cells go on."""
    rows, columns = cells.shape
    mask = 0
    for bit, (dy, dx) in enumerate(NEIGHBOURS):
        if cells[min(max(y + dy, 0), rows - 1), min(max(x + dx, 0), columns - 1)]:
            mask |= 1 << bit
    return reduce_mask(mask)


def enlarge(cells: Cells, size: int) -> Cells:
    """Returns each cell as size x size pixels."""
    return cells.repeat(size, 0).repeat(size, 1)


def rim_field(cells: Cells, size: int, rim: Rim) -> Field:
    """Returns the field of a map of cells, (rows * size, columns * size); the map's edge cells go on for ever.

    The upper area is eroded by the inset and its convex corners are rounded (an opening); concave ones are round by
    themselves. Where two upper cells meet, the border of a third cell at the end of their common side looks the same
    whether the fourth is upper or not: that is what a blob tile can know.
    """
    cells = np.pad(cells, 1, mode="edge")
    depth = _depth(cells, size) - rim.inset
    core = depth > rim.rounding
    around = np.asarray(ndimage.distance_transform_edt(~core)) if core.any() else np.full(core.shape, 4.0 * size)
    field = np.where(core, depth, rim.rounding - np.maximum(around - 0.5, 0))
    return field[size:-size, size:-size].astype(np.float32)


def _depth(cells: Cells, size: int) -> NDArray[np.float64]:
    """Measures how far each pixel's centre is from the nearest lower cell, 0 inside one. A lower cell that only
    touches at its corner counts as FLAT pixels larger, so that the border runs straight into the next cell's.
    """
    y, x = (np.arange(n * size) + 0.5 for n in cells.shape)
    depth = np.full((len(y), len(x)), 4.0 * size)
    for row, column in zip(*np.nonzero(~cells), strict=True):
        dy = np.maximum(np.maximum(row * size - y, y - (row + 1) * size), 0)[:, None]
        dx = np.maximum(np.maximum(column * size - x, x - (column + 1) * size), 0)[None]
        round_off = np.hypot(np.maximum(dy - FLAT, 0), np.maximum(dx - FLAT, 0)) + FLAT
        depth = np.minimum(depth, np.where(np.minimum(dy, dx) > FLAT, round_off, np.maximum(dy, dx)))
    return depth


def _paintable(cells: Cells, size: int) -> Cells:
    """Returns the pixels of upper cells that touch no lower cell: a tile's edge towards a lower cell stays plain."""
    return np.asarray(ndimage.binary_erosion(enlarge(cells, size), np.ones((3, 3)), border_value=1), bool)


def corner_field(mask: int, size: int, rim: Rim, pad: int = 0) -> tuple[Field, Cells]:
    """Returns a corner tile's field with `pad` pixels around it, and which of its pixels lie in upper cells.

    Both are (size + 2 pad, size + 2 pad); `size` is even and pad at most half of it.
    """
    cells = corner_cells(mask)
    start = size // 2 - pad
    part = slice(start, start + size + 2 * pad)
    return rim_field(cells, size, rim)[part, part], _paintable(cells, size)[part, part]


def blob_field(mask: int, size: int, rim: Rim, pad: int = 0) -> tuple[Field, Cells]:
    """Returns a blob tile's field with `pad` pixels around it, and which pixels lie in upper cells."""
    cells = blob_cells(mask)
    part = slice(size - pad, 2 * size + pad)
    return rim_field(cells, size, rim)[part, part], _paintable(cells, size)[part, part]


def path_field(mask: int, size: int, width: float, pad: int = 0) -> Field:
    """Makes the field of a path `width` pixels wide from the tile's middle to the mask's sides; mask 0 has none."""
    y, x = np.mgrid[-pad : size + pad, -pad : size + pad].astype(np.float32) + np.float32(0.5 - size / 2)
    distance = np.full(y.shape, float(4 * size), np.float32)
    for bit, (dy, dx) in ((NORTH, (-1, 0)), (EAST, (0, 1)), (SOUTH, (1, 0)), (WEST, (0, -1))):
        if mask & bit:
            along = np.maximum(x * dx + y * dy, 0)
            distance = np.minimum(distance, np.hypot(x - along * dx, y - along * dy))
    return np.float32(width / 2) - distance


def noise(size: int, seed: int) -> Field:
    """Makes (size, size) smooth noise in -1..1 that wraps: a few random waves of one to a quarter-tile's length."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    total = np.zeros((size, size))
    highest = max(2, min(6, size // 4))
    for fy in range(-highest, highest + 1):
        for fx in range(highest + 1):
            length = float(np.hypot(fx, fy))
            if 0.5 < length <= highest:
                strength = rng.normal() / length**0.7
                total += strength * np.cos(2 * np.pi * (fx * x + fy * y + rng.random()))
    return (total / np.abs(total).max()).astype(np.float32)


def wrapped(tile: NDArray, pad: int, shift: int = 0) -> NDArray:
    """Pads a wrapping picture or field ((n, n) or (n, n, c)) with `pad` more pixels of itself, from `shift`."""
    size = tile.shape[0]
    at = (np.arange(-pad, size + pad) + shift) % size
    return tile[at][:, at]


def lay_out(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Lays tiles of one size out as one picture, row by row, without gaps; missing ones at the end are clear."""
    size = tiles[0].shape[0]
    rows = -(-len(tiles) // columns)
    atlas = np.zeros((rows * size, columns * size, 4), np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        atlas[y * size : (y + 1) * size, x * size : (x + 1) * size] = tile
    return atlas


def compose(tiles: Sequence[NDArray[np.uint8]], indices: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Returns the picture of a map of tile indices (rows, columns); -1 leaves a place clear."""
    clear = np.zeros_like(tiles[0])
    return np.concatenate(
        [np.concatenate([tiles[i] if i >= 0 else clear for i in row], axis=1) for row in indices.tolist()]
    )
