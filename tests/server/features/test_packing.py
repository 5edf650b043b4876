"""Sprites and sheets are packed, deployed and cut again through the studio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.pixels.png import encode_png, read_picture
from pipelines.records import no_progress
from server.deploy.deploy import deploy
from server.errors import LibraryError
from server.features.animations import generate_animation
from server.features.packing import pack_sheet
from server.features.requests import AnimationRequest, PackRequest, SliceRequest, SpriteRequest, TilesetRequest
from server.features.slices import slice_sheet
from server.features.sprites import generate_sprites
from server.features.tilesets import generate_tileset
from server.features.workflow_operations import operations
from server.studio import Studio


@pytest.fixture
def ids(studio: Studio) -> tuple[str, ...]:
    """A sprite, another with the same prompt, and effects."""
    drawn = generate_sprites(studio, SpriteRequest(prompt="imp", size=16, seed=1), no_progress, count=2)
    fx = generate_animation(studio, AnimationRequest(effects=("hit", "heal"), size=16, seed=1), no_progress)
    return (*(sprite.asset.id for sprite in drawn.sprites), fx.asset.id)


def test_an_atlas_is_deployed_with_its_layouts_and_layers(studio: Studio, game: Path, ids: tuple[str, ...]) -> None:
    done = pack_sheet(studio, PackRequest(asset_ids=ids, layers=("outline", "normal"), teams=("blue",)), no_progress)
    assert done.asset.report["passed"]
    names = {file.name for file in done.asset.files}
    assert {"animation.hit_heal.gif", "animation.hit_heal.png", "preview.numbered.png"} <= names
    deploy(studio, done.asset.id, "sheets/all.png", overwrite=False, verify=False)
    folder = game / "assets/sheets"
    layout = json.loads((folder / "all.json").read_text(encoding="utf-8"))
    assert layout["meta"]["image"] == "all.png"
    assert {"imp", "imp_2", "hit_heal_hit_0", "hit_heal_heal_7"} <= set(layout["frames"])
    assert (
        json.loads((folder / "all_aseprite.json").read_text(encoding="utf-8"))["meta"]["frameTags"][0]["repeat"] == "1"
    )
    assert read_picture((folder / "all_normal.png").read_bytes()).shape == done.atlas.image.shape
    assert not list(folder.glob("*animation*"))


def test_cutting_a_packed_atlas_gives_the_sprites_back(studio: Studio, game: Path, ids: tuple[str, ...]) -> None:
    done = pack_sheet(studio, PackRequest(asset_ids=ids), no_progress)
    deploy(studio, done.asset.id, "all.png", overwrite=False, verify=False)
    cut = slice_sheet(studio, SliceRequest(picture=str(game / "assets/all.png")))
    first = read_picture(cut.library.read(cut.assets[0]))
    assert (first == next(f.image for f in done.atlas.frames if f.name == cut.names[0])).all()


def test_the_same_request_is_the_same_asset(studio: Studio, ids: tuple[str, ...]) -> None:
    wanted = PackRequest(asset_ids=ids, power_of_two=True)
    first, second = (pack_sheet(studio, wanted, no_progress).asset for _ in range(2))
    assert first.id == second.id
    assert all(side & (side - 1) == 0 for side in (first.recipe.width, first.recipe.height))


def test_sprites_without_a_team_colour_are_named_in_a_warning(studio: Studio, game: Path) -> None:
    (game / "dgx-pixels.toml").write_text('palette = "p.hex"\n')
    (game / "p.hex").write_text("101010\n808080\nf0f0f0\n")
    drawn = generate_sprites(studio, SpriteRequest(prompt="imp", size=16, seed=1), no_progress)
    done = pack_sheet(studio, PackRequest(asset_ids=(drawn.sprites[0].asset.id,), teams=("red",)), no_progress)
    assert "No colour" in done.warnings[0]
    assert not np.any([file.name.startswith("team_") for file in done.asset.files])


def test_each_sprite_of_an_atlas_has_a_team_colour_of_its_own(studio: Studio, tmp_path: Path) -> None:
    sheet = np.zeros((16, 48, 4), np.uint8)
    for number, color in enumerate(((40, 80, 200), (40, 160, 60), (120, 120, 120))):
        sheet[2:14, 16 * number + 2 : 16 * number + 14] = (*color, 255)
    sheet[7, :][sheet[7, :, 3] > 0] = (130, 80, 40, 255)  # a brown belt
    path = tmp_path / "three.png"
    path.write_bytes(encode_png(sheet))
    cut = slice_sheet(studio, SliceRequest(picture=str(path), width=16, height=16))
    wanted = PackRequest(asset_ids=tuple(asset.id for asset in cut.assets), teams=("red",))
    done = pack_sheet(studio, wanted, no_progress)
    team = read_picture(done.library.read(done.asset, "team_red.png"))
    for frame, changes in zip(done.atlas.frames, (True, True, False), strict=True):
        place = done.atlas.places[frame.name]
        box = np.s_[place.y : place.y + place.height, place.x : place.x + place.width]
        changed = (team[box] != done.atlas.image[box]).any(axis=-1)
        assert changed.any() == changes
        red, green, blue = team[box][1, 1, :3].astype(int)
        assert (red > max(green, blue) + 60) == changes
    assert [warning.startswith("No colour of") for warning in done.warnings] == [True]


def test_a_tileset_is_not_packed(studio: Studio) -> None:
    made = generate_tileset(studio, TilesetRequest(upper="grass", layout="seamless", seed=1), no_progress)
    with pytest.raises(LibraryError, match="is a tileset"):
        pack_sheet(studio, PackRequest(asset_ids=(made.asset.id,)), no_progress)


def test_a_workflow_step_packs_results_of_earlier_ones(studio: Studio, ids: tuple[str, ...]) -> None:
    step = operations(studio, studio.require_project(None))["pack_sheet"]
    done = step.run(PackRequest.model_validate({"asset_ids": [{"asset_id": one} for one in ids]}), no_progress)
    assert done["frames"] == 16
