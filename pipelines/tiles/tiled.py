"""Write files for map editors and games: Tiled's .tsx and .tmx, and the JSON table that code looks masks up in.

Format: Tiled's TMX map format 1.10 (doc.mapeditor.org). LDtk reads the atlas PNG itself: a grid without gaps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from pipelines.records import Pixels
from pipelines.tiles.layouts import Layout, table, terrain_tiles, wang_colors
from pipelines.tiles.map import Indices

VERSION = "1.10"


@dataclass(frozen=True, slots=True)
class Naming:
    """What a set and its terrains are called, and the terrains' colours in an editor as RRGGBB."""

    title: str
    upper: str
    lower: str
    upper_color: str
    lower_color: str


def write_tsx(layout: Layout, naming: Naming, image: str, tile_size: int, count: int, columns: int, rows: int) -> bytes:
    """Writes a Tiled tileset with its Wang set; `image` is the atlas beside it, `count` the number of tiles in use."""
    return xml_bytes(_tileset(layout, naming, image, tile_size, count, columns, rows))


def _tileset(
    layout: Layout, naming: Naming, image: str, tile_size: int, count: int, columns: int, rows: int
) -> ET.Element:
    root = ET.Element(
        "tileset",
        {
            "version": VERSION,
            "name": naming.title,
            "tilewidth": str(tile_size),
            "tileheight": str(tile_size),
            "tilecount": str(columns * rows),
            "columns": str(columns),
        },
    )
    ET.SubElement(root, "image", {"source": image, "width": str(columns * tile_size), "height": str(rows * tile_size)})
    if layout.kind:
        sets = ET.SubElement(root, "wangsets")
        wang = ET.SubElement(sets, "wangset", {"name": naming.title, "type": layout.kind, "tile": "-1"})
        upper, lower = naming.upper, naming.lower or "nothing"
        if layout.name == "platformer":  # its lower terrain is the inside of the upper one
            upper, lower = f"{upper} on {lower}", "nothing"
        colors = naming.upper_color, naming.lower_color
        for name, color, tile in zip((upper, lower), colors, terrain_tiles(layout), strict=True):
            # the tile that shows a terrain is its icon; terraingenerator of Tiled 1.8 crashes without one (its #3299)
            attributes = {"name": name, "color": f"#{color}", "tile": str(tile), "probability": "1"}
            ET.SubElement(wang, "wangcolor", attributes)
        for index in range(count):
            wangid = ",".join(map(str, wang_colors(layout, index)))
            ET.SubElement(wang, "wangtile", {"tileid": str(index), "wangid": wangid})
    return root


def write_tmx(indices: Indices, tileset: str, tile_size: int) -> bytes:
    """Writes a Tiled map (orthogonal, one layer) of tile indices, -1 if empty; `tileset` is the .tsx beside it."""
    return _map(indices, ET.Element("tileset", {"firstgid": "1", "source": tileset}), tile_size)


def write_embedded_tmx(
    indices: Indices, layout: Layout, naming: Naming, image: str, tile_size: int, count: int, columns: int, rows: int
) -> bytes:
    """Returns the same map with the tileset inside, for readers that load one file (bevy_ecs_tiled in a browser)."""
    tileset = _tileset(layout, naming, image, tile_size, count, columns, rows)
    del tileset.attrib["version"]  # the map has it
    tileset.set("firstgid", "1")
    return _map(indices, tileset, tile_size)


def _map(indices: Indices, tileset: ET.Element, tile_size: int) -> bytes:
    rows, columns = indices.shape
    root = ET.Element(
        "map",
        {
            "version": VERSION,
            "orientation": "orthogonal",
            "renderorder": "right-down",
            "width": str(columns),
            "height": str(rows),
            "tilewidth": str(tile_size),
            "tileheight": str(tile_size),
            "infinite": "0",
            "nextlayerid": "2",
            "nextobjectid": "1",
        },
    )
    root.append(tileset)
    size = {"width": str(columns), "height": str(rows)}
    layer = ET.SubElement(root, "layer", {"id": "1", "name": "ground", **size})
    data = ET.SubElement(layer, "data", {"encoding": "csv"})
    data.text = "\n" + ",\n".join(",".join(str(i + 1) for i in row) for row in indices.tolist()) + "\n"
    return xml_bytes(root)


def write_sheet(
    layout: Layout, naming: Naming, image: str, tile_size: int, count: int, columns: int, rows: int
) -> bytes:
    """Writes our layout file (`name.sheet.json`): the grid, and mask -> tile index for code (see docs/tilesets.md)."""
    data: dict[str, Any] = {
        "image": image,
        "tile_size": [tile_size, tile_size],
        "columns": columns,
        "rows": rows,
        "layout": layout.name,
        "upper": naming.upper,
        "lower": naming.lower,
        **table(layout, count),
    }
    return sheet_bytes(data)


def sheet_bytes(data: dict[str, Any]) -> bytes:
    """Returns a layout file: JSON with one line for each entry."""
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    return f"{{\n{lines}\n}}\n".encode()


def strip(tiles: Sequence[Pixels]) -> Pixels:
    """Returns all tiles below each other, one column: what Bevy's TilemapChunk reads as an array texture."""
    return np.concatenate(list(tiles))


def xml_bytes(root: ET.Element) -> bytes:
    """Returns an indented XML file."""
    ET.indent(root, " ")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="utf-8") + b"\n"
