"""Aseprite's binary files come back pixel for pixel, and are flattened as the editor shows them."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.animation.aseprite_sheets import from_sheet, runs_of
from pipelines.animation.sheets import arrange
from pipelines.errors import ImageError
from pipelines.pixels.aseprite import (
    DIRECTIONS,
    Aseprite,
    Cel,
    Layer,
    Mode,
    Slice,
    SliceKey,
    Tag,
    read_aseprite,
    write_aseprite,
)
from pipelines.pixels.compositing import composite, layer_picture
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import read_frames, read_picture
from pipelines.records import Pixels

RED, GREEN, BLUE = (200, 0, 0, 255), (0, 200, 0, 255), (0, 0, 200, 255)


def filled(color: tuple[int, ...], height: int = 4, width: int = 4) -> Pixels:
    picture = np.empty((height, width, 4), np.uint8)
    picture[:] = color
    return picture


def one(*layers: tuple[Layer, Cel | None]) -> Aseprite:
    """A file of one frame, 4x4."""
    cels = {(0, i): cel for i, (_, cel) in enumerate(layers) if cel is not None}
    return Aseprite(4, 4, (100,), tuple(layer for layer, _ in layers), cels)


@st.composite
def sprites(draw: st.DrawFn) -> Aseprite:
    """Files of every mode with random layers, cels, tags, palette and slices."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mode: Mode = draw(st.sampled_from(["rgba", "gray", "indexed"]))
    frames = draw(st.integers(1, 4))
    names = draw(st.lists(st.text(max_size=8), min_size=1, max_size=4))
    levels = [0, *[int(rng.integers(0, 2)) for _ in names[1:]]]
    layers = tuple(
        Layer(name, bool(rng.integers(2)), int(rng.integers(256)), int(rng.integers(19)), level)
        for name, level in zip(names, levels, strict=True)
    )
    cels: dict[tuple[int, int], Cel] = {}
    for frame in range(frames):
        for layer in range(len(layers)):
            kind = rng.integers(3)
            x, y, opacity, z = int(rng.integers(-5, 9)), int(rng.integers(-5, 9)), int(rng.integers(256)), 0
            if kind == 1 and (earlier := cels.get((frame - 1, layer))):
                cels[frame, layer] = Cel(earlier.pixels, x, y, opacity, z)
            elif kind == 2:
                shape = tuple(rng.integers(1, 12, 2)) + {"rgba": (4,), "gray": (2,), "indexed": ()}[mode]
                pixels = rng.integers(0, 16 if mode == "indexed" else 256, shape, np.uint8)
                cels[frame, layer] = Cel(pixels, x, y, opacity, int(rng.integers(-2, 3)))
    palette = tuple((int(r), int(g), int(b), int(a)) for r, g, b, a in rng.integers(0, 256, (16, 4)))
    tags = [Tag("t", 0, frames - 1, DIRECTIONS[int(rng.integers(4))], int(rng.integers(0, 4)))]
    key = SliceKey(0, 1, 2, 3, 4, (0, 1, 2, 3) if rng.integers(2) else None, (5, -6) if rng.integers(2) else None)
    durations = tuple(int(d) for d in rng.integers(1, 2000, frames))
    return Aseprite(
        9, 7, durations, layers, cels, mode, palette, int(rng.integers(16)), tuple(tags), (Slice("s", (key,)),)
    )


@settings(deadline=None, max_examples=60)
@given(sprites())
def test_what_is_written_is_read_back_bit_for_bit(sprite: Aseprite) -> None:
    back = read_aseprite(write_aseprite(sprite))
    for name in ("width", "height", "durations", "layers", "mode", "palette", "transparent", "tags", "slices"):
        assert getattr(back, name) == getattr(sprite, name)
    assert back.cels.keys() == sprite.cels.keys()
    for place, cel in sprite.cels.items():
        read = back.cels[place]
        assert (read.x, read.y, read.opacity, read.z) == (cel.x, cel.y, cel.opacity, cel.z)
        np.testing.assert_array_equal(read.pixels, cel.pixels)
    assert write_aseprite(back) == write_aseprite(sprite)


