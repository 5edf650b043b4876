"""Blob sets in the order of other tools make the same maps as our own order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.pixels.png import read_picture
from pipelines.records import Pixels, Recipe
from pipelines.tiles.geometry import BLOB_MASKS, blob_table, compose
from pipelines.tiles.layouts import LAYOUTS, PLAIN, sides
from pipelines.tiles.orders import GODOT, a2_block, a2_places, a2_tiles
from pipelines.tiles.projected import draw_set
from pipelines.tiles.projected_set import ProjectedSet
from pipelines.tiles.seams import count_strips
from tests.fakes import FakeBackend


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(FakeBackend())
    yield made
    made.close()


def drawn(engine: Engine, layout: str, lower: str) -> ProjectedSet:
    options = {"layout": layout, "upper": "grass", "lower": lower}
    made = draw_set(engine, Recipe("tileset", f"grass {lower}".strip(), 16, 16, 3, options=options))
    assert isinstance(made, ProjectedSet)
    return made


def test_godots_template_holds_every_blob_mask_once() -> None:
    assert sorted(mask for row in GODOT for mask in row) == [-1, *BLOB_MASKS]


def test_a_quarter_of_an_a2_cell_is_the_half_tile_that_rpg_maker_takes() -> None:
    # (column, row) of half tiles, north-west first: no neighbours, all, all but one corner, a wall to the north
    assert a2_places(0) == ((0, 2), (3, 2), (0, 5), (3, 5))
    assert a2_places(255) == ((2, 4), (1, 4), (2, 3), (1, 3))
    assert a2_places(255 - 128) == ((2, 0), (1, 4), (2, 3), (1, 3))
    assert a2_places(0b01111100) == ((2, 2), (1, 2), (2, 3), (1, 3))
    assert a2_places(0b00011111) == ((0, 4), (1, 4), (0, 3), (1, 3))
    used = {place for mask in BLOB_MASKS for place in a2_places(mask)}
    assert len(used) == 20
    assert not used & {(0, 0), (1, 0), (0, 1), (1, 1)}


@pytest.mark.parametrize("lower", ["water", ""])
def test_an_a2_set_shows_its_map_out_of_half_tiles(engine: Engine, lower: str) -> None:
    made = drawn(engine, "rpgmaker_a2", lower)
    assert made.report.gates["one_strip_per_side"]
    assert made.report.gates["shows_the_same_map"]
    assert made.atlas.shape[:2] == (48, 64 if lower else 32)
    sheet = json.loads(made.files()["tiles.sheet.json"])
    assert (sheet["tile_size"], len(sheet["quarters"])) == ([8, 8], 256)
    assert (min(sheet["plain"]) >= 0) == bool(lower)
    whole = read_picture(made.files()["a2.png"])
    assert whole.shape[:2] == (12 * 16, 16 * 16)
    np.testing.assert_array_equal(whole[:48, :32], made.atlas[:, :32])
    # what the sheet says of a mask is the tile that a game makes of the block
    tiles = a2_tiles(made.atlas[:, :32], 16)
    for mask in (0, 1, 31, 200, 255):
        quarters = [made.tiles[index] for index in sheet["quarters"][mask]]
        tile = np.concatenate([np.concatenate(quarters[:2], axis=1), np.concatenate(quarters[2:], axis=1)])
        np.testing.assert_array_equal(tile, tiles[blob_table()[mask]])


def test_a_block_takes_the_hollow_corners_line_where_a_straight_border_leaves_the_tile() -> None:
    rng = np.random.default_rng(1)

    def tile() -> Pixels:
        made = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
        made[..., 3] = 255
        return made

    # tiles that agree on their closed sides alone
    plain = tile()
    tiles = [tile() for _ in BLOB_MASKS]
    shown = [sides(LAYOUTS["blob47"], index) for index in range(len(tiles))]
    for one, (north, east, south, west) in zip(tiles, shown, strict=True):
        for side, where in ((north, np.s_[0]), (east, np.s_[:, -1]), (south, np.s_[-1]), (west, np.s_[:, 0])):
            if not side[0]:
                one[where] = plain[where]
    made = a2_tiles(a2_block(tiles), 16)
    strips = count_strips(made, shown)
    open_sides = {key: count for key, count in strips.items() if key[1] == (True, False, False)}
    assert set(open_sides.values()) == {1}


def test_a_godot_set_shows_the_map_of_its_blob_set(engine: Engine) -> None:
    made = drawn(engine, "blob47_godot", "water")
    assert made.atlas.shape[:2] == (4 * 16, 12 * 16)
    assert made.report.gates["shows_the_same_map"]
    np.testing.assert_array_equal(compose(made.tiles, made.map), made.preview)
    sheet = json.loads(made.files()["tiles.sheet.json"])
    for mask in (0, 16, 255):
        source = made.square.tiles[blob_table()[mask]]
        np.testing.assert_array_equal(made.tiles[sheet["blob"][mask]], source)
    np.testing.assert_array_equal(made.tiles[sheet["plain"]], made.square.tiles[PLAIN])
    wang = {
        t.attrib["tileid"]: t.attrib["wangid"]
        for t in ElementTree.fromstring(made.files()["tiles.tsx"]).iter("wangtile")
    }
    assert wang[str(sheet["blob"][255])] == ",".join("1" * 8)
    assert wang[str(sheet["plain"])] == ",".join("2" * 8)
