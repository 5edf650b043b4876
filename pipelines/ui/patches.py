"""Nine patches: stretch a picture by its insets, find the smallest insets that are exact, and prove them.

Corners stay as they are; edges and middle repeat (tile) from the upper left, as Bevy's `SliceScaleMode::Tile` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.records import Pixels

Draw = Callable[[int, int], Pixels]
"""(width, height) -> the piece drawn at that size, (height, width, 4)."""
GROWTHS = ((1, 1), (7, 3), (24, 17))
"""Pixels by which a piece is made wider and higher to prove its insets."""


@dataclass(frozen=True, slots=True)
class Insets:
    """Pixels from each side that do not stretch."""

    left: int
    right: int
    top: int
    bottom: int


def stretch(picture: Pixels, insets: Insets, width: int, height: int) -> Pixels:
    """Returns the picture at another size, its edges and middle repeated.

    Args:
        picture: (h, w, 4), with at least one pixel between the insets.
        insets: what stays.
        width, height: at least the insets together.
    """
    columns = _source(picture.shape[1], insets.left, insets.right, width)
    rows = _source(picture.shape[0], insets.top, insets.bottom, height)
    return picture[np.ix_(rows, columns)]


def _source(length: int, begin: int, end: int, wanted: int) -> NDArray[np.intp]:
    """Returns, for each pixel of `wanted`, which of `length` pixels it repeats."""
    middle = max(length - begin - end, 1)
    place = np.arange(wanted)
    inner = begin + (place - begin) % middle
    source = np.where(place < begin, place, inner)
    return np.where(place >= wanted - end, length - wanted + place, source).astype(np.intp)


def find_insets(draw: Draw, width: int, height: int) -> Insets | None:
    """Returns the smallest insets whose nine patch equals the drawing at larger sizes; None: there are none.

    The axes are searched one after the other: the edge columns first, on drawings of one height, then the rows.
    """
    base = draw(width, height)
    across = _search(base, [draw(width + dx, height) for dx, _ in GROWTHS], 1)
    down = _search(base, [draw(width, height + dy) for _, dy in GROWTHS], 0)
    if across is None or down is None:
        return None
    insets = Insets(*across, *down)
    return insets if is_exact(draw, width, height, insets) else None


def _search(base: Pixels, larger: list[Pixels], axis: int) -> tuple[int, int] | None:
    length = base.shape[axis]
    for total in range(length):
        for begin in range(total // 2, -1, -1):
            for start in {begin, total - begin}:
                end = total - start
                sources = [_source(length, start, end, picture.shape[axis]) for picture in larger]
                pairs = zip(sources, larger, strict=True)
                if all((np.take(base, source, axis) == picture).all() for source, picture in pairs):
                    return start, end
    return None


def is_exact(draw: Draw, width: int, height: int, insets: Insets) -> bool:
    """Returns whether the nine patch equals the drawing, pixel by pixel, at three larger sizes."""
    base = draw(width, height)
    sizes = [(width + dx, height + dy) for dx, dy in GROWTHS]
    return all((stretch(base, insets, w, h) == draw(w, h)).all() for w, h in sizes)
