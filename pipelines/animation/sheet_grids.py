"""Find the grid of a sheet: equal cells whose gutters, margins and cuts the picture's own pixels prove.

A grid counts as proved where every line between its cells is free: the gutters and margins have one colour over the
whole picture, and cells without a gutter do not touch across the cut. A tile size that divides the picture exactly
needs no gutters. Anything else is refused with the rows and columns that are left over.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidRequest
from pipelines.pixels.quantize import pack
from pipelines.records import Pixels

WIDEST_GAP = 16
"""Pixels: margins and gaps up to this are looked for."""
TILE_SIZES = (8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
"""Square tiles that are tried where no size is given."""

_TRANSPARENT = 1 << 40
_SMALLEST = 4
_USED = 0.5
"""Share of the cells that have to show something where the size was looked for."""
_CHANCE = 0.05
"""A grid is proved where cuts at any place would be as free as its own with less probability."""
_RARELY = 0.4
"""Of what is drawn across a line on average."""
_FULL = 0.95
"""Share of a cell that is drawn on, from which on it is a tile and not a drawing with air around it."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Equal cells along one side of the picture, in pixels: `start`, then `count` cells of `size`, `gap` apart."""

    start: int
    count: int
    size: int
    gap: int

    def begins(self) -> list[int]:
        """Returns where each cell begins."""
        return [self.start + i * (self.size + self.gap) for i in range(self.count)]


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of equal cells."""

    x: Axis
    y: Axis

    def describe(self) -> str:
        """Describes the grid: `3x3 tiles of 16x16 px, gap 1 px, margin 1 px`."""
        text = f"{self.x.count}x{self.y.count} tiles of {self.x.size}x{self.y.size} px"
        gaps = [axis.gap for axis in (self.x, self.y) if axis.count > 1] or [0]  # one cell alone has no gap
        for label, one, other in (("gap", gaps[0], gaps[-1]), ("margin", self.x.start, self.y.start)):
            if one or other:
                text += f", {label} {one} px" if one == other else f", {label} {one}x{other} px"
        return text


class SheetLines:
    """A picture with its lines of one colour, along both axes.

    `lines[axis]` has for each line across that axis (0: x, so columns) the code of its one colour, or -1; `drawn` is
    what differs from the background: transparency where there is any, else the most frequent colour at the edge.
    """

    def __init__(self, image: Pixels) -> None:
        self.width, self.height = image.shape[1], image.shape[0]
        codes = pack(image).astype(np.int64)
        codes |= image[..., 3].astype(np.int64) << 24
        codes[image[..., 3] == 0] = _TRANSPARENT
        self.lines = tuple(np.where((c == c[:1]).all(axis=0), c[0], -1) for c in (codes, codes.T))
        edge = np.concatenate([codes[0], codes[-1], codes[:, 0], codes[:, -1]])
        values, counts = np.unique(edge, return_counts=True)
        self.background = _TRANSPARENT if (codes == _TRANSPARENT).any() else int(values[counts.argmax()])
        self.drawn = codes != self.background
        self._crossing = tuple((d[:, 1:] & d[:, :-1]).sum(axis=0) for d in (self.drawn, self.drawn.T))
        self._touch = tuple(crossing > 0 for crossing in self._crossing)
        self._used = tuple(d.any(axis=0) for d in (self.drawn, self.drawn.T))

    def length(self, axis: int) -> int:
        return (self.width, self.height)[axis]

    def framed(self, axis: int, cells: Axis) -> bool:
        """Returns whether gutters, margins and the rest have one colour."""
        free = np.ones(self.length(axis), bool)
        for begin in cells.begins():
            free[begin : begin + cells.size] = False
        between = self.lines[axis][free]
        return not (between == -1).any() and len(np.unique(between)) <= 1

    def proved(self, axis: int, cells: Axis) -> bool:
        """Returns whether the cells are framed and no drawing crosses a cut without a gutter."""
        if not self.framed(axis, cells):
            return False
        return cells.gap != 0 or not any(self._touch[axis][begin - 1] for begin in cells.begins()[1:])

    def used(self, grid: Grid) -> float:
        """Returns the share of the cells that show something."""
        shown = [
            self.drawn[y : y + grid.y.size, x : x + grid.x.size].any() for y in grid.y.begins() for x in grid.x.begins()
        ]
        return sum(map(bool, shown)) / len(shown)

    def full(self, grid: Grid) -> bool:
        """Returns whether the cells that show anything are filled."""
        shares = [
            float(self.drawn[y : y + grid.y.size, x : x + grid.x.size].mean())
            for y in grid.y.begins()
            for x in grid.x.begins()
        ]
        return float(np.mean([share for share in shares if share] or [0.0])) > _FULL

    def chance(self, grid: Grid) -> float:
        """Returns how likely cuts at any place would be as free as those of `grid` are."""
        chance = 1.0
        for axis, cells in enumerate((grid.x, grid.y)):
            crossed = 1 - float(self._touch[axis].mean()) if len(self._touch[axis]) else 1.0
            empty = 1 - float(self._used[axis].mean())
            cuts = cells.count - 1
            chance *= (empty**cells.gap if cells.gap else crossed) ** cuts * empty ** (2 * cells.start)
        return chance

    def divided(self, grid: Grid) -> bool:
        """Returns whether next to nothing crosses the middles or thirds of the cells: smaller ones are as likely."""
        for parts in (2, 3):
            across = []
            for axis, cells in enumerate((grid.x, grid.y)):
                crossing = self._crossing[axis]
                near = [begin + cells.size * k // parts - 1 for begin in cells.begins() for k in range(1, parts)]
                if crossing.any():
                    least = np.min([crossing[np.add(near, step).clip(0, len(crossing) - 1)] for step in (-1, 0, 1)], 0)
                    across.append(float(least.mean() / crossing.mean()))
            if len(across) == 2 and max(across) < _RARELY:
                return True
        return False

    def spread(self, axis: int, cells: Axis) -> int:
        """Returns how many of a cell's lines are drawn on in any cell: fewest where the cells' drawings lie alike."""
        used: NDArray[np.bool_] = self._used[axis]
        return int(np.any([used[begin : begin + cells.size] for begin in cells.begins()], axis=0).sum())


def find_grid(sheet: SheetLines, name: str, tile: tuple[int, int] | None, gap: int | None, margin: int | None) -> Grid:
    """Finds the grid of a sheet that messages call `name`; None for (width, height), gap or margin: any, in pixels.

    Raises:
        InvalidRequest: no grid is proved; it names what is left over and what to give.
    """
    return _given(sheet, name, tile, gap, margin) if tile else _searched(sheet, name, gap, margin)


def _given(sheet: SheetLines, name: str, tile: tuple[int, int], gap: int | None, margin: int | None) -> Grid:
    """Returns the grid of cells of a known size."""
    if min(tile) < 1:
        raise InvalidRequest(
            f"A tile of {tile[0]}x{tile[1]} pixels is not possible. Give a width and height of 1 or more."
        )
    found = [
        cells or _touching(sheet, axis, tile[axis], gap, margin)
        for axis, cells in enumerate(_best(sheet, tile, gap, margin))
    ]
    if found[0] is not None and found[1] is not None:
        return Grid(found[0], found[1])
    if tile[0] > sheet.width or tile[1] > sheet.height:
        raise InvalidRequest(
            f"{name} has {sheet.width}x{sheet.height} pixels, less than one tile of {tile[0]}x{tile[1]}. Give the size "
            "of its tiles."
        )
    around = "" if gap is None and margin is None else f" with gap {gap or 0} and margin {margin or 0}"
    left = []
    for axis, noun in ((0, "column"), (1, "row")):
        if found[axis] is None:
            rest = _rest(sheet.length(axis), tile[axis], gap or 0, margin or 0)
            left.append(f"{rest} {noun}{'' if rest == 1 else 's'}")
    raise InvalidRequest(
        f"{name} has {sheet.width}x{sheet.height} pixels: tiles of {tile[0]}x{tile[1]}{around} leave "
        f"{' and '.join(left)} of pixels over, and no gutters of one colour explain them. Give the right tile size, or "
        "gap and margin, or put the sheet's layout file (Aseprite or TexturePacker JSON) beside it."
    )


def _rest(length: int, size: int, gap: int, margin: int) -> int:
    return (length - 2 * margin + gap) % (size + gap)


def _best(
    sheet: SheetLines, tile: tuple[int, int], gap: int | None, margin: int | None, most: int = 9
) -> list[Axis | None]:
    """Returns the best proved cells along both axes; None for an axis that has none.

    Most cells win; then usual spacing, the same along both axes; then the spacing under which the drawings lie alike in
    their cells. `most` is the most unusual spacing that counts (see `_fits`).
    """
    proved = [
        [
            (cells, unusual, sheet.spread(axis, cells))
            for cells, unusual in _fits(sheet.length(axis), tile[axis], gap, margin)
            if unusual <= most and sheet.proved(axis, cells)
        ]
        for axis in (0, 1)
    ]
    if not proved[0] or not proved[1]:
        return [min(ones, key=lambda one: (-one[0].count, one[1]))[0] if ones else None for ones in proved]

    def cost(pair: tuple[tuple[Axis, int, int], tuple[Axis, int, int]]) -> tuple[float, ...]:
        (x, odd_x, spread_x), (y, odd_y, spread_y) = pair
        unlike = x.start != y.start or (x.gap != y.gap and x.count > 1 and y.count > 1)
        return -x.count * y.count, max(odd_x, odd_y) >= 5, unlike, spread_x + spread_y, odd_x + odd_y

    best = min(itertools.product(proved[0], proved[1]), key=cost)
    return [best[0][0], best[1][0]]


def _touching(sheet: SheetLines, axis: int, size: int, gap: int | None, margin: int | None) -> Axis | None:
    """Finds opaque cells that touch: their number fits exactly, or exactly between two equal margins of one colour."""
    length, m, g = sheet.length(axis), margin or 0, gap or 0
    if length >= size + 2 * m and _rest(length, size, g, m) == 0:
        return Axis(m, (length - 2 * m + g) // (size + g), size, g)
    if gap in (None, 0) and margin is None and length > size and length % size % 2 == 0:
        cells = Axis(length % size // 2, length // size, size, 0)
        return cells if sheet.framed(axis, cells) else None
    return None


def _fits(length: int, size: int, gap: int | None, margin: int | None) -> Iterator[tuple[Axis, int]]:
    """Yields cells of `size` that fit into `length`, each with how unusual its spacing is (0: no spacing at all)."""
    for start in range(min(WIDEST_GAP, size) + 1) if margin is None else (margin,):
        for between in range(min(WIDEST_GAP, size) + 1) if gap is None else (gap,):
            count = (length - start + between) // (size + between)
            if count < 1:
                continue
            if count == 1 and between and gap is None:
                continue  # a gap between one cell means nothing
            rest = length - start - count * size - (count - 1) * between
            spacing = (start, between, rest)
            if spacing == (0, 0, 0):
                yield Axis(start, count, size, between), 0
            elif start == rest and between in (start, 0, 2 * start):
                yield Axis(start, count, size, between), 1 if between else 2
            elif start == 0 and rest in (0, between):
                yield Axis(start, count, size, between), 2 if rest == 0 else 3
            elif start == rest:
                yield Axis(start, count, size, between), 4
            elif start == 0:
                yield Axis(start, count, size, between), 5
            elif margin is not None:
                yield Axis(start, count, size, between), 6


def _searched(sheet: SheetLines, name: str, gap: int | None, margin: int | None) -> Grid:
    """Searches a grid of unknown tile size: equal cells between gutters, else the only square size that is proved."""
    if gap is None and margin is None and (grid := _between_gutters(sheet)):
        return grid
    largest = max(sheet.width, sheet.height)
    clear = sheet.background == _TRANSPARENT
    found: list[tuple[int, int, Grid]] = []
    for size in range(_SMALLEST, largest) if clear else (size for size in TILE_SIZES if size <= largest):
        for spacing in _spacings(gap, margin):
            cells = [_filling(sheet.length(axis), size, *spacing) for axis in (0, 1)]
            if cells[0] and cells[1] and cells[0].count * cells[1].count > 1:
                grid = Grid(cells[0], cells[1])
                if sheet.proved(0, grid.x) and sheet.proved(1, grid.y) and sheet.used(grid) >= _USED:
                    found.append((_oddity(size, *spacing), size, grid))
    sure = [one for one in found if sheet.chance(one[2]) < _CHANCE and not sheet.divided(one[2])]
    if sure:
        # where the number of cells is the same, the drawings lie alike in their cells under the right spacing
        groups: dict[tuple[int, int], tuple[int, int, int, Grid]] = {}
        for oddity, size, grid in sure:
            spread = sheet.spread(0, grid.x) + sheet.spread(1, grid.y)
            one = (spread, oddity, size, grid)
            counts = grid.x.count, grid.y.count
            groups[counts] = min(groups.get(counts, one), one, key=lambda one: one[:3])
        usual = min(oddity for _, oddity, _, _ in groups.values())
        best = sorted(
            ((size, grid) for _, oddity, size, grid in groups.values() if oddity == usual), key=lambda one: one[0]
        )
        smallest, grid = best[0]
        if all(size % smallest == 0 and other.x.gap == grid.x.gap for size, other in best):
            return grid
        sizes = "; or ".join(grid.describe() for _, grid in best)
        raise InvalidRequest(f"{name} can be cut into {sizes}. Give the tile size that is meant, and gap and margin.")
    if found:
        grid = min(found, key=lambda one: one[:2])[2]
        raise InvalidRequest(
            f"{name} may be {grid.describe()}, but so few cuts prove nothing. Give width={grid.x.size} if that is "
            "right, or the tile size that is."
        )
    lines = " and ".join(f"{_free(sheet, axis)} {noun}s" for axis, noun in ((0, "column"), (1, "row")))
    raise InvalidRequest(
        f"No grid can be seen in {name} ({sheet.width}x{sheet.height} pixels): of its lines {lines} are free, but no "
        "equal cells lie between them that fill the picture. Give the tile size, or put the sheet's layout file "
        "(Aseprite or TexturePacker JSON) beside it."
    )


def _free(sheet: SheetLines, axis: int) -> int:
    return int((sheet.lines[axis] != -1).sum())


def _spacings(gap: int | None, margin: int | None) -> list[tuple[int, int]]:
    """Lists (gap, margin) as editors and packers lay them: none, alike, one of them, or half a gap around each tile."""
    usual = {(0, 0)} | {pair for n in range(1, 5) for pair in ((n, n), (n, 0), (0, n), (2 * n, n))}
    return sorted(pair for pair in usual if gap in (None, pair[0]) and margin in (None, pair[1])) or [
        (gap or 0, margin or 0)
    ]


def _oddity(size: int, gap: int, margin: int) -> int:
    """Returns how unusual a grid is: 0 for a multiple of 8 without spacing."""
    unusual = 0 if size % 8 == 0 else 1 if size % 2 == 0 else 3
    return unusual + (0 if not gap and not margin else 1 if gap == margin or not margin else 2)


def _filling(length: int, size: int, gap: int, margin: int) -> Axis | None:
    """Fills `length` with cells to the last pixel; None where that is impossible."""
    count = (length - 2 * margin + gap) // (size + gap)
    if count < 1 or 2 * margin + count * size + (count - 1) * gap != length:
        return None
    return Axis(margin, count, size, gap if count > 1 else 0)


def _between_gutters(sheet: SheetLines) -> Grid | None:
    """Finds equal cells between lines of one colour, the same colour along both axes.

    Transparent lines lie beside every drawing, so there the cells have to be full.
    """
    colors = {int(c) for lines in sheet.lines for c in np.unique(lines) if c != -1}
    for color in sorted(colors, reverse=True)[:8]:  # transparency has the highest code
        axes = [_equal_runs(sheet.lines[axis] != color) for axis in (0, 1)]
        if any(axis is None for axis in axes):
            continue
        x, y = (axis for axis in axes if axis is not None)
        if x.count * y.count > 1 and (color != _TRANSPARENT or sheet.full(Grid(x, y))):
            return Grid(x, y)
    return None


def _equal_runs(used: NDArray[np.bool_]) -> Axis | None:
    """Returns the runs of used lines, where all have one length and all gaps between them too."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], used, [False]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    sizes, gaps = set((ends - begins).tolist()), set((begins[1:] - ends[:-1]).tolist())
    if len(sizes) != 1 or len(gaps) > 1 or (size := sizes.pop()) < 2:
        return None
    return Axis(int(begins[0]), len(begins), size, gaps.pop() if gaps else 0)
