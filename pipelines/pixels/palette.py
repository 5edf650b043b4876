"""Palettes: extracted from pictures, locked to, read from and written to files (.hex, .gpl, JASC .pal, .png strip)."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import ImageError, PaletteError
from pipelines.pixels.oklab import Lab, to_oklab
from pipelines.pixels.png import read_picture
from pipelines.pixels.quantize import SAME, color_counts, few_colors, pack, unpack
from pipelines.records import Pixels

MOST_COLORS = 256
FORMS = (".hex", ".gpl", ".pal", ".png")
_MOST_BYTES = 1 << 20
_WORD = re.compile(r"#?([0-9a-fA-F]{6})\Z")


@dataclass(frozen=True)
class Palette:
    """1 to 256 different colours in the order that their maker gave them.

    Raises:
        PaletteError: no colour at all, more than 256, or a channel outside 0..255. Doubles are left out silently.
    """

    name: str
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        unique = tuple(dict.fromkeys((int(r), int(g), int(b)) for r, g, b in self.colors))
        if not unique:
            raise PaletteError(f"The palette '{self.name}' has no colours. Give it at least one RRGGBB value.")
        if len(unique) > MOST_COLORS:
            raise PaletteError(
                f"The palette '{self.name}' has {len(unique)} colours; {MOST_COLORS} is the most. Leave some out."
            )
        if not all(0 <= channel <= 255 for color in unique for channel in color):
            raise PaletteError(f"The palette '{self.name}' has a channel outside 0..255.")
        object.__setattr__(self, "colors", unique)

    def __len__(self) -> int:
        return len(self.colors)

    @property
    def words(self) -> tuple[str, ...]:
        """The colours as lower-case RRGGBB words."""
        return tuple(f"{r:02x}{g:02x}{b:02x}" for r, g, b in self.colors)

    @staticmethod
    def from_words(words: Iterable[str], name: str = "palette") -> Palette:
        """The palette of RRGGBB words, with or without `#`.

        Raises:
            PaletteError: a word is not six hexadecimal digits.
        """
        colors = []
        for word in words:
            match = _WORD.match(word.strip())
            if match is None:
                raise PaletteError(f"'{word}' is not a colour. Write six hexadecimal digits, such as ff8800.")
            value = int(match[1], 16)
            colors.append((value >> 16, value >> 8 & 255, value & 255))
        return Palette(name, tuple(colors))

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(colours, 3) bytes."""
        return np.array(self.colors, np.uint8)

    @cached_property
    def lab(self) -> Lab:
        """(colours, 3) OKLab."""
        return to_oklab(self.rgb)


def extract_palette(images: Sequence[Pixels], count: int = 16, name: str = "extracted", same: float = SAME) -> Palette:
    """At most `count` colours that stand for all `images` ((h, w, 4) RGBA, native pixels), dark to light.

    Pictures that have no more colours than that keep them exactly; else they are clustered in OKLab (see quantize), and
    colours nearer than `same` become one.

    Raises:
        PaletteError: `count` is not 1..256.
    """
    if not 1 <= count <= MOST_COLORS:
        raise PaletteError(f"A palette has 1 to {MOST_COLORS} colours, not {count}.")
    rgb, counts = color_counts(images)
    if not len(rgb):
        return Palette(name, ((0, 0, 0),))
    if len(rgb) > count:
        rgb = few_colors(rgb, counts, count, same)
    order = np.argsort(to_oklab(rgb)[:, 0], kind="stable")
    return Palette(name, tuple((int(r), int(g), int(b)) for r, g, b in rgb[order]))


def nearest_index(image: Pixels, palette: Palette) -> NDArray[np.intp]:
    """(h, w) index of the palette colour nearest in OKLab. A colour of the palette always finds itself."""
    codes, inverse = np.unique(pack(image), return_inverse=True)
    difference = to_oklab(unpack(codes)).astype(np.float64)[:, None] - palette.lab[None].astype(np.float64)
    return np.square(difference).sum(-1).argmin(axis=1)[inverse.reshape(image.shape[:2])]


def lock(image: Pixels, palette: Palette) -> Pixels:
    """`image` with every pixel in the palette colour nearest in OKLab; alpha stays, and RGB is 0 where alpha is 0."""
    locked = np.empty_like(image)
    locked[..., :3] = palette.rgb[nearest_index(image, palette)]
    locked[..., 3] = image[..., 3]
    locked[image[..., 3] == 0] = 0
    return locked


