"""Isometric, hexagonal and animated sets fit as their square sets do, and Tiled's files say how they lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels, Recipe
from pipelines.tiles.hexagons import covers_once, hexagon
from pipelines.tiles.projected import compose_isometric, diamond, draw_set, moved
from pipelines.tiles.projected_set import FRAMES, ProjectedSet
from tests.fakes import FakeBackend


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(FakeBackend())
    yield made
    made.close()


def drawn(engine: Engine, layout: str, upper: str = "grass", lower: str = "", size: int = 16) -> ProjectedSet:
    options = {"layout": layout, "upper": upper, "lower": lower}
    made = draw_set(engine, Recipe("tileset", f"{upper} {lower}".strip(), size, size, 3, options=options))
    assert isinstance(made, ProjectedSet)
    return made


def noise(size: int) -> Pixels:
    picture = np.random.default_rng(1).integers(0, 256, (size, size, 4), dtype=np.uint8)
    picture[..., 3] = 255
    return picture


@pytest.mark.parametrize("size", [8, 16, 32])
def test_diamonds_cover_the_plane_once_in_pairs_of_pixels(size: int) -> None:
    row, column, inside = diamond(size)
    assert inside.sum() == size * size
    # a texel is two pixels wide, so every second one is seen
    assert len(set(zip(row[inside].tolist(), column[inside].tolist(), strict=True))) == size * size // 2
    counted = np.zeros((4 * size, 8 * size), int)
    for y in range(4):
        for x in range(4):
            left, top = (x - y + 3) * size, (x + y) * size // 2
            counted[top : top + size, left : left + 2 * size] += inside
    assert counted.max() == 1
    assert counted.sum() == 16 * size * size


@pytest.mark.parametrize("size", [8, 16, 24, 32])
@pytest.mark.parametrize("flat", [False, True])
def test_hexagons_cover_the_plane_once(size: int, flat: bool) -> None:
    assert covers_once(hexagon(size, flat), flat)


def test_a_hexagon_of_another_shape_does_not_pass() -> None:
    mask = hexagon(16)
    mask[0, 7] = False
    assert not covers_once(mask, False)


def test_an_isometric_map_is_the_square_map_projected_on_blocks(engine: Engine) -> None:
    made = drawn(engine, "isometric", "grass", "water")
    assert made.report.gates["equals_projection"]
    assert made.report.gates["in_palette"]
    assert made.tiles[0].shape == (24, 32, 4)
    assert len(made.tiles) == 16
    one = compose_isometric(made.tiles, np.array([[15]]), 16)
    assert (one[..., 3] > 0).sum() > 16 * 16 + 8 * 28


def test_the_sides_of_a_block_are_darker_than_its_top_and_the_right_one_darkest(engine: Engine) -> None:
    tile = drawn(engine, "isometric", "grass", "water").tiles[15].astype(int)
    top, left, right = tile[6:10, 10:22, :3].mean(), tile[18:21, 8:12, :3].mean(), tile[18:21, 20:24, :3].mean()
    assert top > left >= right


def test_a_liquid_moves_inside_and_stands_still_at_its_edge() -> None:
    texture = noise(16)
    frames = [moved(texture, step / FRAMES) for step in range(FRAMES)]
    for frame in frames:
        for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            assert (frame[edge] == texture[edge]).all()
    assert all((frames[i - 1] != frames[i]).any() for i in range(FRAMES))
    assert (moved(texture, 1.0) == frames[0]).all()
    assert {tuple(c) for c in frames[1].reshape(-1, 4).tolist()} <= {tuple(c) for c in texture.reshape(-1, 4).tolist()}


def test_an_animated_shore_moves_its_water_alone(engine: Engine) -> None:
    made = drawn(engine, "animated", "grass", "water")
    assert len(made.tiles) == 16 * FRAMES
    assert made.report.gates["one_strip_over_time"]
    assert made.report.gates["moves"]
    land, water = (np.stack([made.tiles[place + 16 * frame] for frame in range(FRAMES)]) for place in (15, 0))
    assert (land == land[0]).all()
    assert not (water == water[0]).all()


def test_an_animated_set_needs_a_liquid(engine: Engine) -> None:
    with pytest.raises(InvalidRequest, match="needs a liquid"):
        drawn(engine, "animated", "grass", "dirt")


@pytest.mark.parametrize("layout", ["hex_pointy", "hex_flat"])
def test_hexagons_of_two_terrains_are_cuts_of_the_whole_map(engine: Engine, layout: str) -> None:
    made = drawn(engine, layout, "grass", "water")
    assert len(made.tiles) == 65
    assert made.report.gates["equals_whole_map"]
    assert made.report.gates["in_palette"]
    sheet = json.loads(made.files()["tiles.sheet.json"])
    assert (len(sheet["hexagons"]), sheet["plain"], len(sheet["sides"])) == (64, 64, 6)
    assert (made.atlas.shape[1], sheet["columns"]) == (8 * 16, 8)


@pytest.mark.parametrize(
    ("layout", "lower", "holds"),
    [
        ("isometric", "water", {"orientation": "isometric", "tilewidth": "32", "tileheight": "16"}),
        ("hex_pointy", "", {"orientation": "hexagonal", "staggeraxis": "y", "hexsidelength": "8"}),
        ("hex_flat", "", {"orientation": "hexagonal", "staggeraxis": "x", "staggerindex": "odd"}),
        ("hex_flat", "water", {"orientation": "hexagonal", "staggeraxis": "x", "staggerindex": "odd"}),
        ("animated", "water", {"orientation": "orthogonal", "tilewidth": "16"}),
    ],
)
def test_the_files_of_tiled_say_how_the_map_lies(
    engine: Engine, layout: str, lower: str, holds: dict[str, str]
) -> None:
    files = drawn(engine, layout, "grass", lower).files()
    root = ElementTree.fromstring(files["map.tmx"])
    assert {name: root.attrib[name] for name in holds} == holds
    tileset = ElementTree.fromstring(files["tiles.tsx"])
    assert len(list(tileset.iter("animation"))) == (16 if layout == "animated" else 0)
    assert len(list(tileset.iter("wangtile"))) == (16 if lower and "hex" not in layout else 0)
    assert json.loads(files["tiles.sheet.json"])["layout"] == layout
    assert ("strip.png" in files) == (layout == "animated")
