"""Describe the layouts of a tileset: number and order of tiles, which sides may meet, and the table of masks.

`geometry` computes where borders run, `wang` paints them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.errors import InvalidRequest
from pipelines.tiles.geometry import BLOB_MASKS, EAST, NE, NORTH, NW, SE, SOUTH, SW, WEST, blob_table

Sides = tuple[Any, Any, Any, Any]
"""What a tile shows at its north, east, south and west side: two tiles may meet where these are equal; None meets
nothing."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way of making a set. `columns` is the atlas's width in tiles.

    `two` says that there is a lower terrain; `kind` is Tiled's word for the Wang set, empty where there is none.
    """

    name: str
    columns: int
    kind: str
    two: bool
    about: str


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("wang16", 4, "corner", True, "16 corner tiles for a dual grid: ground, shores, fields"),
        Layout("blob47", 8, "mixed", True, "47 blob tiles and the plain lower one: a cell knows its 8 neighbours"),
        Layout("cliffs", 4, "corner", True, "16 corner tiles of a plateau with a face of rock below its lower edges"),
        Layout("edge16", 4, "edge", True, "16 pieces of a path by the sides it leaves by: roads, rivers, hedges"),
        Layout(
            "platformer", 8, "mixed", True, "47 blob tiles seen from the side, on nothing: a body with a top surface"
        ),
        Layout("seamless", 1, "", False, "one tile that repeats in x, y or both"),
        Layout("variations", 4, "", False, "tiles of one terrain that fit each other and themselves in any order"),
    )
}
PLAIN = len(BLOB_MASKS)
"""The place of the plain lower tile in a blob atlas."""


def find_layout(name: str) -> Layout:
    """Returns the layout of that name.

    Raises:
        InvalidRequest: there is none.
    """
    if layout := LAYOUTS.get(name):
        return layout
    known = "; ".join(f"{layout.name} ({layout.about})" for layout in LAYOUTS.values())
    raise InvalidRequest(f"There is no layout '{name}'. Choose one of: {known}.")


def mask_of(layout: Layout, index: int) -> int:
    """Returns the mask that a tile of a masked layout is for; -1 for the plain lower tile of a blob set."""
    if layout.kind != "mixed":
        return index
    return BLOB_MASKS[index] if index < PLAIN else -1


def terrain_tiles(layout: Layout) -> tuple[int, int]:
    """Returns the places of the tiles that show most of the upper and of the lower terrain."""
    return {"mixed": (PLAIN - 1, PLAIN), "corner": (15, 0), "edge": (15, 0)}.get(layout.kind, (0, 0))


def corner_sides(mask: int) -> Sides:
    """Returns a corner tile's sides: its two corners there, left to right and top to bottom."""
    nw, ne, sw, se = (bool(mask & bit) for bit in (NW, NE, SW, SE))
    return (nw, ne), (ne, se), (sw, se), (nw, sw)


def edge_sides(mask: int) -> Sides:
    """Returns an edge tile's sides: whether the path continues there."""
    north, east, south, west = (bool(mask & bit) for bit in (NORTH, EAST, SOUTH, WEST))
    return north, east, south, west


def blob_sides(mask: int) -> Sides:
    """Returns a blob tile's sides: whether the cell there is upper, and the diagonals at both ends of the side; -1 is
    the plain lower tile.
    """
    if mask < 0:
        none = (False, False, False)
        return none, none, none, none
    n, ne, e, se, s, sw, w, nw = (bool(mask >> bit & 1) for bit in range(8))
    return (n, nw, ne), (e, ne, se), (s, sw, se), (w, nw, sw)


def sides(layout: Layout, index: int, wraps: tuple[bool, bool] = (True, True)) -> Sides:
    """Returns the sides of a tile; `wraps` says which axes (x, y) a seamless tile repeats in."""
    match layout.kind:
        case "corner":
            return corner_sides(index)
        case "edge":
            return edge_sides(index)
        case "mixed":
            north, east, south, west = blob_sides(mask_of(layout, index))
            if layout.name == "platformer":  # there is nothing beside an open side
                north, east, south, west = (side if side[0] else None for side in (north, east, south, west))
            return north, east, south, west
        case _:
            x, y = ("same" if wrap else None for wrap in wraps)
            return y, x, y, x


def table(layout: Layout, count: int) -> dict[str, Any]:
    """Returns what code looks tiles up in, as JSON values, for a set of `count` tiles."""
    match layout.kind:
        case "corner":
            return {"corners": list(range(16))}
        case "edge":
            return {"edges": list(range(16))}
        case "mixed":
            return {"blob": blob_table(), "plain": PLAIN}
        case _:
            return {"variants": list(range(count))}


def wang_colors(layout: Layout, index: int) -> tuple[int, ...]:
    """Returns Tiled's wangid of a tile: 8 terrain numbers (0 none, 1 upper, 2 lower), north first, clockwise."""

    def color(upper: bool) -> int:
        return 1 if upper else 2

    match layout.kind:
        case "corner":
            nw, ne, sw, se = (color(bool(index & bit)) for bit in (NW, NE, SW, SE))
            return 0, ne, 0, se, 0, sw, 0, nw
        case "edge":
            n, e, s, w = (color(bool(index & bit)) for bit in (NORTH, EAST, SOUTH, WEST))
            return n, 0, e, 0, s, 0, w, 0
        case "mixed":
            mask = mask_of(layout, index)
            return tuple(color(mask >= 0 and bool(mask >> bit & 1)) for bit in range(8))
        case _:
            return (0,) * 8