def chunk(kind: int, data: bytes) -> bytes:
    return struct.pack("<IH", len(data) + 6, kind) + data


def text(value: str) -> bytes:
    return struct.pack("<H", len(value.encode())) + value.encode()


def packed_by_hand(chunks: list[list[bytes]], depth: int = 8, flags: int = 1) -> bytes:
    """A 4x2 file put together from the format's description, apart from the writer."""
    body = b""
    for frame in chunks:
        data = b"".join(frame)
        body += struct.pack("<IHHHHI", len(data) + 16, 0xF1FA, len(frame), 150, 0, 0) + data
    header = struct.pack("<IHHHHHIH", 128 + len(body), 0xA5E0, len(chunks), 4, 2, depth, flags, 100)
    return (header + bytes(8) + bytes([3]) + bytes(3)).ljust(128, b"\0") + body


LAYER = chunk(0x2004, struct.pack("<HHHHHHB3x", 1, 0, 0, 0, 0, 0, 255) + text("drawing"))
OLD_PALETTE = chunk(0x0004, struct.pack("<HBB", 1, 0, 4) + bytes([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200]))


def test_a_file_by_the_description_reads_as_it_says() -> None:
    raw = chunk(0x2005, struct.pack("<HhhBHh5xHH", 0, 1, 0, 255, 0, 0, 2, 2) + bytes([1, 2, 3, 0]))
    linked = chunk(0x2005, struct.pack("<HhhBHh5xH", 0, 2, 0, 255, 1, 0, 0))
    data = packed_by_hand([[OLD_PALETTE, LAYER, raw], [linked]])
    sprite = read_aseprite(data)
    assert (sprite.durations, sprite.mode, sprite.transparent) == ((150, 150), "indexed", 3)
    first, second = composite(sprite, 0), composite(sprite, 1)
    assert first[0].tolist() == [[0] * 4, [*RED], [*GREEN], [0] * 4]
    assert first[1].tolist() == [[0] * 4, [0] * 4, [9, 9, 9, 255], [0] * 4]
    np.testing.assert_array_equal(second[:, 2:], first[:, 1:3])


def test_a_tilemap_is_read_with_flips() -> None:
    tiles = bytes([0, 0, 0, 0, 1, 2, 1, 1])  # two tiles of 2x2: an empty one, and one with GREEN at its upper right
    tileset = chunk(0x2023, struct.pack("<IIIHHh14x", 0, 2 | 4, 2, 2, 2, 1) + text("t") + _deflated(tiles))
    layer = chunk(0x2004, struct.pack("<HHHHHHB3x", 1, 2, 0, 0, 0, 0, 255) + text("map") + struct.pack("<I", 0))
    codes = struct.pack("<II", 1, 1 | 0x20000000)
    masks = struct.pack("<HIIII10x", 32, 0x1FFFFFFF, 0x20000000, 0x40000000, 0x80000000)
    cel = chunk(0x2005, struct.pack("<HhhBHh5xHH", 0, 0, 0, 255, 3, 0, 2, 1) + masks + zlib.compress(codes))
    shown = composite(read_aseprite(packed_by_hand([[OLD_PALETTE, tileset, layer, cel]])), 0)
    assert shown[0].tolist() == [[*RED], [*GREEN], [*GREEN], [*RED]]


def _deflated(data: bytes) -> bytes:
    small = zlib.compress(data)
    return struct.pack("<I", len(small)) + small


def test_hidden_layers_groups_and_references_are_not_shown() -> None:
    whole = Cel(filled(GREEN))
    sprite = one(
        (Layer("below"), Cel(filled(RED))),
        (Layer("hidden", visible=False), whole),
        (Layer("group", visible=False, group=True), None),
        (Layer("inside", level=1), whole),
        (Layer("reference", reference=True), whole),
    )
    assert (composite(sprite, 0) == RED).all()
    assert (layer_picture(sprite, 0, 1) == GREEN).all()


