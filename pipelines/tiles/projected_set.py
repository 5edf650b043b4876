"""A tileset made of a square one: its files, and the gates that all such sets have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from pipelines.pixels.gates import Report
from pipelines.pixels.png import encode_png
from pipelines.pixels.quantize import color_counts
from pipelines.records import Pixels, Recipe
from pipelines.tiles.layouts import Layout, terrain_tiles, wang_colors
from pipelines.tiles.map import Indices
from pipelines.tiles.tiled import VERSION, sheet_bytes, strip, xml_bytes
from pipelines.tiles.tileset import Tileset

FRAMES, FRAME_MS = 4, 200
"""Of an animated set."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProjectedSet(Tileset):
    """A set made of the square set `square`. `cell` is the grid of a map, width and height; tiles may be higher.

    `entries` is what code looks tiles up in: `corners`, `variants`, `blob`, `quarters`, or `hexagons` with `sides`;
    `sources` the square tile that each tile shows, where Tiled's terrains are those of the square set; `pictures` are
    further files.
    """

    square: Tileset
    cell: tuple[int, int]
    entries: Mapping[str, Any]
    frames: int = 1
    sources: tuple[int, ...] = ()
    pictures: Mapping[str, Pixels] = field(default_factory=dict)

    @property
    def on_square_grid(self) -> bool:
        """Whether the map is a plain grid of tiles, which Bevy's TilemapChunk shows."""
        return self.layout.name in ("animated", "rpgmaker_a2", "blob47_godot")

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
        if self.on_square_grid:
            files["strip.png"] = encode_png(strip(self.tiles))
        return files | {name: encode_png(picture) for name, picture in self.pictures.items()}

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
        if self.sources:
            layout = self.square.layout
            sets = ET.SubElement(root, "wangsets")
            wang = ET.SubElement(sets, "wangset", {"name": title, "type": layout.kind, "tile": "-1"})
            for name, color, icon in zip(
                ("upper", "lower"), ("#ff0000", "#00ff00"), terrain_tiles(layout), strict=True
            ):
                named = str(self.recipe.options.get(name) or "nothing")
                tile = str(self.sources.index(icon))
                ET.SubElement(wang, "wangcolor", {"name": named, "color": color, "tile": tile, "probability": "1"})
            for index, source in enumerate(self.sources):
                wangid = ",".join(map(str, wang_colors(layout, source)))
                ET.SubElement(wang, "wangtile", {"tileid": str(index), "wangid": wangid})
        return xml_bytes(root)

    def _tmx(self) -> bytes:
        rows, columns = self.map.shape
        size = {"width": str(columns), "height": str(rows)}
        cell = {"tilewidth": str(self.cell[0]), "tileheight": str(self.cell[1])}
        form: dict[str, dict[str, str]] = {"isometric": {"orientation": "isometric"}}
        hexagonal = {"orientation": "hexagonal", "hexsidelength": str(self.recipe.width // 2), "staggerindex": "odd"}
        form |= {name: {**hexagonal, "staggeraxis": axis} for name, axis in (("hex_pointy", "y"), ("hex_flat", "x"))}
        root = ET.Element(
            "map",
            {
                "version": VERSION,
                **form.get(self.layout.name, {"orientation": "orthogonal"}),
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


def variants(square: Tileset) -> dict[str, Any]:
    """Returns the entries of a set whose tiles are those of the square one: corner masks, or variants of a terrain."""
    count = len(square.tiles)
    return {"corners": list(range(16))} if square.layout.kind == "corner" else {"variants": list(range(count))}


def checked(made: ProjectedSet, gates: dict[str, bool]) -> ProjectedSet:
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


def made_set(
    square: Tileset,
    recipe: Recipe,
    layout: Layout,
    tiles: tuple[Pixels, ...],
    indices: Indices,
    preview: Pixels,
    cell: tuple[int, int],
    entries: Mapping[str, Any],
    frames: int = 1,
    sources: tuple[int, ...] = (),
    pictures: Mapping[str, Pixels] | None = None,
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
        sources=sources or (tuple(range(16)) if "corners" in entries else ()),
        pictures=pictures or {},
    )
