"""Shipped workflows run on the studio as one call, resume, and name what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.engine.backend import OnStep
from pipelines.errors import InvalidRequest
from pipelines.records import Drawing, DrawRequest, no_progress
from server.cli.workflows import parse_settings
from server.features.animations import generate_animation
from server.features.edits import edit_sprite
from server.features.requests import AnimationRequest, EditRequest, SpriteRequest
from server.features.sprites import Drawn, generate_each, generate_sprites
from server.features.workflow_operations import expand_rows, operations
from server.features.workflow_runs import check, pictures, run
from server.studio import Studio
from tests.fakes import FakeBackend
from workflows.errors import WorkflowError
from workflows.load import shipped


def test_a_batch_puts_every_row_into_the_game(studio: Studio, game: Path) -> None:
    (game / "items.csv").write_text("name,prompt\nhp,red potion\n,gold key\n", encoding="utf-8")
    given = {"subjects": "items.csv", "variations": 2, "folder": "sprites/items", "seed": 5}
    ran = run(studio, "batch", given, no_progress)
    names = sorted(f.name for f in (game / "assets/sprites/items").iterdir())
    assert names == ["gold_key.png", "gold_key_2.png", "hp.png", "hp_2.png"]
    assert [s["seed"] for s in ran.result.outputs["sprites"]] == [5, 6, 7, 8]
    assert ran.result.failed == []
    assert len(pictures(studio, ran)) == 5  # four sprites and their overview
    assert "gold key" in Path(ran.page).read_text(encoding="utf-8")


def test_a_character_has_a_sprite_and_a_sheet_that_names_its_picture(studio: Studio, game: Path) -> None:
    ran = run(studio, "character", {"prompt": "green goblin", "name": "goblin", "seed": 1}, no_progress)
    assert ran.result.failed == []
    layout = json.loads((game / "assets/sheets/goblin.sheet.json").read_text(encoding="utf-8"))
    assert layout["image"] == "goblin.png"
    assert set(layout["animations"]) == {f"{m}_{d}" for m in ("idle", "walk") for d in ("down", "up", "right", "left")}
    with Image.open(game / "assets/sheets/goblin.png") as sheet:
        assert sheet.size == (4 * 32, 8 * 32)
    aseprite = json.loads((game / "assets/sheets/goblin.json").read_text(encoding="utf-8"))
    assert aseprite["meta"]["image"] == "goblin.png"


def test_a_sprite_and_an_item_set_and_an_animation_run_as_shipped(studio: Studio, game: Path) -> None:
    sprite = run(studio, "sprite", {"prompt": "red dragon", "path": "sprites/dragon.png", "seed": 3}, no_progress)
    asset_id = sprite.result.outputs["sprite"]["asset_id"]
    run(studio, "animation", {"asset_id": asset_id, "path": "sheets/dragon.png"}, no_progress)
    items = run(studio, "item_set", {"look": "golden", "seed": 3, "candidates": 2}, no_progress)
    assert len(items.result.outputs["sprites"]) == 8
    assert (game / "assets/sheets/dragon.sheet.json").is_file()
    assert (game / "assets/sprites/items/shield.png").is_file()


def test_a_batch_that_was_stopped_continues_and_draws_nothing_twice(studio: Studio, backend: FakeBackend) -> None:
    class Stopped(Exception):
        pass

    def stop_at_the_ninth(done: int, total: int, message: str) -> None:
        if message.startswith("draw 9/"):
            raise Stopped

    subjects = [f"{color} {noun}" for noun in ("key", "ring", "bow") for color in ("red", "blue", "green", "gold")]
    given: dict[str, Any] = {"subjects": subjects, "seed": 9}
    with pytest.raises(Stopped):
        run(studio, "batch", given, stop_at_the_ninth)
    ran = run(studio, "batch", given, no_progress)
    assert [request.prompts for request in backend.requests] == [tuple(subjects[:8]), tuple(subjects[8:])]
    assert ran.result.resumed >= 8
    assert len(ran.result.outputs["deployed"]) == 12


def test_a_sprite_that_cannot_be_drawn_leaves_its_batch_alone(studio: Studio, backend: FakeBackend) -> None:
    requests = [
        {"prompt": "red key", "seed": 1},
        {"prompt": "bow", "size": 999, "seed": 2},
        {"prompt": "axe", "seed": 3},
    ]
    first, second, third = generate_each(studio, [SpriteRequest.model_validate(r) for r in requests], no_progress)
    assert isinstance(second, InvalidRequest)
    assert "8 to 96 pixels, not 999" in str(second)
    assert isinstance(first, Drawn)
    assert isinstance(third, Drawn)
    assert [r.prompts for r in backend.requests] == [("red key", "red key", "axe", "axe")]  # two candidates each


def test_where_a_batch_cannot_be_drawn_each_sprite_has_its_own_error(studio: Studio, backend: FakeBackend) -> None:
    def draw(request: DrawRequest, on_step: OnStep) -> Drawing:
        if "bow" in request.prompts:
            raise InvalidRequest("No bows today.")
        return FakeBackend.draw(backend, request, on_step)

    backend.draw = draw
    requests = [{"prompt": word, "seed": 1} for word in ("key", "bow", "axe")]
    first, second, third = generate_each(studio, [SpriteRequest.model_validate(r) for r in requests], no_progress)
    assert str(second) == "No bows today."
    assert isinstance(first, Drawn)
    assert isinstance(third, Drawn)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_workflow_asks_only_for_operations_that_there_are(studio: Studio, name: str) -> None:
    assert check(studio, name).name == name


def test_a_workflow_file_of_the_game_is_found_from_its_root(studio: Studio, game: Path) -> None:
    (game / "art").mkdir()
    (game / "art/mine.json").write_text(shipped()["sprite"].replace('"sprite",', '"mine",', 1), encoding="utf-8")
    assert check(studio, "art/mine.json").name == "mine"


def test_an_unknown_workflow_names_those_that_there_are(studio: Studio) -> None:
    with pytest.raises(WorkflowError, match="item_set"):
        run(studio, "dungeon", {}, no_progress)


def test_names_stay_distinct_and_a_typo_starts_no_days_work() -> None:
    rows = [{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}, {"name": "a_2", "prompt": "z"}]
    assert len({row["name"] for row in expand_rows(rows, 3, 1)}) == 9
    with pytest.raises(WorkflowError, match="Split the list"):
        expand_rows(rows * 50, 64, None)


def test_settings_on_the_command_line_are_json_where_they_can_be() -> None:
    assert parse_settings(["size=16", "prompt=red = hot", "deploy=false", 'subjects=["a","b"]']) == {
        "size": 16,
        "prompt": "red = hot",
        "deploy": False,
        "subjects": ["a", "b"],
    }


def test_an_animation_of_a_sprite_keeps_the_sprite_and_records_it(studio: Studio) -> None:
    drawn = generate_sprites(studio, SpriteRequest(prompt="blue knight", seed=4), no_progress).sprites[0]
    made = generate_animation(
        studio, AnimationRequest(asset_id=drawn.asset.id, motions=("idle",), frames=2), no_progress
    )
    assert made.asset.recipe.options["sprite"] == drawn.asset.id
    assert made.asset.details["sheet"]["animations"]["idle"]["last"] == 1
    assert made.asset.kind == "sheet"


def test_an_edit_is_a_new_asset_and_the_old_one_stays(studio: Studio) -> None:
    drawn = generate_sprites(studio, SpriteRequest(prompt="blue knight", seed=4, colors=4), no_progress).sprites[0]
    word = drawn.asset.details["palette"][0]
    edited = edit_sprite(studio, EditRequest(asset_id=drawn.asset.id, recolor=f"{word}:ff00ff"), no_progress)
    assert edited.asset.id != drawn.asset.id
    assert "ff00ff" in edited.asset.details["palette"]
    assert edited.asset.recipe.options["edit"]["edited_from"] == drawn.asset.id
    assert studio.find_asset(drawn.asset.id, studio.project())[1].id == drawn.asset.id


def test_a_folder_keeps_its_sub_folders_and_every_picture_has_a_name_of_its_own(studio: Studio, game: Path) -> None:
    places = ["a b.png", "a-b.png", "UPPER.PNG", "deep/a b.png", "deep/hat.webp"]
    for index, place in enumerate(places):
        path = game / "raw" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((16, 16, 4), (40 * index + 20, 90, 30, 255), np.uint8)
        picture[index, 3:9] = (250, 250, 250, 255)
        Image.fromarray(picture).save(path, path.suffix[1:].upper(), **({"lossless": True} if "webp" in place else {}))
    (game / "raw/notes.txt").write_text("not a picture")
    ran = run(studio, "fix_folder", {"folder": "raw"}, no_progress)
    assert ran.result.failed == []
    assert ran.result.outputs["left_out"] == ["raw/notes.txt"]
    made = game / "assets/sprites"
    names = ["a_b.png", "a_b_2.png", "deep/a_b.png", "deep/hat.png", "upper.png"]
    assert sorted(p.relative_to(made).as_posix() for p in made.rglob("*.png")) == names
    with Image.open(made / "a_b_2.png") as second:  # a-b.png, by its colour
        assert second.convert("RGBA").getpixel((0, 15)) == (60, 90, 30, 255)


def test_a_pattern_is_the_same_in_any_case(studio: Studio, game: Path) -> None:
    (game / "raw").mkdir()
    for name in ("one.PNG", "two.png", "three.gif"):
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(game / "raw" / name, "GIF" if "gif" in name else "PNG")
    listed = operations(studio, studio.require_project())["list_files"]
    found = listed.run(listed.form(folder="raw", pattern="*.png"), no_progress)
    assert [file["name"] for file in found["files"]] == ["one", "two"]


def test_a_folder_of_enlarged_sprites_comes_back_as_real_pixels(studio: Studio, game: Path) -> None:
    drawn = generate_sprites(studio, SpriteRequest(prompt="blue knight", seed=4, size=16), no_progress).sprites[0]
    (game / "raw").mkdir()
    large = Image.fromarray(drawn.image).resize((128, 128), Image.Resampling.NEAREST)
    large.save(game / "raw/Blue Knight.png")
    ran = run(studio, "fix_folder", {"folder": "raw", "size": 16}, no_progress)
    assert ran.result.failed == []
    with Image.open(game / "assets/sprites/blue_knight.png") as fixed:
        assert fixed.size == (16, 16)


def test_a_game_kit_puts_all_its_kinds_into_the_game(studio: Studio, game: Path) -> None:
    few = {
        "sprites": [{"name": "imp", "prompt": "imp", "seed": 1}],
        "terrains": [{"name": "shore", "upper": "grass", "lower": "water", "seed": 1}],
        "effects": ["hit"],
        "icons": "key",
        "size": 16,
    }
    ran = run(studio, "game_kit", few, no_progress)
    assert len(ran.result.outputs["effects"]) == 1
    placed = {path.name for path in (game / "assets/kit").iterdir()}
    assert {"imp.png", "shore.png", "shore.tsx", "ui.png", "ui.json", "ui.fnt", "fx_hit.png"} <= placed
