"""The LDtk project: its rules, evaluated as LDtk does, place exactly the tiles of the sample map."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipelines.tiles.layouts import find_layout
from pipelines.tiles.ldtk import LAYOUTS, write_ldtk
from pipelines.tiles.map import Indices, random_map
from pipelines.tiles.tiled import Naming

SIZE = 16
NAMING = Naming("grass 2nd water", "grass", "2 seas", "3a7d44", "3b6ea5")


def project(name: str) -> tuple[dict[str, Any], Indices]:
    layout = find_layout(name)
    made = random_map(layout, 48, seed=3)
    return json.loads(write_ldtk(layout, NAMING, "tiles.png", SIZE, layout.columns, 6, made)), made


def place_tiles(project: dict[str, Any]) -> dict[tuple[int, int], int]:
    """Pixel -> tile, by the rules alone: the first that matches a cell places its tile there."""
    layer = next(one for one in project["levels"][0]["layerInstances"] if one["__type"] == "IntGrid")
    width, height = layer["__cWid"], layer["__cHei"]
    grid = np.array(layer["intGridCsv"]).reshape(height, width)
    placed: dict[tuple[int, int], int] = {}
    for rule in project["defs"]["layers"][0]["autoRuleGroups"][0]["rules"]:
        for y in range(height):
            for x in range(width):
                at = x * SIZE, y * SIZE
                if at not in placed and matches(rule, grid, y, x):
                    placed[at] = rule["tileRectsIds"][0][0]
    return placed


def matches(rule: dict[str, Any], grid: np.ndarray, y: int, x: int) -> bool:
    for place, wanted in enumerate(rule["pattern"]):
        if wanted == 0:
            continue
        row, column = y + place // 3 - 1, x + place % 3 - 1
        inside = 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]
        value = grid[row, column] if inside else rule["outOfBoundsValue"]
        if value is None or (value != wanted if wanted > 0 else value == -wanted):
            return False
    return True


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_rules_place_the_tiles_of_the_sample_map(name: str) -> None:
    made, indices = project(name)
    stored = {tuple(tile["px"]): tile["t"] for tile in made["levels"][0]["layerInstances"][0]["autoLayerTiles"]}
    assert place_tiles(made) == stored
    assert sorted(stored.values()) == sorted(indices.reshape(-1).tolist())


@pytest.mark.parametrize("name", LAYOUTS)
def test_numbers_are_unique_and_names_are_ldtk_names(name: str) -> None:
    made, _ = project(name)
    layers = made["defs"]["layers"]
    layer = layers[0]
    uids = [rule["uid"] for rule in layer["autoRuleGroups"][0]["rules"]]
    assert len(set(uids)) == len(uids)
    assert max(uids) < made["nextUid"]
    assert len({one["uid"] for one in layers}) == len(layers)
    assert [value["identifier"] for value in layers[-1]["intGridValues"]] == ["Grass", "_2_seas"]
    assert made["defs"]["tilesets"][0]["relPath"] == "tiles.png"


def test_the_same_set_gives_the_same_bytes() -> None:
    assert project("wang16")[0] == project("wang16")[0]


@pytest.mark.parametrize(("name", "half"), [("wang16", SIZE // 2), ("blob47", 0)])
def test_the_layer_of_corner_tiles_lies_half_a_tile_lower_right(name: str, half: int) -> None:
    made, _ = project(name)
    drawn, painted = made["levels"][0]["layerInstances"][0], made["levels"][0]["layerInstances"][-1]
    assert (drawn["__pxTotalOffsetX"], drawn["__pxTotalOffsetY"]) == (half, half)
    assert (painted["__pxTotalOffsetX"], painted["__pxTotalOffsetY"]) == (0, 0)
    assert made["defs"]["layers"][0]["pxOffsetX"] == half
    assert made["defs"]["layers"][0]["autoSourceLayerDefUid"] == (made["defs"]["layers"][-1]["uid"] if half else None)
