"""Write an LDtk project: an IntGrid of the two terrains, with auto-layer rules that choose the tiles.

Format: LDtk's project JSON 1.5.3 (ldtk.io/json). For the layouts wang16 and blob47. Opened in LDtk, painting a terrain
places the tiles; the sample map is there with its tiles for readers that do not evaluate rules.

A corner tile of wang16 lies over the corner of four cells. There the tiles are an auto-layer of their own, offset by
half a tile: bevy_ecs_ldtk draws the offset of a layer, but not one of single tiles.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np

from pipelines.tiles.geometry import BLOB_MASKS, NE, NEIGHBOURS, NW, SE, SW, Cells
from pipelines.tiles.layouts import PLAIN, Layout
from pipelines.tiles.map import Indices
from pipelines.tiles.tiled import Naming

VERSION = "1.5.3"
LAYOUTS = ("wang16", "cliffs", "blob47")
UPPER, LOWER = 1, 2
"""IntGrid values of the terrains; 0 is an empty cell."""
TILESET, GROUND, GROUP, LEVEL, TILES, FIRST_RULE = 1, 2, 3, 4, 5, 10
"""Numbers of the definitions (LDtk's uid)."""

Pattern = list[int]
"""3x3 cells, row by row: 0 anything, n must be there, -n must not."""


def write_ldtk(
    layout: Layout, naming: Naming, image: str, tile_size: int, columns: int, rows: int, made: Indices
) -> bytes:
    """Returns an LDtk project for a tileset.

    Args:
        layout: one of `LAYOUTS`.
        naming: names and colours of set and terrains.
        image: the atlas beside the file: `columns` x `rows` tiles of `tile_size` pixels.
        made: (rows, columns) tile indices of the sample map.
    """
    corners = layout.kind == "corner"
    cells = _corners(made) if corners else made != PLAIN
    # beyond the map's border a blob continues; a corner tile there would have nothing to stand on
    beyond = None if corners else UPPER
    rules = [_rule(FIRST_RULE + i, pattern, tile, beyond) for i, (pattern, tile) in enumerate(_patterns(layout))]
    layers = _layers(naming, tile_size, rules, corners=corners)
    project = {
        "__header__": {
            "fileType": "LDtk Project JSON",
            "app": "LDtk",
            "doc": "https://ldtk.io/json",
            "schema": "https://ldtk.io/files/JSON_SCHEMA.json",
            "appAuthor": "dgx-pixels",
            "appVersion": VERSION,
            "url": "https://ldtk.io",
        },
        "iid": _iid(naming, "project"),
        "jsonVersion": VERSION,
        "appBuildId": 473702,
        "nextUid": FIRST_RULE + len(rules),
        "identifierStyle": "Capitalize",
        "toc": [],
        "worldLayout": "Free",
        "worldGridWidth": 16 * tile_size,
        "worldGridHeight": 16 * tile_size,
        "defaultLevelWidth": 16 * tile_size,
        "defaultLevelHeight": 16 * tile_size,
        "defaultPivotX": 0,
        "defaultPivotY": 0,
        "defaultGridSize": tile_size,
        "defaultEntityWidth": tile_size,
        "defaultEntityHeight": tile_size,
        "bgColor": "#40465B",
        "defaultLevelBgColor": "#696A79",
        "minifyJson": False,
        "externalLevels": False,
        "exportTiled": False,
        "simplifiedExport": False,
        "imageExportMode": "None",
        "exportLevelBg": True,
        "pngFilePattern": None,
        "backupOnSave": False,
        "backupLimit": 10,
        "backupRelPath": None,
        "levelNamePattern": "Level_%idx",
        "tutorialDesc": None,
        "customCommands": [],
        "flags": ["UseMultilinesType"],
        "defs": {
            "layers": layers,
            "entities": [],
            "tilesets": [_tileset(naming, image, tile_size, columns, rows)],
            "enums": [],
            "externalEnums": [],
            "levelFields": [],
        },
        "levels": [_level(naming, image, tile_size, columns, rules, cells, made, layers)],
        "worlds": [],
        "dummyWorldIid": _iid(naming, "world"),
    }
    return (json.dumps(project, indent=1, ensure_ascii=False) + "\n").encode()


def _patterns(layout: Layout) -> list[tuple[Pattern, int]]:
    """Returns the 3x3 patterns of the rules, with the tile that each places."""
    if layout.kind == "corner":
        # the cell, the one to its right, the one below, and the one between: the four corners of the tile
        places = {NW: 4, NE: 5, SW: 7, SE: 8}
        found = []
        for mask in range(16):
            pattern = [0] * 9
            for bit, place in places.items():
                pattern[place] = UPPER if mask & bit else LOWER
            found.append((pattern, mask))
        return found
    found = [([0] * 4 + [LOWER] + [0] * 4, PLAIN)]
    for tile, mask in enumerate(BLOB_MASKS):
        pattern = [0] * 4 + [UPPER] + [0] * 4
        for bit, (dy, dx) in enumerate(NEIGHBOURS):
            diagonal = dy and dx
            seen = not diagonal or (mask >> (bit - 1) & 1 and mask >> ((bit + 1) % 8) & 1)
            if seen:
                pattern[4 + 3 * dy + dx] = UPPER if mask >> bit & 1 else -UPPER
        found.append((pattern, tile))
    return found


def _corners(made: Indices) -> Cells:
    """Finds the (rows + 1, columns + 1) cells of a map of corner tiles."""
    rows, columns = made.shape
    cells = np.zeros((rows + 1, columns + 1), np.bool_)
    for bit, (dy, dx) in {NW: (0, 0), NE: (0, 1), SW: (1, 0), SE: (1, 1)}.items():
        cells[dy : dy + rows, dx : dx + columns] |= (made & bit) > 0
    return cells


def _rule(uid: int, pattern: Pattern, tile: int, beyond: int | None) -> dict[str, Any]:
    return {
        "uid": uid,
        "active": True,
        "size": 3,
        "tileRectsIds": [[tile]],
        "alpha": 1,
        "chance": 1,
        "breakOnMatch": True,
        "pattern": pattern,
        "flipX": False,
        "flipY": False,
        "xModulo": 1,
        "yModulo": 1,
        "xOffset": 0,
        "yOffset": 0,
        "tileXOffset": 0,
        "tileYOffset": 0,
        "tileRandomXMin": 0,
        "tileRandomXMax": 0,
        "tileRandomYMin": 0,
        "tileRandomYMax": 0,
        "checker": "None",
        "tileMode": "Single",
        "pivotX": 0,
        "pivotY": 0,
        "outOfBoundsValue": beyond,
        "invalidated": False,
        "perlinActive": False,
        "perlinSeed": 0,
        "perlinScale": 0.2,
        "perlinOctaves": 2,
    }


def _layers(naming: Naming, tile_size: int, rules: list[dict[str, Any]], *, corners: bool) -> list[dict[str, Any]]:
    """Returns the layers' definitions, the topmost first: one, or tiles and ground where tiles lie over corners."""
    group = {
        "uid": GROUP,
        "name": naming.title,
        "color": None,
        "icon": None,
        "active": True,
        "isOptional": False,
        "rules": rules,
        "usesWizard": False,
        "requiredBiomeValues": [],
        "biomeRequirementMode": 0,
    }
    ground = _ground(naming, tile_size)
    drawn: dict[str, Any] = {"autoRuleGroups": [group], "tilesetDefUid": TILESET}
    if not corners:
        return [ground | drawn]
    own = {
        "__type": "AutoLayer",
        "type": "AutoLayer",
        "identifier": "Tiles",
        "uid": TILES,
        "pxOffsetX": tile_size // 2,
        "pxOffsetY": tile_size // 2,
        "intGridValues": [],
        "autoSourceLayerDefUid": GROUND,
    }
    return [ground | drawn | own, ground]


def _ground(naming: Naming, tile_size: int) -> dict[str, Any]:
    """Returns the definition of the layer that a person paints: an IntGrid of the two terrains, without tiles."""

    def value(number: int, name: str, color: str) -> dict[str, Any]:
        return {
            "value": number,
            "identifier": _identifier(name),
            "color": f"#{color.upper()}",
            "tile": None,
            "groupUid": 0,
        }

    return {
        "__type": "IntGrid",
        "identifier": "Ground",
        "type": "IntGrid",
        "uid": GROUND,
        "doc": None,
        "uiColor": None,
        "gridSize": tile_size,
        "guideGridWid": 0,
        "guideGridHei": 0,
        "displayOpacity": 1,
        "inactiveOpacity": 1,
        "hideInList": False,
        "hideFieldsWhenInactive": True,
        "canSelectWhenInactive": True,
        "renderInWorldView": True,
        "pxOffsetX": 0,
        "pxOffsetY": 0,
        "parallaxFactorX": 0,
        "parallaxFactorY": 0,
        "parallaxScaling": True,
        "requiredTags": [],
        "excludedTags": [],
        "autoTilesKilledByOtherLayerUid": None,
        "uiFilterTags": [],
        "useAsyncRender": False,
        "intGridValues": [
            value(UPPER, naming.upper, naming.upper_color),
            value(LOWER, naming.lower or "nothing", naming.lower_color),
        ],
        "intGridValuesGroups": [],
        "autoRuleGroups": [],
        "autoSourceLayerDefUid": None,
        "tilesetDefUid": None,
        "tilePivotX": 0,
        "tilePivotY": 0,
        "biomeFieldUid": None,
    }


def _tileset(naming: Naming, image: str, tile_size: int, columns: int, rows: int) -> dict[str, Any]:
    return {
        "__cWid": columns,
        "__cHei": rows,
        "identifier": _identifier(naming.title),
        "uid": TILESET,
        "relPath": image,
        "embedAtlas": None,
        "pxWid": columns * tile_size,
        "pxHei": rows * tile_size,
        "tileGridSize": tile_size,
        "spacing": 0,
        "padding": 0,
        "tags": [],
        "tagsSourceEnumUid": None,
        "enumTags": [],
        "customData": [],
        "savedSelections": [],
        "cachedPixelData": None,
    }


def _level(
    naming: Naming,
    image: str,
    tile_size: int,
    columns: int,
    rules: list[dict[str, Any]],
    cells: Cells,
    made: Indices,
    layers: list[dict[str, Any]],
) -> dict[str, Any]:
    height, width = cells.shape
    rule_of = {rule["tileRectsIds"][0][0]: rule["uid"] for rule in rules}
    tiles = [
        {
            "px": [x * tile_size, y * tile_size],
            "src": [tile % columns * tile_size, tile // columns * tile_size],
            "f": 0,
            "t": tile,
            "d": [rule_of[tile], y * width + x],
            "a": 1,
        }
        for y, row in enumerate(made.tolist())
        for x, tile in enumerate(row)
    ]
    painted = np.where(cells, UPPER, LOWER).reshape(-1).tolist()
    return {
        "identifier": "Level_0",
        "iid": _iid(naming, "level"),
        "uid": LEVEL,
        "worldX": 0,
        "worldY": 0,
        "worldDepth": 0,
        "pxWid": width * tile_size,
        "pxHei": height * tile_size,
        "__bgColor": "#696A79",
        "bgColor": None,
        "useAutoIdentifier": True,
        "bgRelPath": None,
        "bgPos": None,
        "bgPivotX": 0.5,
        "bgPivotY": 0.5,
        "__smartColor": "#ADADB5",
        "__bgPos": None,
        "externalRelPath": None,
        "fieldInstances": [],
        "layerInstances": [
            {
                "__identifier": layer["identifier"],
                "__type": layer["type"],
                "__cWid": width,
                "__cHei": height,
                "__gridSize": tile_size,
                "__opacity": 1,
                "__pxTotalOffsetX": layer["pxOffsetX"],
                "__pxTotalOffsetY": layer["pxOffsetY"],
                "__tilesetDefUid": layer["tilesetDefUid"],
                "__tilesetRelPath": image if layer["tilesetDefUid"] else None,
                "iid": _iid(naming, f"layer {layer['identifier']}"),
                "levelId": LEVEL,
                "layerDefUid": layer["uid"],
                "pxOffsetX": 0,
                "pxOffsetY": 0,
                "visible": True,
                "optionalRules": [],
                "intGridCsv": painted if layer["type"] == "IntGrid" else [],
                "autoLayerTiles": tiles if layer["tilesetDefUid"] else [],
                "seed": 1,
                "overrideTilesetUid": None,
                "gridTiles": [],
                "entityInstances": [],
            }
            for layer in layers
        ],
        "__neighbours": [],
    }


def _iid(naming: Naming, what: str) -> str:
    """Returns an identifier that depends on the set alone, so a recipe that is drawn again gives the same bytes."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"dgx-pixels/{naming.title}/{what}"))


def _identifier(name: str) -> str:
    """Returns a name as LDtk takes it: letters, digits and _, not beginning with a digit."""
    word = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_") or "Terrain"
    return f"_{word}" if word[0].isdigit() else word[0].upper() + word[1:]
