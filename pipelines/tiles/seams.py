"""Measure a set of tiles: whether its sides fit to the pixel, and how visible its seams are.

Two sides fit when every tile with the same class at a side has the same strip of pixels there. The visibility of a seam
is the colour step across it relative to the steps inside the tiles, in OKLab.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.gates import Report
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette
from pipelines.pixels.quantize import color_counts
from pipelines.records import Pixels
from pipelines.tiles.layouts import Sides

SEAM_LIMIT = 1.6
"""The most that the step across any legal seam may be, as a multiple of the mean step inside the tiles."""
LEAST_STEP = 0.004
"""Steps below this (a fifth of what an eye sees) count as this: a flat tile has no ratio."""


@dataclass(frozen=True, slots=True)
class Seams:
    """Colour steps over seams as multiples of the mean step inside the tiles.

    `ratio` is the mean over all legal pairs, `worst` that of the worst pair, `interior` that of the worst line of
    pixels inside any tile, and `pairs` the number of legal pairs (east-west and north-south).
    """

    ratio: float
    worst: float
    interior: float
    pairs: int


def features(image: Pixels) -> NDArray[np.float32]:
    """Returns (h, w, 4), OKLab times alpha, and alpha: a clear pixel is far from solid ones, equal to clear ones."""
    alpha = image[..., 3:].astype(np.float32) / 255
    return np.concatenate([to_oklab(image[..., :3]) * alpha, alpha], axis=-1, dtype=np.float32)


def texture_seam(texture: Pixels) -> tuple[float, float]:
    """Returns (x, y), the step across a texture's own wrap against the mean step inside it, per axis."""
    values = features(texture)
    return _wrap(values, 1), _wrap(values, 0)


def _wrap(values: NDArray[np.float32], axis: int) -> float:
    steps = np.linalg.norm(values - np.roll(values, -1, axis), axis=-1)
    lines = steps.mean(axis=1 - axis)
    return float(max(lines[-1], LEAST_STEP) / max(lines[:-1].mean(), LEAST_STEP))


def count_strips(tiles: Sequence[Pixels], sides: Sequence[Sides]) -> dict[tuple[int, Hashable], int]:
    """Counts the different strips of each (side, what it shows): 1 in a set that fits."""
    strips: dict[tuple[int, Hashable], set[bytes]] = defaultdict(set)
    for tile, shown in zip(tiles, sides, strict=True):
        for side, (what, strip) in enumerate(zip(shown, (tile[0], tile[:, -1], tile[-1], tile[:, 0]), strict=True)):
            if what is not None:
                strips[side, what].add(strip.tobytes())
    return {key: len(found) for key, found in strips.items()}


def measure_seams(tiles: Sequence[Pixels], sides: Sequence[Sides]) -> Seams:
    """Returns the steps across every legal pair of tiles (h, w, 4)."""
    values = [features(tile) for tile in tiles]
    inside = [np.linalg.norm(np.diff(v, axis=axis), axis=-1).mean(axis=1 - axis) for v in values for axis in (0, 1)]
    mean = max(float(np.mean(np.concatenate(inside))), LEAST_STEP)
    steps = [
        float(np.linalg.norm(before - after, axis=-1).mean())
        for first, second, near, far in ((1, 3, np.s_[:, -1], np.s_[:, 0]), (2, 0, np.s_[-1], np.s_[0]))
        for i, a in enumerate(sides)
        for j, b in enumerate(sides)
        if a[first] is not None and a[first] == b[second]
        for before, after in [(values[i][near], values[j][far])]
    ]
    if not steps:
        return Seams(0.0, 0.0, 0.0, 0)
    return Seams(
        float(np.mean(steps)) / mean, max(steps) / mean, float(np.max(np.concatenate(inside))) / mean, len(steps)
    )


def check_tiles(
    atlas: Pixels,
    tiles: Sequence[Pixels],
    sides: Sequence[Sides],
    size: tuple[int, int],
    palette: Palette,
    colors: int,
) -> Report:
    """Checks a tileset's gates; the atlas is to measure `size` (width, height) and may have at most `colors`."""
    strips = count_strips(tiles, sides)
    seams = measure_seams(tiles, sides)
    found, _ = color_counts([atlas])
    inside = {tuple(map(int, color)) for color in found} <= set(palette.colors)
    gates = {
        "size_exact": atlas.shape[:2] == (size[1], size[0]),
        "alpha_hard": bool(np.isin(atlas[..., 3], (0, 255)).all()),
        "in_palette": inside and len(found) <= colors,
        "one_strip_per_side": max(strips.values(), default=1) == 1,
        "seams_within": seams.worst <= SEAM_LIMIT,
    }
    scores = {
        "seam_ratio": seams.ratio,
        "seam_worst_pair": seams.worst,
        "interior_worst_line": seams.interior,
        "legal_pairs": float(seams.pairs),
        "strips": float(max(strips.values(), default=1)),
        "colors": float(len(found)),
    }
    return Report(gates, scores)
