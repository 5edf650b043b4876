"""Palettes as records: extracted from pictures, and locked to. `palette_files` reads and writes their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PaletteError
from pipelines.pixels.oklab import Lab, to_oklab
from pipelines.pixels.quantize import SAME, color_counts, few_colors, nearest_rows, pack, unpack
from pipelines.records import Pixels

MOST_COLORS = 256
_PART = 1 << 20
"""Distances that are held at a time: 24 MB."""
CLEAR = 128
"""An entry or pixel with an alpha below this is transparent; any other is opaque."""
_WORD = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{8})\Z")


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
            raise PaletteError(f"The palette '{self.name[:40]}' has no colours. Give it at least one RRGGBB value.")
        if len(unique) > MOST_COLORS:
            raise PaletteError(
                f"The palette '{self.name[:40]}' has {len(unique)} colours; {MOST_COLORS} is the most. Leave some out."
            )
        if not all(0 <= channel <= 255 for color in unique for channel in color):
            raise PaletteError(f"The palette '{self.name[:40]}' has a channel outside 0..255.")
        object.__setattr__(self, "colors", unique)

    def __len__(self) -> int:
        return len(self.colors)

    @property
    def hex(self) -> tuple[str, ...]:
        """The colours as lower-case RRGGBB values."""
        return tuple(f"{r:02x}{g:02x}{b:02x}" for r, g, b in self.colors)

    @staticmethod
    def from_hex(colors: Iterable[str], name: str = "palette") -> Palette:
        """Returns the palette of RRGGBB or RRGGBBAA values, with or without `#`; transparent ones are left out.

        Raises:
            PaletteError: a value is not six or eight hexadecimal digits.
        """
        opaque = []
        for value in colors:
            color = parse_color(value)
            if color is None:
                raise PaletteError(f"'{value}' is not a colour. Write six hexadecimal digits, such as ff8800.")
            if color[3] >= CLEAR:
                opaque.append(color[:3])
        return Palette(name, tuple(opaque))

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(colours, 3) bytes."""
        return np.array(self.colors, np.uint8)

    @cached_property
    def lab(self) -> Lab:
        """(colours, 3) OKLab."""
        return to_oklab(self.rgb)


def parse_color(word: str, *, alpha_first: bool = False) -> tuple[int, int, int, int] | None:
    """Parses (red, green, blue, alpha) from six or eight hex digits, `#` or not; None where it is not a colour.

    Eight digits are RRGGBBAA, or AARRGGBB where `alpha_first`.
    """
    match = _WORD.match(word.strip())
    if match is None:
        return None
    channels = tuple(bytes.fromhex(match[1]))
    if len(channels) == 3:
        return channels[0], channels[1], channels[2], 255
    if alpha_first:
        channels = (*channels[1:], channels[0])
    return channels[0], channels[1], channels[2], channels[3]


def extract_palette(images: Sequence[Pixels], count: int = 16, name: str = "extracted", same: float = SAME) -> Palette:
    """Extracts at most `count` colours that stand for all `images` ((h, w, 4) RGBA, native pixels), dark to light.

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
    """Finds the (h, w) index of the palette colour nearest in OKLab. A colour of the palette always finds itself."""
    codes, inverse = np.unique(pack(image), return_inverse=True)
    colors = palette.lab.astype(np.float64)
    chosen = np.empty(len(codes), np.uint16)
    # In parts: 16 million colours times 256 would be an array of 100 GB.
    size = max(1, _PART // len(palette))
    for begin in range(0, len(codes), size):
        part = slice(begin, begin + size)
        chosen[part] = nearest_rows(to_oklab(unpack(codes[part])).astype(np.float64), colors)
    return chosen[inverse.reshape(image.shape[:2])].astype(np.intp)


def lock(image: Pixels, palette: Palette) -> Pixels:
    """Moves every pixel to the palette colour nearest in OKLab; alpha stays, and RGB is 0 where alpha is 0."""
    return paint(image, nearest_index(image, palette), palette)


def paint(image: Pixels, index: NDArray[np.intp], palette: Palette) -> Pixels:
    """Gives every pixel the palette colour of (h, w) `index`; alpha stays, and RGB is 0 where alpha is 0."""
    locked = np.empty_like(image)
    locked[..., :3] = palette.rgb[index]
    locked[..., 3] = image[..., 3]
    locked[image[..., 3] == 0] = 0
    return locked
