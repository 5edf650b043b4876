"""What a game's files name stays inside the game, and an error shows little of a file's content."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loras.dataset import read_dataset
from loras.errors import DatasetError
from pipelines.errors import UserError
from pipelines.pixels.png import encode_png
from pipelines.records import no_progress
from server.deploy.bevy.doctor import examine
from server.errors import ProjectError
from server.features.pixel_fix import fix_pixel_art
from server.features.recipes import palette_colors
from server.features.requests import FixRequest
from server.features.workflow_runs import run
from server.project.game import find_project
from server.studio import Studio
from tests.server.deploy.crash import make_game, open_studio
from workflows.errors import WorkflowError

SECRET = "the-password-is-hunter2-and-nobody-may-read-any-of-it"
PNG = encode_png(np.full((16, 16, 4), 255, np.uint8))


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A game, and beside it a file that it may not read."""
    root = tmp_path / "game"
    make_game(root)
    for name in ("secret.txt", "secret.hex", "secret.csv", "secret.json", "secret.toml", "metadata.jsonl"):
        (tmp_path / name).write_text(f"{SECRET}\n" * 3)
    monkeypatch.chdir(root)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return root


@pytest.fixture
def studio(game: Path) -> Iterator[Studio]:
    with open_studio(game) as studio:
        yield studio


@pytest.mark.parametrize("palette", ["../secret.hex", "/etc/passwd", "a/../../secret.hex", "link.hex", "folder/x.hex"])
def test_a_palette_outside_the_game_is_refused(game: Path, palette: str) -> None:
    (game / "link.hex").symlink_to("../secret.hex")
    (game / "folder").symlink_to("..")
    (game / "dgx-pixels.toml").write_text(f'palette = "{palette}"\n')
    with pytest.raises(ProjectError, match=r"palette leads out of the game") as error:
        find_project(game, None)
    assert "hunter2" not in str(error.value)
    (game / "dgx-pixels.toml").unlink()
    with pytest.raises(ProjectError, match="is outside") as error:
        palette_colors(find_project(game, None), palette)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("folder", ["..", "/tmp", "a/../..", "link", ".git", ".cargo/x", ".dgx-pixels", "a\\u0000b"])
def test_an_assets_folder_outside_the_game_or_hidden_is_refused(game: Path, folder: str) -> None:
    (game / "link").symlink_to("..")
    (game / "dgx-pixels.toml").write_text(f'[folders]\nassets = "{folder}"\n')
    with pytest.raises(ProjectError, match=r"folders\.assets"):
        find_project(game, None)


@pytest.mark.parametrize("name", ["dgx-pixels.toml", "Cargo.toml"])
def test_a_settings_file_that_is_a_link_out_of_the_game_is_refused(game: Path, name: str) -> None:
    (game / name).unlink(missing_ok=True)
    (game / name).symlink_to("../secret.toml")
    with pytest.raises(ProjectError, match="symbolic link") as error:
        find_project(game, None)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "manifest",
    [
        'target = "x"\n[dependencies]\nbevy = "0.19"\n',
        'dependencies = "bevy"\n',
        "target = { x = 1 }\npackage = 7\n[dependencies]\nbevy = '0.19'\n",
        '[workspace]\nmembers = "all"\n',
        '[workspace]\nmembers = [1, "", "../*", "a/../../*", "/etc"]\n',
    ],
)
def test_a_manifest_with_odd_values_does_not_crash(game: Path, manifest: str) -> None:
    (game.parent / "other").mkdir()
    (game.parent / "other/Cargo.toml").write_text('[package]\nname = "o"\n[dependencies]\nbevy = "0.19"\n')
    (game / "Cargo.toml").write_text(manifest)
    try:
        found = find_project(game, None)
    except ProjectError:
        return
    assert found is None or found.root == game


def test_an_unknown_key_is_shown_with_forty_characters_at_most(game: Path) -> None:
    (game / "dgx-pixels.toml").write_text(f'"{SECRET * 5}" = 1\n')
    with pytest.raises(ProjectError) as error:
        find_project(game, None)
    assert longest_echo(str(error.value)) <= 40


def longest_echo(message: str) -> int:
    """The longest part of the secret that stands in a message."""
    text = SECRET * 5
    return max((len(part) for part in re.findall(r"[a-z0-9-]+", message) if part in text), default=0)


@pytest.mark.parametrize("pattern", ["../*", "../../*", "a/../../*", "/etc/*", "**/../../*"])
def test_list_files_stays_in_its_folder(studio: Studio, game: Path, pattern: str) -> None:
    (game / "art").mkdir()
    step = {"name": "files", "do": "list_files", "with": {"folder": "art", "pattern": pattern}}
    (game / "list.json").write_text(json.dumps({"name": "list", "description": "lists", "steps": [step]}))
    with pytest.raises(WorkflowError, match="pattern"):
        run(studio, "list.json", {}, no_progress)


def test_a_workflow_outside_the_game_is_refused(studio: Studio, game: Path) -> None:
    (game / "link.json").symlink_to("../secret.json")
    for name in ("../secret.json", str(game.parent / "secret.json"), "link.json"):
        with pytest.raises(WorkflowError, match="outside the game") as error:
            run(studio, name, {}, no_progress)
        assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("place", ["../mask.png", "link.png", "{up}/mask.png"])
