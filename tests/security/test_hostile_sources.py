"""What check_project and init_game read of a cloned game: no link out of it, no endless work, no crash on odd types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.records import no_progress
from server.deploy.bevy.detect import detect
from server.deploy.bevy.doctor import examine
from server.deploy.bevy.init_game import plan
from server.deploy.bevy.manifest import CannotEdit, with_plugin
from server.errors import ProjectError
from server.features.workflow_runs import run
from server.project.game import Project, find_project
from server.studio import Studio
from tests.server.deploy.crash import make_game, open_studio
from workflows.errors import WorkflowError

SECRET = "hunter2"
MAIN = "use bevy::prelude::*;\nfn main() { App::new().add_plugins(DefaultPlugins).run(); }\n"


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "game"
    make_game(root)
    (root / "Cargo.toml").write_text('[package]\nname = "g"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.19"\n')
    (root / "src").mkdir(exist_ok=True)
    (root / "src/main.rs").write_text(MAIN)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.rs").write_text(f'const SECRET: &str = "{SECRET}"; // file_path: "{SECRET}"\n{MAIN}')
    (outside / ".gitignore").write_text(SECRET)
    monkeypatch.chdir(root)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return root


@pytest.fixture
def studio(game: Path) -> Iterator[Studio]:
    with open_studio(game) as studio:
        yield studio


def found(game: Path) -> Project:
    project = find_project(game, None)
    assert project
    return project


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("src", ".."),
        ("src/main.rs", "secret.rs"),
        (".gitignore", ".gitignore"),
        ("src/dgx_pixels.rs", "secret.rs"),
        ("src/dgx_pixels_dev.rs", "new.rs"),
        ("dgx-pixels.toml", "new.toml"),
    ],
)
def test_init_game_reads_and_writes_nothing_through_a_link_out_of_the_game(game: Path, place: str, target: str) -> None:
    outside = game.parent / "outside"
    if place == "src":
        (game / "src/main.rs").rename(outside / "main.rs")
        (game / "src").rmdir()
        (game / "src").symlink_to(outside)
    else:
        (game / place).unlink(missing_ok=True)
        (game / place).symlink_to(outside / target)
    before = tree(outside)
    said = ""
    try:
        offered = plan(found(game))
        said = offered.diff()
        offered.apply()
    except ProjectError as error:
        said = str(error)
    assert SECRET not in said
    assert tree(outside) == before


def test_check_project_shows_nothing_of_a_source_that_is_a_link_out_of_the_game(game: Path) -> None:
    (game / "src/more.rs").symlink_to(game.parent / "outside/secret.rs")
    (game / "Cargo.lock").symlink_to(game.parent / "outside/secret.rs")
    project = found(game)
    assert SECRET not in detect(project).sources
    assert SECRET not in str(examine(project))


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "huge"])
@pytest.mark.parametrize("place", ["src/more.rs", "Cargo.lock", "src/dgx_pixels.rs", ".gitignore"])
def test_what_is_not_a_regular_file_of_a_usual_size_stops_nothing(game: Path, kind: str, place: str) -> None:
    file = game / place
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    else:
        with file.open("wb") as made:
            made.truncate(3 << 30)
    project = found(game)
    assert examine(project)
    with suppress(UserError):  # what is not read is named
        plan(project)


@pytest.mark.parametrize(
    "manifest",
    [
        'workspace = 3\n[dependencies]\nbevy = "0.19"\n',
        "target = 5\n[dependencies]\nbevy = { version = 7, features = 3, workspace = true }\n",
        "features = 1\n[dependencies]\nbevy = { version = [1], features = [1, {}] }\nserde = 4\n",
        "[features]\ndefault = 1\ndgx_pixels_dev = 2\n[dependencies]\nbevy = '0.19'\nserde = [1]\n",
        "[target.x]\ndependencies = 7\n[dependencies]\nbevy = 7\nbevy_brp_extras = true\n",
        "[workspace]\ndependencies = [1]\n[dependencies]\nbevy = { workspace = true }\n",
        "[features]\na = ['a', 'b']\nb = ['a']\n[dependencies]\nbevy = '" + "9" * 10_000 + "'\n",
        "[dependencies]\nbevy = '0.19'\nserde = '1\\\"] x'\n",
    ],
)
def test_odd_types_in_a_manifest_do_not_crash(game: Path, manifest: str) -> None:
    (game / "Cargo.toml").write_text(manifest)
    (game / "dgx-pixels.toml").write_text("")  # a game with any manifest
    project = found(game)
    assert examine(project)
    assert len(detect(project).version) <= 40
    plan(project)
    with suppress(CannotEdit):
        with_plugin(manifest)


@pytest.mark.parametrize("lock", ["package = 3", "package = [1, {}]", '[[package]]\nname = ["bevy"]\nversion = {}\n'])
def test_odd_types_in_a_lock_file_do_not_crash(game: Path, lock: str) -> None:
    (game / "Cargo.lock").write_text(lock)
    assert examine(found(game))


@pytest.mark.parametrize(
    "source",
    [
        "/*" * 500_000,
        "/*" * 100_000 + MAIN,
        "/*x" * 300_000,
        "/**/" * 60_000 + MAIN,
        pytest.param(MAIN + "'\\u{" * 60_000, marks=pytest.mark.slow),
        MAIN + ".add_plugins(" * 15_000,
        MAIN + '"' + "\\" * 240_000,
        pytest.param(MAIN + "r" + "#" * 240_000, marks=pytest.mark.slow),
        "file_path" + " " * 900_000,
        "x" * (3 << 20) + MAIN,
        MAIN * 10,
        MAIN + "\0" * 1000,
        'fn f() { AssetPlugin { file_path: "a\n[evil]\nx\0" } }' + MAIN,
        'fn f() { AssetPlugin { file_path: ".git/hooks" } }' + MAIN,
    ],
    ids=range(14),
)
def test_no_source_keeps_check_project_or_init_game_busy(game: Path, source: str) -> None:
    (game / "src/main.rs").write_text(source)
    program = (
        "import sys; from pathlib import Path\n"
        "from server.project.game import find_project\n"
        "from server.deploy.bevy.doctor import examine\n"
        "from server.deploy.bevy.init_game import plan\n"
        "project = find_project(Path(sys.argv[1]), None)\n"
        "lines = [f.lines for f in examine(project)]\n"
        "new = [new for _, new in plan(project).files.values()]\n"
        "assert not any('[evil]' in text for text in lines)\n"
        "assert not any('[evil]' in text and 'colors' in text for text in new)\n"
    )
    command = [sys.executable, "-c", program, str(game)]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_patterns_that_multiply_the_work_are_refused(studio: Studio, game: Path) -> None:
    deep = game / "assets" / "/".join("abcdefghijklmnop")
    deep.mkdir(parents=True)
    pattern = "/".join(["**"] * 24)
    step = {"name": "files", "do": "list_files", "with": {"folder": "assets", "pattern": f"{pattern}/*.png"}}
    (game / "list.json").write_text(json.dumps({"name": "list", "description": "lists", "steps": [step]}))
    with pytest.raises(WorkflowError, match=r"more than once.*\*\*/\*\.png"):
        run(studio, "list.json", {}, no_progress)
    step["with"]["pattern"] = "**x"  # pyright: ignore[reportArgumentType, reportIndexIssue]
    (game / "list.json").write_text(json.dumps({"name": "list", "description": "lists", "steps": [step]}))
    with pytest.raises(WorkflowError, match="cannot be used"):
        run(studio, "list.json", {}, no_progress)
    (game / "Cargo.toml").write_text(f'[workspace]\nmembers = ["{pattern}", "**x", "crates/*"]\n')
    (game / "crates/a").mkdir(parents=True)
    (game / "crates/a/Cargo.toml").write_text('[package]\nname = "a"\n[dependencies]\nbevy = "0.19"\n')
    assert found(game).root == game / "crates/a"
