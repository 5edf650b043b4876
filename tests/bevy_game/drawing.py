"""A small program without a window that runs pasted Rust and saves what its camera sees."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from pipelines.records import Pixels
from tests.bevy_game.running import BINARIES, VERSION, copy_game, software_renderer, wait_for
from tests.bevy_game.toolchain import EXAMPLE, build

Found = TypeVar("Found")

SHELL = """\
use bevy::app::ScheduleRunnerPlugin;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::render_resource::{TextureFormat, TextureUsages};
use bevy::render::view::screenshot::{Screenshot, save_to_disk};
use bevy::window::ExitCondition;
use bevy::winit::WinitPlugin;

fn argument(number: usize) -> String {
    std::env::args().nth(number).unwrap()
}

fn main() {
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    let mut app = App::new();
    app.add_plugins(
        DefaultPlugins.set(no_window).set(ImagePlugin::default_nearest()).disable::<WinitPlugin>(),
    )
    .add_plugins(ScheduleRunnerPlugin::run_loop(std::time::Duration::from_millis(16)))
    .add_plugins(software::SoftwareRenderingPlugin)
    .add_systems(Startup, spawn_camera)
    .add_systems(Update, save_a_picture);
    match argument(1).as_str() {
ARMS
        other => panic!("{other} is not here"),
    };
    app.run();
}

fn spawn_camera(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let (width, height) = (argument(3).parse().unwrap(), argument(4).parse().unwrap());
    let mut target = Image::new_target_texture(width, height, TextureFormat::Rgba8UnormSrgb, None);
    target.texture_descriptor.usage |= TextureUsages::COPY_SRC;
    let target = RenderTarget::Image(images.add(target).into());
    commands.spawn((Camera2d, Msaa::Off, target));
}

fn save_a_picture(mut commands: Commands, target: Single<&RenderTarget>, mut frame: Local<u32>) {
    *frame += 1;
    if *frame % 10 == 0 {
        let shot = Screenshot((*target).clone());
        commands.spawn(shot).observe(save_to_disk(argument(2)));
    }
}
"""


def build_program(
    root: Path, name: str, modules: Iterable[str], arms: Iterable[tuple[str, str]], more: str = ""
) -> None:
    """Builds a program in `root`, which is a copy of the example's project; its modules lie in `src` already.

    Args:
        root: a project that depends on Bevy, with an empty src/ but for the modules: `project_of`.
        name: of the package and its program.
        modules: the files of src/, by name.
        arms: what the first argument of the program may be, and what it then adds to the app: `add_systems(...)`.
        more: Rust for the end of main.rs.
    """
    listed = "\n".join(f'        "{arm}" => app.{adds},' for arm, adds in arms)
    shutil.copy(EXAMPLE / "src/software.rs", root / "src")
    main = (
        "".join(f"mod {module};\n" for module in (*modules, "software")) + "\n" + SHELL.replace("ARMS", listed) + more
    )
    (root / "src/main.rs").write_text(main)
    built = build(VERSION, root, "--quiet", "--bin", name)
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr, built.stderr


def project_of(name: str, folder: Path) -> Path:
    """A copy of the example's project with an empty src/. Its name alone differs: only the program is compiled."""
    root = copy_game(folder)
    (root / "src").mkdir()
    manifest = (root / "Cargo.toml").read_text()
    (root / "Cargo.toml").write_text(manifest.replace('name = "bevy_example"', f'name = "{name}"'))
    return root


def watch(
    root: Path, name: str, arm: str, size: tuple[int, int], found: Callable[[Pixels], Found | None], limit: float = 120
) -> Found:
    """Runs the program until `found` returns something for one of its pictures, `size` wide and high.

    A picture of one colour, from before the assets were loaded, is not asked for.
    """
    picture = root / f"{arm}.png"
    environment = {**os.environ, **software_renderer(), "BEVY_ASSET_ROOT": str(root)}
    command = [str(BINARIES / name), arm, str(picture), *map(str, size)]
    with (root / f"{arm}.log").open("wb") as log:
        program = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def seen() -> list[Found]:
        assert program.poll() is None, (root / f"{arm}.log").read_text(errors="replace")
        try:
            with Image.open(picture) as image:
                pixels = np.array(image.convert("RGBA"))
        except OSError:  # not there yet, or half written
            return []
        if (pixels == pixels[0, 0]).all():
            return []
        answer = found(pixels)
        return [] if answer is None else [answer]

    try:
        return wait_for(f"{arm} on the screen", seen, limit)[0]
    finally:
        program.kill()
        program.wait(timeout=10)


def covered(shown: Pixels, wanted: Pixels) -> bool:
    """Whether `shown` is `wanted`, and one colour where that is clear."""
    drawn = wanted[..., 3] > 0
    return bool((shown[drawn][:, :3] == wanted[drawn][:, :3]).all()) and len(np.unique(shown[~drawn], axis=0)) <= 1


def same(root: Path, name: str, arm: str, wanted: Pixels) -> None:
    """The program shows this picture. Where it does not, the error says how the last one differs and where it lies."""
    last: list[str] = []

    def found(shown: Pixels) -> bool | None:
        last[:] = [difference(shown, wanted)]
        return covered(shown, wanted) or None

    try:
        watch(root, name, arm, (wanted.shape[1], wanted.shape[0]), found, limit=60)
    except AssertionError as error:
        raise AssertionError(f"{error}; {last}, {root}/{arm}.png") from error


def difference(shown: Pixels, wanted: Pixels) -> str:
    """How many of the drawn pixels differ, and in which rows and columns."""
    drawn = wanted[..., 3] > 0
    wrong = np.argwhere((shown[..., :3] != wanted[..., :3]).any(axis=-1) & drawn)
    return f"{len(wrong)} pixels differ, {wrong.min(axis=0)} to {wrong.max(axis=0)}" if len(wrong) else "more is drawn"


def put(canvas: Pixels, part: Pixels, x: int, y: int) -> None:
    """Lays a picture over another one."""
    place = canvas[y : y + part.shape[0], x : x + part.shape[1]]
    drawn = part[..., 3] > 0
    place[drawn] = part[drawn]
