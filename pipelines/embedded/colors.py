"""Name colours: which of twelve names a pixel has, and which main colours a picture has.

The borders between the names are distances in OKLab. Captions and the evaluation use the same functions.
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
    """Names each pixel by an index into COLORS: (..., 3) sRGB bytes -> (...)."""
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
    """Returns the share of each of COLORS among the opaque pixels of (h, w, 4) RGBA; zeros for an empty picture."""
    names = name_pixels(image[image[..., 3] >= 128][:, :3])
    return np.bincount(names, minlength=len(COLORS)) / max(1, names.size)


def main_colors(shares: NDArray[np.float64]) -> list[str]:
    """Lists the colours that a person would name, the first one first: large groups, those with a hue before others.

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


def turn_hue(rgb: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Turns every hue of (n, 3) sRGB bytes by so many degrees in OKLab."""
    lab = to_oklab(rgb).astype(np.float64)
    _turn(lab, np.radians(degrees))
    return from_oklab(lab)


_LOOKS: Mapping[str, tuple[float | None, float, float, float]] = {
    "black": (None, 0.30, 0.12, 0.24),
    "gray": (None, 0.12, 0.45, 0.75),
    "white": (None, 0.15, 0.88, 0.95),
    "brown": (58, 0.08, 0.32, 0.52),
    "red": (27, 0.17, 0.42, 0.58),
    "orange": (61, 0.15, 0.66, 0.78),
    "yellow": (100, 0.15, 0.76, 0.92),
    "green": (143, 0.14, 0.40, 0.80),
    "cyan": (196, 0.10, 0.55, 0.88),
    "blue": (260, 0.15, 0.35, 0.70),
    "purple": (304, 0.15, 0.34, 0.56),
    "pink": (352, 0.14, 0.68, 0.84),
}
"""Each name's hue in degrees, its least chroma (without a hue: what is left of the chroma), and its lightness."""


def repaint(
    rgb: NDArray[np.uint8], counts: NDArray[np.intp], color: str, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Repaints a sprite's (n, 3) sRGB bytes, which occur `counts` times: its main colour becomes `color`.

    All hues turn together, lights and shadows keep their order, outlines stay dark. Grays of a gray sprite are tinted.
    """
    lab = to_oklab(rgb).astype(np.float64)
    names = name_pixels(rgb)
    # a coloured outline is not the sprite's colour: what is darker stays as dark, unless the sprite is dark altogether
    outline = lab[:, 0] < 0.42
    if counts[~outline].sum() < 0.45 * counts.sum():
        outline[:] = False
    shares = np.bincount(names[~outline], counts[~outline], len(COLORS)) / counts[~outline].sum()
    group = (names == COLORS.index(main_colors(shares)[0])) & ~outline
    lightness, a, b = np.average(lab[group], axis=0, weights=counts[group])
    hue, chroma, low, high = _LOOKS[color]
    if hue is None:
        lab[:, 1:] *= chroma
    elif np.hypot(a, b) < 0.04:
        strength = chroma * rng.uniform(0.7, 1.1)
        dull = np.hypot(lab[:, 1], lab[:, 2]) < 0.06
        dull &= (lab[:, 0] > 0.2) & (lab[:, 0] < 0.97)
        angle = np.radians(hue + rng.uniform(-7, 7))
        fade = np.minimum(1, (1.02 - lab[:, 0]) / 0.3)[:, None]
        lab[dull, 1:] += (strength * fade * np.array([np.cos(angle), np.sin(angle)]))[dull]
    else:
        _turn(lab, np.radians(hue + rng.uniform(-7, 7)) - np.arctan2(b, a))
        now = np.hypot(a, b)
        lab[:, 1:] *= (chroma if color == "brown" else max(now, chroma)) / now * rng.uniform(0.85, 1.15)
    wanted = float(np.clip(lightness * rng.uniform(0.92, 1.08), low, high))
    outline &= wanted > lab[:, 0] + 0.1
    kept = lab[outline, 0].copy()
    dark = lab[:, 0] <= lightness
    lab[dark, 0] *= wanted / max(lightness, 0.05)
    lab[~dark, 0] = 1 - (1 - lab[~dark, 0]) * (1 - wanted) / max(1 - lightness, 0.05)
    lab[outline, 0] = kept
    return from_oklab(lab)


def _turn(lab: NDArray[np.float64], angle: float) -> None:
    a, b = lab[:, 1].copy(), lab[:, 2].copy()
    lab[:, 1], lab[:, 2] = a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)
