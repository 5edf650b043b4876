"""Pictures in and out of files."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import ImageError
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import encode_png, read_frames, read_picture, read_recipe

RED_BLUE = Palette.from_hex(("ff0000", "0000ff"))


def sprite() -> np.ndarray:
    picture = np.zeros((4, 6, 4), np.uint8)
    picture[1:3, 1:3] = (0, 0, 255, 255)
    picture[1, 4] = (255, 0, 0, 255)
    return picture


def saved(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("palette", [None, RED_BLUE])
def test_a_written_picture_reads_back_with_its_recipe_and_always_has_the_same_bytes(palette: Palette | None) -> None:
    data = encode_png(sprite(), '{"prompt":"grüner Drache"}', palette)
    np.testing.assert_array_equal(read_picture(data), sprite())
    assert read_recipe(data) == '{"prompt":"grüner Drache"}'
    assert data == encode_png(sprite(), '{"prompt":"grüner Drache"}', palette)


def test_a_locked_picture_is_indexed_in_the_palettes_order() -> None:
    with Image.open(io.BytesIO(encode_png(sprite(), None, RED_BLUE))) as picture:
        assert picture.mode == "P"
        assert np.asarray(picture)[1].tolist() == [2, 1, 1, 2, 0, 2]
        assert (picture.getpalette() or [])[:6] == [255, 0, 0, 0, 0, 255]


def test_a_colour_outside_the_palette_or_soft_alpha_makes_the_file_rgba() -> None:
    for change in ((1, 2, 3, 255), (255, 0, 0, 90)):
        picture = sprite()
        picture[0, 0] = change
        data = encode_png(picture, None, RED_BLUE)
        np.testing.assert_array_equal(read_picture(data), picture)


def test_a_picture_without_a_recipe_has_none() -> None:
    assert read_recipe(saved(Image.new("L", (3, 3)), "PNG")) is None
    with pytest.raises(ImageError):
        read_recipe(b"nothing")


def test_modes_of_all_kinds_become_rgba() -> None:
    gray16 = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert read_picture(saved(gray16, "PNG"))[0, :, 0].tolist() == [0, 128, 255]
    assert read_picture(saved(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "JPEG"))[0, 0].tolist()[3] == 255
    assert read_picture(saved(Image.new("1", (2, 2), 1), "PNG"))[0, 0].tolist() == [255, 255, 255, 255]
    assert read_picture(saved(Image.new("LA", (2, 2), (9, 7)), "PNG"))[0, 0].tolist() == [9, 9, 9, 7]
    palette = Image.new("P", (1, 2))
    palette.putpalette([1, 2, 3, 4, 5, 6])
    assert read_picture(saved(palette, "PNG"))[0, 0].tolist() == [1, 2, 3, 255]


def test_an_animation_gives_its_frames_and_its_first_as_the_picture() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=80)
    read = read_frames(file.getvalue())
    assert [time for _, time in read] == [80, 80, 80]
    assert [picture[0, 0, :3].tolist() for picture, _ in read] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert read_picture(file.getvalue())[0, 0, :3].tolist() == [255, 0, 0]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be that large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(4097, 1), (12000, 12000), (60000, 60000)])
def test_a_bomb_is_refused_before_it_is_unpacked(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="too large"):
        read_picture(bomb(*size))


def test_broken_files_say_what_to_do(tmp_path: Path) -> None:
    whole = encode_png(np.random.default_rng(1).integers(0, 256, (64, 64, 4), dtype=np.uint8))
    for data in (whole[:200], whole[:-40], bomb(64, 64)):
        with pytest.raises(ImageError, match="Save it again"):
            read_picture(data)
    with pytest.raises(ImageError, match="Use PNG"):
        read_picture(b"GIF but not really")
    with pytest.raises(ImageError, match="Check the path"):
        read_picture(tmp_path / "none.png")
