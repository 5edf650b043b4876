"""The Rust that answers carry compiles when it is pasted into a game that init-game made ready, and plays the sheet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.animation.sheets import Clip, Sheet
from pipelines.records import Pixels
from server.deploy.bevy.init_game import plan
from server.deploy.bevy.screenshot import find_sprite, read_rgba, take_screenshot
from server.deploy.bevy.snippets import sheet_line, sheet_without_plugin, sprite_line
from server.project.game import find_project
from tests.bevy_game.running import VERSION, Game, free_port, picture, wait_for
from tests.bevy_game.toolchain import bevy_dependency, binary, build, extras_dependency, own_folder, project

MAIN = """\
mod pasted_sheet;

use crate::dgx_pixels::SheetSprite;
use bevy::app::ScheduleRunnerPlugin;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::render_resource::{TextureFormat, TextureUsages};
use bevy::window::ExitCondition;
use bevy::winit::WinitPlugin;

fn main() {
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    let mut app = App::new();
    app.add_plugins(DefaultPlugins.set(no_window).disable::<WinitPlugin>())
        .add_plugins(ScheduleRunnerPlugin::run_loop(std::time::Duration::from_millis(16)))
        .add_systems(Startup, setup);
    match std::env::var("PASTED").as_deref() {
        Ok("sprite") => app.add_systems(Startup, sprite),
        Ok("plugin") => app.add_systems(Startup, plugin),
        _ => app.add_plugins(pasted_sheet::sheet_plugin),
    };
    app.run();
}

fn setup(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let mut target = Image::new_target_texture(160, 96, TextureFormat::Rgba8UnormSrgb, None);
    target.texture_descriptor.usage |= TextureUsages::COPY_SRC;
    commands.spawn((Camera2d, Msaa::Off, RenderTarget::Image(images.add(target).into())));
}

fn sprite(mut commands: Commands, asset_server: Res<AssetServer>) {
    SPRITE
}

fn plugin(mut commands: Commands, asset_server: Res<AssetServer>) {
    PLUGIN
}
"""


def strip() -> tuple[bytes, Pixels]:
    """Four frames of 16x16 in a row."""
    data = picture(64, 16)
    pixels = read_rgba(data)
    assert pixels is not None
    return data, pixels


def test_pasted_rust_compiles_and_plays_the_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    root = own_folder(VERSION, "pasted")
    (root / "src").mkdir()
    (root / "assets/sheets").mkdir(parents=True)
    data, pixels = strip()
    sheet = Sheet(pixels, 16, 16, 4, 1, {"walk": Clip(2, 3, 30), "die": Clip(0, 1, 10, loop=False)})
    path = "sheets/bat.png"
    (root / "assets" / path).write_bytes(data)
    clips = {name: {"first": c.first, "last": c.last} for name, c in sheet.clips.items()}
    layout = {"image": "bat.png", "tile_size": [16, 16], "columns": 4, "rows": 1, "animations": clips}
    (root / "assets/sheets/bat.sheet.json").write_text(json.dumps(layout))
    main = MAIN.replace("SPRITE", sprite_line(path, int(VERSION[2:]))).replace("PLUGIN", sheet_line(path, "walk"))
    (root / "src/main.rs").write_text(main)
    (root / "src/pasted_sheet.rs").write_text(sheet_without_plugin(path, sheet))
    head = '[package]\nname = "pasted"\nversion = "0.1.0"\nedition = "2024"\n\n[dependencies]\n'
    (root / "Cargo.toml").write_text(f"{head}{bevy_dependency(VERSION)}\n{extras_dependency(VERSION)}")
    shutil.copy(project(VERSION) / "Cargo.lock", root)
    game = find_project(root, None)
    assert game
    offered = plan(game)
    assert not offered.by_hand
    offered.apply()
    built = build(VERSION, root, "--quiet")
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr

    plays(root, "sprite", [pixels], monkeypatch)
    for pasted in ("plugin", "atlas"):
        plays(root, pasted, [pixels[:, 32:48], pixels[:, 48:]], monkeypatch)


def plays(root: Path, pasted: str, frames: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    """The program with what was pasted shows all these frames."""
    running = Game(root, free_port(), "pasted")
    monkeypatch.setenv("BRP_EXTRAS_PORT", str(running.port))
    try:
        running.start(PASTED=pasted)
        wait_for(f"{pasted}: its frames", lambda: all(shows(running, frame) for frame in frames))
    finally:
        running.stop()


def shows(game: Game, frame: Pixels) -> bool:
    """Whether one of a few screenshots shows the frame: a clip changes it all the time."""
    discovery = game.client.discover(timeout=2.0)
    shots = (read_rgba(take_screenshot(game.client, discovery, timeout=2.0)) for _ in range(4))
    return any(shot is not None and find_sprite(shot, frame) is not None for shot in shots)


def test_an_agent_sets_the_animation_over_the_protocol(at_port: Game) -> None:
    data, pixels = strip()
    (at_port.assets / "sheets/agent.png").write_bytes(data)
    clips = {"first": {"first": 0, "last": 0}, "third": {"first": 2, "last": 2}}
    layout = {"image": "agent.png", "tile_size": [16, 16], "columns": 4, "rows": 1, "animations": clips}
    (at_port.assets / "sheets/agent.sheet.json").write_text(json.dumps(layout))
    preview = {"path": "sheets/agent.sheet.json", "animation": "first"}
    entity = at_port.client.call("dgx_pixels/preview", preview)["entity"]
    wait_for("the first clip", lambda: shows(at_port, pixels[:, :16]))
    component = f"{binary(VERSION)}::dgx_pixels::SheetSprite"
    change = {"entity": entity, "component": component, "path": ".animation", "value": "third"}
    at_port.client.call("world.mutate_components", change)
    wait_for("the third tile", lambda: shows(at_port, pixels[:, 32:48]))
    assert at_port.client.call("dgx_pixels/clear")["cleared"] == 1


def test_an_agent_reads_and_sets_the_heros_health(at_port: Game) -> None:
    component = f"{binary(VERSION)}::hero::Hero"
    found = at_port.client.call("world.query", {"data": {"components": [component]}})
    assert [row["components"][component]["health"] for row in found] == [3]
    change = {"entity": found[0]["entity"], "component": component, "path": ".health", "value": 1}
    at_port.client.call("world.mutate_components", change)
    after = at_port.client.call("world.query", {"data": {"components": [component]}})
    assert [row["components"][component]["health"] for row in after] == [1]
