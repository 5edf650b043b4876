"""Layers that lie over or under an atlas at the same places: outline, shadow, normal map; and team colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.effects.ramps import RAMPS
from pipelines.embedded.colors import COLORS, name_pixels
from pipelines.pixels.oklab import from_oklab, to_oklab
from pipelines.pixels.palette import Palette, lock
from pipelines.records import Pixels

TEAM_HUES = ("red", "blue", "green", "purple", "cyan", "pink", "yellow")
"""Colours that may be a team's; skin, wood and metal are none of them. Of equal shares the first is taken."""
_LEAST_SHARE = 0.03


def outline_layer(image: Pixels, color: tuple[int, int, int]) -> Pixels:
    """Returns the pixels around what is drawn (its four sides), in one colour; under the sprite it is an outline."""
    drawn = image[..., 3] > 0
    rim = np.asarray(ndimage.binary_dilation(drawn), bool) & ~drawn
    return _flat(rim, color)


def shadow_layer(image: Pixels, color: tuple[int, int, int]) -> Pixels:
    """Returns what is drawn, moved by a pixel to the right and down, without the sprite itself, in one colour."""
    drawn = image[..., 3] > 0
    moved = np.zeros_like(drawn)
    moved[1:, 1:] = drawn[:-1, :-1]
    return _flat(moved & ~drawn, color)


def _flat(mask: NDArray[np.bool_], color: tuple[int, int, int]) -> Pixels:
    layer = np.zeros((*mask.shape, 4), np.uint8)
    layer[mask] = (*color, 255)
    return layer


BEVEL = 2.5, 2.0
"""Pixels over which the outline and the shapes inside are rounded."""
HEIGHTS = 0.7, 0.25, 0.55, 2.5
"""Shares of the rounded outline, the whole body's dome, the shapes inside and the lightness in the guessed height."""
DARK = 0.3
"""OKLab lightness of lines between shapes; the least pixels of a shape are SHAPE."""
SHAPE = 8


