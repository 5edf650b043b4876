"""A game names models by id and paths inside it: its files make the server open nothing outside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models import hub
from pipelines.models.catalog import EMBEDDED, find_model, pulled_infos
from pipelines.records import LoraWeight, no_progress
from server.errors import ProjectError
from server.features.comparisons.compare import Variant
from server.features.edits import edit_sprite
from server.features.requests import EditRequest, SpriteRequest
from server.features.sprites import generate_sprites
from server.features.watch import Watch
from server.features.workflow_runs import run
from server.project.adoption import adopt
from server.project.game import find_project
from server.project.style import read_style
from server.studio import Studio
from tests.server.deploy.crash import make_game, open_studio
from workflows.errors import WorkflowError


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A game, and beside it a checkpoint and a file that it may not open."""
    root = tmp_path / "game"
    make_game(root)
    shutil.copytree(EMBEDDED, tmp_path / "outside/checkpoint")
    (tmp_path / "outside/x.safetensors").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "outside")
    monkeypatch.chdir(root)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return root


@pytest.fixture
def studio(game: Path) -> Iterator[Studio]:
    with open_studio(game) as studio:
        yield studio


OUTSIDE = ("../outside/checkpoint", "{up}/outside/checkpoint", "link/checkpoint", "~/model", "../outside/x.safetensors")


@pytest.mark.parametrize("place", [*OUTSIDE, "link/x.safetensors"])
def test_a_model_or_lora_outside_the_game_is_refused_in_its_settings(game: Path, place: str) -> None:
    place = place.format(up=game.parent)
    if place != "link/checkpoint":  # the form of a hub id: never a folder
        (game / "dgx-pixels.toml").write_text(f'model = "{place}"\n')
        with pytest.raises(ProjectError, match=r"model names .* outside the game.*DGX_PIXELS_MODEL"):
            find_project(game, None)
    (game / "dgx-pixels.toml").write_text(f'loras = [{{ name = "{place}" }}]\n')
    with pytest.raises(ProjectError, match=r"loras names .* outside the game"):
        find_project(game, None)


def test_paths_inside_the_game_and_names_are_taken(game: Path) -> None:
    (game / "dgx-pixels.toml").write_text(
        'model = "./models/mine"\nloras = [{ name = "mygame" }, { name = "art/glow.safetensors", weight = 0.5 }]\n'
    )
    project = find_project(game, None)
    assert project
    assert project.style.model == str(game / "models/mine")
    assert [lora.name for lora in project.style.loras] == ["mygame", str(game / "art/glow.safetensors")]
    for name in ("embedded", "sdxl", "owner/name", "owner/name@v2"):
        (game / "dgx-pixels.toml").write_text(f'model = "{name}"\n')
        project = find_project(game, None)
        assert project
        assert project.style.model == name


@pytest.mark.parametrize("name", ["sdxl", "owner/name", "embedded"])
def test_a_folder_of_the_working_directory_never_takes_the_place_of_a_model(game: Path, name: str) -> None:
    shutil.copytree(EMBEDDED, game / name)
    if name == "embedded":
        assert find_model(name).folder == EMBEDDED
        return
    with pytest.raises(ModelError, match=rf"models pull {name}.* folder is '\./{name}'"):
        find_model(name)
    assert find_model(f"./{name}").folder == game / name


@pytest.mark.parametrize("place", ["../outside/checkpoint", "{up}/outside/checkpoint", "./link/checkpoint"])
def test_workflows_and_watched_files_of_a_game_open_no_model_outside(studio: Studio, game: Path, place: str) -> None:
    place = place.format(up=game.parent)
    arguments = {
        "generate_sprite": {"prompt": "imp"},
        "generate_tileset": {"upper": "grass"},
        "generate_animation": {"prompt": "imp"},
        "edit_sprite": {"asset_id": "0123456789ab"},
    }
    for operation, given in arguments.items():
        step = {"name": "draw", "do": operation, "with": given | {"model": place}}
        (game / "w.json").write_text(json.dumps({"name": "w", "description": "draws", "steps": [step]}))
        with pytest.raises(WorkflowError, match="outside the game"):
            run(studio, "w.json", {}, no_progress)
    said: list[str] = []
    project = studio.require_project()
    (game / "imp.sprite.json").write_text(json.dumps({"prompt": "imp", "model": place}))
    Watch(studio, project, said.append).handle(game / "imp.sprite.json")
    assert len(said) == 1
    assert "outside the game" in said[0]


@pytest.mark.parametrize("name", ["imp.sprite.json", "imp.aseprite", "palette.hex"])
def test_a_watched_file_that_is_a_link_out_of_the_game_is_not_read(studio: Studio, game: Path, name: str) -> None:
    (game.parent / name).write_text('{"prompt": "imp"}')
    (game / name).symlink_to(f"../{name}")
    said: list[str] = []
    Watch(studio, studio.require_project(), said.append).handle(game / name)
    assert len(said) == 1
    assert "leads out of the game" in said[0]


def test_a_recipe_of_a_game_s_library_opens_no_model_outside(studio: Studio, game: Path) -> None:
    drawn = generate_sprites(studio, SpriteRequest(prompt="imp", seed=1, size=16, model="embedded"), no_progress)
    asset = drawn.sprites[0].asset
    recipes = (
        replace(asset.recipe, model=str(game.parent / "outside/checkpoint")),
        replace(asset.recipe, loras=(LoraWeight("../outside/x.safetensors", 1.0),)),
    )
    for recipe in recipes:
        with drawn.library.database.write() as connection:
            connection.execute("UPDATE assets SET recipe = ? WHERE id = ?", (recipe.to_json(), asset.id))
        with pytest.raises(ProjectError, match="outside the game"):
            edit_sprite(studio, EditRequest(asset_id=asset.id, prompt="red imp"), no_progress)
    assert edit_sprite(studio, EditRequest(asset_id=asset.id, transform="flip"), no_progress).asset.kind == "sprite"


def test_a_winner_outside_the_game_is_not_written_into_its_settings(studio: Studio, game: Path) -> None:
    project = studio.require_project()
    before = (game / "dgx-pixels.toml").read_bytes() if (game / "dgx-pixels.toml").exists() else None
    with pytest.raises(ProjectError, match=r"The winner: model names .* outside the game"):
        adopt(project, Variant(str(game.parent / "outside/checkpoint")))
    assert (before is None) == (not (game / "dgx-pixels.toml").exists())
    adopt(project, Variant(str(game / "models/mine"), (LoraWeight(str(game / "glow.safetensors"), 0.5),)))
    style = read_style(game / "dgx-pixels.toml")
    assert style.model == "./models/mine"
    assert [lora.name for lora in style.loras] == ["./glow.safetensors"]
    assert find_project(game, None)


def test_a_pulled_model_is_listed_with_the_commit_that_it_stays_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commit = "c" * 40
    pins = {"me/mine@main": commit, "me/mine@v2": "d" * 40, "me/odd@main": "../../outside", "a b@main": commit}
    (tmp_path / hub.PINS).write_text(json.dumps(pins))
    shutil.copytree(EMBEDDED, tmp_path / "models--me--mine/snapshots" / commit)
    listed = {info.id: info for info in pulled_infos()}
    assert listed["me/mine"].state == "available"
    assert listed["me/mine"].commit == commit
    assert listed["me/mine@v2"].state == "broken"
    assert "models pull me/mine@v2" in listed["me/mine@v2"].note
    assert len(listed) == 2
