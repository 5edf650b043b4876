"""Read and write Aseprite's binary files (.aseprite, .ase): layers, cels, tags, durations, palette and slices.

Follows the published format description (github.com/aseprite/aseprite, docs/ase-file-specs.md). All numbers are
little-endian. Cels keep the file's own pixels (RGBA, gray with alpha, or palette indices), so that a file read and
written again has the same pixels. Left out when writing: user data, colour profiles, UUIDs, and tilemaps, which become
plain cels. `composite` flattens the layers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ImageError
from pipelines.files import LONGEST_SIDE

SUFFIXES = (".aseprite", ".ase")
MOST_FRAMES = 1024
MOST_PIXELS = 1 << 25
MOST_LAYERS, MOST_CELS, MOST_TILES, MOST_CHUNKS = 1 << 12, 1 << 16, 1 << 20, 1 << 17
"""Far more than any editor can show; a tile counts each time that it is placed."""
"""Pixels of all cels together: 512 MB as RGBA. A damaged file must not fill the memory."""
Mode = Literal["rgba", "gray", "indexed"]
DIRECTIONS = ("forward", "reverse", "pingpong", "pingpong_reverse")
_MAGIC, _FRAME_MAGIC = 0xA5E0, 0xF1FA
_DEPTHS: dict[int, Mode] = {32: "rgba", 16: "gray", 8: "indexed"}
_BYTES: dict[Mode, int] = {"rgba": 4, "gray": 2, "indexed": 1}
_VISIBLE, _BACKGROUND, _REFERENCE = 1, 8, 64
_NORMAL, _GROUP, _TILEMAP = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, bottom one first. `level` is its depth in groups; a group holds the deeper layers that follow it."""

    name: str
    visible: bool = True
    opacity: int = 255
    blend: int = 0
    level: int = 0
    group: bool = False
    background: bool = False
    reference: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Cel:
    """A layer's picture in a frame, at (x, y) of the canvas.

    `pixels` is (h, w, 4) RGBA, (h, w, 2) gray and alpha, or (h, w) palette indices, by the file's mode. `z` moves the
    cel up or down among the layers of its frame.
    """

    pixels: NDArray[np.uint8]
    x: int = 0
    y: int = 0
    opacity: int = 255
    z: int = 0


