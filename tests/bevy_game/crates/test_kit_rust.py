"""The Rust of user-interface kits, pasted into a game with Bevy's user interface: its pieces look as ours do.

The example game has no `bevy_ui`; the crates that read our files bring it along, so this test shares their build.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipelines.records import Pixels, no_progress
from pipelines.ui.kit import Kit
from server.deploy.deploy import deploy
from server.features.requests import UiRequest
from server.features.ui import generate_ui, ui_snippet
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.crates.test_other_crates import manifest
from tests.bevy_game.drawing import build_program, put, same
from tests.bevy_game.running import VERSION
from tests.bevy_game.toolchain import own_folder, project
from tests.fakes import FakeBackend

PROGRAM = "kit_game"
AS_BUILT = """
[features]
default = ["dev"]
dev = ["bevy/bevy_remote", "bevy/file_watcher"]

[dependencies.serde]
version = "1"
features = ["derive"]

[dependencies.serde_json]
version = "1"
"""
"""What init-game adds to the game that reads our files: with it, Bevy is compiled already."""

ZOOM = 3
LOOKS = ("wood", "stone")
PIECES = [("panel", 40, 33), ("frame", 37, 35), ("slot", 32, 32), ("bar", 61, 12), ("button_pressed", 50, 20)]
"""Names, and widths and heights in the kit's pixels, one below the other at x = 100."""
TOPS = [0, 40, 80, 120, 140]
MORE = """\

// No window: the camera that draws into a picture has the user interface.
fn use_for_ui(mut commands: Commands, camera: Single<Entity, With<Camera2d>>) {
    commands.entity(*camera).insert(IsDefaultUiCamera);
}

fn pieces(mut commands: Commands, asset_server: Res<AssetServer>) {
    for (name, top, [width, height]) in [PIECES] {
        let node = Node {
            position_type: PositionType::Absolute,
            left: Val::Px(300.0),
            top: Val::Px(top),
            width: Val::Px(width),
            height: Val::Px(height),
            ..default()
        };
        commands.spawn((node, wood::piece(&asset_server, name)));
    }
}
"""


class Built(NamedTuple):
    """The program's project, and the kits by look."""

    root: Path
    kits: dict[str, Kit]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = own_folder(VERSION, PROGRAM)
    for folder in ("src", "assets"):
        (root / folder).mkdir()
    (root / "Cargo.toml").write_text(manifest(PROGRAM) + AS_BUILT)
    locks = (root.with_name("readers") / "Cargo.lock", project(VERSION) / "Cargo.lock")
    shutil.copy(next(lock for lock in locks if lock.is_file()), root)
    kits: dict[str, Kit] = {}
    studio = Studio(Settings(project=root, data_dir=tmp_path_factory.mktemp("data")), FakeBackend())
    try:
        for look in LOOKS:
            made = generate_ui(studio, UiRequest(prompt=look, size=32), no_progress)
            deploy(studio, made.asset.id, f"ui/{look}.png", verify=False)
            (root / f"src/{look}.rs").write_text(ui_snippet(made.kit, f"ui/{look}.png", ZOOM))
            kits[look] = made.kit
    finally:
        studio.close()
    rows = zip(PIECES, TOPS, strict=True)
    listed = [f'("{name}", {top * ZOOM}.0, [{w * ZOOM}.0, {h * ZOOM}.0])' for (name, w, h), top in rows]
    arms = {look: f"add_systems(Startup, {look}::spawn_window)" for look in LOOKS}
    arms["pieces"] = "add_systems(Startup, pieces)"
    shown = {arm: f"{adds}.add_systems(PostStartup, use_for_ui)" for arm, adds in arms.items()}
    build_program(root, PROGRAM, LOOKS, shown.items(), MORE.replace("[PIECES]", f"[{', '.join(listed)}]"))
    return Built(root, kits)


def zoomed(part: Pixels) -> Pixels:
    return part.repeat(ZOOM, 0).repeat(ZOOM, 1)


@pytest.mark.parametrize("look", LOOKS)
def test_a_window_of_the_kit_looks_as_ours(built: Built, look: str) -> None:
    kit = built.kits[look]
    wanted = np.zeros((64 + 8, 96 + 8, 4), np.uint8)
    put(wanted, kit.at("panel", 96, 64), 0, 0)
    height = kit.regions["button_normal"].height
    put(wanted, kit.at("button_normal", 48, height), 24, (64 - height) // 2)
    same(built.root, PROGRAM, look, zoomed(wanted))


def test_pieces_of_any_size_look_as_ours(built: Built) -> None:
    kit = built.kits["wood"]
    wanted = np.zeros((170, 180, 4), np.uint8)
    for (name, width, height), top in zip(PIECES, TOPS, strict=True):
        put(wanted, kit.at(name, width, height), 100, top)
    same(built.root, PROGRAM, "pieces", zoomed(wanted))
