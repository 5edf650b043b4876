"""A plain game that init-game has changed compiles, runs, and proves a deployment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from server.deploy.bevy.doctor import examine
from server.deploy.bevy.init_game import plan
from server.deploy.deploy import deploy
from server.project.game import find_project
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.running import VERSION, Game, asset, free_port, picture
from tests.bevy_game.toolchain import VERSIONS, build, project
from tests.fakes import FakeBackend

# The same versions and features as the example game, so that nothing but the game itself is compiled.
MANIFEST = """\
[package]
name = "plain_game"
version = "0.1.0"
edition = "2024"

[dependencies.bevy]
version = "={bevy}"
default-features = false
features = ["default_app", "std", "multi_threaded", "bevy_winit", "x11", "2d_bevy_render", "png", "default_font"]

# Not used: with it Bevy has the features that it has in the example game, and is not compiled again.
[dependencies.bevy_brp_extras]
version = "={extras}"
default-features = false

[profile.dev]
debug = 0
"""
MAIN = """\
use bevy::app::ScheduleRunnerPlugin;
use bevy::prelude::*;
use bevy::window::ExitCondition;
use bevy::winit::WinitPlugin;

fn main() {
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    App::new()
        .add_plugins(DefaultPlugins.set(no_window).disable::<WinitPlugin>())
        .add_plugins(ScheduleRunnerPlugin::run_loop(std::time::Duration::from_millis(16)))
        .add_systems(Startup, setup)
        .run();
}

fn setup(mut commands: Commands, server: Res<AssetServer>) {
    commands.spawn((Camera2d, Name::new("camera")));
    commands.spawn(Sprite::from_image(server.load("sprites/hero.png")));
}
"""


def test_a_plain_game_is_made_ready_and_proves_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "plain_game"
    (root / "src").mkdir(parents=True)
    (root / "Cargo.toml").write_text(
        MANIFEST.replace("{bevy}", VERSIONS[VERSION]["bevy"]).replace("{extras}", VERSIONS[VERSION]["extras"])
    )
    (root / "src/main.rs").write_text(MAIN)
    (root / "assets/sprites").mkdir(parents=True)
    (root / "assets/sprites/hero.png").write_bytes(picture())
    shutil.copy(project(VERSION) / "Cargo.lock", root)

    game = find_project(root, None)
    assert game
    assert any(finding.state == "broken" for finding in examine(game))
    offered = plan(game)
    assert not offered.by_hand
    offered.apply()
    built = build(VERSION, root, "--quiet")
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr

    running = Game(root, free_port(), "plain_game", draws=False)
    monkeypatch.setenv("BRP_EXTRAS_PORT", str(running.port))
    studio = Studio(Settings(project=root, data_dir=tmp_path / "data"), FakeBackend())
    try:
        running.start()
        # the toolchain that built it may be a nightly beside an older stable one
        assert {finding.state for finding in examine(game) if finding.topic != "rust"} == {"fine"}
        done = deploy(studio, asset(studio, picture()), "sprites/hero.png", overwrite=True)
        assert done.verification.state == "reloaded"
    finally:
        studio.close()
        running.stop()
