"""Props stand on the ground of a terrain, with shadows that can be left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.errors import InvalidRequest
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import read_picture
from pipelines.records import Recipe
from pipelines.tiles.projected import draw_set
from pipelines.tiles.props import PropSet, foot_row, on_foot, prop_names, shadow_color, shadow_of
from tests.fakes import FakeBackend


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(FakeBackend())
    yield made
    made.close()


def drawn(
    engine: Engine, upper: str = "tree, rock", lower: str = "grass", size: int = 16, palette: str = ""
) -> PropSet:
    colors = tuple(palette.split())
    options = {"layout": "props", "upper": upper, "lower": lower}
    made = draw_set(engine, Recipe("tileset", upper, size, size, 3, palette=colors, options=options))
    assert isinstance(made, PropSet)
    return made


def test_a_prompt_lists_things_with_commas() -> None:
    assert prop_names(" oak  tree, rock,, rock;sign") == ("oak tree", "rock", "sign")
    for prompt in (",", ",".join(f"thing {number}" for number in range(13))):
        with pytest.raises(InvalidRequest, match="1 to 12"):
            prop_names(prompt)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_every_prop_stands_with_its_foot_in_its_tile_and_has_a_shadow_beside_it(engine: Engine, size: int) -> None:
    made = drawn(engine, size=size)
    assert made.report.gates["stands"]
    assert made.report.gates["shadows_fit"]
    assert made.atlas.shape[:2] == (4 * size, 4 * size)
    for prop, shadow in zip(made.tiles[:2], made.tiles[2:], strict=True):
        dark = shadow[shadow[..., 3] > 0]
        assert len(np.unique(dark, axis=0)) == 1
        seen = (shadow[..., 3] > 0) & (prop[..., 3] == 0)
        assert seen.any()
        assert np.argwhere(shadow[..., 3] > 0)[:, 0].mean() > np.argwhere(prop[..., 3] > 0)[:, 0].mean()


def test_the_sample_map_shows_every_prop_whole_and_the_front_one_over_the_back_one(engine: Engine) -> None:
    made = drawn(engine, "tree, rock, sign, chest")
    assert set(np.unique(made.map).tolist()) == {-1, 0, 1, 2, 3}
    front = max(zip(*np.nonzero(made.map >= 0), strict=True), key=lambda at: (at[0], at[1]))
    tile = made.tiles[int(made.map[front])]
    top, left = (int(front[0]) - 1) * 16, int(front[1]) * 16 - 8
    part = made.preview[top : top + 32, left : left + 32]
    np.testing.assert_array_equal(part[tile[..., 3] > 0], tile[tile[..., 3] > 0])


def test_tiled_gets_shadows_as_a_layer_of_their_own(engine: Engine) -> None:
    files = drawn(engine).files()
    root = ElementTree.fromstring(files["map.tmx"])
    assert [layer.attrib["name"] for layer in root.iter("layer")] == ["ground", "shadows", "props"]
    assert [tileset.attrib["source"] for tileset in root.iter("tileset")] == ["ground.tsx", "tiles.tsx"]
    offset = ElementTree.fromstring(files["tiles.tsx"]).find("tileoffset")
    assert offset is not None
    assert offset.attrib == {"x": "-8", "y": "0"}
    sheet = json.loads(files["tiles.sheet.json"])
    assert (sheet["props"], sheet["shadows"], sheet["cell"]) == ({"tree": 0, "rock": 1}, 2, [16, 16])
    assert read_picture(files["ground.png"]).shape[0] == 16


def test_under_a_locked_palette_shadows_too_are_of_its_colours(engine: Engine) -> None:
    made = drawn(engine, palette="1a1c2c 38b764 257179 f4f4f4 b13e53")
    assert made.report.gates["in_palette"]


def test_a_prop_that_is_too_high_loses_its_top_and_a_clear_one_fails_its_gate() -> None:
    tall = np.zeros((40, 8, 4), np.uint8)
    tall[...] = (90, 60, 30, 255)
    tall[-1] = (10, 10, 10, 255)
    stands = on_foot(tall, 16)
    assert (stands[foot_row(16), 12:20, 0] == 10).all()
    assert stands[0, 12:20, 3].all()
    clear = on_foot(np.zeros((8, 8, 4), np.uint8), 16)
    assert not clear.any()
    assert not shadow_of(clear, 16, (0, 0, 0)).any()


def test_a_shadow_is_darker_than_its_ground() -> None:
    ground = np.full((8, 8, 4), (200, 180, 120, 255), np.uint8)
    light = Palette("light", ((200, 180, 120), (250, 240, 200)))
    assert sum(shadow_color(ground, light, locked=False)) < 400
    assert shadow_color(ground, light, locked=True) in light.colors


@pytest.mark.parametrize(
    ("upper", "lower", "size", "said"), [("tree", "", 16, "needs lower="), ("tree", "grass", 48, "tile_size up to 32")]
)
def test_what_cannot_stand_says_what_to_do(engine: Engine, upper: str, lower: str, size: int, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        drawn(engine, upper, lower, size)