@pytest.mark.parametrize(
    ("operation", "field", "rest"),
    [
        ("edit_sprite", "place", {"asset_id": "0123456789ab", "prompt": "imp"}),
        ("slice_sheet", "layout", {"picture": "a.png"}),
        ("slice_sheet", "picture", {}),
        ("fix_pixel_art", "picture", {}),
    ],
)
def test_a_workflow_of_the_game_opens_no_file_outside(
    studio: Studio, game: Path, place: str, operation: str, field: str, rest: dict[str, str]
) -> None:
    (game.parent / "mask.png").write_bytes(PNG)
    (game / "a.png").write_bytes(PNG)
    (game / "link.png").symlink_to("../mask.png")
    given = {**rest, field: place.format(up=game.parent)}
    step = {"name": "one", "do": operation, "with": given}
    (game / "w.json").write_text(json.dumps({"name": "w", "description": "d", "steps": [step]}))
    with pytest.raises(WorkflowError, match=rf"{field}.*(leads out of the project|is outside the game)"):
        run(studio, "w.json", {}, no_progress)


def test_a_table_outside_the_game_is_refused(studio: Studio, game: Path) -> None:
    (game / "link.csv").symlink_to("../secret.csv")
    for name in ("../secret.csv", str(game.parent / "secret.csv"), "link.csv"):
        with pytest.raises(WorkflowError, match="leads out of the project") as error:
            run(studio, "item_set", {"items": name}, no_progress)
        assert "hunter2" not in str(error.value)


def test_a_table_of_another_form_is_shown_with_forty_characters_at_most(studio: Studio, game: Path) -> None:
    (game / "items.csv").write_text(f"{SECRET * 5},{SECRET}\n1,2\n")
    with pytest.raises(WorkflowError) as error:
        run(studio, "item_set", {"items": "items.csv"}, no_progress)
    assert longest_echo(str(error.value)) <= 40


def test_captions_and_metadata_through_links_are_refused(game: Path) -> None:
    art = game / "art"
    art.mkdir()
    (art / "a.png").write_bytes(PNG)
    (art / "a.txt").symlink_to("../../secret.txt")
    with pytest.raises(DatasetError, match="symbolic link") as error:
        read_dataset(art)
    assert "hunter2" not in str(error.value)
    (art / "a.txt").unlink()
    (art / "metadata.jsonl").symlink_to("../../metadata.jsonl")
    with pytest.raises(DatasetError, match="symbolic link") as error:
        read_dataset(art)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "a.json", "a.txt", "palette.hex", "palette.gpl"])
def test_no_error_shows_more_than_forty_characters_of_a_file(studio: Studio, game: Path, name: str) -> None:
    art = game / "assets"
    (art / "a.png").write_bytes(PNG)
    (art / name).write_text(SECRET * 20)
    message = ""
    try:
        if name.startswith("palette"):
            palette_colors(studio.project(), f"assets/{name}")
        else:
            read_dataset(art, (8, 8))
    except UserError as error:
        message = str(error)
    assert longest_echo(message) <= 40


def test_a_picture_may_be_fixed_wherever_the_user_has_it(studio: Studio, game: Path) -> None:
    (game.parent / "render.png").write_bytes(PNG)
    assert fix_pixel_art(studio, FixRequest(picture=str(game.parent / "render.png"))).asset.kind == "sprite"
    (game.parent / "text.png").write_text(SECRET)
    with pytest.raises(UserError) as error:
        fix_pixel_art(studio, FixRequest(picture=str(game.parent / "text.png")))
    assert "hunter2" not in str(error.value)


def run_folder(studio: Studio, game: Path) -> Path:
    """The folder of an unfinished run of list.json."""
    step = {"name": "files", "do": "list_files", "with": {"folder": "assets"}}
    (game / "list.json").write_text(json.dumps({"name": "list", "description": "lists", "steps": [step]}))
    run(studio, "list.json", {}, no_progress)
    (folder,) = (game / ".dgx-pixels/runs").iterdir()
    (folder / "finished").unlink()
    return folder


@pytest.mark.parametrize("name", ["done.jsonl", "run.json", "finished", ""])
def test_a_run_whose_files_are_links_is_refused(studio: Studio, game: Path, name: str) -> None:
    folder = run_folder(studio, game)
    entry = folder / name if name else folder
    if name:
        entry.unlink(missing_ok=True)
        entry.symlink_to(game.parent / ("nothing" if name == "finished" else "secret.txt"))
    else:
        folder.rename(game.parent / "moved")
        folder.symlink_to(game.parent / "moved")
    with pytest.raises(WorkflowError, match="symbolic link"):
        run(studio, "list.json", {}, no_progress)
    assert (game.parent / "secret.txt").read_text() == f"{SECRET}\n" * 3


@pytest.mark.parametrize("line", ["7", "[]", '{"step": 1}', "[" * 100_000, '{"step": "files", "key": [], "x": 1}'])
def test_odd_lines_in_a_run_s_record_are_dropped(studio: Studio, game: Path, line: str) -> None:
    folder = run_folder(studio, game)
    (folder / "done.jsonl").write_text(line + "\n")
    assert run(studio, "list.json", {}, no_progress).result.done == 1
    (folder / "finished").unlink()
    (folder / "run.json").write_text(line)
    with pytest.raises(WorkflowError, match=r"[Dd]elete the folder"):
        run(studio, "list.json", {}, no_progress)


def test_rustc_is_asked_outside_the_game(game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rustc").write_text(f'#!/bin/sh\npwd > {tmp_path}/asked\necho "rustc 1.95.0"\n')
    (tmp_path / "bin/rustc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    project = find_project(game, None)
    assert project
    examine(project)
    assert (tmp_path / "asked").read_text().strip() == "/"
