"""Hexagonal tiles: of one terrain with a rim, or of two with a tile for each set of upper neighbours.

A hexagon has no neighbours beyond its corners, so 64 tiles of the upper terrain, one for each set of upper neighbours,
and one plain lower tile make every map. A border is a distance field of nearby lower cells that reaches less than half
a tile, and textures and waves wrap on the lattice of the hexagons: a tile is a cut of the whole map's painting, and the
gate compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette, lock
from pipelines.records import Pixels
from pipelines.tiles.geometry import Cells, Field
from pipelines.tiles.map import Indices, random_cells
from pipelines.tiles.seams import LEAST_STEP, Seams, features
from pipelines.tiles.wang import Border, Brush, Terrain, scale_border, shade

PLAIN_HEXAGON = 64
"""The place of the plain lower tile; tile 0 to 63 are the upper one with that mask of upper neighbours."""
SIDES = {
    "pointy": ("north_east", "east", "south_east", "south_west", "west", "north_west"),
    "flat": ("north", "north_east", "south_east", "south", "south_west", "north_west"),
}
"""The sides of the mask's bits 1, 2, 4, ... 32, clockwise."""
ROWS, COLUMNS, AROUND = 6, 8, 2
"""The sample map, and the rings of cells around it that its borders are painted with."""


def hexagon(size: int, flat: bool = False) -> Cells:
    """Returns (size, size), a hexagon whose straight sides have half the size; `flat`: with a side at the top."""
    rows = np.arange(size) + 0.5
    reach = np.minimum(np.minimum(rows, size - rows) / (size / 4), 1.0) * size / 2
    mask = np.abs(np.arange(size) + 0.5 - size / 2)[None] < reach[:, None]
    return mask.T if flat else mask


def place(row: int, column: int, size: int, flat: bool) -> tuple[int, int]:
    """Returns (y, x) of a cell's tile: every second row (column, where `flat`) is moved by half a tile."""
    step, along = (column, row) if flat else (row, column)
    a, b = step * size * 3 // 4, along * size + step % 2 * size // 2
    return (b, a) if flat else (a, b)


def compose_hexagons(tiles: Sequence[Pixels], indices: Indices, size: int, flat: bool = False) -> Pixels:
    """Returns a map as Tiled shows it."""
    rows, columns = indices.shape
    picture = np.zeros((*_extent(rows, columns, size, flat), 4), np.uint8)
    for row in range(rows):
        for column in range(columns):
            y, x = place(row, column, size, flat)
            tile = tiles[indices[row, column]]
            part = picture[y : y + size, x : x + size]
            part[tile[..., 3] > 0] = tile[tile[..., 3] > 0]
    return picture


def _extent(rows: int, columns: int, size: int, flat: bool) -> tuple[int, int]:
    """Returns the height and width of a map's picture."""
    long, short = (columns, rows) if flat else (rows, columns)
    along, across = long * size * 3 // 4 + size // 4, short * size + size // 2
    return (across, along) if flat else (along, across)


def covers_once(mask: Cells, flat: bool) -> bool:
    """Returns whether hexagons on their grid cover every pixel of the inside of a map once."""
    size = mask.shape[0]
    counted = np.zeros((4 * size, 4 * size), int)
    for step in range(5):
        for along in range(3):
            y, x = place(*((along, step) if flat else (step, along)), size, flat)
            part = counted[y : y + size, x : x + size]
            part += mask[: part.shape[0], : part.shape[1]]
    inner = counted[size : 2 * size, size : 2 * size]
    return bool((inner == 1).all())


def rimmed(textures: Sequence[Pixels], mask: Cells, palette: Palette) -> list[Pixels]:
    """Returns hexagons cut out of textures (size, size, 4), lit at the upper left and shaded at the lower right."""
    padded = np.pad(mask, 1)
    lit = mask & ~(padded[:-2, 1:-1] & padded[1:-1, :-2])
    dark = mask & ~(padded[2:, 1:-1] & padded[1:-1, 2:]) & ~lit
    tiles = []
    for source in textures:
        tile = source.copy()
        for where, factor in ((lit, 1.25), (dark, 0.62)):
            tile[where] = lock(shade(source, factor), palette)[where]
        tile[~mask] = 0
        tiles.append(tile)
    return tiles