def test_cels_are_cut_at_the_canvas_and_z_moves_them() -> None:
    sprite = one((Layer("a"), Cel(filled(RED), -2, -3, z=2)), (Layer("b"), Cel(filled(GREEN), 1, 0)))
    shown = composite(sprite, 0)
    assert tuple(shown[0, 0]) == tuple(shown[0, 1]) == RED
    assert tuple(shown[0, 2]) == GREEN
    assert tuple(shown[1, 0]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("blend", "opacity", "color"),
    [
        (0, 255, (10, 20, 30, 255)),
        (0, 128, (105, 60, 65, 255)),
        (1, 255, (8, 8, 12, 255)),
        (2, 255, (202, 112, 118, 255)),
        (4, 255, (10, 20, 30, 255)),
        (5, 255, (200, 100, 100, 255)),
        (10, 255, (190, 80, 70, 255)),
        (16, 255, (210, 120, 130, 255)),
        (17, 255, (190, 80, 70, 255)),
    ],
)
def test_layers_blend_as_in_the_editor(blend: int, opacity: int, color: tuple[int, ...]) -> None:
    below, above = Cel(filled((200, 100, 100, 255))), Cel(filled((10, 20, 30, 255)))
    shown = composite(one((Layer("a"), below), (Layer("b", opacity=opacity, blend=blend), above)), 0)
    np.testing.assert_array_equal(shown[0, 0], color)


@pytest.mark.parametrize(
    ("blend", "color"),
    [
        (0, (147, 124, 131, 195)),
        (1, (140, 93, 65, 195)),
        (2, (191, 138, 132, 195)),
        (3, (180, 113, 77, 195)),
        (4, (147, 107, 66, 195)),
        (5, (185, 124, 131, 195)),
        (6, (204, 156, 140, 195)),
        (7, (150, 73, 58, 195)),
        (8, (165, 116, 125, 195)),
        (9, (180, 110, 82, 195)),
        (10, (154, 90, 117, 195)),
        (11, (167, 117, 121, 195)),
        (16, (204, 158, 140, 195)),
        (17, (154, 73, 53, 195)),
        (18, (204, 131, 67, 195)),
    ],
)
def test_half_transparent_layers_blend_as_in_the_editor(blend: int, color: tuple[int, ...]) -> None:
    """Values of the arithmetic that gives Aseprite's own exports bit for bit (34 of 34 pictures, docs/log.md)."""
    below, above = Cel(filled((200, 100, 40, 160))), Cel(filled((90, 150, 230, 120)))
    shown = composite(one((Layer("a"), below), (Layer("b", opacity=200, blend=blend), above)), 0)
    np.testing.assert_array_equal(shown[0, 0], color)


def test_half_transparent_pixels_keep_their_colour_on_an_empty_canvas() -> None:
    shown = composite(one((Layer("a", opacity=128), Cel(filled((10, 20, 30, 200))))), 0)
    assert tuple(shown[0, 0]) == (10, 20, 30, 100)


def test_a_blend_mode_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match=r"hero\.ase: the layer 'glow' has the blend mode 'hue'"):
        composite(one((Layer("glow", blend=12), Cel(filled(RED)))), 0, "hero.ase")


