"""Palettes: files in every form, extraction, lock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import PaletteError
from pipelines.pixels.palette import FORMS, Palette, extract_palette, lock, read_palette, write_palette

ENDESGA = Palette("Endesga", ((190, 74, 47), (24, 20, 37), (255, 255, 255), (0, 149, 233)))


@pytest.mark.parametrize("form", FORMS)
def test_a_palette_file_read_back_has_the_same_colours_in_the_same_order(form: str, tmp_path: Path) -> None:
    write_palette(ENDESGA, tmp_path / f"endesga{form}")
    assert read_palette(tmp_path / f"endesga{form}").colors == ENDESGA.colors


def test_lospec_names_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "x.gpl"
    file.write_text(
        "GIMP Palette\n#Palette Name: Sweetie 16\n#Description: a,b\n#Colors: 2\n26\t28\t44\t1a1c2c\n9 9 9\n"
    )
    assert read_palette(file) == Palette("Sweetie 16", ((26, 28, 44), (9, 9, 9)))


def test_a_strip_of_large_blocks_is_read_in_reading_order(tmp_path: Path) -> None:
    Image.fromarray(ENDESGA.rgb[None].repeat(8, 0).repeat(8, 1)).save(tmp_path / "strip.png")
    assert read_palette(tmp_path / "strip.png").colors == ENDESGA.colors


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.pal", b"RIFF\x00\x00\x00\x00PAL data", "RIFF"),
        ("a.pal", b"JASC-PAL\r\n0100\r\n3\r\n1 2 3\r\n", "third line"),
        ("a.gpl", b"1 2 3\n", "GIMP Palette"),
        ("a.gpl", b"GIMP Palette\n1 2 300\n", "0 to 255"),
        ("a.hex", b"12345\n", "six hexadecimal digits"),
        ("a.hex", b"\xff\xfe\x00", "text file"),
        ("a.hex", b"", "no colours"),
        ("a.png", b"not a png", "not a picture"),
        ("a.act", b"", ".hex"),
    ],
)
def test_a_file_that_is_no_palette_says_why(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PaletteError, match=says):
        read_palette(tmp_path / name)


def test_a_missing_palette_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(PaletteError, match=r"none\.hex"):
        read_palette(tmp_path / "none.hex")


def test_writing_where_nothing_can_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(PaletteError, match="Cannot write"):
        write_palette(ENDESGA, tmp_path / "file" / "palette.hex")
    assert (tmp_path / "file").read_text() == "old"


def test_few_colours_are_kept_exactly() -> None:
    picture = np.dstack([ENDESGA.rgb[None], np.full((1, 4), 255, np.uint8)])
    assert set(extract_palette([picture], 4).colors) == set(ENDESGA.colors)


def test_noise_in_flat_areas_adds_no_colours() -> None:
    rng = np.random.default_rng(3)
    flat = ENDESGA.rgb[np.arange(4).repeat(64)].reshape(16, 16, 3).astype(np.int64)
    noisy = np.clip(flat + rng.integers(-4, 5, flat.shape), 0, 255).astype(np.uint8)
    found = extract_palette([np.dstack([noisy, np.full((16, 16), 255, np.uint8)])], 16)
    assert len(found) <= 6
    distance = np.linalg.norm(ENDESGA.lab[:, None] - found.lab[None], axis=-1).min(axis=1)
    assert distance.max() < 0.03


def test_locking_moves_nothing_that_is_in_the_palette_and_clears_what_is_under_clear_pixels() -> None:
    picture = np.dstack([ENDESGA.rgb[None], np.array([[255, 255, 0, 128]], np.uint8)])
    locked = lock(picture, ENDESGA)
    np.testing.assert_array_equal(locked[0, [0, 1, 3]], picture[0, [0, 1, 3]])
    assert not locked[0, 2].any()
