"""Colour words: which of twelve names a pixel has, and which colours a picture is made of.

Owns the borders between the names (in OKLab) and nothing else. Captions and the evaluation both read colours here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import from_oklab, to_oklab

COLORS = ("black", "gray", "white", "brown", "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
"""The twelve names; a pixel's name is an index into this."""

ACHROMATIC = 3
"""The first so many COLORS have no hue."""

SAID_FOR: Mapping[str, str] = {
    "grey": "gray", "silver": "gray", "steel": "gray", "gold": "yellow", "golden": "yellow", "tan": "brown",
    "beige": "brown", "teal": "cyan", "turquoise": "cyan", "magenta": "pink", "violet": "purple", "crimson": "red",
    "scarlet": "red", "maroon": "red", "lime": "green", "olive": "green", "navy": "blue", "ivory": "white",
    "lavender": "purple", "bronze": "brown", "copper": "orange", "cream": "white",
}  # fmt: skip
"""Other colour words that captions use, and the name whose pixels they mean."""


def name_pixels(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Index into COLORS for each pixel: (..., 3) sRGB bytes -> (...)."""
    lab = to_oklab(rgb)
    lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    index = {name: i for i, name in enumerate(COLORS)}
    rules = [
        ((lightness < 0.24) & (chroma < 0.10), "black"),
        ((chroma < 0.035) & (lightness < 0.33), "black"),
        ((chroma < 0.035) & (lightness > 0.84), "white"),
        (chroma < 0.035, "gray"),
        ((hue >= 330) & (lightness > 0.58) | (hue < 20) & (lightness > 0.66), "pink"),
        ((hue >= 345) | (hue < 38), "red"),
        ((hue < 80) & ((lightness < 0.60) | (chroma < 0.085)), "brown"),
        (hue < 76, "orange"),
        ((hue < 100) & (lightness < 0.55), "brown"),
        (hue < 113, "yellow"),
        (hue < 168, "green"),
        (hue < 222, "cyan"),
        (hue < 284, "blue"),
        ((hue >= 318) & (lightness > 0.62), "pink"),
        (hue < 345, "purple"),
    ]
    return np.select([rule for rule, _ in rules], [index[name] for _, name in rules], index["red"])


def color_shares(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of each of COLORS among the opaque pixels of (h, w, 4) RGBA; zeros for an empty picture."""
    names = name_pixels(image[image[..., 3] >= 128][:, :3])
    return np.bincount(names, minlength=len(COLORS)) / max(1, names.size)


def main_colors(shares: NDArray[np.float64]) -> list[str]:
    """The colours that a person would name, the first one first: large groups, those with a hue before the others.

    Black outlines and gray shading are in most sprites, so a hue needs a fifth of the pixels to come first, and half
    as much as the largest hue to be named second.
    """
    pull = shares.copy()
    pull[:ACHROMATIC] *= 0.45
    pull[COLORS.index("black")] *= 0.65
    order = [i for i in np.argsort(-pull, kind="stable") if pull[i] > 0]
    return [
        COLORS[i] for n, i in enumerate(order[:3]) if n == 0 or (shares[i] >= 0.08 and pull[i] >= 0.35 * pull[order[0]])
    ]


def shift_colors(rgb: NDArray[np.uint8], turn: float, saturation: float, lightness: float) -> NDArray[np.uint8]:
    """(n, 3) sRGB bytes with the hue turned by `turn` degrees, the chroma scaled, and the lightness scaled around 0."""
    lab = to_oklab(rgb).astype(np.float64)
    angle = np.radians(turn)
    a, b = lab[:, 1] * saturation, lab[:, 2] * saturation
    lab[:, 1], lab[:, 2] = a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)
    lab[:, 0] *= lightness
    return from_oklab(lab)
