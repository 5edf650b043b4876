"""Tilesets made of square ones: isometric blocks, hexagons, and liquids that move.

A square set is drawn and checked first. An isometric tile is its projection (a diamond twice as wide as high, in which
a texel is two pixels wide and every second one is seen), a hexagon a cut of a texture, an animated tile the square one
with its liquid in motion. So what fits as squares fits here, and the gates prove it on whole maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidRequest
from pipelines.pixels.gates import Report
from pipelines.pixels.palette import Palette, lock
from pipelines.pixels.png import encode_png
from pipelines.pixels.quantize import color_counts
from pipelines.records import OnProgress, Pixels, Recipe, no_progress
from pipelines.tiles.geometry import compose
from pipelines.tiles.hexagons import (
    PLAIN_HEXAGON,
    SIDES,
    compose_hexagons,
    covers_once,
    hexagon,
    paint_hexagons,
    rimmed,
)
from pipelines.tiles.layouts import Layout, sides, wang_colors
from pipelines.tiles.map import Indices
from pipelines.tiles.seams import SEAM_LIMIT, count_strips, measure_seams
from pipelines.tiles.tiled import VERSION, sheet_bytes, strip, xml_bytes
from pipelines.tiles.tileset import WAVES, Tileset, border_of, draw_tileset, is_liquid
from pipelines.tiles.wang import Terrain, shade

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

FRAMES, FRAME_MS = 4, 200
"""Of an animated set."""

Mask = NDArray[np.bool_]

PROJECTED = {
    layout.name: layout
    for layout in (
        Layout("isometric", 4, "corner", True, "diamonds twice as wide as high, with a block below: corner sets"),
        Layout("hex_pointy", 4, "", True, "hexagons with a corner at the top, of one terrain or two"),
        Layout("hex_flat", 4, "", True, "hexagons with a side at the top, of one terrain or two"),
        Layout("animated", 4, "corner", True, "corner tiles (or one tile) whose liquid moves in 4 frames"),
    )
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProjectedSet(Tileset):
    """A set made of the square set `square`. `cell` is the grid of a map, width and height; tiles may be higher.

    `entries` is what code looks tiles up in: `corners`, `variants`, or `hexagons` with `sides` and `plain`.
    """

    square: Tileset
    cell: tuple[int, int]
    entries: Mapping[str, Any]
    frames: int = 1

    def companions(self) -> dict[str, bytes]:
        """Returns the files beside the atlas `tiles.png`, by name."""
        height, width = self.tiles[0].shape[:2]
        options = self.recipe.options
        columns, rows = self.atlas.shape[1] // width, self.atlas.shape[0] // height
        moving = {"frames": self.frames, "frame_ms": FRAME_MS} if self.frames > 1 else {}
        data = {
            "image": "tiles.png",
            "tile_size": [width, height],
            "cell": list(self.cell),
            "columns": columns,
            "rows": rows,
            "layout": self.layout.name,
            "upper": str(options["upper"]),
            "lower": str(options.get("lower", "")),
            **self.entries,
            **moving,
        }
        files = {
            "tiles.sheet.json": sheet_bytes(data),
            "tiles.tsx": self._tsx(columns, rows),
            "map.tmx": self._tmx(),
            "preview.png": encode_png(self.preview),
        }
        if self.frames > 1:  # an array texture is for Bevy's TilemapChunk, whose cells are square
            files["strip.png"] = encode_png(strip(self.tiles))
        return files

    def _tsx(self, columns: int, rows: int) -> bytes:
        height, width = self.tiles[0].shape[:2]
        title = f"{self.recipe.options['upper']} {self.recipe.options.get('lower', '')}".strip()
        size = {"tilewidth": str(width), "tileheight": str(height), "tilecount": str(columns * rows)}
        root = ET.Element("tileset", {"version": VERSION, "name": title, **size, "columns": str(columns)})
        if height > self.cell[1]:
            ET.SubElement(root, "tileoffset", {"x": "0", "y": str(height - self.cell[1])})
        if self.layout.name == "isometric":
            cell = {"width": str(self.cell[0]), "height": str(self.cell[1])}
            ET.SubElement(root, "grid", {"orientation": "isometric", **cell})
        picture = {"width": str(columns * width), "height": str(rows * height)}
        ET.SubElement(root, "image", {"source": "tiles.png", **picture})
        count = len(self.square.tiles)
        for index in range(count if self.frames > 1 else 0):
            moving = ET.SubElement(ET.SubElement(root, "tile", {"id": str(index)}), "animation")
            for frame in range(self.frames):
                step = {"tileid": str(index + frame * count), "duration": str(FRAME_MS)}
                ET.SubElement(moving, "frame", step)
        if "corners" in self.entries:
            sets = ET.SubElement(root, "wangsets")
            wang = ET.SubElement(sets, "wangset", {"name": title, "type": "corner", "tile": "-1"})
            for name, color, tile in (("upper", "#ff0000", 15), ("lower", "#00ff00", 0)):
                named = str(self.recipe.options.get(name) or "nothing")
                attributes = {"name": named, "color": color, "tile": str(tile), "probability": "1"}
                ET.SubElement(wang, "wangcolor", attributes)
            for index in range(16):
                wangid = ",".join(map(str, wang_colors(self.square.layout, index)))
                ET.SubElement(wang, "wangtile", {"tileid": str(index), "wangid": wangid})
        return xml_bytes(root)

    def _tmx(self) -> bytes:
        rows, columns = self.map.shape
        size = {"width": str(columns), "height": str(rows)}
        cell = {"tilewidth": str(self.cell[0]), "tileheight": str(self.cell[1])}
        form = {"isometric": {"orientation": "isometric"}, "animated": {"orientation": "orthogonal"}}
        hexagonal = {"orientation": "hexagonal", "hexsidelength": str(self.recipe.width // 2), "staggerindex": "odd"}
        form |= {name: {**hexagonal, "staggeraxis": axis} for name, axis in (("hex_pointy", "y"), ("hex_flat", "x"))}
        root = ET.Element(
            "map",
            {
                "version": VERSION,
                **form[self.layout.name],
                "renderorder": "right-down",
                **size,
                **cell,
                "infinite": "0",
                "nextlayerid": "2",
                "nextobjectid": "1",
            },
        )
        ET.SubElement(root, "tileset", {"firstgid": "1", "source": "tiles.tsx"})
        layer = ET.SubElement(root, "layer", {"id": "1", "name": "ground", **size})
        data = ET.SubElement(layer, "data", {"encoding": "csv"})
        data.text = "\n" + ",\n".join(",".join(str(i + 1) for i in row) for row in self.map.tolist()) + "\n"
        return xml_bytes(root)


def draw_set(
    engine: Engine,
    recipe: Recipe,
    on_progress: OnProgress = no_progress,
    given: Mapping[str, Pixels] | None = None,
    references: tuple[Pixels, ...] = (),
) -> Tileset:
    """Draws a tileset of any layout: a square one as `draw_tileset`, or one of PROJECTED.

    Raises:
        InvalidRequest: as `draw_tileset`, or an animated set without a liquid.
    """
    layout = PROJECTED.get(str(recipe.options.get("layout", "")))
    if layout is None:
        return draw_tileset(engine, recipe, on_progress, given, references)
    lower = str(recipe.options.get("lower", "")).strip()
    if layout.name == "animated":
        if not _liquids(recipe):
            raise InvalidRequest("An animated set needs a liquid: water, lava, acid or the like as upper= or lower=.")
        inner = "wang16" if lower else "seamless"
    else:
        inner = "wang16" if lower else "variations"
    own = replace(recipe, options={**recipe.options, "layout": inner})
    square = draw_tileset(engine, own, on_progress, given, references)
    settled = replace(square.recipe, options=recipe.options, candidates=square.recipe.candidates)
    if layout.name == "isometric":
        return _isometric(square, settled, layout)
    if layout.name == "animated":
        return _animated(square, settled, layout)
    return (_hexagonal_pair if lower else _hexagonal)(square, settled, layout)


def variants(square: Tileset) -> dict[str, Any]:
    """Returns the entries of a set whose tiles are those of the square one: corner masks, or variants of a terrain."""
    count = len(square.tiles)
    return {"corners": list(range(16))} if square.layout.kind == "corner" else {"variants": list(range(count))}


def _liquids(recipe: Recipe) -> list[str]:
    """Returns which of upper and lower are liquids."""
    return [name for name in ("upper", "lower") if is_liquid(recipe, name)]


def _checked(made: ProjectedSet, gates: dict[str, bool]) -> ProjectedSet:
    """Adds the gates that all sets have, beside those of the square set that still say something here."""
    inner = made.square.report
    kept = {name: held for name, held in inner.gates.items() if name in ("one_strip_per_side", "seams_within")}
    shown = {tuple(map(int, color)) for color in color_counts(list(made.tiles))[0]}
    gates = {
        "alpha_hard": all(bool(np.isin(tile[..., 3], (0, 255)).all()) for tile in made.tiles),
        "in_palette": shown <= set(made.palette.colors),
        **kept,
        **gates,
    }
    return replace(made, report=Report(gates, inner.scores | {"colors": float(len(shown))}))


# ------------------------------------------------------------------------------------------------------- isometric


def diamond(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Mask]:
    """Returns row and column of the square's texel for each pixel of a (size, 2 * size) diamond, and the diamond.

    Diamonds on the isometric grid cover every pixel once, since no pixel's centre lies on an edge.
    """
    y, x = np.mgrid[0:size, 0 : 2 * size] + 0.5
    u, v = y + (x - size) / 2, y - (x - size) / 2
    inside = (u >= 0) & (u < size) & (v >= 0) & (v < size)
    column, row = (np.clip(np.floor(axis), 0, size - 1).astype(np.intp) for axis in (u, v))
    return row, column, inside


def isometric_tile(square: Pixels, palette: Palette, depth: int) -> Pixels:
    """Returns (size + depth, 2 * size, 4): the square as a diamond, on a block whose sides show its own ground.

    The left side is darker than the top, the right one darker still, both in the palette.
    """
    size = square.shape[0]
    row, column, inside = diamond(size)
    tile = np.zeros((size + depth, 2 * size, 4), np.uint8)
    tile[:size][inside] = square[row, column][inside]
    faces = [lock(shade(square, factor), palette) for factor in (0.72, 0.5)]
    for x in np.flatnonzero(inside.any(axis=0)).tolist():
        bottom = int(np.flatnonzero(inside[:, x])[-1])
        left = x < size
        at = (row[bottom, x], column[bottom, x])
        for down in range(1, depth + 1):
            # the ground is mirrored at the edge: its texture goes on down the side
            inner = (size - down, at[1]) if left else (at[0], size - down)
            tile[bottom + down, x] = faces[0 if left else 1][inner]
    return tile


def compose_isometric(tiles: Sequence[Pixels], indices: Indices, size: int) -> Pixels:
    """Returns a map as Tiled shows it: cell (column, row) is `size` to the right and half of it down per step."""
    rows, columns = indices.shape
    depth = tiles[0].shape[0] - size
    picture = np.zeros(((rows + columns) * size // 2 + depth, (rows + columns) * size, 4), np.uint8)
    for row in range(rows):
        for column in range(columns):
            if indices[row, column] < 0:
                continue
            tile = tiles[indices[row, column]]
            x, y = (column - row + rows - 1) * size, (column + row) * size // 2
            place = picture[y : y + tile.shape[0], x : x + tile.shape[1]]
            drawn = tile[..., 3] > 0
            place[drawn] = tile[drawn]
    return picture


def _isometric(square: Tileset, recipe: Recipe, layout: Layout) -> ProjectedSet:
    size = recipe.width
    depth = size // 2
    tiles = tuple(isometric_tile(tile, square.palette, depth) for tile in square.tiles)
    indices = square.map[:8, :8]
    preview = compose_isometric(tiles, indices, size)
    made = _made(square, recipe, layout, tiles, indices, preview, (2 * size, size), variants(square))
    flat = [tile[:size].copy() for tile in tiles]
    for tile in flat:
        tile[~diamond(size)[2]] = 0
    top = compose_isometric(flat, indices, size)
    return _checked(made, {"equals_projection": bool((top == project(compose(square.tiles, indices))).all())})


def project(square: Pixels) -> Pixels:
    """Returns a whole square map as it lies on the isometric grid, sampled as `diamond` samples one tile."""
    rows, columns = square.shape[:2]
    y, x = np.mgrid[0 : (rows + columns) // 2, 0 : rows + columns] + 0.5
    u, v = y + (x - rows) / 2, y - (x - rows) / 2
    inside = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
    picture = np.zeros((*inside.shape, 4), np.uint8)
    picture[inside] = square[np.floor(v[inside]).astype(int), np.floor(u[inside]).astype(int)]
    return picture


# --------------------------------------------------------------------------------------------------------- hexagons


def _hexagonal(square: Tileset, recipe: Recipe, layout: Layout) -> ProjectedSet:
    """Returns hexagons with a rim, of the variations of one terrain."""
    size, flat = recipe.width, layout.name == "hex_flat"
    mask = hexagon(size, flat)
    tiles = rimmed(square.tiles, mask, square.palette)
    indices = square.map[:6, :8]
    preview = compose_hexagons(tiles, indices, size, flat)
    made = _made(square, recipe, layout, tuple(tiles), indices, preview, (size, size), variants(square))
    return _checked(made, {"covers_once": covers_once(mask, flat)})


def _hexagonal_pair(square: Tileset, recipe: Recipe, layout: Layout) -> ProjectedSet:
    """Returns hexagons of the upper terrain for each set of upper neighbours, and the plain lower one."""
    size, flat = recipe.width, layout.name == "hex_flat"
    liquids = _liquids(recipe)
    upper, lower = (Terrain(square.tiles[place], name in liquids) for name, place in (("upper", 15), ("lower", 0)))
    seeds = [recipe.seed + 7 * turn for turn in range(WAVES)]
    pair = paint_hexagons(upper, lower, border_of(recipe), flat, square.palette, seeds)
    indices = pair.indices
    preview = compose_hexagons(pair.tiles, indices, size, flat)
    entries = {"sides": list(SIDES["flat" if flat else "pointy"]), "hexagons": list(range(64)), "plain": PLAIN_HEXAGON}
    wide = replace(layout, columns=8)
    made = _made(square, recipe, wide, tuple(pair.tiles), indices, preview, (size, size), entries)
    shown = preview[..., 3] > 0
    made = _checked(
        made,
        {
            "covers_once": covers_once(hexagon(size, flat), flat),
            "equals_whole_map": bool((preview[shown] == pair.whole[shown]).all()),
            "seams_within": pair.seams.worst <= SEAM_LIMIT,
        },
    )
    seams = pair.seams
    scores = {"seam_ratio": seams.ratio, "seam_worst_pair": seams.worst, "legal_pairs": float(seams.pairs)}
    return replace(made, report=Report(made.report.gates, made.report.scores | scores))


# --------------------------------------------------------------------------------------------------------- animated


def moved(texture: Pixels, phase: float) -> Pixels:
    """Returns a liquid texture at a phase (0 to 1) of its loop: waves push its texels about, its edge stays.

    Every texel comes from the texture itself, so no colour is new. The outer line of pixels never moves: tiles fit in
    every frame, whatever frame their neighbours show.
    """
    size = texture.shape[0]
    at = np.arange(size) + 0.5
    calm = np.clip((np.minimum(at, size - at) - 0.5) / (size * 0.16), 0, 1)
    still = np.minimum(calm[:, None], calm[None])
    y, x = np.mgrid[0:size, 0:size]
    wave = 2 * np.pi / size
    reach = max(1.2, size * 0.09)
    dx = reach * np.sin(wave * 2 * y + 2 * np.pi * phase) * still
    dy = reach * np.cos(wave * (x + y) + 2 * np.pi * phase) * still
    return texture[np.rint(y + dy).astype(int) % size, np.rint(x + dx).astype(int) % size]


def _animated(square: Tileset, recipe: Recipe, layout: Layout) -> ProjectedSet:
    count = len(square.tiles)
    places = {"upper": count - 1, "lower": 0}
    frames: list[list[Pixels]] = []
    for step in range(FRAMES):
        tiles = [tile.copy() for tile in square.tiles]
        for name in _liquids(recipe):
            texture = square.tiles[places[name]]
            motion = moved(texture, step / FRAMES)
            for tile in tiles:
                # what shows the terrain's own texture is the liquid; borders stay
                liquid = (tile == texture).all(axis=-1)
                tile[liquid] = motion[liquid]
        frames.append(tiles)
    tiles = tuple(tile for frame in frames for tile in frame)
    made = _made(
        square,
        recipe,
        layout,
        tiles,
        square.map,
        square.preview,
        (recipe.width, recipe.width),
        variants(square),
        FRAMES,
    )
    made = replace(made, preview=compose(frames[0], square.map))
    shown = [sides(square.layout, index) for index in range(count)]
    strips = count_strips(tiles, shown * FRAMES)
    worst = max(measure_seams(frame, shown).worst for frame in frames)
    changes = [any((a != b).any() for a, b in zip(frames[i - 1], frames[i], strict=True)) for i in range(FRAMES)]
    made = _checked(
        made,
        {
            "one_strip_over_time": max(strips.values(), default=1) == 1,
            "seams_within": worst <= SEAM_LIMIT,
            "moves": all(changes),
        },
    )
    return replace(made, report=Report(made.report.gates, made.report.scores | {"seam_worst_pair": worst}))


def _made(
    square: Tileset,
    recipe: Recipe,
    layout: Layout,
    tiles: tuple[Pixels, ...],
    indices: Indices,
    preview: Pixels,
    cell: tuple[int, int],
    entries: Mapping[str, Any],
    frames: int = 1,
) -> ProjectedSet:
    """Makes a set with its atlas, unchecked."""
    heights, widths = tiles[0].shape[:2]
    columns = min(layout.columns, len(tiles))
    rows = -(-len(tiles) // columns)
    atlas = np.zeros((rows * heights, columns * widths, 4), np.uint8)
    for index, tile in enumerate(tiles):
        y, x = divmod(index, columns)
        atlas[y * heights : (y + 1) * heights, x * widths : (x + 1) * widths] = tile
    return ProjectedSet(
        recipe,
        layout,
        tiles,
        atlas,
        square.palette,
        square.report,
        indices,
        preview,
        square.unknown_words,
        square.warnings,
        square=square,
        cell=cell,
        entries=entries,
        frames=frames,
    )
