"""init-game on twelve foreign games: what it writes is whole, its diff applies, and undo restores every byte."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from server.cli.games import init_game
from server.deploy.bevy.init_game import Plan, plan
from server.deploy.bevy.rust_source import tokens
from server.project.game import find_project
from tests.server.deploy.bevy.foreign_games import GAMES, ForeignGame


def written(game: ForeignGame, folder: Path) -> Path:
    return game.write(folder, f'bevy = "0.{game.bevy or 20}"')


def planned(root: Path) -> Plan:
    project = find_project(root, None)
    assert project
    assert project.root == root
    return plan(project)


def everything(folder: Path) -> dict[str, bytes | None]:
    """Each file's bytes, and None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(params=GAMES)
def foreign(request: pytest.FixtureRequest) -> ForeignGame:
    return GAMES[request.param]


def test_undo_restores_every_byte_and_folder(foreign: ForeignGame, tmp_path: Path) -> None:
    root = written(foreign, tmp_path)
    before = everything(tmp_path)
    undo = planned(root).apply()
    assert everything(tmp_path) != before
    undo()
    assert everything(tmp_path) == before


def test_the_diff_does_what_the_command_does(foreign: ForeignGame, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    diff = planned(written(foreign, here)).diff()
    planned(written(foreign, there)).apply()
    crate = here / foreign.crate
    subprocess.run(["git", "apply", "-"], cwd=crate, input=diff.encode(), check=True)
    assert everything(here) == everything(there)
    subprocess.run(["git", "apply", "-R", "-"], cwd=crate, input=diff.encode(), check=True)


def test_what_the_command_prints_is_taken_by_git_apply(
    foreign: ForeignGame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = written(foreign, tmp_path / "here"), written(foreign, tmp_path / "there")
    init_game(here)
    printed = capsys.readouterr().out
    planned(there).apply()
    subprocess.run(["git", "apply", "-"], cwd=here, input=printed.encode(), check=True)
    assert everything(here) == everything(there)


def test_a_second_time_changes_nothing(foreign: ForeignGame, tmp_path: Path) -> None:
    root = written(foreign, tmp_path)
    planned(root).apply()
    assert not planned(root).files


def test_the_plugin_is_added_whole_where_it_is_for_that_bevy(foreign: ForeignGame, tmp_path: Path) -> None:
    root = written(foreign, tmp_path)
    offered = planned(root)
    offered.apply()
    rust = "".join(path.read_text() for path in root.rglob("*.rs") if not path.name.startswith("dgx_pixels"))
    manifest = tomllib.loads((root / "Cargo.toml").read_text())
    if foreign.bevy:
        assert "left out" in offered.by_hand[0]
        assert "dgx_pixels" not in rust
        assert "dgx_pixels_dev" not in manifest.get("features", {})
        return
    assert not offered.by_hand
    code = [token.text for token in tokens(rust)]
    assert code.count("DgxPixelsPlugin") == 1
    assert sum(code[i : i + 2] == ["mod", "dgx_pixels"] for i in range(len(code))) == 1
    assert "dgx_pixels_dev" in manifest["features"]["default"]


def test_files_keep_their_line_ends(tmp_path: Path) -> None:
    root = written(GAMES["windows lines"], tmp_path)
    planned(root).apply()
    for name in ("Cargo.toml", "src/main.rs", ".gitignore"):
        data = (root / name).read_bytes()
        assert data.count(b"\n") == data.count(b"\r\n"), name


def test_the_games_own_assets_folder_is_the_one_that_is_named(tmp_path: Path) -> None:
    root = written(GAMES["own folder"], tmp_path)
    planned(root).apply()
    assert tomllib.loads((root / "dgx-pixels.toml").read_text())["folders"]["assets"] == "src/assets"
    assert not (root / "assets").exists()
