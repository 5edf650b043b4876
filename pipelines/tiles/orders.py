"""Blob sets in the order of other tools: Godot's 12 x 4 template, RPG Maker's A2 block of 2 x 3 tiles.

Sources: the masks of the 3x3 minimal template in Godot's documentation of autotiles; the table of floor autotiles in
RPG Maker MV's and MZ's core script, which names the half tile for each quarter of its 48 shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from pipelines.records import Pixels
from pipelines.tiles.geometry import BLOB_MASKS, blob_cells, blob_table
from pipelines.tiles.layouts import PLAIN
from pipelines.tiles.map import Indices

GODOT: tuple[tuple[int, ...], ...] = (
    (16, 20, 84, 80, 213, 92, 116, 87, 28, 125, 124, 112),
    (17, 21, 85, 81, 29, 127, 253, 113, 31, 119, -1, 245),
    (1, 5, 69, 65, 23, 223, 247, 209, 95, 255, 221, 241),
    (0, 4, 68, 64, 117, 71, 197, 93, 7, 199, 215, 193),
)
"""The blob mask at each place of Godot's template; -1 is the place without one, where the plain lower tile lies."""
GODOT_PLACES: tuple[int, ...] = tuple(BLOB_MASKS.index(m) if m >= 0 else PLAIN for row in GODOT for m in row)
"""The blob tile (its place in our own atlas) at each place of Godot's template."""

Place = tuple[int, int]
"""(column, row) of a half tile in an A2 block, which is 4 half tiles wide and 6 high."""
A2_WIDTH, A2_HEIGHT = 4, 6
A2_SHEET = 16, 12
"""Tiles across and down a whole A2 sheet: 8 x 4 blocks."""
_QUARTERS = tuple(product((0, 1), (0, 1)))
"""(y, x) of a tile's quarters: north-west, north-east, south-west, south-east."""


def a2_places(mask: int) -> tuple[Place, Place, Place, Place]:
    """Returns the half tiles of a blob mask's four quarters (north-west, north-east, south-west, south-east).

    Below the block's first row lies an island of 2 x 2 tiles. A quarter is taken from the tile of the island that is
    open and closed where the cell is; a hollow corner from the block's upper right tile.
    """
    cells = blob_cells(mask)
    places: list[Place] = []
    for y, x in _QUARTERS:
        above, beside, across = cells[2 * y, 1], cells[1, 2 * x], cells[2 * y, 2 * x]
        if above and beside and not across:
            places.append((2 + x, y))
        else:
            column, row = (1 - x if beside else x), (1 - y if above else y)
            places.append((2 * column + x, 2 * (1 + row) + y))
    first, second, third, fourth = places
    return first, second, third, fourth


def a2_block(blob: Sequence[Pixels]) -> Pixels:
    """Returns the A2 block (3 n, 2 n, 4) of a blob set's tiles (n, n, 4), in the order of BLOB_MASKS.

    A quarter with a straight border looks the same to the cell beside it as one with a hollow corner: where the two
    differ on the tile's edge, the line of the hollow corner is taken for both. The first tile, which the editor shows,
    is a cell without neighbours.
    """
    size = blob[0].shape[0]
    half = size // 2
    block = np.zeros((A2_HEIGHT * half, A2_WIDTH * half, 4), np.uint8)

    def quarter(mask: int, y: int, x: int) -> Pixels:
        return blob[BLOB_MASKS.index(mask)][y * half : (y + 1) * half, x * half : (x + 1) * half]

    for y, x in _QUARTERS:
        above, beside, across = 1 << (4 if y else 0), 1 << (2 if x else 6), _diagonal(y, x)
        hollow = quarter(255 - across, y, x)
        around = {"outer": 255 & ~(above | beside), "side": 255 & ~beside, "edge": 255 & ~above, "full": 255}
        from_mask = {name: quarter(_reduced(mask), y, x).copy() for name, mask in around.items()}
        line, column = (-1 if y else 0), (-1 if x else 0)
        from_mask["side"][line] = hollow[line]
        from_mask["edge"][:, column] = hollow[:, column]
        for name, picture in {**from_mask, "hollow": hollow}.items():
            mask = _reduced(255 - across if name == "hollow" else around[name])
            at_x, at_y = a2_places(mask)[2 * y + x]
            block[at_y * half : (at_y + 1) * half, at_x * half : (at_x + 1) * half] = picture
        block[y * half : (y + 1) * half, x * half : (x + 1) * half] = from_mask["outer"]
    return block


def _diagonal(y: int, x: int) -> int:
    return {(0, 1): 2, (1, 1): 8, (1, 0): 32, (0, 0): 128}[y, x]


def _reduced(mask: int) -> int:
    return BLOB_MASKS[blob_table()[mask]]


def a2_tiles(block: Pixels, size: int) -> list[Pixels]:
    """Returns the 47 blob tiles (size, size, 4) that a game makes of an A2 block."""
    half = size // 2
    tiles = []
    for mask in BLOB_MASKS:
        tile = np.empty((size, size, 4), np.uint8)
        for (y, x), (column, row) in zip(_QUARTERS, a2_places(mask), strict=True):
            part = block[row * half : (row + 1) * half, column * half : (column + 1) * half]
            tile[y * half : (y + 1) * half, x * half : (x + 1) * half] = part
        tiles.append(tile)
    return tiles


def half_tile_map(indices: Indices, columns: int, plain: Sequence[int]) -> Indices:
    """Returns a map of blob tiles as one of half tiles (twice the rows and columns) of an atlas that begins with a
    block; `columns` is the atlas's width in half tiles, `plain` the four half tiles of a lower cell, -1 for none.
    """
    rows, width = indices.shape
    made = np.empty((2 * rows, 2 * width), np.int32)
    quarters = [[row * columns + column for column, row in a2_places(mask)] for mask in BLOB_MASKS] + [list(plain)]
    for number, (y, x) in enumerate(_QUARTERS):
        made[y::2, x::2] = np.array([quarter[number] for quarter in quarters])[indices]
    return made
