"""Foreign games that init-game has changed compile without a warning, run in a window, and prove a deployment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from server.cli.games import init_game
from server.deploy.bevy.doctor import examine
from server.deploy.bevy.init_game import plan
from server.deploy.deploy import deploy
from server.project.game import find_project
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.running import VERSION, Game, asset, free_port, picture
from tests.bevy_game.toolchain import bevy_dependency, build, cargo, environment, extras_dependency, own_folder, project
from tests.fakes import FakeBackend
from tests.server.deploy.bevy.foreign_games import GAMES, SPRITE, ForeignGame

BUILT = {name: game for name, game in GAMES.items() if not game.bevy}
"""The others are on versions that get no plugin: init-game leaves their code alone."""


def written(game: ForeignGame, folder: Path) -> Path:
    """The crate's root, with the versions of the Bevy under test and the picture that the game shows."""
    root = game.write(folder, bevy_dependency(VERSION))
    end = extras_dependency(VERSION)
    with (root / "Cargo.toml").open("ab") as manifest:
        manifest.write((end.replace("\n", "\r\n") if game.newline else end).encode())
    shutil.copy(project(VERSION) / "Cargo.lock", folder)
    shown = root / game.assets / game.shows
    shown.parent.mkdir(parents=True, exist_ok=True)
    shown.write_bytes(picture())
    return root


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_port()
    monkeypatch.setenv("BRP_EXTRAS_PORT", str(port))
    return port


@pytest.mark.parametrize("name", BUILT)
def test_a_foreign_game_builds_and_proves_what_it_shows(
    name: str, port: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    game = BUILT[name]
    root = written(game, own_folder(VERSION, name.replace(" ", "_").replace("/", "_")))
    found = find_project(root, None)
    assert found
    offered = plan(found)
    assert not offered.by_hand
    offered.apply()
    built = build(VERSION, root, "--quiet")
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr

    changed = find_project(root, None)
    assert changed
    running = Game(root, port, game.program, headless=False)
    studio = Studio(Settings(project=root, data_dir=tmp_path / "data"), FakeBackend())
    try:
        running.start(DISPLAY=request.getfixturevalue("display"))
        # the toolchain that built it may be a nightly beside an older stable one
        assert {finding.state for finding in examine(changed) if finding.topic != "rust"} == {"fine"}
        done = deploy(studio, asset(studio, picture()), game.shows, overwrite=True)
        assert done.verification.state == "reloaded", done.verification.note
    finally:
        studio.close()
        running.stop()


def test_check_builds_the_game_and_takes_back_what_does_not_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = written(SPRITE, own_folder(VERSION, "sprite"))
    # `cargo` as this machine needs it for that Bevy
    script = tmp_path / "cargo"
    real = shutil.which("cargo")
    script.write_text(f'#!/bin/sh\nexec {real} {" ".join(cargo(VERSION)[1:])} "$@" --ignore-rust-version --quiet\n')
    script.chmod(0o755)
    for name, value in {**environment(VERSION), "PATH": f"{tmp_path}:{environment(VERSION)['PATH']}"}.items():
        monkeypatch.setenv(name, value)
    init_game(root, yes=True, check=True)
    assert "Changed" in capsys.readouterr().out
    main = root / "src/main.rs"
    assert "DgxPixelsPlugin" in main.read_text()

    (root / "src/dgx_pixels.rs").write_text("fn broken( {\n")
    main.write_text(SPRITE.files["src/main.rs"].replace("fn setup(", "fn setup(_: NoSuchType, "))
    before = main.read_bytes()
    with pytest.raises(SystemExit):
        init_game(root, yes=True, check=True)
    assert main.read_bytes() == before
    assert (root / "src/dgx_pixels.rs").read_text() == "fn broken( {\n"
