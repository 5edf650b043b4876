"""Make the inputs of the finishing bench: ten kinds of pixel art, five treatments of each, and spoilt mosaics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipelines.pixels.exact import change_lines, find_enlargement
from pipelines.pixels.palette import Palette, extract_palette, lock
from pipelines.pixels.png import read_picture
from pipelines.records import Pixels
from tests.bench.finishing.damage import DAMAGES, TREATMENTS

COLORS = 16
MOSAIC = 32
EXAMPLE_ART = Path(__file__).parents[3] / "bevy_example" / "assets"
LONGEST = 256
"""Pixels of an enlarged side, but for one in ten: the peers take seconds for large pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One input, what it was made from, and what a caller could know of it."""

    kind: str
    treatment: str
    truth: Pixels
    palette: Palette
    picture: Pixels
    pitch: float


def sprites(folder: Path, rng: np.random.Generator) -> Iterator[Pixels]:
    """Finished sprites of 16 to 64 px from `folder`, hard alpha, none of them an enlargement; without end."""
    files = sorted(folder.rglob("*.png")) or sorted(EXAMPLE_ART.rglob("*.png"))
    while True:
        picture = read_picture(files[int(rng.integers(len(files)))])
        height, width = picture.shape[:2]
        if not (16 <= height <= 64 and 16 <= width <= 64):
            continue
        picture = np.where(picture[..., 3:] > 127, picture | np.array([0, 0, 0, 255], np.uint8), 0).astype(np.uint8)
        x, y = change_lines([picture])
        if len(x) < 6 or len(y) < 6 or find_enlargement(x, y, width, height):
            continue
        yield picture


def _on(color: tuple[int, int, int]) -> Callable[[Pixels, np.random.Generator], Pixels]:
    def place(sprite: Pixels, rng: np.random.Generator) -> Pixels:
        return np.where(sprite[..., 3:] > 0, sprite, np.array([*color, 255], np.uint8)).astype(np.uint8)

    return place


def _colors(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, 3), dtype=np.uint8)


def _canvas(side: int, color: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGBA", (side, side), (*(int(c) for c in color), 255))
    return picture, ImageDraw.Draw(picture)


def _fill(color: np.ndarray) -> tuple[int, ...]:
    return (*(int(c) for c in color), 255)


def icon(sprite: Pixels, rng: np.random.Generator) -> Pixels:
    """A flat icon: two or three shapes without anti-aliasing."""
    side, colors = int(rng.choice([16, 24, 32, 48, 64])), _colors(rng, 4)
    picture, draw = _canvas(side, colors[0])
    for color in colors[1 : 1 + int(rng.integers(2, 4))]:
        left, top = rng.integers(1, side // 2, 2)
        right, bottom = rng.integers(side // 2 + 1, side, 2)
        box = [int(left), int(top), int(right), int(bottom)]
        shape = int(rng.integers(4))
        if shape == 0:
            draw.rectangle(box, fill=_fill(color))
        elif shape == 1:
            draw.ellipse(box, fill=_fill(color))
        elif shape == 2:
            draw.polygon([(box[0], box[3]), (box[2], box[3]), ((box[0] + box[2]) // 2, box[1])], fill=_fill(color))
        else:
            draw.line([box[0], box[1], box[2], box[3]], fill=_fill(color), width=int(rng.integers(2, 5)))
    return np.array(picture)


def isometric(sprite: Pixels, rng: np.random.Generator) -> Pixels:
    """Stacked cubes in 2:1 projection."""
    side, colors = int(rng.choice([32, 48, 64])), _colors(rng, 7)
    picture, draw = _canvas(side, colors[0])
    for _ in range(int(rng.integers(3, 7))):
        half = int(rng.integers(3, side // 6)) * 2
        x, y, tall = (
            int(rng.integers(half, side - half)),
            int(rng.integers(half, side - half)),
            int(rng.integers(3, half + 3)),
        )
        shades = _colors(rng, 3) if rng.random() < 0.5 else colors[1:4]
        quarter = half // 2
        draw.polygon([(x - half, y), (x, y - quarter), (x + half, y), (x, y + quarter)], fill=_fill(shades[0]))
        left = [(x - half, y), (x, y + quarter), (x, y + quarter + tall), (x - half, y + tall)]
        right = [(x + half, y), (x, y + quarter), (x, y + quarter + tall), (x + half, y + tall)]
        draw.polygon(left, fill=_fill(shades[1]))
        draw.polygon(right, fill=_fill(shades[2]))
    return np.array(picture)


def lines(sprite: Pixels, rng: np.random.Generator) -> Pixels:
    """Drawings of lines one pixel wide."""
    side, colors = int(rng.choice([16, 24, 32, 48, 64])), _colors(rng, 4)
    picture, draw = _canvas(side, colors[0])
    for _ in range(int(rng.integers(3, 7))):
        points = [(int(a), int(b)) for a, b in rng.integers(1, side - 1, (int(rng.integers(2, 5)), 2))]
        if rng.random() < 0.3:
            (left, top), (right, bottom) = np.sort([points[0], points[1]], axis=0)
            draw.ellipse([int(left), int(top), int(right), int(bottom)], outline=_fill(colors[1]))
        else:
            draw.line(points, fill=_fill(colors[int(rng.integers(1, 4))]))
    return np.array(picture)


def dithering(sprite: Pixels, rng: np.random.Generator) -> Pixels:
    """A gradient of three colours in a Bayer pattern, with a sprite on it."""
    side, colors = max(sprite.shape[:2]), _colors(rng, 3)
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16
    y, x = np.mgrid[0:side, 0:side]
    level = np.clip((y + 0.3 * x) / (1.3 * side) * 2 + bayer[y % 4, x % 4], 0, 2.99).astype(int)
    picture = np.full((side, side, 4), 255, np.uint8)
    picture[..., :3] = colors[level]
    if rng.random() < 0.5:
        spot = picture[: sprite.shape[0], : sprite.shape[1]]
        spot[sprite[..., 3] > 0] = sprite[sprite[..., 3] > 0]
    return picture


def text(sprite: Pixels, rng: np.random.Generator) -> Pixels:
    """Letters of a bitmap font over a scene of repeated sprites, at native size."""
    solid = _on((40, 60, 90))(sprite, rng)
    scene = np.tile(solid, (64 // solid.shape[0] + 1, 64 // solid.shape[1] + 1, 1))[:48, :64].copy()
    picture = Image.fromarray(scene)
    draw = ImageDraw.Draw(picture)
    draw.fontmode = "1"
    draw.text(
        (3, int(rng.integers(2, 30))),
        "".join(rng.choice(list("HPMPGOLDX0123456789"), 8)),
        fill=_fill(_colors(rng, 1)[0]),
    )
    return np.array(picture)


def near_white(sprite: Pixels, rng: np.random.Generator) -> Pixels:
    """A sprite in tones from 225 to 252 on white."""
    picture = _on((255, 255, 255))(sprite, rng)
    drawn = sprite[..., 3] > 0
    picture[drawn, :3] = 225 + picture[drawn, :3] // 9
    return picture


KINDS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "sprite, transparent": lambda sprite, rng: sprite,
    "sprite on magenta": _on((255, 0, 255)),
    "sprite on white": _on((255, 255, 255)),
    "sprite on gray": _on((128, 128, 128)),
    "flat icon": icon,
    "isometric": isometric,
    "1-px lines": lines,
    "dithering": dithering,
    "text over a scene": text,
    "near-white on white": near_white,
}


def mosaic(source: Iterator[Pixels], number: int) -> Pixels:
    """Four sprites on one flat background, cut to 32x32, in at most 16 colours; there is something everywhere."""
    grounds = [(70, 70, 80), (24, 20, 37), (235, 235, 225), (80, 110, 70)]
    while True:
        picture = np.empty((MOSAIC, MOSAIC, 4), np.uint8)
        picture[...] = (*grounds[number % len(grounds)], 255)
        for at in range(4):
            tile = next(source)
            top, left = (tile.shape[0] - MOSAIC // 2) // 2, (tile.shape[1] - MOSAIC // 2) // 2
            tile = tile[top : top + MOSAIC // 2, left : left + MOSAIC // 2]
            spot = picture[at // 2 * 16 :, at % 2 * 16 :][: tile.shape[0], : tile.shape[1]]
            spot[tile[..., 3] > 0] = tile[tile[..., 3] > 0]
        drawn = (picture[..., :3] != np.array(grounds[number % len(grounds)])).any(axis=-1)
        if drawn.mean() > 0.4:
            return lock(picture, extract_palette([picture], COLORS))


def make_cases(folder: Path, each: int, each_damage: int, seed: int) -> list[Case]:
    """`each` inputs of every kind and treatment, and `each_damage` mosaics of every damage."""
    rng = np.random.default_rng(seed)
    source = sprites(folder, rng)
    cases = []
    for kind, make in KINDS.items():
        for treatment, apply in TREATMENTS.items():
            for number in range(each):
                truth = make(next(source), rng)
                most = min(16, (2 * LONGEST if number % 10 == 0 else LONGEST) // max(truth.shape[:2]))
                factor = 1 if treatment == "x1" else int(rng.integers(2, most + 1))
                cases.append(_case(kind, treatment, truth, apply(truth, factor, rng), factor))
    for name, damage in DAMAGES.items():
        for number in range(each_damage):
            picture, seen, pitch = damage(mosaic(source, number), rng)
            cases.append(_case("mosaic", name, seen, picture, pitch))
    return cases


def _case(kind: str, treatment: str, truth: Pixels, picture: Pixels, pitch: float) -> Case:
    return Case(kind, treatment, truth, extract_palette([truth], 256), np.ascontiguousarray(picture), pitch)
