"""The Rust of an atlas, pasted into a game: its frames stand on their feet and have the boxes that we measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.atlas.files import measured
from pipelines.pixels.png import encode_png
from pipelines.records import no_progress
from server.deploy.deploy import deploy
from server.features.packing import pack_sheet
from server.features.requests import PackRequest
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.drawing import build_program, project_of, put, same
from tests.bevy_game.running import asset, picture
from tests.fakes import FakeBackend

PROGRAM = "atlas_game"
CELL = 96
"""World units from one frame to the next."""
FRAMES = """\
// Every frame with its feet at the middle of a cell, the collider beside it in white and the hurt box in black.
fn frames(
    mut commands: Commands,
    asset_server: Res<AssetServer>,
    mut layouts: ResMut<Assets<TextureAtlasLayout>>,
) {
    let (image, layout) = (asset_server.load(atlas::IMAGE), layouts.add(atlas::atlas_layout()));
    let (width, height): (f32, f32) = (argument(3).parse().unwrap(), argument(4).parse().unwrap());
    for (index, frame) in atlas::FRAMES.iter().enumerate() {
        let feet = Vec2::new((index as f32 + 0.5) * CELL - width / 2.0, height / 2.0 - CELL / 2.0);
        let shown = TextureAtlas { layout: layout.clone(), index };
        let anchor = bevy::sprite::Anchor(Vec2::from(frame.anchor));
        let place = Transform::from_translation(feet.extend(0.0));
        commands.spawn((Sprite::from_atlas_image(image.clone(), shown), anchor, place));
        for (row, (body, color)) in frame.boxes.iter().zip([Color::WHITE, Color::BLACK]).enumerate() {
            let [left, bottom, width, height] = *body;
            let middle = feet + Vec2::new(left + width / 2.0, bottom + height / 2.0 - (row as f32 + 1.0) * CELL);
            let sprite = Sprite::from_color(color, Vec2::new(width, height));
            commands.spawn((sprite, Transform::from_translation(middle.extend(0.0))));
        }
    }
}
"""


def figure() -> bytes:
    """A PNG of what is 13 pixels wide and stands on its right foot: nothing of it is in the middle of the frame."""
    pixels = np.zeros((20, 24, 4), np.uint8)
    for rows, columns, color in ((slice(2, 14), slice(3, 16), 90), (slice(14, 19), slice(7, 15), 180)):
        pixels[rows, columns] = (color, 40, 255 - color, 255)
    return encode_png(pixels)


def test_frames_of_an_atlas_stand_on_their_feet_and_have_their_boxes(tmp_path: Path) -> None:
    root = project_of(PROGRAM, tmp_path / "game")
    studio = Studio(Settings(project=root, data_dir=tmp_path / "data"), FakeBackend())
    try:
        sprites = tuple(asset(studio, data) for data in (picture(), figure(), picture(48, 40)))
        packed = pack_sheet(studio, PackRequest(asset_ids=sprites), no_progress)
        deploy(studio, packed.asset.id, "sheets/atlas.png", verify=False)
        (root / "src/atlas.rs").write_text(packed.rust("sheets/atlas.png"))
    finally:
        studio.close()
    arms = {"atlas": "add_systems(Startup, frames)"}
    build_program(root, PROGRAM, ("atlas",), arms.items(), FRAMES.replace("CELL", f"{CELL}.0"))

    bodies = measured(packed.atlas)
    wanted = np.zeros((3 * CELL, len(packed.atlas.frames) * CELL, 4), np.uint8)
    for number, frame in enumerate(packed.atlas.frames):
        body = bodies[frame.name]
        assert float(body.pivot[0]).is_integer()  # half pixels would be drawn as the graphics card rounds
        x, y = int(number * CELL + CELL / 2 - body.pivot[0]), int(CELL / 2 - body.pivot[1])
        put(wanted, frame.image, x, y)
        for row, (box, level) in enumerate(((body.collider, 255), (body.hurt, 0)), 1):
            left, top, width, height = box
            plain = np.full((height, width, 4), (level, level, level, 255), np.uint8)
            put(wanted, plain, x + left, y + top + row * CELL)
    same(root, PROGRAM, "atlas", wanted)
