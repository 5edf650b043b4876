"""Tilesets made of square ones: isometric blocks, hexagons, liquids that move, and the orders of other tools.

A square set is drawn and checked first. An isometric tile is its projection (a diamond twice as wide as high, in which
a texel is two pixels wide and every second one is seen), a hexagon a cut of a texture, an animated tile the square one
with its liquid in motion. So what fits as squares fits here, and the gates prove it on whole maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidRequest
from pipelines.pixels.gates import Report
from pipelines.pixels.palette import Palette, lock
from pipelines.records import OnProgress, Pixels, Recipe, no_progress
from pipelines.tiles.geometry import BLOB_MASKS, blob_table, compose
from pipelines.tiles.hexagons import (
    PLAIN_HEXAGON,
    SIDES,
    compose_hexagons,
    covers_once,
    hexagon,
    paint_hexagons,
    rimmed,
)
from pipelines.tiles.layouts import PLAIN, Layout, sides
from pipelines.tiles.map import Indices
from pipelines.tiles.orders import (
    A2_SHEET,
    A2_WIDTH,
    GODOT_PLACES,
    a2_block,
    a2_places,
    a2_tiles,
    half_tile_map,
)
from pipelines.tiles.projected_set import FRAMES, ProjectedSet, checked, made_set, variants
from pipelines.tiles.seams import SEAM_LIMIT, count_strips, measure_seams
from pipelines.tiles.tileset import WAVES, Tileset, border_of, draw_tileset, is_liquid
from pipelines.tiles.wang import Terrain, shade

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

Mask = NDArray[np.bool_]

PROJECTED = {
    layout.name: layout
    for layout in (
        Layout("isometric", 4, "corner", True, "diamonds twice as wide as high, with a block below: corner sets"),
        Layout("hex_pointy", 4, "", True, "hexagons with a corner at the top, of one terrain or two"),
        Layout("hex_flat", 4, "", True, "hexagons with a side at the top, of one terrain or two"),
        Layout("blob47_godot", 12, "mixed", True, "the tiles of blob47 in the order of Godot's 3x3 minimal template"),
        Layout("rpgmaker_a2", 4, "mixed", True, "RPG Maker's A2 block: 2 x 3 tiles whose halves make all 47 tiles"),
        Layout(
            "props", 4, "", True, "things that stand on tiles (upper='tree, rock'), with shadows, on the lower terrain"
        ),
        Layout("animated", 4, "corner", True, "corner tiles (or one tile) whose liquid moves in 4 frames"),
    )
}


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
    if layout.name == "props":
        from pipelines.tiles.props import draw_props

        return draw_props(engine, recipe, layout, on_progress, given, references)
    lower = str(recipe.options.get("lower", "")).strip()
    if layout.name == "animated":
        if not _liquids(recipe):
            raise InvalidRequest("An animated set needs a liquid: water, lava, acid or the like as upper= or lower=.")
        inner = "wang16" if lower else "seamless"
    elif layout.kind == "mixed":
        inner = "blob47"
    else:
        inner = "wang16" if lower else "variations"
    own = replace(recipe, options={**recipe.options, "layout": inner})
    square = draw_tileset(engine, own, on_progress, given, references)
    settled = replace(square.recipe, options=recipe.options, candidates=square.recipe.candidates)
    if layout.name == "isometric":
        return _isometric(square, settled, layout)
    if layout.name == "animated":
        return _animated(square, settled, layout)
    if layout.kind == "mixed":
        return (_godot if layout.name == "blob47_godot" else _rpgmaker)(square, settled, layout)
    return (_hexagonal_pair if lower else _hexagonal)(square, settled, layout)


def _liquids(recipe: Recipe) -> list[str]:
    """Returns which of upper and lower are liquids."""
    return [name for name in ("upper", "lower") if is_liquid(recipe, name)]


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
    made = made_set(square, recipe, layout, tiles, indices, preview, (2 * size, size), variants(square))
    flat = [tile[:size].copy() for tile in tiles]
    for tile in flat:
        tile[~diamond(size)[2]] = 0
    top = compose_isometric(flat, indices, size)
    return checked(made, {"equals_projection": bool((top == project(compose(square.tiles, indices))).all())})


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
    made = made_set(square, recipe, layout, tuple(tiles), indices, preview, (size, size), variants(square))
    return checked(made, {"covers_once": covers_once(mask, flat)})


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
    made = made_set(square, recipe, wide, tuple(pair.tiles), indices, preview, (size, size), entries)
    shown = preview[..., 3] > 0
    made = checked(
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
    made = made_set(
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
    made = checked(
        made,
        {
            "one_strip_over_time": max(strips.values(), default=1) == 1,
            "seams_within": worst <= SEAM_LIMIT,
            "moves": all(changes),
        },
    )
    return replace(made, report=Report(made.report.gates, made.report.scores | {"seam_worst_pair": worst}))


# ------------------------------------------------------------------------------------------------------------ orders


def _godot(square: Tileset, recipe: Recipe, layout: Layout) -> ProjectedSet:
    """Returns a blob set in the order of Godot's template."""
    tiles = tuple(square.tiles[place] for place in GODOT_PLACES)
    place_of = np.array([GODOT_PLACES.index(index) for index in range(PLAIN + 1)], np.int32)
    entries = {"blob": [int(place_of[index]) for index in blob_table()], "plain": int(place_of[PLAIN])}
    size = (recipe.width, recipe.width)
    made = made_set(
        square, recipe, layout, tiles, place_of[square.map], square.preview, size, entries, sources=GODOT_PLACES
    )
    return checked(made, {"shows_the_same_map": bool((compose(tiles, made.map) == square.preview).all())})


