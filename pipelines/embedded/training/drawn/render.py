"""Draw sprites from short descriptions of shapes: training pictures of common things that the packs lack.

A drawing is a list of shapes in a square of 32 units, y downward. Each shape is filled, shaded as a rounded body lit
from the upper left, and set off from what lies under it; the silhouette gets a dark outline. `jitter` moves, stretches
and shears the shapes, so that one description gives many pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pipelines.records import Pixels

UNITS = 32
"""Width and height of the square that shapes are given in."""

_OVERSAMPLING = 8

PALETTE: Mapping[str, tuple[int, int, int]] = {
    "black": (58, 54, 66), "gray": (132, 136, 146), "white": (236, 236, 228), "brown": (136, 86, 50),
    "red": (204, 52, 48), "orange": (232, 126, 42), "yellow": (240, 200, 62), "green": (78, 156, 64),
    "cyan": (84, 194, 200), "blue": (62, 104, 200), "purple": (130, 72, 174), "pink": (236, 138, 168),
}  # fmt: skip
"""sRGB of the colour names that a description can be drawn in."""

FIXED: Mapping[str, tuple[int, int, int]] = {
    "k": (34, 30, 40), "w": (240, 240, 234), "g": (132, 136, 146), "d": (78, 80, 92), "L": (186, 192, 202),
    "n": (128, 80, 46), "D": (84, 52, 34), "t": (214, 172, 118), "s": (236, 186, 146), "y": (244, 204, 70),
    "Y": (214, 160, 44), "o": (232, 126, 42), "R": (204, 52, 48), "G": (78, 156, 64), "F": (44, 104, 52),
    "b": (62, 104, 200), "N": (44, 58, 122), "c": (140, 214, 230), "p": (240, 150, 176), "v": (130, 72, 174),
    "C": (250, 238, 206),
}  # fmt: skip
"""sRGB of the letters for colours that do not change: k black, w white, n brown, t tan, s skin, y yellow, ..."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An outline in units of the square. `color` is A, B, A+ (lighter), A- (darker) or a letter of FIXED."""

    points: NDArray[np.float64]
    color: str
    flat: bool
    width: float = 0.0
    """Of a line, in units; 0 for a filled outline."""


def parse(text: str) -> list[Shape]:
    """Shapes from a description.

    An ellipse is `e C x y rx ry [degrees]`, a rectangle `r C x0 y0 x1 y1`, a polygon `p C x y x y ...`, a line
    `l C width x y x y ...`.
    Shapes are separated by semicolons or line breaks. C is a colour; `!` behind it leaves shading and edge out. An `m`
    before a shape draws its mirror image, too.

    Raises:
        ValueError: a shape that cannot be read.
    """
    shapes: list[Shape] = []
    for part in (p.strip() for p in text.replace("\n", ";").split(";")):
        if not part:
            continue
        words = part.split()
        mirrored = words[0] == "m"
        form, color, *rest = words[mirrored:]
        numbers = [float(x) for x in rest]
        width = 0.0
        if form == "e":
            x, y, rx, ry, turn = (*numbers, 0.0)[:5]
            angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
            circle = np.stack([rx * np.cos(angles), ry * np.sin(angles)], axis=1)
            c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
            points = circle @ np.array([[c, s], [-s, c]]) + (x, y)
        elif form == "r":
            x0, y0, x1, y1 = numbers
            points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        elif form in ("p", "l"):
            if form == "l":
                width, numbers = numbers[0], numbers[1:]
            points = np.array(numbers).reshape(-1, 2)
        else:
            raise ValueError(f"A shape begins with e, r, p or l: {part!r}.")
        shapes.append(Shape(points, color.rstrip("!"), color.endswith("!"), width))
        if mirrored:
            shapes.append(Shape(points * (-1, 1) + (UNITS, 0), color.rstrip("!"), color.endswith("!"), width))
    return shapes


def jitter(shapes: Sequence[Shape], rng: np.random.Generator, amount: float = 1.0) -> list[Shape]:
    """Stretches, shears and turns the shapes a little together, and moves each by a fraction of a unit."""
    turn = np.radians(rng.normal(0, 2.0) * amount)
    c, s = np.cos(turn), np.sin(turn)
    stretch = np.diag(1 + rng.uniform(-0.1, 0.1, 2) * amount)
    shear = np.array([[1, 0], [rng.normal(0, 0.04) * amount, 1]])
    matrix = stretch @ shear @ np.array([[c, s], [-s, c]])
    middle = UNITS / 2
    out = []
    for shape in shapes:
        own = rng.normal(0, 0.22, 2) * amount
        points = (shape.points - middle) @ matrix + middle + own
        width = shape.width * (1 + rng.uniform(-0.12, 0.12) * amount)
        out.append(Shape(points, shape.color, shape.flat, width))
    return out


