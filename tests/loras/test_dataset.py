"""What is taken from a user's files, what is refused, and how it is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loras.buckets import buckets, fit_canvas, fit_pixels, nearest_bucket, true_pixels
from loras.captions import from_name, with_trigger
from loras.dataset import read_dataset
from loras.errors import DatasetError
from loras.preview import contact_sheet, loss_plot
from pipelines.animation.aseprite_sheets import from_sheet
from pipelines.animation.sheets import arrange
from pipelines.pixels.aseprite import write_aseprite
from pipelines.pixels.png import read_picture
from tests.loras.pictures import save, sprite, write_metadata


def test_captions_come_from_metadata_then_a_text_file_then_the_name(sprites: Path) -> None:
    write_metadata(sprites, {"red_dragon.png": "an old red dragon"})
    (sprites / "blue_potion.txt").write_text("a blue\n potion")
    captions = {e.source: e.caption for e in read_dataset(sprites).examples}
    assert captions == {
        "red_dragon.png": "an old red dragon",
        "blue_potion.png": "a blue potion",
        "gray_sword.png": "gray sword",
    }


def test_a_caption_file_of_kohyas_ending_counts_in_every_encoding(sprites: Path) -> None:
    (sprites / "red_dragon.caption").write_text("an old\nred dragon", encoding="utf-8-sig")
    (sprites / "blue_potion.caption").write_text("a blue potion", encoding="utf-16")
    captions = {e.source: e.caption for e in read_dataset(sprites).examples}
    assert captions["red_dragon.png"] == "an old red dragon"
    assert captions["blue_potion.png"] == "a blue potion"


def test_a_caption_that_cannot_be_decoded_is_refused_with_file_and_line(sprites: Path) -> None:
    (sprites / "red_dragon.txt").write_bytes("ein alter\nDrache, grün".encode("latin-1"))
    read = read_dataset(sprites)
    assert [name for name, _ in read.refused] == ["red_dragon.png"]
    assert "red_dragon.txt, line 2" in read.refused[0][1]


def test_metadata_in_another_encoding_is_refused_with_file_and_line(sprites: Path) -> None:
    (sprites / "metadata.jsonl").write_bytes('{"file_name": "red_dragon.png", "text": "grün"}\n'.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"metadata\.jsonl, line 1: .*UTF-8"):
        read_dataset(sprites)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '\ufeff{"file_name": "red_dragon.png", "text": "an old\u2028dragon"}\r\n'),
        ("metadata.csv", "File_Name;Text\nred_dragon.png;an old dragon\n"),
    ],
)
def test_metadata_is_read_in_both_forms(sprites: Path, name: str, text: str) -> None:
    (sprites / name).write_text(text, encoding="utf-8")
    assert {e.source: e.caption for e in read_dataset(sprites).examples}["red_dragon.png"] == "an old dragon"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("monsters/red_dragon_02.png", "red dragon"),
        ("items/HealthPotion-2.png", "health potion"),
        ("goblin/03.png", "goblin"),
        ("007.png", ""),
    ],
)
def test_a_file_name_says_what_is_shown(path: str, words: str) -> None:
    assert from_name(path) == words


def test_a_trigger_word_stands_in_front_once() -> None:
    assert with_trigger("mygame", "red dragon") == "mygame red dragon"
    assert with_trigger("mygame", "mygame, red dragon") == "mygame, red dragon"
    assert with_trigger("", "red dragon") == "red dragon"
    assert with_trigger("mygame", "") == "mygame"


def test_a_game_is_read_from_its_assets_and_hidden_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Cargo.toml").write_text("")
    save(tmp_path / "assets" / "hero.png", sprite(1))
    save(tmp_path / "assets" / ".cache" / "old.png", sprite(2))
    save(tmp_path / "screenshot.png", sprite(3))
    assert [e.source for e in read_dataset(tmp_path).examples] == ["hero.png"]


@pytest.mark.parametrize(
    "layout",
    [
        {"tile_size": [16, 16], "columns": 3, "rows": 1},
        {"frames": [{"frame": {"x": x, "y": 0, "w": 16, "h": 16}} for x in (0, 16)]},
        {"frames": {f"slime {x}": {"frame": {"x": x, "y": 0, "w": 16, "h": 16}} for x in (0, 16, 32)}},
    ],
)
def test_a_sheet_is_cut_by_the_layout_beside_it(tmp_path: Path, layout: dict[str, object]) -> None:
    sheet = np.concatenate([sprite(1), sprite(2), np.zeros((16, 16, 4), np.uint8)], axis=1)
    save(tmp_path / "slime.png", sheet)
    name = "slime.sheet.json" if "tile_size" in layout else "slime.json"
    (tmp_path / name).write_text(json.dumps(layout))
    dataset = read_dataset(tmp_path)
    assert [(e.image.shape, e.caption) for e in dataset.examples] == [((16, 16, 4), "slime")] * 2
    assert not dataset.refused  # the empty end of a row is not a mistake


def test_every_frame_of_an_aseprite_file_is_a_picture(tmp_path: Path) -> None:
    sheet = arrange({"walk": [sprite(1), sprite(2), sprite(1)]})
    (tmp_path / "slime.aseprite").write_bytes(write_aseprite(from_sheet(sheet)))
    dataset = read_dataset(tmp_path)
    assert [(e.source, e.caption) for e in dataset.examples] == [
        ("slime.aseprite#0", "slime"),
        ("slime.aseprite#1", "slime"),
    ]
    np.testing.assert_array_equal(dataset.examples[1].image, sprite(2))


def test_a_sheet_without_layout_is_cut_by_the_size_that_is_given(tmp_path: Path) -> None:
    save(tmp_path / "slime.png", np.concatenate([sprite(1), sprite(2)], axis=0))
    assert len(read_dataset(tmp_path / "slime.png", (16, 16)).examples) == 2
    assert len(read_dataset(tmp_path / "slime.png").examples) == 1


def test_the_same_picture_is_learned_once_at_any_margin_or_scale(tmp_path: Path) -> None:
    save(tmp_path / "a.png", sprite(1))
    save(tmp_path / "b.png", np.pad(sprite(1), ((4, 1), (0, 7), (0, 0))))
    save(tmp_path / "c.png", sprite(1).repeat(4, 0).repeat(4, 1))
    dataset = read_dataset(tmp_path)
    assert [e.source for e in dataset.examples] == ["a.png"]
    assert [why for _, why in dataset.refused] == ["the same picture was there already"] * 2


def test_broken_and_empty_files_are_refused_by_name_and_the_rest_is_taken(sprites: Path) -> None:
    (sprites / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (sprites / "text.png").write_text("hello")
    save(sprites / "clear.png", np.zeros((16, 16, 4), np.uint8))
    report = read_dataset(sprites).report()
    assert report["taken"] == 3
    assert {r["file"] for r in report["refused_files"]} == {"broken.png", "text.png", "clear.png"}
    assert all(r["why"] for r in report["refused_files"])


def test_no_picture_at_all_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no pictures"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="There is no folder"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DatasetError, match=r"None of the 1 pictures.*a\.png"):
        read_dataset(tmp_path)


def test_a_broken_line_of_metadata_is_named(sprites: Path) -> None:
    (sprites / "metadata.jsonl").write_text('{"file_name": "red_dragon.png", "text": "x"}\n{"text": "y"}\n')
    with pytest.raises(DatasetError, match="line 2"):
        read_dataset(sprites)


@pytest.mark.parametrize("count", [1, 3])
def test_few_pictures_are_taken_with_a_word_of_warning(tmp_path: Path, count: int) -> None:
    for i in range(count):
        save(tmp_path / f"{i}.png", sprite(i))
    dataset = read_dataset(tmp_path)
    assert len(dataset.examples) == count
    assert "20 to 50" in dataset.notes[0]
    assert "no caption" in dataset.notes[1]


def test_too_many_files_are_refused_before_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loras.dataset.MOST_FILES", 3)
    for i in range(4):
        (tmp_path / f"{i}.png").touch()
    with pytest.raises(DatasetError, match="the most is 3"):
        read_dataset(tmp_path)


def test_links_are_not_followed_out_of_the_folder(sprites: Path, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "secret.png", sprite(9))
    (sprites / "link").symlink_to(tmp_path / "elsewhere")
    (sprites / "link.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    assert len(read_dataset(sprites).examples) == 3


def test_the_digest_changes_with_pictures_and_captions(sprites: Path) -> None:
    first = read_dataset(sprites).digest
    assert read_dataset(sprites).digest == first
    (sprites / "red_dragon.txt").write_text("another")
    assert read_dataset(sprites).digest != first


def test_a_picture_is_enlarged_by_a_whole_factor_onto_white() -> None:
    fitted = fit_canvas(sprite(1), 64)
    assert fitted.image.shape == (64, 64, 4)
    small = fitted.image[::4, ::4]
    assert np.array_equal(small.repeat(4, 0).repeat(4, 1), fitted.image)
    clear = sprite(1)[..., 3] == 0
    assert (small[clear] == 255).all()
    assert np.array_equal(small[~clear], sprite(1)[~clear])


def test_a_small_sprite_is_doubled_onto_the_pixel_models_canvas_and_a_large_one_refused() -> None:
    fitted = fit_pixels(sprite(1))
    assert fitted is not None
    assert fitted.native == (16, 16)
    assert np.array_equal(fitted.image[::2, ::2][..., 3] > 0, sprite(1)[..., 3] > 0)
    assert fit_pixels(sprite(1, 48)) is None


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from((256, 512, 768, 1024)))
def test_buckets_hold_about_the_models_area_in_steps_of_64(height: int, width: int, resolution: int) -> None:
    bucket = nearest_bucket(height, width, resolution)
    assert bucket in buckets(resolution)
    assert all(side % 64 == 0 for side in bucket)
    assert 0.75 * resolution**2 <= bucket[0] * bucket[1] <= resolution**2
    if height == width:
        assert bucket == (resolution, resolution)


@given(st.integers(1, 6), st.integers(0, 99))
def test_an_exact_enlargement_is_taken_back(factor: int, seed: int) -> None:
    assert np.array_equal(true_pixels(sprite(seed).repeat(factor, 0).repeat(factor, 1)), sprite(seed))


def test_preview_and_plot_are_pictures() -> None:
    sheet = read_picture(contact_sheet([(sprite(i), "a very long caption that does not fit") for i in range(10)]))
    assert sheet.shape[0] > sheet.shape[1] / 4
    assert read_picture(loss_plot([0.5])).shape == (260, 640, 4)
    assert read_picture(loss_plot([0.0, 0.0])).shape == (260, 640, 4)
