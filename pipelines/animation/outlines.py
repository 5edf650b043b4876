"""Take a thick outline off a small figure before its views are painted, and draw it around the painted cells again.

The sheet model learned figures with outlines of one pixel or none. With two, half of a 16 px cell is outline and the
views have no room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.records import Pixels

_SHARE = 0.7
"""Share of the edge's pixels in one colour from which it counts as a drawn outline."""

_MOST = 3

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A drawn outline: its RGBA colour, its thickness in pixels, and whether it turns corners diagonally."""

    color: NDArray[np.uint8]
    thickness: int
    corners: bool


def _beside(mask: Mask, *, corners: bool, outside: bool = False) -> Mask:
    """Returns pixels (..., height, width) with a neighbour in `mask`; beyond the canvas `outside` counts."""
    spare = [(0, 0)] * (mask.ndim - 2) + [(1, 1), (1, 1)]
    wide = np.pad(mask, spare, constant_values=outside)
    near = wide[..., 1:-1, :-2] | wide[..., 1:-1, 2:] | wide[..., :-2, 1:-1] | wide[..., 2:, 1:-1]
    if corners:
        near |= wide[..., :-2, :-2] | wide[..., :-2, 2:] | wide[..., 2:, :-2] | wide[..., 2:, 2:]
    return near


def _grown(solid: Mask, thickness: int, *, corners: bool) -> Mask:
    for _ in range(thickness):
        solid = solid | _beside(solid, corners=corners)
    return solid


def without_outline(sprite: Pixels) -> tuple[Pixels, Outline | None]:
    """Returns the sprite (height, width, 4) without its outline, and the outline; thin ones stay and are None."""
    opaque = sprite[..., 3] > 0
    edge = opaque & _beside(~opaque, corners=True, outside=True)
    if not edge.any():
        return sprite, None
    colors, counts = np.unique(sprite[edge], axis=0, return_counts=True)
    color = colors[int(counts.argmax())]
    same = (sprite == color).all(axis=-1)
    inner, thickness = opaque, 0
    while thickness < _MOST:
        edge = inner & _beside(~inner, corners=False, outside=True)
        if not edge.any() or (edge & same).sum() < _SHARE * edge.sum():
            break
        inner, thickness = inner & ~(edge & same), thickness + 1
    if thickness < 2 or inner.sum() < 0.2 * opaque.sum():
        return sprite, None
    fits = {corners: (_grown(inner, thickness, corners=corners) ^ opaque).sum() for corners in (False, True)}
    return np.where(inner[..., None], sprite, 0).astype(np.uint8), Outline(color, thickness, fits[True] < fits[False])


def with_outline(cells: NDArray[np.uint8], outline: Outline) -> NDArray[np.uint8]:
    """Returns cells (..., height, width, 4) with the outline around what is drawn in them."""
    solid = cells[..., 3] > 0
    around = _grown(solid, outline.thickness, corners=outline.corners) & ~solid
    return np.where(around[..., None], outline.color, cells).astype(np.uint8)
