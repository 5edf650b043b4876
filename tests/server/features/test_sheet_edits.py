"""edit_sprite over a sheet: one frame changes, by a drawing, a colour or by hand, and the change goes to all frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.animation.aseprite_sheets import from_sheet
from pipelines.errors import InvalidRequest, UserError
from pipelines.pixels.aseprite import write_aseprite
from pipelines.pixels.png import read_picture
from pipelines.records import Pixels, no_progress
from server.deploy.deploy import deploy, undo
from server.errors import LibraryError
from server.features.animations import generate_animation
from server.features.edits import Edited, edit_sprite
from server.features.requests import AnimationRequest, EditRequest, SliceRequest, SpriteRequest
from server.features.save import save_asset
from server.features.sheet_edits import read_sheet
from server.features.slices import slice_sheet
from server.features.sprites import generate_sprites
from server.library.records import Asset
from server.studio import Studio

RED = (200, 30, 40)


@pytest.fixture
def sheet(studio: Studio) -> Asset:
    """An imp of 16 px, warped: idle, walk and hurt."""
    sprite = generate_sprites(studio, SpriteRequest(prompt="imp", size=16, seed=1), no_progress).sprites[0].asset
    request = AnimationRequest(asset_id=sprite.id, motions=("idle", "walk", "hurt"), method="warp")
    return generate_animation(studio, request, no_progress).asset


def edit(studio: Studio, asset: Asset, **fields: str | float | int) -> Edited:
    return edit_sprite(studio, EditRequest.model_validate({"asset_id": asset.id, **fields}), no_progress)


def frames_of(studio: Studio, asset: Asset) -> list[Pixels]:
    sheet = read_sheet(studio.find_asset(asset.id, studio.project())[0], asset)
    return [frame for name in sheet.clips for frame in sheet.frames(name)]


def drawn_over(studio: Studio, asset: Asset, file: Path, frame: int = 0) -> tuple[int, int]:
    """Writes a frame with one red pixel in its middle; returns where."""
    picture = frames_of(studio, asset)[frame].copy()
    y, x = np.argwhere(picture[..., 3] > 0)[int((picture[..., 3] > 0).sum()) // 2]
    picture[y, x, :3] = RED
    Image.fromarray(picture).save(file)
    return int(y), int(x)


def has_red(frame: Pixels) -> bool:
    return bool((frame == (*RED, 255)).all(axis=-1).any())


def test_a_frame_drawn_by_hand_changes_every_frame(studio: Studio, sheet: Asset, game: Path) -> None:
    before = frames_of(studio, sheet)
    y, x = drawn_over(studio, sheet, game / "idle.png")
    done = edit(studio, sheet, picture="idle.png")
    after = frames_of(studio, done.asset)
    changed = [(one != two).any(axis=-1) for one, two in zip(before, after, strict=True)]
    assert np.argwhere(changed[0]).tolist() == [[y, x]]
    assert all(has_red(frame) for frame in after[:8])
    assert done.changed == sum(int(mask.sum()) for mask in changed)
    assert done.asset.id != sheet.id
    assert done.asset.report["passed"]
    assert "12 frames" in done.notes[0]
    assert {file.name for file in done.asset.files} == {file.name for file in sheet.files}
    assert "c81e28" in done.asset.details["palette"]


def test_an_aseprite_file_tells_which_frame_was_drawn_over(studio: Studio, sheet: Asset, game: Path) -> None:
    home, _ = studio.find_asset(sheet.id, studio.project())
    opened = read_sheet(home, sheet)
    image = opened.image.copy()
    span = opened.clips["walk"]
    row, column = divmod(span.first + 2, opened.columns)
    tile = image[row * opened.tile_height :, column * opened.tile_width :]
    y, x = np.argwhere(tile[: opened.tile_height, : opened.tile_width, 3] > 0)[20]
    tile[y, x] = (*RED, 255)
    (game / "imp.aseprite").write_bytes(write_aseprite(from_sheet(replace(opened, image=image))))
    done = edit(studio, sheet, picture="imp.aseprite")
    assert done.notes[0].startswith("Edited: walk 2.")
    assert has_red(frames_of(studio, done.asset)[0])
    Image.fromarray(image).save(game / "sheet.png")
    assert edit(studio, sheet, picture="sheet.png").asset.details["sheet"] == sheet.details["sheet"]


def test_a_colour_for_a_place_is_carried_and_a_swap_changes_all(studio: Studio, sheet: Asset) -> None:
    tinted = edit(studio, sheet, recolor="red", place="body")
    before, after = frames_of(studio, sheet), frames_of(studio, tinted.asset)
    assert all((one != two).any() for one, two in zip(before[:8], after[:8], strict=True))
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[..., 3], two[..., 3])
    old = sheet.details["palette"][-1]
    swapped = edit(studio, sheet, recolor=f"{old}:3f6fd0")
    assert old not in swapped.asset.details["palette"]
    assert "3f6fd0" in swapped.asset.details["palette"]


def test_a_drawing_over_a_part_of_a_frame_keeps_the_rest_bit_equal(studio: Studio, sheet: Asset) -> None:
    done = edit(studio, sheet, prompt="red hat", place="top", strength=0.9, seed=3, frame="idle 0")
    before, after = frames_of(studio, sheet), frames_of(studio, done.asset)
    rows = np.flatnonzero((before[0][..., 3] > 0).any(axis=1))
    low = rows[len(rows) // 2] + 2
    assert (before[0][:low] != after[0][:low]).any()
    np.testing.assert_array_equal(before[0][low:], after[0][low:])
    assert (before[4] != after[4]).any()
    for frame in after:
        assert set(np.unique(frame[..., 3])) <= {0, 255}


def test_an_edited_sheet_is_edited_again_along_the_first_trace(studio: Studio, sheet: Asset, game: Path) -> None:
    drawn_over(studio, sheet, game / "one.png")
    first = edit(studio, sheet, picture="one.png").asset
    Image.fromarray(frames_of(studio, sheet)[0]).save(game / "back.png")
    second = edit(studio, first, picture="back.png").asset
    np.testing.assert_array_equal(
        read_picture(studio.library(studio.project()).read(second)),
        read_picture(studio.library(studio.project()).read(sheet)),
    )
    assert second.recipe.options["edit"]["sheet"] == sheet.id


def test_a_sprite_sized_picture_or_an_edited_sprite_may_be_the_frame(studio: Studio, sheet: Asset) -> None:
    sprite = sheet.details["sprite"]
    recolored = edit_sprite(studio, EditRequest(asset_id=sprite, recolor="red", place="body"), no_progress)
    done = edit(studio, sheet, picture=recolored.asset.id)
    assert done.changed
    assert (frames_of(studio, sheet)[5] != frames_of(studio, done.asset)[5]).any()


def test_new_colours_give_way_to_a_locked_palette(studio: Studio, game: Path) -> None:
    request = SpriteRequest(prompt="imp", size=16, seed=1, palette="000000 555555 aaaaaa ffffff")
    sprite = generate_sprites(studio, request, no_progress).sprites[0].asset
    sheet = generate_animation(studio, AnimationRequest(asset_id=sprite.id, method="warp"), no_progress).asset
    drawn_over(studio, sheet, game / "red.png")
    done = edit(studio, sheet, picture="red.png")
    assert set(done.asset.details["palette"]) <= {"000000", "555555", "aaaaaa", "ffffff"}
    assert any("1 new colours are not in the sheet's palette" in note for note in done.notes)


def test_an_edited_sheet_is_deployed_and_taken_back_as_before(studio: Studio, sheet: Asset, game: Path) -> None:
    deploy(studio, sheet.id, "sprites/imp.png", None)
    first = (game / "assets/sprites/imp.png").read_bytes()
    done = edit(studio, sheet, recolor="blue", place="top")
    deploy(studio, done.asset.id, "sprites/imp.png", None, overwrite=True)
    assert (game / "assets/sprites/imp.png").read_bytes() != first
    assert (game / "assets/sprites/imp.sheet.json").exists()
    undo(studio, "sprites/imp.png", None)
    assert (game / "assets/sprites/imp.png").read_bytes() == first


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Say where one frame changes"),
        ({"prompt": "red hat"}, "Say where one frame changes"),
        ({"transform": "flip"}, "keeps its frames' size"),
        ({"width": 24}, "keeps its frames' size"),
        ({"recolor": "red", "place": "body", "frame": "jump 0"}, "names no clip of the sheet. It has: idle, walk"),
        ({"recolor": "red", "place": "body", "frame": "idle 9"}, "idle has the frames 0 to 3"),
        ({"recolor": "mauvish", "place": "body"}, "not a known colour"),
        ({"picture": "wrong.png"}, "Give a frame of"),
        ({"picture": "wrong.png", "place": "hat"}, "picture is a change by itself"),
    ],
)
def test_a_request_that_a_sheet_cannot_fulfil_says_what_to_give(
    studio: Studio, sheet: Asset, game: Path, fields: dict[str, str | int], said: str
) -> None:
    Image.new("RGBA", (7, 9), (*RED, 255)).save(game / "wrong.png")
    kept = studio.library(studio.project()).find()[1]
    with pytest.raises(InvalidRequest, match=said):
        edit(studio, sheet, **fields)
    assert studio.library(studio.project()).find()[1] == kept


def test_a_sheet_without_a_sprite_can_only_change_its_colours(studio: Studio, sheet: Asset) -> None:
    side = frames_of(studio, sheet)[0].shape[1]
    cut = slice_sheet(studio, SliceRequest(picture=sheet.id, into="animation", width=side))
    with pytest.raises(LibraryError, match="was not made from a sprite"):
        edit(studio, cut.assets[0], recolor="red", place="body")
    old = sheet.details["palette"][0]
    assert edit(studio, cut.assets[0], recolor=f"{old}:3f6fd0").changed


@pytest.mark.parametrize(
    "changed", [{"frames": 10**9}, {"motions": ["fly"]}, {"motions": 3}, {"directions": [4]}, {"sprite": "0" * 12}]
)
def test_a_recipe_that_is_none_is_refused_before_anything_is_made(
    studio: Studio, sheet: Asset, changed: dict[str, object]
) -> None:
    library = studio.library(studio.project())
    recipe = replace(sheet.recipe, options=sheet.recipe.options | changed)
    image = read_picture(library.read(sheet))
    files = {"layout.sheet.json": library.read(sheet, "layout.sheet.json")}
    broken = save_asset(library, recipe, image, sheet.report, files=files, details={"sheet": sheet.details["sheet"]})
    with pytest.raises(LibraryError, match="is not known: its sprite or its recipe is gone"):
        edit(studio, broken, recolor="red", place="body")


def test_a_sprite_takes_a_colour_for_a_place_and_no_picture(studio: Studio, sheet: Asset) -> None:
    sprite = sheet.details["sprite"]
    done = edit_sprite(studio, EditRequest(asset_id=sprite, recolor="#20c040", place="4,4,8,8"), no_progress)
    outside = np.ones((16, 16), bool)
    outside[4:12, 4:12] = False
    np.testing.assert_array_equal(done.before[outside], done.after[outside])
    assert done.changed
    with pytest.raises(UserError, match="are for sheets"):
        edit_sprite(studio, EditRequest(asset_id=sprite, frame="idle 0"), no_progress)
