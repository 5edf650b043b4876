"""Tiled's command-line tools (Debian's package `tiled`) read what we write."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.diffusion import DiffusersBackend
from pipelines.engine import Engine
from pipelines.records import Recipe
from pipelines.tiles.tileset import Tileset, draw_tileset

OFFSCREEN = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(DiffusersBackend())
    yield made
    made.close()


def written(engine: Engine, folder: Path, layout: str) -> Tileset:
    options = {"layout": layout, "upper": "grass", "lower": "water"}
    tileset = draw_tileset(engine, Recipe("tileset", "grass water", 16, 16, 3, options=options))
    for name, data in tileset.files().items():
        (folder / name).write_bytes(data)
    return tileset


@pytest.mark.parametrize("layout", ["wang16", "blob47", "edge16"])
def test_tmxrasterizer_draws_our_map_as_our_own_preview_does(engine: Engine, tmp_path: Path, layout: str) -> None:
    tileset = written(engine, tmp_path, layout)
    command = ["tmxrasterizer", str(tmp_path / "map.tmx"), str(tmp_path / "map.png")]
    subprocess.run(command, env=OFFSCREEN, check=True, capture_output=True, timeout=60)
    with Image.open(tmp_path / "map.png") as picture:
        np.testing.assert_array_equal(np.array(picture.convert("RGBA")), tileset.preview)


def test_terraingenerator_finds_both_terrains_of_the_set(engine: Engine, tmp_path: Path) -> None:
    """It reads the Wang set; Debian 12's build (Tiled 1.8) then crashes while it draws, so only the reading is held."""
    written(engine, tmp_path, "wang16")
    command = ["terraingenerator", "-s", "tiles.tsx", "-p", "water", "grass", "-c", "grass", "water", "-o", "out.tsx"]
    done = subprocess.run(command, cwd=tmp_path, env=OFFSCREEN, check=False, capture_output=True, text=True, timeout=60)
    assert 'Terrains found: ("grass", "water")' in done.stderr + done.stdout
