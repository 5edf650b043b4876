"""Tiled's command-line tools (Debian's package `tiled`) read what we write."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from pipelines.engine.engine import Engine
from pipelines.records import Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.tiles.layouts import find_layout
from pipelines.tiles.projected import draw_set
from pipelines.tiles.tileset import Tileset, draw_tileset

OFFSCREEN = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(DiffusersBackend())
    yield made
    made.close()


def written(engine: Engine, folder: Path, layout: str) -> Tileset:
    options = {"layout": layout, "upper": "grass", "lower": "water" if find_layout(layout).two else ""}
    tileset = draw_tileset(engine, Recipe("tileset", "grass water", 16, 16, 3, options=options))
    for name, data in tileset.files().items():
        (folder / name).write_bytes(data)
    return tileset


@pytest.mark.parametrize("layout", ["wang16", "cliffs", "blob47", "edge16", "platformer", "variations"])
def test_tmxrasterizer_draws_our_map_as_our_own_preview_does(engine: Engine, tmp_path: Path, layout: str) -> None:
    tileset = written(engine, tmp_path, layout)
    command = ["tmxrasterizer", str(tmp_path / "map.tmx"), str(tmp_path / "map.png")]
    subprocess.run(command, env=OFFSCREEN, check=True, capture_output=True, timeout=60)
    with Image.open(tmp_path / "map.png") as picture:
        np.testing.assert_array_equal(np.array(picture.convert("RGBA")), tileset.preview)


@pytest.mark.parametrize(
    ("layout", "size", "lower"),
    [
        *(("isometric", 16, "water"), ("isometric", 32, "water"), ("animated", 16, "water")),
        *(("rpgmaker_a2", 16, "water"), ("rpgmaker_a2", 32, ""), ("blob47_godot", 16, "water")),
        *(("hex_pointy", 16, ""), ("hex_flat", 16, ""), ("hex_flat", 32, "")),
        *(("hex_pointy", 16, "water"), ("hex_flat", 16, "water"), ("hex_pointy", 32, "water")),
    ],
)
def test_tmxrasterizer_draws_projected_maps_as_our_own_preview_does(
    engine: Engine, tmp_path: Path, layout: str, size: int, lower: str
) -> None:
    """Tiled's picture ends at the grid: the sides of an isometric map's front are below it."""
    options = {"layout": layout, "upper": "grass", "lower": lower}
    tileset = draw_set(engine, Recipe("tileset", "grass water", size, size, 3, options=options))
    for name, data in tileset.files().items():
        (tmp_path / name).write_bytes(data)
    command = ["tmxrasterizer", str(tmp_path / "map.tmx"), str(tmp_path / "map.png")]
    subprocess.run(command, env=OFFSCREEN, check=True, capture_output=True, timeout=60)
    with Image.open(tmp_path / "map.png") as picture:
        theirs = np.array(picture.convert("RGBA"))
    below = size // 2 if layout == "isometric" else 0
    assert theirs.shape[0] == tileset.preview.shape[0] - below
    np.testing.assert_array_equal(theirs, tileset.preview[: theirs.shape[0]])


@pytest.mark.parametrize("size", [16, 32])
def test_tmxrasterizer_draws_props_in_front_of_each_other_as_our_preview_does(
    engine: Engine, tmp_path: Path, size: int
) -> None:
    options = {"layout": "props", "upper": "tree, rock, sign", "lower": "grass"}
    tileset = draw_set(engine, Recipe("tileset", "props", size, size, 3, options=options))
    for name, data in tileset.files().items():
        (tmp_path / name).write_bytes(data)
    command = ["tmxrasterizer", str(tmp_path / "map.tmx"), str(tmp_path / "map.png")]
    subprocess.run(command, env=OFFSCREEN, check=True, capture_output=True, timeout=60)
    with Image.open(tmp_path / "map.png") as picture:
        np.testing.assert_array_equal(np.array(picture.convert("RGBA")), tileset.preview)


def test_terraingenerator_takes_every_tile_of_the_corner_set_as_it_is(engine: Engine, tmp_path: Path) -> None:
    """It builds a tileset of its own out of ours: what it finds it copies, what it misses it would compose itself."""
    made = written(engine, tmp_path, "wang16")
    command = ["terraingenerator", "-s", "tiles.tsx", "-p", "water", "grass", "-c", "grass", "water", "-o", "out.tsx"]
    done = subprocess.run(command, cwd=tmp_path, env=OFFSCREEN, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 'Terrains found: ("grass", "water")' in done.stderr
    # the two plain tiles are the terrains' own pictures
    assert done.stderr.count("Copying") == 14
    ours = {wang: made.tiles[index] for index, wang in read_wang_tiles(tmp_path / "tiles.tsx").items()}
    theirs = read_wang_tiles(tmp_path / "out.tsx")
    assert set(theirs.values()) == set(ours)
    with Image.open(tmp_path / "out.png") as picture:
        atlas = np.array(picture.convert("RGBA"))
    for index, wang in theirs.items():
        y, x = divmod(index, atlas.shape[1] // 16)
        np.testing.assert_array_equal(atlas[y * 16 : y * 16 + 16, x * 16 : x * 16 + 16], ours[wang])


@pytest.mark.parametrize(
    ("layout", "upper", "lower"),
    [("blob47", "grass", "water"), ("edge16", "grass", "water"), ("platformer", "grass on water", "nothing")],
)
def test_terraingenerator_reads_the_other_sets_to_the_end(
    engine: Engine, tmp_path: Path, layout: str, upper: str, lower: str
) -> None:
    """It builds corner sets alone, so an edge set gives it nothing; but it knows the terrains and comes to an end."""
    written(engine, tmp_path, layout)
    command = ["terraingenerator", "-s", "tiles.tsx", "-p", lower, upper, "-c", upper, lower, "-o", "out.tsx"]
    done = subprocess.run(command, cwd=tmp_path, env=OFFSCREEN, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f'Terrains found: ("{upper}", "{lower}")' in done.stderr


def read_wang_tiles(path: Path) -> dict[int, str]:
    """Tile -> wangid of a .tsx."""
    tiles = ElementTree.parse(path).getroot().iter("wangtile")
    return {int(tile.attrib["tileid"]): tile.attrib["wangid"] for tile in tiles}
