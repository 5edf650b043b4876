"""Sheets become sprites or animations of the library, and a saved Aseprite file becomes a picture of the game."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InvalidRequest
from pipelines.pixels.aseprite import Aseprite, Cel, Layer, Tag, read_aseprite, write_aseprite
from pipelines.pixels.png import read_picture
from pipelines.records import Pixels
from server.features.requests import SliceRequest
from server.features.slices import slice_sheet, write_out
from server.features.watch import Watch
from server.studio import Studio


def tiles(count: int, side: int = 16) -> list[Pixels]:
    """Opaque tiles of one colour with a mark, all different."""
    made = []
    for index in range(count):
        tile = np.full((side, side, 4), (40 * index % 250 + 5, 90, 120, 255), np.uint8)
        tile[index % side, 1:5, :3] = 250
        made.append(tile)
    return made


def sheet_of(parts: list[Pixels], columns: int, gap: int = 1) -> Pixels:
    side = parts[0].shape[0]
    rows = -(-len(parts) // columns)
    sheet = np.zeros((rows * (side + gap) + gap, columns * (side + gap) + gap, 4), np.uint8)
    for index, part in enumerate(parts):
        y, x = (gap + i * (side + gap) for i in divmod(index, columns))
        sheet[y : y + side, x : x + side] = part
    return sheet


def save(path: Path, picture: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def test_a_sheet_with_gutters_becomes_a_sprite_for_each_tile(studio: Studio, game: Path, tmp_path: Path) -> None:
    parts = tiles(6)
    picture = save(game / "art" / "items.png", sheet_of(parts, 3))
    before = picture.read_bytes()
    done = slice_sheet(studio, SliceRequest(picture=str(picture)))
    assert [asset.kind for asset in done.assets] == ["sprite"] * 6
    for asset, part in zip(done.assets, parts, strict=True):
        np.testing.assert_array_equal(read_picture(done.library.read(asset)), part)
    assert "3x2 tiles of 16x16 px, gap 1 px, margin 1 px" in done.how
    assert done.preview.shape[0] > 100
    assert picture.read_bytes() == before
    written = write_out(done, tmp_path / "out")
    assert [path.name for path in written] == [f"items_{i}.png" for i in range(6)]


def test_frames_with_tags_become_one_animation(studio: Studio, game: Path) -> None:
    parts = tiles(4)
    picture = save(game / "hero.png", np.concatenate(parts, axis=1))
    frames = [{"frame": {"x": 16 * i, "y": 0, "w": 16, "h": 16}, "duration": 125} for i in range(4)]
    tags = [
        {"name": "walk", "from": 0, "to": 2, "direction": "pingpong"},
        {"name": "die", "from": 3, "to": 3, "direction": "forward", "repeat": "1"},
    ]
    text = json.dumps({"frames": frames, "meta": {"app": "https://www.aseprite.org/", "frameTags": tags}})
    (game / "hero.json").write_text(text, encoding="utf-8-sig")
    done = slice_sheet(studio, SliceRequest(picture=str(picture), into="animation"))
    (asset,) = done.assets
    assert asset.details["sheet"]["animations"] == {
        "walk": {"first": 0, "last": 3, "fps": 8.0, "loop": True},
        "die": {"first": 4, "last": 4, "fps": 8.0, "loop": False},
    }
    shown = read_picture(done.library.read(asset))
    np.testing.assert_array_equal(shown[:16, 48:64], parts[1])
    kept = read_aseprite(done.library.read(asset, "sheet.aseprite"))
    assert [tag.name for tag in kept.tags] == ["walk", "die"]


def test_what_proves_no_grid_is_refused_and_nothing_is_kept(studio: Studio, game: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 255, (50, 50, 4), np.uint8)
    picture = save(game / "noise.png", noise)
    with pytest.raises(InvalidRequest, match="leave 2 columns and 2 rows of pixels over"):
        slice_sheet(studio, SliceRequest(picture=str(picture), width=16))
    with pytest.raises(InvalidRequest, match="No grid can be seen"):
        slice_sheet(studio, SliceRequest(picture=str(picture)))
    assert studio.library(studio.project(None)).find()[1] == 0


def test_an_animated_picture_is_cut_into_its_frames(studio: Studio, game: Path) -> None:
    frames = [Image.fromarray(tile) for tile in tiles(3)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    (game / "walk.webp").write_bytes(file.getvalue())
    done = slice_sheet(studio, SliceRequest(picture=str(game / "walk.webp"), into="animation"))
    assert done.assets[0].details["sheet"]["animations"]["walk"]["fps"] == 10


def aseprite_file(frames: int, mark: int = 0, tags: tuple[Tag, ...] = ()) -> bytes:
    parts = tiles(frames + mark)[mark:]
    cels = {(i, 0): Cel(part) for i, part in enumerate(parts)}
    return write_aseprite(Aseprite(16, 16, (100,) * frames, (Layer("a"),), cels, tags=tags))


def test_the_layers_of_a_file_are_kept_apart_where_that_is_asked_for(studio: Studio, game: Path) -> None:
    body, hat = tiles(2)
    hat = hat[:5].copy()
    layers = (Layer("body"), Layer("hat", visible=False, opacity=90))
    sprite = Aseprite(16, 16, (100,), layers, {(0, 0): Cel(body), (0, 1): Cel(hat, 0, 3)})
    (game / "hero.aseprite").write_bytes(write_aseprite(sprite))
    done = slice_sheet(studio, SliceRequest(picture=str(game / "hero.aseprite"), into="layers"))
    assert [asset.recipe.prompt for asset in done.assets] == ["body", "hat"]
    shown = [read_picture(done.library.read(asset)) for asset in done.assets]
    np.testing.assert_array_equal(shown[0], body)
    np.testing.assert_array_equal(shown[1][3:8], hat)
    assert not shown[1][8:].any()
    with pytest.raises(InvalidRequest, match=r"Only an \.aseprite file has layers"):
        slice_sheet(studio, SliceRequest(picture=str(save(game / "x.png", body)), into="layers"))


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def watch(studio: Studio, lines: list[str]) -> Watch:
    return Watch(studio, studio.require_project(), lines.append)


def test_a_saved_aseprite_file_is_the_games_picture_and_a_later_save_replaces_it(watch: Watch, game: Path) -> None:
    file = game / "art" / "Red Potion.aseprite"
    file.parent.mkdir()
    for mark in (0, 1):
        file.write_bytes(aseprite_file(1, mark))
        watch.handle(file)
        np.testing.assert_array_equal(read_picture(game / "assets/sprites/red_potion.png"), tiles(2)[mark])


def test_a_saved_file_with_frames_is_a_sheet_with_its_layout(watch: Watch, game: Path, lines: list[str]) -> None:
    file = game / "assets" / "enemies" / "slime.aseprite"
    file.parent.mkdir(parents=True)
    data = aseprite_file(3, tags=(Tag("walk", 0, 1), Tag("die", 2, 2, repeat=1)))
    file.write_bytes(data)
    watch.handle(file)
    layout = json.loads((game / "assets/enemies/slime.sheet.json").read_text())
    assert layout["animations"]["die"] == {"first": 2, "last": 2, "fps": 10.0, "loop": False}
    assert (game / "assets/enemies/slime.png").is_file()
    assert file.read_bytes() == data, lines


def test_a_picture_that_somebody_exported_is_never_replaced(watch: Watch, game: Path, lines: list[str]) -> None:
    mine = save(game / "assets/sprites/hero.png", tiles(3)[2])
    before = mine.read_bytes()
    (game / "hero.aseprite").write_bytes(aseprite_file(1))
    watch.handle(game / "hero.aseprite")
    assert mine.read_bytes() == before
    assert "hero.aseprite" in lines[0]


@pytest.mark.parametrize("into", ["sprites", "animation"])
def test_a_damaged_file_is_one_line(
    watch: Watch, game: Path, lines: list[str], into: Literal["sprites", "animation"]
) -> None:
    (game / f"{into}.aseprite").write_bytes(aseprite_file(1)[:150])
    watch.handle(game / f"{into}.aseprite")
    assert len(lines) == 1
    assert not list((game / "assets").rglob("*.png"))