def _rpgmaker(square: Tileset, recipe: Recipe, layout: Layout) -> ProjectedSet:
    """Returns RPG Maker's A2 block of the upper terrain, beside it one of the lower; its map is one of half tiles."""
    size, half = recipe.width, recipe.width // 2
    block, lower = a2_block(square.tiles[:PLAIN]), square.tiles[PLAIN]
    opaque = bool(lower[..., 3].all())
    atlas = np.concatenate([block, np.tile(lower, (3, 2, 1))], axis=1) if opaque else block
    columns = atlas.shape[1] // half
    plain = [row * columns + A2_WIDTH + column for row in (0, 1) for column in (0, 1)] if opaque else [-1] * 4
    tiles = [
        atlas[y : y + half, x : x + half] for y in range(0, len(atlas), half) for x in range(0, atlas.shape[1], half)
    ]
    indices = half_tile_map(square.map, columns, plain)
    sheet = np.zeros((A2_SHEET[1] * size, A2_SHEET[0] * size, 4), np.uint8)
    sheet[: atlas.shape[0], : atlas.shape[1]] = atlas
    quarters = [[row * columns + column for column, row in a2_places(BLOB_MASKS[index])] for index in blob_table()]
    made = made_set(
        square,
        recipe,
        replace(layout, columns=columns),
        tuple(tiles),
        indices,
        compose(tiles, indices),
        (half, half),
        {"quarters": quarters, "plain": plain},
        pictures={"a2.png": sheet},
    )
    # a game cuts tiles out of the block: they are held to what every blob set is held to
    whole = [*a2_tiles(block, size), lower]
    shown = [sides(square.layout, index) for index in range(len(whole))]
    seams = measure_seams(whole, shown)
    gates = {
        "one_strip_per_side": max(count_strips(whole, shown).values()) == 1,
        "seams_within": seams.worst <= SEAM_LIMIT,
        "shows_the_same_map": bool((compose(whole, square.map) == made.preview).all()),
    }
    made = checked(made, gates)
    scores = {"seam_ratio": seams.ratio, "seam_worst_pair": seams.worst, "legal_pairs": float(seams.pairs)}
    return replace(made, report=Report(made.report.gates, made.report.scores | scores))
