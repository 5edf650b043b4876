"""The Rust that answers carry (`make test-bevy` compiles it) and the close-up beside a deploy's screenshot."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from pipelines.animation.sheets import Clip, Sheet
from pipelines.records import Pixels
from server.deploy.bevy.closeup import with_closeup
from server.deploy.bevy.screenshot import find_sprite, read_rgba
from server.deploy.bevy.snippets import load_line, sheet_without_plugin, sprite_line


def png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def figure(seed: int, side: int = 16) -> Pixels:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    return pixels


def screen(picture: Pixels, x: int, y: int, zoom: int = 1) -> bytes:
    shot = np.full((180, 320, 4), 30, np.uint8)
    shown = picture.repeat(zoom, 0).repeat(zoom, 1)
    shot[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    shot[..., 3] = 255
    return png(shot)


@pytest.mark.parametrize(("x", "y", "zoom"), [(150, 80, 1), (0, 0, 2), (288, 148, 2)])
def test_the_place_of_the_picture_is_enlarged_beside_the_screenshot(x: int, y: int, zoom: int) -> None:
    picture = figure(1)
    shot = screen(picture, x, y, zoom)
    both = read_rgba(with_closeup(shot, {"sprites/hero.png": png(picture)}))
    whole = read_rgba(shot)
    assert both is not None
    assert whole is not None
    assert both.shape[0] == 180
    assert both.shape[1] > 400
    assert (both[:, :320] == whole).all(axis=-1).mean() > 0.9
    found = find_sprite(both[:, 324:], picture)
    assert found
    assert found[2] >= 2 * zoom


def test_the_frame_of_a_sheet_that_is_shown_is_found() -> None:
    frames = [figure(seed) for seed in range(4)]
    sheet = {"image": "bat.png", "tile_size": [16, 16], "columns": 4, "rows": 1}
    files = {"sheets/bat.png": png(np.concatenate(frames, 1)), "sheets/bat.sheet.json": json.dumps(sheet).encode()}
    both = read_rgba(with_closeup(screen(frames[2], 40, 60), files))
    assert both is not None
    assert find_sprite(both[:, 324:], frames[2])


@pytest.mark.parametrize("shot", [b"", b"no picture", screen(figure(1), 10, 10)])
def test_without_the_picture_on_it_the_screenshot_stays(shot: bytes) -> None:
    assert with_closeup(shot, {"sprites/hero.png": png(figure(2))}) == shot


def test_the_line_suits_what_was_deployed_and_the_games_bevy() -> None:
    assert (
        sprite_line("a/b.png", 14)
        == 'commands.spawn(SpriteBundle { texture: asset_server.load("a/b.png"), ..default() });'
    )
    assert load_line({"a/b.png": b""}, 0) == 'commands.spawn(Sprite::from_image(asset_server.load("a/b.png")));'
    sheet = json.dumps({"image": "b.png", "animations": {"walk": {"first": 0, "last": 3}}}).encode()
    line = 'commands.spawn(SheetSprite::new(asset_server.load("a/b.sheet.json"), "walk"));'
    assert load_line({"a/b.png": b"", "a/b.sheet.json": sheet}, 19) == line


def test_the_module_without_the_plugin_names_every_clip_and_stops_where_one_does_not_loop() -> None:
    image = np.zeros((32, 64, 4), np.uint8)
    rust = sheet_without_plugin(
        "a/b.png", Sheet(image, 16, 16, 4, 2, {"die": Clip(0, 3, 10, False), "idle": Clip(4, 7)})
    )
    assert "die 0..=3 at 10 fps, idle 4..=7 at 8 fps" in rust
    assert "from_seconds(0.1000" in rust
    assert "else { clip.last }" in rust
