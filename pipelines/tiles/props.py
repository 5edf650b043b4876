"""Props that stand on tiles: things drawn as sprites, with shadows of their own, on the ground of a terrain.

A prop's picture is two tiles wide and high; its foot stands in the middle of the tile that it is placed on. Shadows are
tiles of the same size and order behind the props in the atlas, so a map shows them as a layer that can be left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette, extract_palette, lock
from pipelines.pixels.png import encode_png
from pipelines.pixels.quantize import color_counts
from pipelines.records import OnProgress, Pixels, Recipe, no_progress
from pipelines.sprites.draw import draw_batch
from pipelines.tiles.geometry import compose, lay_out
from pipelines.tiles.layouts import Layout
from pipelines.tiles.map import Indices
from pipelines.tiles.projected_set import ProjectedSet, checked
from pipelines.tiles.textures import words_of
from pipelines.tiles.tiled import VERSION, strip, xml_bytes
from pipelines.tiles.tileset import draw_tileset
from pipelines.tiles.wang import shade

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

MOST_PROPS = 12
CANDIDATES = 8
"""Sprites drawn of each prop, of which the best is taken."""
TALL = {
    "tree", "pine", "palm", "oak", "fir", "birch", "willow", "house", "hut", "tower", "castle", "statue", "column",
    "pillar", "tent", "windmill", "obelisk", "totem", "gate", "fountain",
}  # fmt: skip
"""Words of things that are two tiles high."""
ROWS, COLUMNS = 7, 10


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PropSet(ProjectedSet):
    """Props on ground: `map` holds the props' places (-1: none), `ground` the tiles of `square` below them."""

    ground: Indices
    names: tuple[str, ...]

    def companions(self) -> dict[str, bytes]:
        """Returns the files beside the atlas `tiles.png`, by name."""
        files = super(PropSet, self).companions()
        files["ground.png"] = encode_png(lay_out(self.square.tiles, len(self.square.tiles)))
        files["ground_strip.png"] = encode_png(strip(self.square.tiles))
        size = self.recipe.width
        root = ET.Element("tileset", _tileset("ground", size, len(self.square.tiles), len(self.square.tiles)))
        picture = {"width": str(size * len(self.square.tiles)), "height": str(size)}
        ET.SubElement(root, "image", {"source": "ground.png", **picture})
        files["ground.tsx"] = xml_bytes(root)
        files["tiles.tsx"], files["map.tmx"] = self._props_tsx(), self._map()
        return files

    def _props_tsx(self) -> bytes:
        size, count = self.recipe.width, len(self.names)
        root = ET.Element("tileset", _tileset("props", 2 * size, 2 * count, count))
        ET.SubElement(root, "tileoffset", {"x": str(-size // 2), "y": "0"})
        picture = {"width": str(2 * size * count), "height": str(4 * size)}
        ET.SubElement(root, "image", {"source": "tiles.png", **picture})
        return xml_bytes(root)

    def _map(self) -> bytes:
        rows, columns = self.map.shape
        size = {"width": str(columns), "height": str(rows)}
        cell = {"tilewidth": str(self.recipe.width), "tileheight": str(self.recipe.width)}
        form = {"orientation": "orthogonal", "renderorder": "right-down", **size, **cell, "infinite": "0"}
        root = ET.Element("map", {"version": VERSION, **form, "nextlayerid": "4", "nextobjectid": "1"})
        first = len(self.square.tiles) + 1
        ET.SubElement(root, "tileset", {"firstgid": "1", "source": "ground.tsx"})
        ET.SubElement(root, "tileset", {"firstgid": str(first), "source": "tiles.tsx"})
        there = self.map >= 0
        shadows = np.where(there, self.map + first + len(self.names), 0)
        layers = (("ground", self.ground + 1), ("shadows", shadows), ("props", np.where(there, self.map + first, 0)))
        for number, (name, indices) in enumerate(layers, start=1):
            layer = ET.SubElement(root, "layer", {"id": str(number), "name": name, **size})
            data = ET.SubElement(layer, "data", {"encoding": "csv"})
            data.text = "\n" + ",\n".join(",".join(map(str, row)) for row in indices.tolist()) + "\n"
        return xml_bytes(root)


def _tileset(name: str, side: int, count: int, columns: int) -> dict[str, str]:
    sizes = {"tilewidth": str(side), "tileheight": str(side), "tilecount": str(count), "columns": str(columns)}
    return {"version": VERSION, "name": name, **sizes}


def prop_names(prompt: str) -> tuple[str, ...]:
    """Returns the things that a prompt lists: "oak tree, rock" -> two.

    Raises:
        InvalidRequest: there are more than MOST_PROPS.
    """
    names = tuple(dict.fromkeys(name for part in re.split(r"[,;]", prompt) if (name := " ".join(part.split()))))
    if not 1 <= len(names) <= MOST_PROPS:
        raise InvalidRequest(
            f"A props set has 1 to {MOST_PROPS} things in upper=, with commas between; not {len(names)}."
        )
    return names


def draw_props(
    engine: Engine,
    recipe: Recipe,
    layout: Layout,
    on_progress: OnProgress = no_progress,
    given: Mapping[str, Pixels] | None = None,
    references: tuple[Pixels, ...] = (),
) -> PropSet:
    """Draws the things that `upper` lists as sprites, and the terrain `lower` that they stand on.

    Raises:
        InvalidRequest: no ground, no thing or too many, or as `draw_tileset` and `draw_sprites`.
    """
    names, lower = prop_names(str(recipe.options["upper"])), str(recipe.options.get("lower", "")).strip()
    if not lower:
        raise InvalidRequest("A props set needs lower=, the ground that things stand on, for example 'grass'.")
    if recipe.width > 32:
        raise InvalidRequest("Props are two tiles high: use tile_size up to 32, or draw large things as sprites.")
    options = {**recipe.options, "layout": "variations", "upper": lower, "lower": ""}
    terrain = {"upper": given["lower"]} if given and "lower" in given else None
    square = draw_tileset(engine, replace(recipe, options=options), on_progress, terrain, references)
    size = recipe.width
    images: dict[str, Pixels] = {}
    unknown = list(square.unknown_words)
    tall = {name for name in names if TALL & set(words_of(name))}
    for side, wanted in ((size, set(names) - tall), (foot_row(size) + 1, tall)):
        base = replace(recipe, kind="sprite", width=side, height=side, candidates=CANDIDATES)
        recipes = [
            replace(base, prompt=name, seed=recipe.seed + number, options={"ground": "transparent"})
            for number, name in enumerate(names)
            if name in wanted
        ]
        for sprite in draw_batch(engine, recipes, on_progress, None, references) if recipes else ():
            images[sprite.recipe.prompt] = sprite.image
            unknown += sprite.unknown_words
    pictures = [images[name] for name in names]
    if not recipe.palette:
        shared = extract_palette(pictures, recipe.colors, "props", same=0.012)
        pictures = [lock(picture, shared) for picture in pictures]
    props = [on_foot(picture, size) for picture in pictures]
    dark = shadow_color(square.tiles[0], square.palette, locked=bool(recipe.palette))
    shadows = [shadow_of(prop, size, dark) for prop in props]
    tiles = (*props, *shadows)
    drawn = Palette("props", tuple((int(r), int(g), int(b)) for r, g, b in color_counts([*tiles, *square.tiles])[0]))
    palette = Palette.from_hex(recipe.palette) if recipe.palette else drawn
    indices, ground = prop_map(len(props), len(square.tiles), recipe.seed)
    preview = standing(compose(square.tiles, ground), props, shadows, indices, size)
    settled = replace(square.recipe, options=recipe.options)
    made = PropSet(
        settled,
        replace(layout, columns=len(names)),
        tiles,
        lay_out(tiles, len(names)),
        palette,
        square.report,
        indices,
        preview,
        tuple(dict.fromkeys(unknown)),
        square.warnings,
        square=square,
        cell=(size, size),
        entries={"props": {name: index for index, name in enumerate(names)}, "shadows": len(names)},
        ground=ground,
        names=names,
    )
    foot = foot_row(size)
    stand = all(bool(prop[foot, :, 3].any()) and not prop[foot + 1 :, :, 3].any() for prop in props)
    gates = {"stands": stand, "shadows_fit": all(bool(shadow[..., 3].any()) for shadow in shadows)}
    return replace(made, report=checked(made, gates).report)


def foot_row(size: int) -> int:
    """Returns the row of a prop's picture on which its foot stands: a quarter of a tile above the tile's lower edge."""
    return 2 * size - 1 - size // 4


def on_foot(picture: Pixels, size: int) -> Pixels:
    """Returns a sprite on (2 size, 2 size, 4), its foot in the middle of the lower tile; what does not fit is cut."""
    opaque = picture[..., 3] > 0
    if not opaque.any():
        return np.zeros((2 * size, 2 * size, 4), np.uint8)
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    box = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = box[max(0, len(box) - foot_row(size) - 1) :, : 2 * size]
    foot = np.flatnonzero((box[-max(1, len(box) // 5) :, :, 3] > 0).any(axis=0))
    left = int(np.clip(size - round((foot[0] + foot[-1] + 1) / 2), 0, 2 * size - box.shape[1]))
    made = np.zeros((2 * size, 2 * size, 4), np.uint8)
    top = foot_row(size) + 1 - len(box)
    made[top : top + len(box), left : left + box.shape[1]] = box
    return made


def shadow_color(ground: Pixels, palette: Palette, *, locked: bool) -> tuple[int, int, int]:
    """Returns the colour of a shadow on the ground (h, w, 4): one of the palette's, or where it is not `locked` and has
    none that is darker than the ground, one of its own.
    """
    dark = shade(ground, 0.62, darkest=True)[:1, :1]
    near = lock(dark, palette)
    darker = to_oklab(near[..., :3])[0, 0, 0] < to_oklab(ground[..., :3])[..., 0].mean() - 0.08
    red, green, blue = (int(value) for value in (near if darker or locked else dark)[0, 0, :3])
    return red, green, blue


def shadow_of(prop: Pixels, size: int, color: tuple[int, int, int]) -> Pixels:
    """Returns the shadow that a prop (2 size, 2 size, 4) casts: a flat ellipse at its foot, to the lower right."""
    opaque = prop[..., 3] > 0
    made = np.zeros_like(prop)
    if not opaque.any():
        return made
    height = foot_row(size) + 1 - int(np.flatnonzero(opaque.any(axis=1))[0])
    low = opaque[foot_row(size) + 1 - max(2, height // 3) : foot_row(size) + 1]
    columns = np.flatnonzero(low.any(axis=0))
    wide = max((columns[-1] - columns[0] + 1) / 2 + 1, size / 5)
    middle = (columns[0] + columns[-1] + 1) / 2 + size / 10
    y, x = np.mgrid[0 : 2 * size, 0 : 2 * size] + 0.5
    flat = max(1.5, wide * 0.38)
    inside = ((x - middle) / wide) ** 2 + ((y - foot_row(size)) / flat) ** 2 <= 1
    made[inside] = (*color, 255)
    return made


def prop_map(props: int, variants: int, seed: int) -> tuple[Indices, Indices]:
    """Returns where props stand in a sample map (-1: nowhere), each at least once, and the ground's tiles."""
    rng = np.random.default_rng(seed)
    indices = np.full((ROWS, COLUMNS), -1, np.int32)
    places = [(row, column) for row in range(1, ROWS) for column in range(1 + row % 2, COLUMNS - 1, 2)]
    order = rng.permutation(len(places))
    for number, at in enumerate(order[: max(props, len(places) // 2)].tolist()):
        indices[places[at]] = number % props
    ground = np.where(rng.random((ROWS, COLUMNS)) < 0.6, 0, rng.integers(0, variants, (ROWS, COLUMNS)))
    return indices, ground.astype(np.int32)


def standing(ground: Pixels, props: Sequence[Pixels], shadows: Sequence[Pixels], indices: Indices, size: int) -> Pixels:
    """Returns the ground with all shadows, then all props on it, from the back to the front."""
    picture = ground.copy()
    for layer in (shadows, props):
        for row, column in zip(*np.nonzero(indices >= 0), strict=True):
            tile = layer[int(indices[row, column])]
            top, left = (row - 1) * size, column * size - size // 2
            part = picture[int(top) : int(top) + 2 * size, int(left) : int(left) + 2 * size]
            part[tile[..., 3] > 0] = tile[tile[..., 3] > 0]
    return picture
