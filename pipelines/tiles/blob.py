"""The 47 blob tiles from the 16 corner tiles: a cell's quarter is the opposite quarter of the corner tile there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.records import Pixels
from pipelines.tiles.geometry import BLOB_MASKS, blob_cells
from pipelines.tiles.layouts import Sides


def blob_from_corners(corners: Sequence[Pixels]) -> list[Pixels]:
    """Cuts 47 tiles (n, n, 4) in the order of BLOB_MASKS out of 16 corner tiles (n, n, 4); n is even."""
    return [_cell(corners, mask) for mask in BLOB_MASKS]


def _cell(corners: Sequence[Pixels], mask: int) -> Pixels:
    half = corners[0].shape[0] // 2
    cells = blob_cells(mask)
    tile = np.empty_like(corners[0])
    for y in (0, 1):
        for x in (0, 1):
            around = cells[y : y + 2, x : x + 2]
            corner = corners[int(around.ravel() @ (1, 2, 4, 8))]
            far_y, far_x = (1 - y) * half, (1 - x) * half
            quarter = corner[far_y : far_y + half, far_x : far_x + half]
            tile[y * half : (y + 1) * half, x * half : (x + 1) * half] = quarter
    return tile


def join_sides(tiles: Sequence[Pixels], shown: Sequence[Sides]) -> list[Pixels]:
    """Gives all blob tiles that show the same at a side the same strip of pixels there: the first one's.

    A border that leaves a tile beside a corner lies a pixel higher or lower by what else is around the corner, which
    the tile beyond cannot know. The corner pixels themselves agree already, so two sides never want different ones.
    """
    strips: dict[tuple[int, object], Pixels] = {}
    joined = [tile.copy() for tile in tiles]
    for tile, shows in zip(joined, shown, strict=True):
        for side, where in enumerate((np.s_[0], np.s_[:, -1], np.s_[-1], np.s_[:, 0])):
            if shows[side] is not None:
                tile[where] = strips.setdefault((side, shows[side]), tile[where].copy())
    return joined
