"""A tileset is made, chained and deployed through the studio, and what cannot be made says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.errors import PipelineError
from pipelines.records import no_progress
from server.deploy.deploy import deploy
from server.errors import ServerError
from server.features.requests import TilesetRequest
from server.features.tilesets import bevy_snippet, generate_tileset
from server.studio import Studio


def test_a_set_and_its_files_go_into_the_game_and_name_each_other(studio: Studio, game: Path) -> None:
    made = generate_tileset(studio, TilesetRequest(upper="grass", lower="water", tile_size=16, seed=1), no_progress)
    deploy(studio, made.asset.id, "tiles/shore.png", overwrite=False, verify=False)
    with Image.open(game / "assets/tiles/shore.png") as atlas:
        assert atlas.size == (64, 64)
    sheet = json.loads((game / "assets/tiles/shore.sheet.json").read_text(encoding="utf-8"))
    assert sheet["image"] == "shore.png"
    assert len(sheet["corners"]) == 16
    assert 'source="shore.png"' in (game / "assets/tiles/shore.tsx").read_text(encoding="utf-8")
    assert 'source="shore.tsx"' in (game / "assets/tiles/shore.tmx").read_text(encoding="utf-8")


def test_a_later_set_shares_the_terrain_of_an_earlier_one(studio: Studio) -> None:
    first = generate_tileset(studio, TilesetRequest(upper="sand", lower="water", tile_size=16, seed=1), no_progress)
    second = generate_tileset(
        studio, TilesetRequest(upper="grass", lower=first.asset.id, tile_size=16, seed=2), no_progress
    )
    assert second.asset.kind == "tileset"
    (upper,) = [tile for tile in first.tileset.tiles if (tile == first.tileset.tiles[-1]).all()][:1]
    assert any((tile == upper).all() for tile in second.tileset.tiles)


@pytest.mark.parametrize(
    ("upper", "lower", "options", "said"),
    [
        ("grass", "grass", {}, "two different"),
        ("grass", "water", {"tile_size": 7}, "nearest is 8"),
        ("grass", "0123456789ab", {}, "0123456789ab"),
    ],
)
def test_what_cannot_be_made_says_what_to_do(
    studio: Studio, upper: str, lower: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises((PipelineError, ServerError), match=said):
        generate_tileset(studio, TilesetRequest(upper=upper, lower=lower, **options), no_progress)


def test_an_earlier_set_of_another_tile_size_is_refused_with_its_size(studio: Studio) -> None:
    first = generate_tileset(studio, TilesetRequest(upper="sand", lower="water", tile_size=16, seed=1), no_progress)
    with pytest.raises(PipelineError, match="tile_size=16"):
        generate_tileset(studio, TilesetRequest(upper="grass", lower=first.asset.id, tile_size=32, seed=2), no_progress)


@pytest.mark.parametrize(
    ("minor", "holds", "lacks"),
    [
        (17, ["reinterpret_stacked_2d_as_array(16)", "= map.iter().flatten()"], ["ImageArrayLayout", ".rev()"]),
        (18, ["load_with_settings(", "map.iter().rev()", "RowCount { rows: 16 }"], ["load_builder"]),
        (19, ["load_builder()", "map.iter().rev()", "RowCount { rows: 16 }"], ["load_with_settings("]),
    ],
)
def test_the_rust_suits_the_game_s_bevy(studio: Studio, minor: int, holds: list[str], lacks: list[str]) -> None:
    """What 0.19 does with it is seen in tests/bevy_game; the others are written after their documentation."""
    made = generate_tileset(studio, TilesetRequest(upper="grass", lower="water", tile_size=16, seed=1), no_progress)
    snippet = bevy_snippet(made.tileset, "tiles/shore.png", minor)
    assert all(part in snippet for part in (*holds, '"tiles/shore_strip.png"', "[[i16; 12]; 8]"))
    assert not any(part in snippet for part in lacks)


def test_a_bevy_without_tilemaps_gets_no_rust(studio: Studio) -> None:
    made = generate_tileset(studio, TilesetRequest(upper="grass", lower="water", tile_size=16, seed=1), no_progress)
    assert bevy_snippet(made.tileset, "tiles/shore.png", 16) == ""


@pytest.mark.parametrize(
    ("layout", "lower", "holds"),
    [
        ("isometric", "water", ["(column - row) * 16.0", "from_grid(size, 4, 4", "UVec2::new(32, 24)"]),
        ("hex_pointy", "", ["row % 2.0 * 8.0", "row * -12.0"]),
        ("hex_pointy", "water", ["row % 2.0 * 8.0", "from_grid(size, 8, 9", "UVec2::new(16, 16)"]),
        ("hex_flat", "", ["column * 12.0", "column % 2.0 * 8.0"]),
        ("blob47_godot", "water", ["[[i16; 12]; 8]", "RowCount { rows: 48 }", "UVec2::splat(16)"]),
        ("rpgmaker_a2", "water", ["[[i16; 24]; 16]", "RowCount { rows: 48 }", "UVec2::splat(8)"]),
        ("props", "water", ["map_ground.png", "UVec2::splat(32), 1, 2", "(index + 1, -1.0)"]),
        ("animated", "water", ["fn move_tiles", "tile.tileset_index % 16 + frame * 16", "RowCount { rows: 64 }"]),
    ],
)
def test_projected_sets_are_deployed_and_have_rust_of_their_own(
    studio: Studio, game: Path, layout: str, lower: str, holds: list[str]
) -> None:
    wanted = TilesetRequest.model_validate(
        {"upper": "grass", "lower": lower, "layout": layout, "tile_size": 16, "seed": 1}
    )
    made = generate_tileset(studio, wanted, no_progress)
    snippet = bevy_snippet(made.tileset, "tiles/map.png", 20)
    assert all(part in snippet for part in holds)
    deploy(studio, made.asset.id, "tiles/map.png", overwrite=False, verify=False)
    assert 'source="map.tsx"' in (game / "assets/tiles/map.tmx").read_text(encoding="utf-8")
    assert generate_tileset(studio, wanted, no_progress).asset.id == made.asset.id


def test_a_set_laid_on_cliffs_goes_on_with_their_top(studio: Studio) -> None:
    wanted = TilesetRequest(upper="grass on red stone", lower="dirt", layout="cliffs", tile_size=16, seed=1)
    first = generate_tileset(studio, wanted, no_progress)
    second = generate_tileset(studio, TilesetRequest(upper="sand", lower=first.asset.id, seed=1), no_progress)
    assert second.asset.recipe.options["lower"] == "grass"
    assert (second.tileset.tiles[0] == first.tileset.tiles[15]).all()


def test_a_projected_set_is_not_continued(studio: Studio) -> None:
    wanted = TilesetRequest(upper="grass", layout="hex_flat", tile_size=16, seed=1)
    made = generate_tileset(studio, wanted, no_progress)
    with pytest.raises(PipelineError, match="cannot be continued"):
        generate_tileset(studio, TilesetRequest(upper="sand", lower=made.asset.id, seed=1), no_progress)
