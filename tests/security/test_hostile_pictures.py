"""Pictures, sheets, palettes and Aseprite files made to fill the memory, to keep a reader busy or to break it."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.animation.sheet_files import layout_of, parse_layout
from pipelines.animation.sheets import animate
from pipelines.animation.slicing import Piece, Run, Slices, cut, slice_grid
from pipelines.errors import ImageError, InvalidRequest, PaletteError, UserError
from pipelines.pixels.aseprite import Aseprite, Cel, Layer, Tag, write_aseprite
from pipelines.pixels.compositing import composite_frames
from pipelines.pixels.palette_files import READ_FORMS, read_palette
from pipelines.pixels.picture_files import file_facts, to_srgb
from pipelines.pixels.png import encode_png, open_picture, read_frames, read_picture, read_recipe
from tests.memory import peak

MOST_BYTES, MOST_SECONDS = 1.5e9, 20.0


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, bits: int = 8, color: int = 6, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    """`size` zero bytes, compressed to a thousandth."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(min(1 << 24, size - at))) for at in range(0, size, 1 << 24)) + packer.flush()


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def endless_gif(frames: int) -> bytes:
    frame = b"\x21\xf9\x04\x00\x0a\x00\x00\x00" + b",\0\0\0\0\x01\0\x01\0\0" + b"\x02\x02D\x01\x00"
    return b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b";"


def many_scans(count: int) -> bytes:
    """A progressive JPEG of 4096x4096 that refines its pixels `count` times more, in 16 bytes each."""
    data = saved(Image.new("RGB", (4096, 4096), (90, 90, 90)), "JPEG", progressive=True, quality=50)
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    begin, end = starts[2], starts[3]
    return data[:end] + data[begin:end] * count + data[end:]


def growing_gif(side: int) -> bytes:
    """A GIF of 16x16 whose second frame is larger than its screen."""
    large = saved(Image.new("P", (side, side)), "GIF")
    image = large.index(b",\0\0\0\0" + struct.pack("<HH", side, side))
    small = saved(Image.new("P", (16, 16)), "GIF")
    return small.rstrip(b";") + b"!\xf9\x04\x09\x0a\0\0\0" + large[image:]