def test_a_sheet_becomes_a_file_with_its_clips_as_tags(tmp_path: Path) -> None:
    walk, die = [filled(RED), filled(GREEN)], [filled(BLUE)]
    sheet = arrange({"walk": walk, "die": die}, fps=10, loops={"die": False})
    data = write_aseprite(from_sheet(sheet, Palette.from_hex(["c80000", "00c800"])))
    (tmp_path / "hero.aseprite").write_bytes(data)
    frames = read_frames(tmp_path / "hero.aseprite")
    assert [duration for _, duration in frames] == [100, 100, 100]
    for (picture, _), given_frame in zip(frames, [*walk, *die], strict=True):
        np.testing.assert_array_equal(picture, given_frame)
    back = read_aseprite(data)
    assert [(run.name, run.pieces, run.loop) for run in runs_of(back, "hero")] == [
        ("walk", (0, 1), True),
        ("die", (2,), False),
    ]
    assert back.palette == ((200, 0, 0, 255), (0, 200, 0, 255))


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_refused_and_never_crashes(at: int, value: int, cut: bool) -> None:
    whole = write_aseprite(from_sheet(arrange({"walk": [filled(RED), filled(GREEN)]})))
    at %= len(whole)
    data = whole[:at] if cut else whole[:at] + bytes([value]) + whole[at + 1 :]
    with suppress(ImageError):
        composite(read_aseprite(data, "hero.ase"), 0)


def test_every_picture_tool_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "still.ase").write_bytes(write_aseprite(one((Layer("a"), Cel(filled(RED))))))
    assert (read_picture(tmp_path / "still.ase") == RED).all()
    (tmp_path / "broken.ase").write_bytes(write_aseprite(one((Layer("a"), Cel(filled(RED)))))[:200])
    with pytest.raises(ImageError, match=r"broken\.ase is "):
        read_picture(tmp_path / "broken.ase")


RAW = chunk(0x2005, struct.pack("<HhhBHh5xHH", 0, 0, 0, 255, 0, 0, 2, 2) + bytes([1, 2, 3, 0]))


def test_frames_without_a_duration_take_the_files_own() -> None:
    data = bytearray(packed_by_hand([[OLD_PALETTE, LAYER, RAW]]))
    struct.pack_into("<H", data, 128 + 8, 0)
    assert read_aseprite(bytes(data)).durations == (100,)


def test_a_palette_that_changes_from_frame_to_frame_is_refused_by_name() -> None:
    other = chunk(0x0004, struct.pack("<HBB", 1, 0, 1) + bytes([7, 7, 7]))
    with pytest.raises(ImageError, match="another palette in frame 2"):
        read_aseprite(packed_by_hand([[OLD_PALETTE, LAYER, RAW], [other]]))
    assert len(read_aseprite(packed_by_hand([[OLD_PALETTE, LAYER, RAW], [OLD_PALETTE]])).durations) == 2


def test_user_data_masks_and_chunks_of_later_versions_are_passed_over() -> None:
    note = chunk(0x2020, struct.pack("<I", 3) + text("a note") + bytes([1, 2, 3, 4]))
    extra = chunk(0x2006, bytes(36))
    later = chunk(0x2FFF, b"anything")
    plain = read_aseprite(packed_by_hand([[OLD_PALETTE, LAYER, RAW]]))
    noted = read_aseprite(packed_by_hand([[later, OLD_PALETTE, LAYER, note, RAW, extra, note]]))
    assert noted.layers == plain.layers
    np.testing.assert_array_equal(composite(noted, 0), composite(plain, 0))


def test_tiles_of_another_file_are_refused_by_the_layers_name() -> None:
    layer = chunk(0x2004, struct.pack("<HHHHHHB3x", 1, 2, 0, 0, 0, 0, 255) + text("map") + struct.pack("<I", 0))
    outside = chunk(0x2023, struct.pack("<IIIHHh14x", 0, 1, 2, 2, 2, 1) + text("t") + struct.pack("<II", 1, 0))
    masks = struct.pack("<HIIII10x", 32, 0x1FFFFFFF, 0x20000000, 0x40000000, 0x80000000)
    cel = chunk(0x2005, struct.pack("<HhhBHh5xHH", 0, 0, 0, 255, 3, 0, 1, 1) + masks + zlib.compress(bytes(4)))
    with pytest.raises(ImageError, match="the tilemap layer 'map' uses tiles of another file"):
        read_aseprite(packed_by_hand([[OLD_PALETTE, outside, layer, cel]]))