# ------------------------------------------------------------------------------------------------------ two terrains


def neighbours(row: int, column: int, flat: bool) -> list[tuple[int, int]]:
    """Returns the cells at the six sides, in the order of SIDES."""
    if flat:
        up, down = row - 1 + column % 2, row + column % 2
        return [
            (row - 1, column), (up, column + 1), (down, column + 1),
            (row + 1, column), (down, column - 1), (up, column - 1),
        ]  # fmt: skip
    left, right = column - 1 + row % 2, column + row % 2
    return [
        (row - 1, right), (row, column + 1), (row + 1, right),
        (row + 1, left), (row, column - 1), (row - 1, left),
    ]  # fmt: skip


def hexagon_indices(cells: Cells, flat: bool) -> Indices:
    """Returns the tile of each cell of a map; beyond the map's border everything is upper."""
    rows, columns = cells.shape
    indices = np.full((rows, columns), PLAIN_HEXAGON, np.int32)
    for row, column in zip(*np.nonzero(cells), strict=True):
        around = neighbours(int(row), int(column), flat)
        known = [not (0 <= r < rows and 0 <= c < columns) or bool(cells[r, c]) for r, c in around]
        indices[row, column] = sum(1 << bit for bit, upper in enumerate(known) if upper)
    return indices


def on_lattice(texture: Pixels, flat: bool) -> Pixels:
    """Returns a texture that wraps where hexagons lie: (3/2 size, size, 4), or (size, 3/2 size, 4) where `flat`.

    Rows of hexagons are 3/4 of a tile apart and moved by half a tile. The texture (size, size, 4) wraps in x already;
    strips of it, 3/4 of a tile high, are laid over each other, cut along the line where they differ least.
    """
    if flat:
        return on_lattice(texture.transpose(1, 0, 2), flat=False).transpose(1, 0, 2)
    size = texture.shape[0]
    high, band, half = size * 3 // 4, size // 4, size // 2
    # the strip above, seen from this one: moved by half a tile
    above = np.roll(texture[high:], -half, axis=1)
    cut = _least_cut(np.linalg.norm(to_oklab(above[..., :3]) - to_oklab(texture[:band, :, :3]), axis=-1))
    strip = texture[:high].copy()
    kept = np.arange(band)[:, None] < cut[None]
    strip[:band][kept] = above[kept]
    return np.concatenate([strip, np.roll(strip, half, axis=1)])


def _least_cut(cost: NDArray[np.floating]) -> NDArray[np.intp]:
    """Returns for each column the row at which to cut, so that the cost along the cut is least and its ends meet."""
    rows, columns = cost.shape
    best, least = np.zeros(columns, np.intp), np.inf
    for start in range(rows):
        total, back = np.full(rows, np.inf), np.zeros((columns, rows), np.intp)
        total[start] = cost[start, 0]
        for column in range(1, columns):
            around = np.stack([np.pad(total, (1, 1), constant_values=np.inf)[i : i + rows] for i in range(3)])
            choice = around.argmin(axis=0)
            back[column] = np.arange(rows) + choice - 1
            total = around[choice, np.arange(rows)] + cost[:, column]
        ends = np.abs(np.arange(rows) - start) <= 1
        end = int(np.where(ends, total, np.inf).argmin())
        if ends[end] and total[end] < least:
            least, best = float(total[end]), np.empty(columns, np.intp)
            for column in range(columns - 1, -1, -1):
                best[column] = end
                end = int(back[column, end])
    return best