@dataclass(frozen=True, slots=True)
class Tag:
    """Frames `first` to `last` (from 0) as an animation; `repeat` 0: for ever."""

    name: str
    first: int
    last: int
    direction: str = "forward"
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class SliceKey:
    """A slice from `frame` on: its rectangle, and optionally its 9-patch centre (x, y, w, h) and pivot (x, y)."""

    frame: int
    x: int
    y: int
    width: int
    height: int
    center: tuple[int, int, int, int] | None = None
    pivot: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """A named region of the canvas."""

    name: str
    keys: tuple[SliceKey, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Aseprite:
    """A file. `durations` has the milliseconds of each frame, `cels` is by (frame, layer), `palette` is RGBA entries.

    `transparent` is the palette index that shows nothing (in indexed mode, on layers that are not the background).
    """

    width: int
    height: int
    durations: tuple[int, ...]
    layers: tuple[Layer, ...]
    cels: Mapping[tuple[int, int], Cel]
    mode: Mode = "rgba"
    palette: tuple[tuple[int, int, int, int], ...] = ()
    transparent: int = 0
    tags: tuple[Tag, ...] = ()
    slices: tuple[Slice, ...] = field(default=())


def is_aseprite(data: bytes) -> bool:
    """Returns whether the bytes begin as an Aseprite file does."""
    return len(data) >= 128 and data[4:6] == _MAGIC.to_bytes(2, "little")


def read_aseprite(data: bytes, name: str = "the file") -> Aseprite:
    """Returns the file in `data`.

    Raises:
        ImageError: it is damaged, too large, or of a form that this reader does not know.
    """
    if not is_aseprite(data):
        raise ImageError(f"{name} is not an Aseprite file. Save it again in Aseprite.")
    try:
        return _Reader(data, name).read()
    except (struct.error, zlib.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise ImageError(f"{name} is damaged ({_why(error)}). Save it again in Aseprite.") from error


def _why(error: Exception) -> str:
    if isinstance(error, zlib.error):
        return "its pixels cannot be unpacked"
    if isinstance(error, UnicodeDecodeError):
        return "a name in it is not UTF-8"
    return str(error) if type(error) is ValueError else "it is cut off"


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        _, _, self.frames, self.width, self.height, depth, self.flags, self.speed = struct.unpack_from(
            "<IHHHHHIH", data
        )
        self.transparent = data[28]
        if depth not in _DEPTHS:
            raise ImageError(f"{name} has {depth} bits per pixel. Save it in RGB, grayscale or indexed mode.")
        if not (1 <= self.width <= LONGEST_SIDE and 1 <= self.height <= LONGEST_SIDE):
            raise ImageError(
                f"{name} is too large ({self.width}x{self.height}): {LONGEST_SIDE} pixels is the longest side. Crop it."
            )
        if not 1 <= self.frames <= MOST_FRAMES:
            raise ImageError(f"{name} has {self.frames} frames; 1 to {MOST_FRAMES} can be read. Split it.")
        self.mode: Mode = _DEPTHS[depth]
        self.layers: list[Layer] = []
        self.tilesets: dict[int, NDArray[np.uint8]] = {}
        self.layer_tilesets: dict[int, int] = {}
        self.cels: dict[tuple[int, int], Cel] = {}
        self.palette: dict[int, tuple[int, int, int, int]] = {}
        self.first_palette: dict[int, tuple[int, int, int, int]] = {}
        self.modern_palette = False
        self.tags: list[Tag] = []
        self.slices: list[Slice] = []
        self.pixels = self.tiles = self.chunks = 0

    def read(self) -> Aseprite:
        at = 128
        durations = []
        for frame in range(self.frames):
            size, magic, old, duration, new = struct.unpack_from("<IHHH2xI", self.data, at)
            if magic != _FRAME_MAGIC or at + size > len(self.data):
                raise ImageError(f"{self.name} is cut off in frame {frame + 1}. Save it again in Aseprite.")
            durations.append(duration or self.speed)  # the first versions had one duration for all frames
            place = at + 16
            self.chunks += new or old
            if self.chunks > MOST_CHUNKS:
                raise ImageError(f"{self.name} has more than {MOST_CHUNKS:,} parts. Save it again in Aseprite.")
            for _ in range(new or old):
                length, kind = struct.unpack_from("<IH", self.data, place)
                if length < 6 or place + length > at + size:
                    raise ImageError(f"{self.name} is cut off in frame {frame + 1}. Save it again in Aseprite.")
                self._chunk(kind, self.data[place + 6 : place + length], frame)
                place += length
            self._check_palette(frame)
            at += size
        count = max(self.palette, default=-1) + 1
        palette = tuple(self.palette.get(index, (0, 0, 0, 255)) for index in range(count))
        return Aseprite(
            self.width,
            self.height,
            tuple(durations),
            tuple(self.layers),
            self.cels,
            self.mode,
            palette,
            self.transparent,
            tuple(self.tags),
            tuple(self.slices),
        )

    def _check_palette(self, frame: int) -> None:
        """Refuses indexed files whose palette changes from frame to frame."""
        if frame == 0:
            self.first_palette = dict(self.palette)
        elif self.mode == "indexed" and self.palette != self.first_palette:
            raise ImageError(
                f"{self.name} has another palette in frame {frame + 1}, which is not read here. Save it in RGB mode."
            )

    def _chunk(self, kind: int, data: bytes, frame: int) -> None:
        match kind:
            case 0x2004:
                self._layer(data)
            case 0x2005:
                self._cel(data, frame)
            case 0x2018:
                self._tags(data)
            case 0x2019:
                self._palette(data)
            case 0x0004 | 0x0011 if not self.modern_palette:
                self._old_palette(data, 255 if kind == 0x0004 else 63)
            case 0x2022:
                self._slice(data)
            case 0x2023:
                self._tileset(data)

    def _layer(self, data: bytes) -> None:
        if len(self.layers) >= MOST_LAYERS:
            raise ImageError(f"{self.name} has more than {MOST_LAYERS} layers. Flatten some.")
        flags, kind, level, blend, opacity = struct.unpack_from("<HHH4xHB", data)
        name, end = _string(data, 16)
        if kind == _TILEMAP:
            self.layer_tilesets[len(self.layers)] = struct.unpack_from("<I", data, end)[0]
        # bit 1 of the header: the opacity of layers counts; bit 2: opacity and blend mode of groups too
        valid = self.flags & (2 if kind == _GROUP else 1)
        blend = blend if valid or kind != _GROUP else 0
        self.layers.append(
            Layer(
                name,
                bool(flags & _VISIBLE),
                opacity if valid else 255,
                blend,
                level,
                kind == _GROUP,
                bool(flags & _BACKGROUND),
                bool(flags & _REFERENCE),
            )
        )

    def _cel(self, data: bytes, frame: int) -> None:
        layer, x, y, opacity, kind, z = struct.unpack_from("<HhhBHh", data)
        if len(self.cels) >= MOST_CELS:
            raise ImageError(f"{self.name} has more than {MOST_CELS} cels. Split it.")
        if layer >= len(self.layers):
            raise ImageError(f"{self.name}: frame {frame + 1} draws on layer {layer + 1}, which does not exist.")
        if kind == 1:
            (source,) = struct.unpack_from("<H", data, 16)
            linked = self.cels.get((source, layer))
            if linked is not None:
                self.cels[frame, layer] = Cel(linked.pixels, x, y, opacity, z)
            return
        width, height = struct.unpack_from("<HH", data, 16)
        if kind == 0:
            pixels = self._image(data[20:], width, height)
        elif kind == 2:
            pixels = self._image(self._unpacked(data[20:], width * height * _BYTES[self.mode]), width, height)
        elif kind == 3:
            pixels = self._tiles(data, layer, width, height)
        else:
            raise ImageError(f"{self.name} has a cel of an unknown kind ({kind}). Save it as a plain sprite.")
        self.cels[frame, layer] = Cel(pixels, x, y, opacity, z)

    def _unpacked(self, data: bytes, size: int) -> bytes:
        """Unpacks `size` bytes out of a zlib stream, no more."""
        self.pixels += size // _BYTES[self.mode]
        if self.pixels > MOST_PIXELS:
            raise ImageError(f"{self.name} holds more than {MOST_PIXELS >> 20} million pixels. Split it.")
        return zlib.decompressobj().decompress(data, size) if size else b""

    def _image(self, data: bytes, width: int, height: int) -> NDArray[np.uint8]:
        depth = _BYTES[self.mode]
        if len(data) < width * height * depth:
            raise ImageError(f"{self.name} holds a picture that is cut off. Save it again in Aseprite.")
        flat = np.frombuffer(data, np.uint8, width * height * depth)
        return flat.reshape((height, width) if depth == 1 else (height, width, depth)).copy()

    def _tileset(self, data: bytes) -> None:
        index, flags, count, width, height = struct.unpack_from("<IIIHH", data)
        if not flags & 2:
            return  # the tiles lie in another file: a cel that needs them says so
        _, at = _string(data, 32)
        at += 8 if flags & 1 else 0
        pixels = self._unpacked(data[at + 4 :], width * height * count * _BYTES[self.mode])
        stacked = self._image(pixels, width, height * count)
        self.tilesets[index] = stacked.reshape(count, height, *stacked.shape[1:])

    def _tiles(self, data: bytes, layer: int, columns: int, rows: int) -> NDArray[np.uint8]:
        bits, id_mask, flip_x, flip_y, turn = struct.unpack_from("<HIIII", data, 20)
        tiles = self.tilesets.get(self.layer_tilesets.get(layer, -1))
        if tiles is None or bits != 32 or id_mask == 0:
            name = self.layers[layer].name
            raise ImageError(f"{self.name}: the tilemap layer '{name}' uses tiles of another file. Flatten it first.")
        high, wide = tiles.shape[1:3]
        self.pixels += columns * rows * high * wide
        self.tiles += columns * rows
        if self.pixels > MOST_PIXELS or self.tiles > MOST_TILES:
            raise ImageError(
                f"{self.name} holds more than {MOST_PIXELS >> 20} million pixels or {MOST_TILES >> 20} million tiles. "
                "Split it."
            )
        codes = np.frombuffer(zlib.decompressobj().decompress(data[48:], columns * rows * 4), "<u4", columns * rows)
        shift = (id_mask & -id_mask).bit_length() - 1
        empty = self.transparent if self.mode == "indexed" else 0
        picture = np.full((rows * high, columns * wide, *tiles.shape[3:]), empty, np.uint8)
        for at, code in enumerate(codes.tolist()):
            number = (code & id_mask) >> shift
            if code & id_mask == id_mask:
                continue  # an empty place in files of Aseprite 1.3 betas
            if number >= len(tiles):
                raise ImageError(f"{self.name} names tile {number}, which does not exist. Save it again in Aseprite.")
            tile = tiles[number]
            if code & turn and high == wide:
                tile = tile.swapaxes(0, 1)
            tile = tile[:, ::-1] if code & flip_x else tile
            tile = tile[::-1] if code & flip_y else tile
            y, x = at // columns * high, at % columns * wide
            picture[y : y + high, x : x + wide] = tile
        return picture

    def _tags(self, data: bytes) -> None:
        (count,) = struct.unpack_from("<H", data)
        at = 10
        for _ in range(count):
            first, last, direction, repeat = struct.unpack_from("<HHBH", data, at)
            name, at = _string(data, at + 17)
            if not first <= last < self.frames or direction >= len(DIRECTIONS):
                raise ImageError(f"{self.name}: the tag '{name}' names frames {first + 1} to {last + 1}; correct it.")
            self.tags.append(Tag(name, first, last, DIRECTIONS[direction], repeat))

    def _palette(self, data: bytes) -> None:
        if not self.modern_palette:
            self.palette.clear()
            self.modern_palette = True
        _, first, last = struct.unpack_from("<III", data)
        if not first <= last < 65536:
            raise ImageError(f"{self.name} has a damaged palette. Save it again in Aseprite.")
        at = 20
        for index in range(first, last + 1):
            flags, red, green, blue, alpha = struct.unpack_from("<HBBBB", data, at)
            at += 6
            if flags & 1:
                _, at = _string(data, at)
            self.palette[index] = (red, green, blue, alpha)

    def _old_palette(self, data: bytes, top: int) -> None:
        (packets,) = struct.unpack_from("<H", data)
        at, index = 2, 0
        for _ in range(packets):
            index += data[at]
            count = data[at + 1] or 256
            at += 2
            for _ in range(count):
                red, green, blue = (value * 255 // top for value in data[at : at + 3])
                if index > 65_535:
                    raise ValueError("its palette is too long")
                self.palette[index] = (red, green, blue, 255)
                at, index = at + 3, index + 1

    def _slice(self, data: bytes) -> None:
        count, flags = struct.unpack_from("<II", data)
        name, at = _string(data, 12)
        keys = []
        for _ in range(min(count, MOST_FRAMES)):
            frame, x, y, width, height = struct.unpack_from("<IiiII", data, at)
            at += 20
            center = pivot = None
            if flags & 1:
                center = struct.unpack_from("<iiII", data, at)
                at += 16
            if flags & 2:
                pivot = struct.unpack_from("<ii", data, at)
                at += 8
            keys.append(SliceKey(frame, x, y, width, height, center, pivot))
        self.slices.append(Slice(name, tuple(keys)))


def _string(data: bytes, at: int) -> tuple[str, int]:
    """Returns a string at `at`, and where it ends."""
    (length,) = struct.unpack_from("<H", data, at)
    end = at + 2 + length
    if end > len(data):
        raise ValueError("a name is cut off")
    return data[at + 2 : end].decode("utf-8"), end


def write_aseprite(sprite: Aseprite) -> bytes:
    """Returns the bytes of the file that `read_aseprite` reads as the same layers, cels, tags, palette and slices.

    Raises:
        ImageError: a side, a frame count or an index does not fit the format.
    """
    if not (1 <= sprite.width <= 65535 and 1 <= sprite.height <= 65535 and 1 <= len(sprite.durations) <= 65535):
        raise ImageError(
            f"An Aseprite file of {sprite.width}x{sprite.height} with {len(sprite.durations)} frames is not possible."
        )
    body = b""
    for frame, duration in enumerate(sprite.durations):
        chunks = list(_chunks_of(sprite, frame))
        content = b"".join(struct.pack("<IH", len(data) + 6, kind) + data for kind, data in chunks)
        old = min(len(chunks), 0xFFFF)
        body += struct.pack("<IHHH2xI", len(content) + 16, _FRAME_MAGIC, old, duration, len(chunks)) + content
    depth = next(bits for bits, mode in _DEPTHS.items() if mode == sprite.mode)
    header = struct.pack(
        "<IHHHHHIHIIB3xHBBhhHH84x",
        128 + len(body), _MAGIC, len(sprite.durations), sprite.width, sprite.height, depth, 3, sprite.durations[0],
        0, 0, sprite.transparent, len(sprite.palette) if len(sprite.palette) < 256 else 0, 1, 1, 0, 0, 16, 16,
    )  # fmt: skip
    return header + body


def _chunks_of(sprite: Aseprite, frame: int) -> Iterator[tuple[int, bytes]]:
    if frame == 0:
        yield 0x2007, struct.pack("<HHI8x", 1, 0, 0)  # sRGB
        if sprite.palette:
            entries = b"".join(struct.pack("<HBBBB", 0, *entry) for entry in sprite.palette)
            last = len(sprite.palette) - 1
            yield 0x2019, struct.pack("<III8x", len(sprite.palette), 0, last) + entries
        for layer in sprite.layers:
            flags = 2 | _VISIBLE * layer.visible | _BACKGROUND * layer.background | _REFERENCE * layer.reference
            kind = _GROUP if layer.group else _NORMAL
            data = struct.pack("<HHHHHHB3x", flags, kind, layer.level, 0, 0, layer.blend, layer.opacity)
            yield 0x2004, data + _packed(layer.name)
        if sprite.tags:
            data = struct.pack("<H8x", len(sprite.tags))
            for tag in sprite.tags:
                direction = DIRECTIONS.index(tag.direction)
                data += struct.pack("<HHBH6x4x", tag.first, tag.last, direction, tag.repeat) + _packed(tag.name)
            yield 0x2018, data
        for region in sprite.slices:
            yield 0x2022, _slice_data(region)
    for layer in range(len(sprite.layers)):
        cel = sprite.cels.get((frame, layer))
        if cel is None:
            continue
        place = struct.pack("<HhhB", layer, cel.x, cel.y, cel.opacity)
        earlier = next(
            (f for f in range(frame) if (old := sprite.cels.get((f, layer))) and old.pixels is cel.pixels), None
        )
        if earlier is not None:
            yield 0x2005, place + struct.pack("<Hh5xH", 1, cel.z, earlier)
        else:
            height, width = cel.pixels.shape[:2]
            packed = zlib.compress(np.ascontiguousarray(cel.pixels).tobytes(), 9)
            yield 0x2005, place + struct.pack("<Hh5xHH", 2, cel.z, width, height) + packed


def _slice_data(region: Slice) -> bytes:
    centers = all(key.center for key in region.keys)
    pivots = all(key.pivot for key in region.keys)
    data = struct.pack("<III", len(region.keys), centers | pivots << 1, 0) + _packed(region.name)
    for key in region.keys:
        data += struct.pack("<IiiII", key.frame, key.x, key.y, key.width, key.height)
        data += struct.pack("<iiII", *key.center) if centers and key.center else b""
        data += struct.pack("<ii", *key.pivot) if pivots and key.pivot else b""
    return data


def _packed(text: str) -> bytes:
    data = text.encode("utf-8")[:65535]
    return struct.pack("<H", len(data)) + data
