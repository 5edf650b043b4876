"""Palettes: files in every form, extraction, lock."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import PaletteError
from pipelines.pixels.palette import Palette, extract_palette, lock
from pipelines.pixels.palette_files import WRITE_FORMS, read_palette, write_palette

ENDESGA = Palette("Endesga", ((190, 74, 47), (24, 20, 37), (255, 255, 255), (0, 149, 233)))


def swatches(*colors: tuple[str, bytes, tuple[float, ...]]) -> bytes:
    """An Adobe swatch file with one group around the colours."""
    data = b"ASEF" + struct.pack(">HHI", 1, 0, len(colors) + 2) + struct.pack(">HI", 0xC001, 6) + b"\0\2\0G\0\0"
    for name, model, values in colors:
        block = struct.pack(">H", len(name) + 1) + f"{name}\0".encode("utf-16-be") + model
        block += struct.pack(f">{len(values)}fH", *values, 0)
        data += struct.pack(">HI", 1, len(block)) + block
    return data + struct.pack(">HI", 0xC002, 0)


@pytest.mark.parametrize("form", WRITE_FORMS)
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
        ("a.pal", b"JASC-PAL\r\n0100\r\n3\r\n1 2 3\r\n", "a.pal, line 3: it announces 3 colours, and 1 follow"),
        ("a.gpl", b"1 2 3\n", "a.gpl, line 1: .*GIMP Palette"),
        ("a.gpl", b"GIMP Palette\n1 2 300\n", "a.gpl, line 2: .*0 to 255"),
        ("a.gpl", "GIMP Palette\nName: caf\xe9\n1 2 3\n".encode("latin-1"), "a.gpl, line 2: .*UTF-8"),
        ("a.hex", b"ff0000\n12345\n", "a.hex, line 2: '12345' .*six hexadecimal digits"),
        ("a.hex", b"\xff\xfe\x00", "a.hex, line 1: .*UTF-16"),
        ("a.hex", b"", "no colours"),
        ("a.hex", b"ff000000\n", "no colours"),
        ("a.txt", b"a list of potions\n", "a.txt, line 1: .*AARRGGBB"),
        ("a.png", b"not a png", "not a picture"),
        ("a.act", b"", "Adobe Color Table has 768 or 772"),
        ("a.ase", b"", "Adobe swatch file"),
        ("a.ase", b"\x80\0\0\0\xe0\xa5\1\0", "Aseprite sprite"),
        ("a.ase", swatches(("Leaf", b"CMYK", (0.1, 0.2, 0.3, 0.4))), "'Leaf' is in CMYK"),
        ("a.ase", swatches(("Leaf", b"RGB ", (0.1, 0.2, 0.3)))[:-9], "cut off"),
        ("a.aco", b"", ".hex"),
    ],
)
def test_a_file_without_a_palette_is_refused_with_a_reason(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PaletteError, match=says):
        read_palette(tmp_path / name)


CLEAR_AND_TWO = {
    "rgba.gpl": b"GIMP Palette\nChannels: RGBA\n#\n  0   0   0   0 Transparent\n190  74  47 255 Rust\n24 20 37 255\n",
    "alpha.pal": b"JASC-PAL\r\n0100\r\n3\r\n0 0 0 0\r\n190 74 47 255\r\n24 20 37 255\r\n",
    "eight.hex": b"00000000\nbe4a2fff\n#181425FF\n",
    "paint.txt": b";paint.net Palette File\n;Colors: 3\n00000000\nFFBE4A2F\nFF181425\n",
    "color.act": bytes([0, 0, 0, 190, 74, 47, 24, 20, 37]) + bytes(759) + b"\0\3\0\0",
}


@pytest.mark.parametrize("name", [*CLEAR_AND_TWO, "strip.png"])
def test_a_transparent_entry_is_left_out_in_every_form(name: str, tmp_path: Path) -> None:
    if name == "strip.png":
        strip = np.array([[[0, 0, 0, 0], [190, 74, 47, 255], [24, 20, 37, 128]]], np.uint8)
        Image.fromarray(strip).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(CLEAR_AND_TWO[name])
    assert read_palette(tmp_path / name).colors == ((190, 74, 47), (24, 20, 37))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("fields.pal", b"JASC-PAL\r\n0100\r\n2\r\n$ALPHA 255\r\n190 74 47\r\n24 20 37\r\n"),
        ("wide.hex", "be4a2f\n181425".encode("utf-16")),
        ("bom.gpl", "\ufeffGIMP Palette\nName: X\n190 74 47 0\n24 20 37 0\n".encode()),  # names, not alphas
        ("old.act", bytes([190, 74, 47, 24, 20, 37]) + bytes(762)),
        (
            "swatch.ase",
            swatches(("Rust", b"RGB ", (190 / 255, 74 / 255, 47 / 255)), ("", b"RGB ", (24 / 255, 20 / 255, 37 / 255))),
        ),
    ],
)
def test_palettes_of_other_editors_are_read(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert read_palette(tmp_path / name).colors == ((190, 74, 47), (24, 20, 37))


def test_colours_given_as_text_follow_the_same_rule() -> None:
    assert Palette.from_hex(["00000000", "#be4a2fff", "181425"]).colors == ((190, 74, 47), (24, 20, 37))


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