def normal_layer(image: Pixels, strength: float = 2.0) -> Pixels:
    """Returns a normal map, x to the right, y up, as Bevy reads it; alpha is the picture's.

    Height is guessed, for each thing that is drawn apart from the others: an outline rounded over a few pixels, a
    little of a dome over the whole, a rounding of each shape inside (neighbouring pixels of one colour name between
    dark lines), and where a pixel is lighter than its surroundings. Slopes are Sobel's.

    Args:
        image: (h, w, 4), a sprite or an atlas.
        strength: how steep the slopes are.
    """
    layer = np.zeros_like(image)
    marks, _ = _labels(image[..., 3] > 0, corners=True)
    for number, box in enumerate(ndimage.find_objects(marks), start=1):
        drawn = np.pad(marks[box] == number, 1)
        height = _height(np.pad(image[box], ((1, 1), (1, 1), (0, 0))), drawn)
        slope_x, slope_y = ndimage.sobel(height, axis=1) / 8, ndimage.sobel(height, axis=0) / 8
        normal = np.stack([-slope_x * strength, slope_y * strength, np.ones_like(height)], axis=-1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        inside = drawn[1:-1, 1:-1]
        layer[box][inside, :3] = np.rint((normal[1:-1, 1:-1][inside] + 1) * 127.5).astype(np.uint8)
        layer[box][inside, 3] = 255
    return layer


def _height(image: Pixels, drawn: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Guesses the height in pixels of one thing; `drawn` (h, w) has a clear line of pixels around it."""
    lightness = to_oklab(image[..., :3])[..., 0].astype(np.float64)
    distance = np.asarray(ndimage.distance_transform_edt(drawn))
    names = name_pixels(image[..., :3].reshape(-1, 3)).reshape(drawn.shape)
    shapes = np.zeros(drawn.shape)
    for name in np.unique(names[drawn]):
        marks, _ = _labels(drawn & (names == name) & (lightness >= DARK))
        large = np.bincount(marks.ravel()) >= SHAPE
        large[0] = False
        shapes += _rounded(np.asarray(ndimage.distance_transform_edt(large[marks])), BEVEL[1])
    detail = _blurred(lightness, drawn, 0.6) - _blurred(lightness, drawn, 2.5)
    reach = max(2.0, float(np.percentile(distance[drawn], 90)))
    parts = _rounded(distance, BEVEL[0]), _rounded(distance, reach), shapes, detail
    height = np.sum([share * part for share, part in zip(HEIGHTS, parts, strict=True)], axis=0)
    return _blurred(height, drawn, 0.5)


def _labels(mask: NDArray[np.bool_], *, corners: bool = False) -> tuple[NDArray[np.intp], int]:
    made: Any = ndimage.label(mask, np.ones((3, 3), bool) if corners else None)
    return np.asarray(made[0], np.intp), int(made[1])


def _rounded(distance: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Returns the height of a quarter circle of radius `reach` at a distance from an edge, flat beyond it."""
    return np.sqrt(1 - (1 - np.clip(distance / reach, 0, 1)) ** 2) * reach


def _blurred(values: NDArray[np.float64], mask: NDArray[np.bool_], sigma: float) -> NDArray[np.float64]:
    """Returns a Gaussian mean of the values inside the mask alone; 0 outside."""
    weight = np.maximum(ndimage.gaussian_filter(mask.astype(np.float64), sigma), 1e-6)
    return np.asarray(ndimage.gaussian_filter(np.where(mask, values, 0.0), sigma) / weight * mask)


def lit(image: Pixels, normal: Pixels, light: tuple[float, float, float]) -> Pixels:
    """Returns the picture under one light (x to the right, y up, z to the viewer), as a game would show it."""
    direction = np.array(light, np.float64)
    direction /= np.linalg.norm(direction)
    facing = (normal[..., :3].astype(np.float64) / 127.5 - 1) @ direction
    shade = 0.35 + 0.85 * np.clip(facing, 0, 1)
    shown = image.copy()
    shown[..., :3] = np.clip(np.rint(image[..., :3] * shade[..., None]), 0, 255).astype(np.uint8)
    return shown


def team_hue(image: Pixels) -> str:
    """Returns the name of the colour that marks a team: the commonest of TEAM_HUES; empty where none covers 3 %."""
    drawn = image[image[..., 3] > 0][:, :3]
    if not len(drawn):
        return ""
    names = np.bincount(name_pixels(drawn), minlength=len(COLORS)) / len(drawn)
    shares = {hue: float(names[COLORS.index(hue)]) for hue in TEAM_HUES}
    best = max(shares, key=lambda hue: shares[hue])
    return best if shares[best] >= _LEAST_SHARE else ""


def recolored(image: Pixels, hue: str, team: str, palette: Palette | None = None) -> Pixels:
    """Returns the picture with the pixels of one colour name in another ramp's hue, with their steps of lightness.

    Args:
        image: (h, w, 4).
        hue: a name of COLORS.
        team: a name of RAMPS.
        palette: the locked palette, whose nearest colours are taken; None: any colour.
    """
    mask = (image[..., 3] > 0) & (name_pixels(image[..., :3]) == COLORS.index(hue))
    if not mask.any():
        return image
    ramp = to_oklab(np.array(RAMPS[team], np.uint8)).astype(np.float64)
    lightness = to_oklab(image[mask][:, :3])[:, 0].astype(np.float64)
    # most of the way to the ramp's own middle; yellow and white are themselves only where they are light
    middle = ramp[3 if team in ("yellow", "white") else 2, 0]
    lightness += 0.75 * (middle - lightness.mean())
    lab = np.stack([np.interp(lightness, ramp[:, 0], ramp[:, channel]) for channel in range(3)], axis=1)
    result = image.copy()
    colors = np.concatenate([from_oklab(lab), np.full((len(lab), 1), 255, np.uint8)], axis=1)
    if palette is not None:
        colors = lock(colors[None], palette)[0]
    result[mask] = colors
    return result