def read_palette(path: Path | str) -> Palette:
    """The palette in a .hex, .gpl, JASC .pal or .png file, in its own order. A .gpl's own name wins over the file's.

    Raises:
        PaletteError: the file cannot be read or holds no palette of a known form.
    """
    path = Path(path)
    form = path.suffix.lower()
    if form not in FORMS:
        raise PaletteError(f"{path.name}: a palette file ends in {', '.join(FORMS)}. Export it in one of these forms.")
    try:
        data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else None
    except OSError as error:
        raise PaletteError(f"Cannot read the palette {path}: {error.strerror}. Check the path.") from error
    if data is None:
        raise PaletteError(f"{path.name} has more than {_MOST_BYTES >> 20} MiB; that is no palette.")
    name = path.stem
    if form == ".png":
        return _from_strip(data, name, path.name)
    if data.startswith(b"RIFF"):
        raise PaletteError(f"{path.name} is a RIFF palette, which is binary. Save it as JASC .pal, .gpl or .hex.")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise PaletteError(f"{path.name} is not a text file. Save it as JASC .pal, .gpl or .hex.") from error
    return {".hex": _from_hex, ".gpl": _from_gpl, ".pal": _from_jasc}[form](lines, name, path.name)


def write_palette(palette: Palette, path: Path | str) -> None:
    """Writes the form that the ending of `path` names; the old file stays whole until the new one is.

    Raises:
        PaletteError: the ending is unknown or the file cannot be written.
    """
    path = Path(path)
    rows = palette.colors
    match path.suffix.lower():
        case ".hex":
            data = "".join(f"{word}\n" for word in palette.words).encode()
        case ".gpl":
            named = "".join(f"{r:3} {g:3} {b:3}\t{w}\n" for (r, g, b), w in zip(rows, palette.words, strict=True))
            data = f"GIMP Palette\nName: {palette.name}\nColumns: 0\n#\n{named}".encode()
        case ".pal":
            data = f"JASC-PAL\r\n0100\r\n{len(rows)}\r\n".encode() + b"".join(b"%d %d %d\r\n" % row for row in rows)
        case ".png":
            strip = io.BytesIO()
            Image.fromarray(palette.rgb[None]).save(strip, "PNG")
            data = strip.getvalue()
        case _:
            raise PaletteError(f"{path.name}: a palette file ends in {', '.join(FORMS)}.")
    replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """Puts `data` at `path` at once: a reader sees the old bytes or the new ones, a full disk leaves the old.

    Raises:
        PaletteError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PaletteError(
            f"Cannot write {path}: {error.strerror}. Free some space or choose another folder."
        ) from error


def _from_hex(lines: list[str], name: str, file: str) -> Palette:
    words = [line.strip() for line in lines]
    return Palette.from_words([word for word in words if word and not word.startswith((";", "//"))], name)


def _from_gpl(lines: list[str], name: str, file: str) -> Palette:
    if not lines or lines[0].strip() != "GIMP Palette":
        raise PaletteError(f"{file}: a .gpl file begins with 'GIMP Palette'. Export it again.")
    colors = []
    for line in lines[1:]:
        text = line.strip()
        # Lospec writes the name into a comment, GIMP into a field
        if named := re.match(r"#?\s*(?:Palette )?Name:\s*(.+)", text):
            name = named[1].strip()
        elif text and not text.startswith("#") and not re.match(r"[A-Za-z]+:", text):
            colors.append(_channels(text, file))
    return Palette(name, tuple(colors))


def _from_jasc(lines: list[str], name: str, file: str) -> Palette:
    text = [line.strip() for line in lines if line.strip()]
    if len(text) < 3 or text[0] != "JASC-PAL":
        raise PaletteError(f"{file}: a JASC palette begins with 'JASC-PAL', '0100' and the number of colours.")
    if not text[2].isdigit() or int(text[2]) != len(text) - 3:
        raise PaletteError(f"{file} says {text[2]} colours and lists {len(text) - 3}. Correct the third line.")
    return Palette(name, tuple(_channels(line, file) for line in text[3:]))


def _channels(line: str, file: str) -> tuple[int, int, int]:
    fields = line.split()
    if len(fields) < 3 or not all(field.isdigit() and int(field) <= 255 for field in fields[:3]):
        raise PaletteError(f"{file}: '{line[:40]}' is not a colour. Write three numbers from 0 to 255.")
    return int(fields[0]), int(fields[1]), int(fields[2])


def _from_strip(data: bytes, name: str, file: str) -> Palette:
    """A picture's different opaque colours in reading order: strips of any block size, as Lospec exports them."""
    try:
        picture = read_picture(data)
    except ImageError as error:
        raise PaletteError(f"{file}: {error}") from error
    flat = picture[picture[..., 3] >= 128][:, :3]
    unique, first = np.unique(flat, axis=0, return_index=True)
    if len(unique) > MOST_COLORS:
        raise PaletteError(f"{file} has {len(unique)} colours, so it is no palette strip. `palette extract` makes one.")
    rows = unique[np.argsort(first)]
    return Palette(name, tuple((int(r), int(g), int(b)) for r, g, b in rows))