def draw(
    shapes: Sequence[Shape], size: int, main: str, second: str, rng: np.random.Generator, margin: int = 1
) -> Pixels:
    """Draws (size, size, 4) with hard alpha, as large as `margin` and its outline allow.

    Args:
        main: the name of the colour that stands for A.
        second: the same for B.
    """
    shapes = _fitted(shapes, size, margin + 1)
    colors = {"A": PALETTE[main], "B": PALETTE[second], **FIXED}
    tint = rng.uniform(0.93, 1.07, 3)
    canvas: Any = np.zeros((size, size, 3))
    opaque: Any = np.zeros((size, size), bool)
    for shape in shapes:
        mask = _mask(shape, size)
        if not mask.any():
            continue
        rgb = np.array(colors[shape.color.rstrip("+-")], float) * tint
        if shape.color.endswith("+"):
            rgb = rgb + (255 - rgb) * 0.35
        elif shape.color.endswith("-"):
            rgb = rgb * 0.68
        if not shape.flat:
            grown: NDArray[np.bool_] = np.asarray(ndimage.binary_dilation(mask), bool)
            edge = grown & ~mask & opaque
            canvas[edge] *= 0.58
        canvas[mask] = rgb if shape.flat else _shaded(mask, rgb, size)[mask]
        opaque |= mask
    ring = ndimage.binary_dilation(opaque) & ~opaque
    dark = rng.uniform(0.1, 0.34)
    near: Any = ndimage.distance_transform_edt(~opaque, return_distances=False, return_indices=True)
    canvas[ring] = canvas[near[0][ring], near[1][ring]] * dark + (8, 5, 10)
    out = np.zeros((size, size, 4), np.uint8)
    out[..., :3] = canvas.clip(0, 255)
    out[..., 3] = (opaque | ring) * 255
    out[out[..., 3] == 0] = 0
    return out


def _fitted(shapes: Sequence[Shape], size: int, margin: int) -> list[Shape]:
    """Scales the shapes to pixels, as large as fits, in the middle and standing on the lower margin."""
    half = [np.full(2, s.width / 2) for s in shapes]
    low = np.min([s.points.min(axis=0) - h for s, h in zip(shapes, half, strict=True)], axis=0)
    high = np.max([s.points.max(axis=0) + h for s, h in zip(shapes, half, strict=True)], axis=0)
    scale = (size - 2 * margin) / max(high - low)
    width, height = (high - low) * scale
    at = np.array([(size - width) / 2, size - margin - height if width > height * 1.15 else (size - height) / 2])
    return [Shape((s.points - low) * scale + at, s.color, s.flat, s.width * scale) for s in shapes]


def _mask(shape: Shape, size: int) -> NDArray[np.bool_]:
    image = Image.new("L", (size * _OVERSAMPLING, size * _OVERSAMPLING))
    pen = ImageDraw.Draw(image)
    points = [tuple(p) for p in shape.points * _OVERSAMPLING]
    if shape.width:
        width = max(shape.width, 1.15) * _OVERSAMPLING
        pen.line(points, 255, round(width), joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), 255)
    else:
        pen.polygon(points, 255)
    cover = np.array(image, float).reshape(size, _OVERSAMPLING, size, _OVERSAMPLING).mean(axis=(1, 3)) / 255
    mask = cover >= 0.5
    if not mask.any():  # too small for a pixel of its own: the one that it covers most
        mask = cover >= max(cover.max(), 0.05)
    return mask


def _shaded(mask: NDArray[np.bool_], rgb: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Shades the colour in four tones, as if the mask were the plan of a rounded body lit from the upper left."""
    padded: Any = ndimage.distance_transform_edt(np.pad(mask, 1))
    depth = padded[1:-1, 1:-1]
    bulge = np.sqrt(np.minimum(depth, size / 5))
    bulge = ndimage.gaussian_filter(bulge, size / 32)
    down, right = np.gradient(bulge)
    light = (down + right) * 1.5
    tone = np.digitize(light, [-0.55, -0.16, 0.36])  # gradient against the light: a dark side
    lit, base, shade, deep = (
        rgb + (255 - rgb) * 0.42,
        rgb + (255 - rgb) * 0.12,
        rgb * (0.8, 0.78, 0.84),
        rgb * (0.58, 0.55, 0.66),
    )
    tones = np.stack([deep, shade, base, lit])
    return tones[tone]