def lattice_waves(size: int, flat: bool, seed: int) -> Field:
    """Makes smooth noise in -1..1 that wraps on the lattice: (3/2 size, size), or transposed where `flat`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size * 3 // 2, 0:size]
    total = np.zeros(y.shape)
    for fy in range(-6, 7):
        for fx in range(5):
            # a wave comes back after half a period in both axes where the sum of its turns is even
            length = float(np.hypot(fx, fy / 1.5))
            if (fx + fy) % 2 == 0 and 0.5 < length <= 4:
                turns = fx * x / size + fy * y / (size * 3 // 2) + rng.random()
                total += rng.normal() / length**0.7 * np.cos(2 * np.pi * turns)
    waves = (total / np.abs(total).max()).astype(np.float32)
    return waves.T if flat else waves


@dataclass(frozen=True, slots=True, eq=False)
class HexagonPair:
    """The 65 `tiles` with their `seams`, the `indices` of a sample map and the `whole` map painted as one picture."""

    tiles: list[Pixels]
    seams: Seams
    indices: Indices
    whole: Pixels


def paint_hexagons(
    upper: Terrain, lower: Terrain, border: Border, flat: bool, palette: Palette, seeds: Sequence[int]
) -> HexagonPair:
    """Paints the tiles of two terrains, whose textures (size, size, 4) wrap, in a palette.

    The first of `seeds` whose waves cross the sides calmly is taken (no pair of tiles steps more than an ordinary line
    of pixels), else the best.
    """
    size, pad = upper.size, upper.size // 4
    painting = _Painting(upper, lower, border, flat)
    middle, shape = 2, hexagon(size, flat)
    y, x = place(middle, middle, size, flat)
    part = np.s_[y - pad : y + size + pad, x - pad : x + size + pad]
    fields = []
    for mask in range(PLAIN_HEXAGON + 1):
        cells = np.full((5, 5), mask < PLAIN_HEXAGON)
        for bit, cell in enumerate(neighbours(middle, middle, flat)):
            cells[cell] = bool(mask >> bit & 1) and mask < PLAIN_HEXAGON
        fields.append(painting.field(cells, part))
    best: tuple[list[Pixels], Seams, int] | None = None
    for seed in seeds:
        brush = painting.brush(part, seed)
        tiles = [lock(np.where(shape[..., None], brush.paint(*field), 0).astype(np.uint8), palette) for field in fields]
        seams = hexagon_seams(tiles, size, flat)
        if best is None or seams.worst < best[1].worst:
            best = tiles, seams, seed
        if seams.worst <= 1:
            break
    assert best is not None
    tiles, seams, seed = best

    cells = random_cells(np.random.default_rng(seeds[0]), ROWS + 2 * AROUND, COLUMNS + 2 * AROUND)
    y, x = place(AROUND, AROUND, size, flat)
    height, width = _extent(ROWS, COLUMNS, size, flat)
    part = np.s_[y - pad : y + height + pad, x - pad : x + width + pad]
    whole = lock(painting.brush(part, seed).paint(*painting.field(cells, part)), palette)
    return HexagonPair(tiles, seams, hexagon_indices(cells, flat)[AROUND:-AROUND, AROUND:-AROUND], whole)


class _Painting:
    """Fields and brushes of parts of a map of two terrains; a part is (rows, columns) of the map's picture."""

    def __init__(self, upper: Terrain, lower: Terrain, border: Border, flat: bool) -> None:
        self.size, self.flat = upper.size, flat
        self.border, rim = scale_border(border, self.size)
        # a border that reached half a tile would be seen by cells that do not touch
        self.rounding = max(0.0, min(rim.rounding, (self.size / 2 - 2 - rim.inset - rim.wobble) / 2))
        self.inset = rim.inset
        self.upper, self.lower = (replace(one, texture=on_lattice(one.texture, flat)) for one in (upper, lower))

    def brush(self, part: tuple[slice, slice], seed: int) -> Brush:
        rows, columns = (np.arange(one.start, one.stop) for one in part)

        def spread(texture: NDArray) -> NDArray:
            return texture[rows % texture.shape[0]][:, columns % texture.shape[1]]

        waves = spread(lattice_waves(self.size, self.flat, seed) * np.float32(self.border.wobble))
        period = self.size * 3 // 4 if self.flat else self.size // 2
        blades = np.random.default_rng(seed + 1).choice(self.border.tufts + 1, period)[columns % period]
        return Brush(self.upper, self.lower, self.border, waves, blades, spread, self.size // 4)

    def field(self, cells: Cells, part: tuple[slice, slice]) -> tuple[Field, Cells]:
        """Returns the field of a part of a map of cells, and where borders may be painted."""
        solid = _raster(cells, self.size, self.flat)
        reach = self.size // 2
        around = tuple(slice(max(0, one.start - reach), one.stop + reach) for one in part)
        inner = tuple(
            slice(one.start - more.start, one.stop - more.start) for one, more in zip(part, around, strict=True)
        )
        solid = solid[around]
        inside = np.asarray(ndimage.binary_erosion(solid, np.ones((3, 3)), border_value=1), bool)
        return _field(solid, self.inset, self.rounding)[inner], inside[inner]


def _raster(cells: Cells, size: int, flat: bool) -> Cells:
    """Returns the pixels of a map's upper cells; what no cell covers counts as upper."""
    rows, columns = cells.shape
    shape = hexagon(size, flat)
    solid = np.ones(_extent(rows, columns, size, flat), np.bool_)
    for row, column in zip(*np.nonzero(~cells), strict=True):
        y, x = place(int(row), int(column), size, flat)
        solid[y : y + size, x : x + size] &= ~shape
    return solid


def _field(solid: Cells, inset: float, rounding: float) -> Field:
    """Returns the distance from the border, positive inside: the upper area is eroded and its corners are rounded."""
    if solid.all():
        return np.full(solid.shape, np.float32(solid.size))
    depth = np.asarray(ndimage.distance_transform_edt(solid)) - 0.5 - inset
    core = depth > rounding
    around = (
        np.asarray(ndimage.distance_transform_edt(~core)) if core.any() else np.full(solid.shape, float(solid.size))
    )
    return np.where(core, depth, rounding - np.maximum(around - 0.5, 0)).astype(np.float32)


def hexagon_seams(tiles: Sequence[Pixels], size: int, flat: bool) -> Seams:
    """Returns the steps across the sides of every legal pair of the 65 tiles, as `seams.measure_seams` does."""
    shape = hexagon(size, flat)
    values = np.stack([features(tile) for tile in tiles])
    inside = [
        float(np.linalg.norm(np.diff(v, axis=axis), axis=-1)[both].mean())
        for v in values
        for axis in (0, 1)
        for both in [shape[1:] & shape[:-1] if axis == 0 else shape[:, 1:] & shape[:, :-1]]
    ]
    mean = max(float(np.mean(inside)), LEAST_STEP)
    steps: list[float] = []
    for side in range(3):
        (row, column), (y, x) = neighbours(2, 2, flat)[side], place(2, 2, size, flat)
        there_y, there_x = place(row, column, size, flat)
        near, far = _touching(shape, there_y - y, there_x - x)
        here, there = values[:, near[0], near[1]], values[:, far[0], far[1]]
        back = (side + 3) % 6
        for a in range(PLAIN_HEXAGON + 1):
            for b in range(PLAIN_HEXAGON + 1):
                if _may_meet(a, b, side, back):
                    steps.append(float(np.linalg.norm(here[a] - there[b], axis=-1).mean()))
    return Seams(float(np.mean(steps)) / mean, max(steps) / mean, max(inside) / mean, len(steps))


def _may_meet(a: int, b: int, side: int, back: int) -> bool:
    """Returns whether tile b may lie at a side of tile a: each shows the other, and both the two cells beside them."""
    if a == PLAIN_HEXAGON or b == PLAIN_HEXAGON:
        shown = [mask >> bit & 1 for mask, bit in ((a, side), (b, back)) if mask != PLAIN_HEXAGON]
        return not any(shown)
    if not (a >> side & 1 and b >> back & 1):
        return False
    beside = (((side + 1) % 6, (back - 1) % 6), ((side - 1) % 6, (back + 1) % 6))
    return all(a >> ours & 1 == b >> theirs & 1 for ours, theirs in beside)


def _touching(shape: Cells, dy: int, dx: int) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Returns the pixels (rows, columns) of two hexagons, the second moved by (dy, dx), that touch by a side."""
    size = shape.shape[0]
    owner = np.zeros((4 * size, 4 * size), int)
    for number, (top, left) in enumerate(((size, size), (size + dy, size + dx)), start=1):
        owner[top : top + size, left : left + size][shape] = number
    pairs = []
    for move in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        moved = np.roll(owner, (-move[0], -move[1]), (0, 1))
        y, x = np.nonzero((owner == 1) & (moved == 2))
        pairs.append((y - size, x - size, y + move[0] - size - dy, x + move[1] - size - dx))
    y, x, far_y, far_x = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return (y, x), (far_y, far_x)
