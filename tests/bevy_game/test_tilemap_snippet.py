"""The Rust that generate_tileset answers compiles as it stands, and Bevy's own tilemap then draws our preview."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.records import Pixels, no_progress
from pipelines.sdxl.diffusion import DiffusersBackend
from server.deploy.bevy.detect import detect
from server.deploy.deploy import deploy
from server.features.requests import TilesetRequest
from server.features.tilesets import bevy_snippet, generate_tileset
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.running import BINARIES, VERSION, copy_game, software_renderer, wait_for
from tests.bevy_game.toolchain import build

LAYOUTS = ("wang16", "platformer")  # the second has empty places
MAIN = """\
mod platformer;
mod wang16;

use bevy::app::ScheduleRunnerPlugin;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::render_resource::{TextureFormat, TextureUsages};
use bevy::render::view::screenshot::{Screenshot, save_to_disk};
use bevy::window::ExitCondition;
use bevy::winit::WinitPlugin;

fn main() {
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    let mut app = App::new();
    app.add_plugins(
        DefaultPlugins.set(no_window).set(ImagePlugin::default_nearest()).disable::<WinitPlugin>(),
    )
    .add_plugins(ScheduleRunnerPlugin::run_loop(std::time::Duration::from_millis(16)))
    .add_systems(Startup, spawn_camera)
    .add_systems(Update, save_a_picture);
    match std::env::args().nth(1).as_deref() {
        Some("wang16") => app.add_systems(Startup, wang16::spawn_tiles),
        _ => app.add_systems(Startup, platformer::spawn_tiles),
    };
    app.run();
}

fn spawn_camera(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let mut target = Image::new_target_texture(192, 128, TextureFormat::Rgba8UnormSrgb, None);
    target.texture_descriptor.usage |= TextureUsages::COPY_SRC;
    commands.spawn((Camera2d, Msaa::Off, RenderTarget::Image(images.add(target).into())));
}

fn save_a_picture(mut commands: Commands, target: Single<&RenderTarget>, mut frame: Local<u32>) {
    *frame += 1;
    if *frame % 30 == 0 {
        let shot = Screenshot((*target).clone());
        commands.spawn(shot).observe(save_to_disk(std::env::args().nth(2).unwrap()));
    }
}
"""


def test_bevy_draws_the_sample_map_from_the_snippet(tmp_path: Path) -> None:
    root = copy_game(tmp_path / "game")
    (root / "src").mkdir()
    # the example game's name alone differs, so that nothing but this small program is compiled
    manifest = (root / "Cargo.toml").read_text().replace('name = "bevy_example"', 'name = "tilemap_game"')
    (root / "Cargo.toml").write_text(manifest)
    (root / "src/main.rs").write_text(MAIN)
    previews: dict[str, Pixels] = {}
    studio = Studio(Settings(project=root, data_dir=tmp_path / "data"), DiffusersBackend())
    try:
        for layout in LAYOUTS:
            made = generate_tileset(
                studio,
                TilesetRequest.model_validate(
                    {"upper": "grass", "lower": "dirt", "layout": layout, "tile_size": 16, "seed": 1}
                ),
                no_progress,
            )
            assert made.project
            path = f"tiles/{layout}.png"
            deploy(studio, made.asset.id, path, verify=False)
            snippet = bevy_snippet(made.tileset, path, detect(made.project).minor)
            (root / f"src/{layout}.rs").write_text(snippet.replace("fn spawn_tiles", "pub fn spawn_tiles"))
            previews[layout] = made.tileset.preview
    finally:
        studio.close()

    built = build(VERSION, root, "--quiet", "--bin", "tilemap_game")
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr
    for layout in LAYOUTS:
        shown = draw(root, layout)
        tiles = previews[layout][..., 3] > 0
        np.testing.assert_array_equal(shown[tiles][:, :3], previews[layout][tiles][:, :3])
        # nothing is drawn where the map is empty
        assert len(np.unique(shown[~tiles], axis=0)) <= 1


def draw(root: Path, layout: str) -> Pixels:
    """The picture that the built program draws once the tiles are there."""
    picture = root / f"{layout}.png"
    environment = {**os.environ, **software_renderer(), "BEVY_ASSET_ROOT": str(root)}
    command = [str(BINARIES / "tilemap_game"), layout, str(picture)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:

        def seen() -> Pixels | None:
            assert program.poll() is None, "the program ended"
            try:
                with Image.open(picture) as image:
                    pixels = np.array(image.convert("RGBA"))
            except OSError:  # not there yet, or half written
                return None
            return pixels if (pixels != pixels[0, 0]).any() else None

        try:
            found: Pixels = wait_for("the tiles on the screen", lambda: [p] if (p := seen()) is not None else [], 120)[
                0
            ]
        finally:
            program.kill()
    return found