def webp_canvas(side: int) -> bytes:
    """An animated WebP whose canvas is as large as the form allows, with a frame of one pixel."""
    still = saved(Image.new("RGBA", (2, 2)), "WEBP", lossless=True)[12:]
    still = still[still.index(b"VP8L") :]
    frame = bytes(6) + struct.pack("<I", 1)[:3] + struct.pack("<I", 1)[:3] + struct.pack("<I", 100)[:3] + b"\0" + still
    edge = struct.pack("<I", side - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x12\0\0\0" + edge + edge
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6) + (b"ANMF" + struct.pack("<I", len(frame)) + frame) * 2
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiled_tiff(side: int) -> bytes:
    """A TIFF of 16x16 in one compressed tile of `side` pixels a side."""
    data = zeros(side * side * 4)
    tags = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 4)]
    tags += [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8 + 2 + 12 * 11 + 4), (325, 4, 1, len(data))]
    return tiff([*tags, (338, 3, 1, 2)], data)


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"", after: int = 0) -> bytes:
    """A TIFF with one directory: (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", after) + rest


def sizes(width: int, height: int, **more: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]


def bombs() -> dict[str, Callable[[], bytes]]:
    small = Image.new("RGBA", (4, 4), (9, 9, 9, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "x" * 60_000
    return {
        "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{ } loop\n",
        "one_pixel_wide": lambda: png(1, 100_000_000, data=zeros(1 << 20)),
        "largest_number": lambda: png(2**31 - 1, 2**31 - 1),
        "no_size": lambda: png(0, 0),
        "zeros_4096": lambda: png(4096, 4096, data=zeros(4096 * (4096 * 4 + 1))),
        "more_than_it_says": lambda: png(4, 4, data=zeros(1 << 30)),
        "text_100_mb": lambda: png(4, 4, chunk(b"zTXt", b"dgx-pixels\0\0" + zeros(100 << 20)), data=zeros(4 * 17)),
        "itxt_100_mb": lambda: png(
            4, 4, chunk(b"iTXt", b"dgx-pixels\0\1\0\0\0" + zeros(100 << 20)), data=zeros(4 * 17)
        ),
        "many_texts": lambda: png(
            4, 4, *[chunk(b"zTXt", b"a%d\0\0" % i + zeros(1 << 20)) for i in range(200)], data=zeros(4 * 17)
        ),
        "profile_100_mb": lambda: png(4, 4, chunk(b"iCCP", b"x\0\0" + zeros(100 << 20)), data=zeros(4 * 17)),
        "million_chunks": lambda: png(4, 4, chunk(b"abCd", b"") * 1_000_000, data=zeros(4 * 17)),
        "apng_billion_frames": lambda: png(4, 4, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), data=zeros(4 * 17)),
        "sixteen_bits": lambda: png(4096, 4096, bits=16, color=0, data=zeros(4096 * (4096 * 2 + 1))),
        "gif_million_frames": lambda: endless_gif(1_000_000),
        "gif_pieces": lambda: b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * 20_000_000 + b"\0;",
        "jpeg_scans": lambda: many_scans(100_000),
        "jpeg_of_a_camera": lambda: saved(
            Image.new("RGB", (64, 64)), "MPO", save_all=True, append_images=[Image.new("RGB", (12_001, 12_001))] * 2
        ),
        "tiff_pages_grow": lambda: saved(
            Image.new("RGB", (16, 16)),
            "TIFF",
            compression="tiff_deflate",
            save_all=True,
            append_images=[Image.new("RGB", (12_001, 12_001))] * 2,
        ),
        "tiff_tile": lambda: tiled_tiff(12_000),
        "gif_frames_grow": lambda: growing_gif(9_001),
        "webp_canvas": lambda: webp_canvas(16_384),
        "jpeg_segments": lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 20_000_000 + b"\xff\xd9",
        "tiff_directories": lambda: (
            b"II*\0\x08\0\0\0" + b"".join(struct.pack("<HI", 0, 14 + 6 * i) for i in range(2_000_000))
        ),
        "aseprite_chunks": lambda: aseprite_header(4, 4, 1) + frame_of(*[chunk_of(0x7777, b"")] * 5_000_000),
        "gif_screen": lambda: (
            b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(3) + b"\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;"
        ),
        "gif_of_256_large_frames": lambda: saved(
            Image.new("P", (1024, 1024)),
            "GIF",
            save_all=True,
            append_images=[Image.new("P", (1024, 1024), i) for i in range(1, 40)],
        ),
        "webp_large": lambda: saved(Image.new("RGBA", (16383, 4)), "WEBP", lossless=True),
        "tiff_cycle": lambda: tiff(sizes(4, 4), bytes(64), 8),
        "tiff_huge_count": lambda: tiff([*sizes(4, 4), (270, 2, 2**32 - 1, 8)], bytes(64)),
        "tiff_4096_float": lambda: saved(
            Image.fromarray(np.full((4096, 4096), np.nan, np.float32)), "TIFF", compression="tiff_lzw"
        ),
        "bmp_huge": lambda: b"BM" + struct.pack("<IHHIIIIHH24x", 0, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24),
        "tga_huge": lambda: bytes([0, 0, 10]) + bytes(9) + struct.pack("<HHBB", 65535, 65535, 32, 8) + b"\xff" * 100,
        "exif_jpeg": lambda: saved(Image.new("RGB", (64, 64)), "JPEG", exif=exif),
        "odd_orientation": lambda: saved(small, "PNG", exif=_odd_exif()),
        "aseprite_canvas": lambda: aseprite_header(4096, 4096, 1000) + empty_frame() * 1000,
        "aseprite_bomb": lambda: (
            aseprite_header(64, 64, 1) + frame_of(layer_chunk(), cel_chunk(65535, 65535, zeros(1 << 30)))
        ),
        "aseprite_tiles": lambda: (
            aseprite_header(64, 64, 1)
            + frame_of(tileset_chunk(), layer_chunk(tilemap=True), tilemap_chunk(65535, 65535, zeros(1 << 30)))
        ),
        "aseprite_linked": lambda: aseprite_linked(),
        "aseprite_palette": lambda: (
            aseprite_header(4, 4, 1)
            + frame_of(struct.pack("<IH", 6 + 2 + 65535 * 5, 4) + struct.pack("<H", 65535) + b"\xff\x01\0\0\0" * 65535)
        ),
        "aseprite_layers": lambda: aseprite_header(4, 4, 1) + frame_of(*[layer_chunk()] * 200_000),
        "aseprite_large": lambda: write_aseprite(one_cel(4096, 4096)),
    }


def _odd_exif() -> bytes:
    """An orientation that is a text."""
    return b"Exif\0\0" + tiff([(0x0112, 2, 3, int.from_bytes(b"up", "little"))])


def one_cel(width: int, height: int) -> Aseprite:
    return Aseprite(width, height, (100,), (Layer("a"),), {(0, 0): Cel(np.full((height, width, 4), 200, np.uint8))})


def aseprite_header(width: int, height: int, frames: int) -> bytes:
    return struct.pack("<IHHHHHI", 0, 0xA5E0, frames, width, height, 32, 1) + bytes(110)


def frame_of(*chunks: bytes) -> bytes:
    body = b"".join(chunks)
    return struct.pack("<IHHH2xI", len(body) + 16, 0xF1FA, min(len(chunks), 0xFFFF), 100, len(chunks)) + body


def empty_frame() -> bytes:
    return frame_of()


def chunk_of(kind: int, data: bytes) -> bytes:
    return struct.pack("<IH", len(data) + 6, kind) + data


def layer_chunk(*, tilemap: bool = False) -> bytes:
    data = struct.pack("<HHH4xHB3x", 1, 2 if tilemap else 0, 0, 0, 255) + struct.pack("<H", 1) + b"a"
    return chunk_of(0x2004, data + (struct.pack("<I", 0) if tilemap else b""))


def cel_chunk(width: int, height: int, packed: bytes) -> bytes:
    return chunk_of(0x2005, struct.pack("<HhhBHh5x", 0, 0, 0, 255, 2, 0) + struct.pack("<HH", width, height) + packed)


def tileset_chunk() -> bytes:
    pixel = zlib.compress(bytes(4))
    data = struct.pack("<IIIHHh14x", 0, 2, 1, 1, 1, 1) + struct.pack("<H", 1) + b"t" + struct.pack("<I", len(pixel))
    return chunk_of(0x2023, data + pixel)


def tilemap_chunk(columns: int, rows: int, packed: bytes) -> bytes:
    head = struct.pack("<HhhBHh5x", 0, 0, 0, 255, 3, 0) + struct.pack("<HH", columns, rows)
    return chunk_of(0x2005, head + struct.pack("<HIIII10x", 32, 0x1FFFFFFF, 0, 0, 0) + packed)


def aseprite_linked() -> bytes:
    """A cel of 2048x2048 that 255 frames and 40 layers show again: 43 billion pixels to draw from 20 kB."""
    layers = [layer_chunk() for _ in range(40)]
    cels = [cel_chunk(2048, 2048, zeros(2048 * 2048 * 4))]
    cels += [
        chunk_of(0x2005, struct.pack("<HhhBHh5xHH", layer, 0, 0, 255, 2, 0, 1, 1) + zlib.compress(bytes(4)))
        for layer in range(1, 40)
    ]
    linked = [chunk_of(0x2005, struct.pack("<HhhBHh5xH", 0, 0, 0, 255, 1, 0, 0)) for _ in range(40)]
    return aseprite_header(64, 64, 256) + frame_of(*layers, *cels) + frame_of(*linked) * 255


def read_all(path: Path) -> list[str]:
    """What each reader of the package says of the file."""
    said = []
    data = path.read_bytes()
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_picture(path),
        lambda: read_frames(path),
        lambda: read_recipe(path),
        lambda: file_facts(data),
        lambda: read_palette(path.with_suffix(".png")),
    )
    for reader in readers:
        try:
            found = reader()
            said.append(type(found).__name__)
        except UserError as error:
            said.append(str(error))
    return said


@pytest.mark.slow
@pytest.mark.parametrize("name", bombs())
def test_a_picture_takes_little_memory_and_time_or_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"hero.{'aseprite' if name.startswith('aseprite') else 'png'}"
    path.write_bytes(bombs()[name]())
    if path.suffix != ".png":
        path.with_suffix(".png").write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "tests.security.test_hostile_pictures", str(path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert answer["bytes"] < MOST_BYTES, answer
    assert answer["cpu"] < MOST_SECONDS, answer
    assert not any("Error" in said or "0x" in said for said in answer["said"]), answer


def frame(**more: Any) -> dict[str, Any]:
    box = {"x": 0, "y": 0, "w": 8, "h": 8}
    return {"filename": "a", "frame": box, "sourceSize": {"w": 8, "h": 8}, "duration": 100} | more


def sheet(**more: Any) -> dict[str, Any]:
    return {"frames": [frame(), frame(filename="b")], "meta": {"app": "aseprite", "image": "hero.png"}} | more


OWN = {"image": "hero.png", "tile_size": [8, 8], "columns": 2, "rows": 2}
LAYOUTS: dict[str, Any] = {
    "infinite": sheet(frames=[frame(frame={"x": float("inf"), "y": 0, "w": 8, "h": 8})]),
    "nan": sheet(frames=[frame(duration=float("nan"))]),
    "negative": sheet(frames=[frame(frame={"x": -8, "y": 0, "w": 8, "h": 8})]),
    "no_size": sheet(frames=[frame(frame={"x": 0, "y": 0, "w": 0, "h": 8})]),
    "huge_canvas": sheet(frames=[frame(sourceSize={"w": 10**6, "h": 10**6})]),
    "many_canvases": sheet(frames=[frame(sourceSize={"w": 4096, "h": 4096})] * 1000),
    "long_number": sheet(frames=[frame(sourceSize={"w": 10**4000, "h": 8})]),
    "too_many": sheet(frames=[frame()] * 2000),
    "list_in_place": sheet(frames=[frame(spriteSourceSize=[1, 2])]),
    "text_in_place": sheet(frames=[frame(frame="8x8")]),
    "long_name": sheet(frames=[frame(filename="x" * 10**6)]),
    "tag_types": sheet(meta={"frameTags": [1, None]}),
    "tag_list": sheet(meta={"frameTags": [[1]]}),
    "tag_repeat": sheet(meta={"frameTags": [{"name": "a", "from": 0, "to": 1, "repeat": "9" * 5000}]}),
    "tag_repeat_odd": sheet(meta={"frameTags": [{"name": "a", "from": 0, "to": 1, "repeat": "²"}]}),
    "tag_huge": sheet(meta={"frameTags": [{"name": "a", "from": 0, "to": 10**30}]}),
    "many_tags": sheet(
        meta={"frameTags": [{"name": str(i), "from": 0, "to": 1, "repeat": "64"} for i in range(10**5)]}
    ),
    "unhashable": sheet(animations={"a": [[], {}]}),
    "many_animations": sheet(animations={str(i): ["a"] * 100 for i in range(10_000)}),
    "long_animation": sheet(animations={"a": ["a"] * 10**6}),
    "animation_types": sheet(animations={"a": 7}),
    "own_fps_nan": OWN | {"animations": {"a": {"first": 0, "last": 1, "fps": float("nan")}}},
    "own_fps_tiny": OWN | {"animations": {"a": {"first": 0, "last": 1, "fps": 5e-324}}},
    "own_fps_text": OWN | {"animations": {"a": {"first": 0, "last": 1, "fps": "9" * 400}}},
    "own_list": OWN | {"animations": [1]},
    "own_huge": OWN | {"tile_size": [10**9, 10**9], "columns": 1024, "rows": 1},
    "own_infinite": OWN | {"columns": float("inf")},
    "own_float": OWN | {"rows": 1e300},
    "textures": {"textures": [{"image": "hero.png", "frames": [1]}, 7]},
    "escapes": sheet(frames=[frame(filename="\x1b[2J\u202e"), frame(filename="a\0b")]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_used_or_refused_with_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "hero.png").write_bytes(encode_png(np.full((16, 16, 4), 200, np.uint8)))
    (tmp_path / "hero.json").write_text(json.dumps(LAYOUTS[name]))
    said = ""
    try:
        slices = layout_of(tmp_path / "hero.png")
        if slices:
            pieces = cut(read_picture(tmp_path / "hero.png"), slices)
            sheet = animate(slices.runs, pieces, [piece.duration for piece in slices.pieces])
            assert sheet.image.size < 1 << 26
    except UserError as error:
        said = str(error)
    assert len(said) < 600, said
    assert not any(word in said for word in ("Error", "object", "attribute")), said


def test_layouts_of_random_json_do_not_crash() -> None:
    rng = np.random.default_rng(0)
    values = [0, -1, 8, 1e308, float("inf"), float("nan"), "", "a", None, True, [], {}, [1], {"w": 8}, 10**40, "²"]
    keys = ("frame", "sourceSize", "spriteSourceSize", "rotated", "duration", "filename", "x", "y", "w", "h")

    def any_value(depth: int) -> Any:
        if depth and rng.random() < 0.5:
            return {str(rng.choice(keys)): any_value(depth - 1) for _ in range(int(rng.integers(1, 6)))}
        return values[int(rng.integers(len(values)))]

    for _ in range(3000):
        odd = {str(rng.choice(keys)): any_value(1) for _ in range(3)}
        data = sheet(frames=[frame() | odd if rng.random() < 0.7 else any_value(2)])
        if isinstance(data["frames"][0], dict) and rng.random() < 0.5:
            data["meta"] = {"frameTags": [any_value(2)]}
        if rng.random() < 0.3:
            data = OWN | {str(rng.choice(list(OWN))): any_value(1), "animations": {"a": any_value(2)}}
        with suppress(InvalidRequest):
            if slices := parse_layout(data, "a.json", "hero.png"):
                cut(np.zeros((16, 16, 4), np.uint8), slices)


def test_pieces_that_fill_the_memory_together_are_refused_before_the_first_is_cut() -> None:
    image = np.zeros((4096, 4096, 4), np.uint8)
    whole = Piece("a", 0, 0, 4096, 4096, (4096, 4096))
    with pytest.raises(InvalidRequest, match="17,180 million"):
        cut(image, Slices((whole,) * 1024, (), "test"))
    with pytest.raises(InvalidRequest, match="too large"):
        animate([Run("a", (0,) * 200)], [np.zeros((1024, 1024, 4), np.uint8)], [0])


def test_a_grid_of_millions_of_tiles_is_refused_immediately() -> None:
    with pytest.raises(InvalidRequest, match=r"4,096x4,096 tiles of 1x1 px. Give a larger tile size"):
        slice_grid(np.random.default_rng(0).integers(0, 256, (4096, 4096, 4), np.uint8), "a", (1, 1), 0, 0)


def test_a_mutated_aseprite_file_is_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    layers = (Layer("a"), Layer("group", group=True), Layer("b", level=1))
    pixels = rng.integers(0, 256, (8, 8, 4), np.uint8)
    cels = {(0, 0): Cel(pixels), (1, 2): Cel(pixels, x=3, y=-2), (1, 0): Cel(pixels)}
    good = write_aseprite(Aseprite(8, 8, (100, 50), layers, cels, tags=(Tag("walk", 0, 1),)))
    read, said = 0, []
    for _ in range(1500):
        data = bytearray(good)
        for at in rng.integers(0, len(data), int(rng.integers(1, 5))):
            data[at] = rng.integers(0, 256)
        try:
            composite_frames(
                bytes(data[: int(rng.integers(20, len(data) + 1))]) if rng.random() < 0.2 else bytes(data), "a", 4
            )
            read += 1
        except ImageError as error:
            said.append(str(error))
    assert read > 100
    assert not [text for text in said if "Error" in text or "codec" in text]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TGA", "TIFF"])
def test_a_cut_off_or_mutated_picture_is_read_or_refused(form: str) -> None:
    rng = np.random.default_rng(1)
    mode = "RGB" if form in ("JPEG", "BMP") else "RGBA"
    good = saved(Image.fromarray(rng.integers(0, 256, (16, 16, 4), np.uint8)).convert(mode), form)
    said: list[str] = []
    for index in range(150):
        data = bytearray(good)
        for at in rng.integers(0, len(data), int(rng.integers(0, 5))):
            data[at] = rng.integers(0, 256)
        cut_off = bytes(data[: int(rng.integers(0, len(data) + 1))]) if index % 2 else bytes(data)
        try:
            read_frames(cut_off, limit=3)
        except ImageError as error:
            said.append(str(error))
        file_facts(cut_off)
    assert not [text for text in said if "Error" in text]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pal", "JASC-PAL\n0100\n²\n1 2 3\n".encode()),
        ("a.pal", b"JASC-PAL\n0100\n" + b"9" * 5000 + b"\n1 2 3\n"),
        ("a.pal", "JASC-PAL\n0100\n1\n² ² ²\n".encode()),
        ("a.act", bytes(100)),
        ("a.act", b"\xff" * 772),
        ("a.ase", b"ASEF" + b"\xff" * 100),
        ("a.ase", b"ASEF\0\1\0\0\xff\xff\xff\xff" + struct.pack(">HIH", 1, 2**32 - 1, 65535)),
        ("a.ase", b"ASEF\0\1\0\0\0\0\0\1" + struct.pack(">HIH4sfff", 1, 18, 0, b"RGB ", float("nan"), 1, 1)),
        ("a.ase", b"ASEF\0\1\0\0\0\0\0\1" + struct.pack(">HIH2s4sf", 1, 12, 1, b"\xd8\0", b"RGB ", 1)),
        ("a.gpl", b"GIMP Palette\nName: \x1b[2J\n"),
        ("a.gpl", b""),
        ("a.hex", "٣٣٣٣٣٣\n".encode()),
        ("a.hex", b"\0" * 100),
        ("a.txt", b"\xff\xfe" + b"f" * 7),
        ("a.png", b"%!PS-Adobe"),
    ],
)
def test_an_odd_palette_is_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    said = f"{name} was read"
    try:
        read_palette(tmp_path / name)
    except PaletteError as error:
        said = str(error)
    assert name in said or "palette 'a'" in said
    assert not any(word in said for word in ("Error", "codec", "invalid literal")), said


@pytest.mark.parametrize("form", READ_FORMS)
def test_a_palette_of_random_bytes_does_not_crash(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(2)
    starts = {".pal": b"JASC-PAL\n0100\n", ".gpl": b"GIMP Palette\n", ".ase": b"ASEF\0\1\0\0\0\0\0\2\0\1"}
    for _ in range(200):
        noise = rng.integers(0, 256, int(rng.integers(0, 60)), np.uint8).tobytes()
        (tmp_path / f"a{form}").write_bytes(starts.get(form, b"") + noise)
        with suppress(PaletteError):
            read_palette(tmp_path / f"a{form}")


def test_a_palette_strip_of_sixteen_million_pixels_is_read_quickly(tmp_path: Path) -> None:
    strip = np.zeros((4096, 4096, 4), np.uint8)
    strip[..., 3] = 255
    strip[:, :2048, 0] = 200
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(strip), "PNG", compress_level=1))
    assert read_palette(tmp_path / "a.png").colors == ((200, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("profile", [b"", b"\0" * 128, b"x" * (1 << 20), b"\0\0\0\x80lcms" + b"\xff" * 200])
def test_a_broken_colour_profile_changes_nothing(profile: bytes) -> None:
    picture = np.full((4, 4, 4), 100, np.uint8)
    changed, name = to_srgb(picture, profile)
    assert np.array_equal(changed, picture)
    assert not name


def test_a_float_picture_with_numbers_that_are_none_is_read_without_a_warning() -> None:
    values = np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32)
    picture = read_picture(saved(Image.fromarray(values), "TIFF"))
    assert picture.shape == (2, 2, 4)
    with open_picture(saved(Image.fromarray(values), "TIFF")) as opened:
        assert opened.mode == "F"


def main() -> None:
    """Reads the file of the first argument and prints what it took, beside what the libraries take."""

    before, libraries = time.process_time(), peak()
    said = read_all(Path(sys.argv[1]))
    used = time.process_time() - before
    print(json.dumps({"said": said, "cpu": used, "bytes": peak() - libraries}))


if __name__ == "__main__":
    main()
