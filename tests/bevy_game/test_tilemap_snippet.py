"""The Rust that generate_tileset answers compiles as it stands, and Bevy then draws our preview with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.records import Pixels, no_progress
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.tiles.geometry import compose
from pipelines.tiles.projected import ProjectedSet
from pipelines.tiles.tileset import Tileset
from server.deploy.bevy.detect import detect
from server.deploy.deploy import deploy
from server.features.requests import TilesetRequest
from server.features.tilesets import bevy_snippet, generate_tileset
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.drawing import build_program, project_of, same, watch

PROGRAM = "tilemap_game"
LAYOUTS = {
    "wang16": ("grass", "dirt"),
    "platformer": ("grass", "dirt"),  # has empty places
    "isometric": ("grass", "dirt"),
    "hex_pointy": ("grass", "dirt"),
    "hex_flat": ("stone", ""),
    "animated": ("grass", "water"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tileset]]:
    """The built program's project, and the sets that lie in it."""
    folder = tmp_path_factory.mktemp("tilemaps")
    root = project_of(PROGRAM, folder / "game")
    sets: dict[str, Tileset] = {}
    studio = Studio(Settings(project=root, data_dir=folder / "data"), DiffusersBackend())
    try:
        for layout, (upper, lower) in LAYOUTS.items():
            words = {"upper": upper, "lower": lower, "layout": layout, "tile_size": 16, "seed": 1}
            drawn = generate_tileset(studio, TilesetRequest.model_validate(words), no_progress)
            assert drawn.project
            path = f"tiles/{layout}.png"
            deploy(studio, drawn.asset.id, path, verify=False)
            snippet = bevy_snippet(drawn.tileset, path, detect(drawn.project).minor)
            public = snippet.replace("fn spawn_tiles", "pub fn spawn_tiles").replace(
                "fn move_tiles", "pub fn move_tiles"
            )
            (root / f"src/{layout}.rs").write_text(public)
            sets[layout] = drawn.tileset
    finally:
        studio.close()
    arms = {layout: f"add_systems(Startup, {layout}::spawn_tiles)" for layout in LAYOUTS}
    arms["animated"] += ".add_systems(Update, animated::move_tiles)"
    build_program(root, PROGRAM, sorted(LAYOUTS), arms.items())
    return root, sets


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "animated"])
def test_bevy_draws_the_sample_map_from_the_snippet(made: tuple[Path, dict[str, Tileset]], layout: str) -> None:
    root, sets = made
    same(root, PROGRAM, layout, sets[layout].preview)


def test_a_liquid_shows_each_of_its_frames(made: tuple[Path, dict[str, Tileset]]) -> None:
    root, sets = made
    tileset = sets["animated"]
    assert isinstance(tileset, ProjectedSet)
    count = len(tileset.tiles) // tileset.frames
    frames = [compose(tileset.tiles[at * count :][:count], tileset.map) for at in range(tileset.frames)]
    left = set(range(len(frames)))

    def found(shown: Pixels) -> bool | None:
        equal = [at for at, frame in enumerate(frames) if (shown[..., :3] == frame[..., :3]).all()]
        left.difference_update(equal)
        # every picture is a whole frame: none is half of one and half of the next
        assert equal, np.argwhere((shown[..., :3] != frames[0][..., :3]).any(axis=-1))[:3]
        return None if left else True

    height, width = frames[0].shape[:2]
    assert watch(root, PROGRAM, "animated", (width, height), found)
