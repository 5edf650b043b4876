"""Layers that lie over or under an atlas at the same places: outline, shadow, normal map; and team colours."""

from __future__ import annotations

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


def normal_layer(image: Pixels, strength: float = 2.0) -> Pixels:
    """Returns a normal map, x to the right, y up, as Bevy reads it; alpha is the picture's.

    Height is guessed: the distance from the outline, rounded off, plus a little of the smoothed lightness. Slopes are
    Sobel's.

    Args:
        image: (h, w, 4).
        strength: how steep the slopes are.
    """
    drawn = image[..., 3] > 0
    distance = np.asarray(ndimage.distance_transform_edt(np.pad(drawn, 1)))[1:-1, 1:-1]
    reach = max(2.0, float(np.percentile(distance[drawn], 90)) if drawn.any() else 2.0)
    dome = np.sqrt(1 - (1 - np.clip(distance / reach, 0, 1)) ** 2) * reach * 0.6
    lightness = np.where(drawn, to_oklab(image[..., :3])[..., 0], 0.0)
    inside = np.maximum(ndimage.gaussian_filter(drawn.astype(np.float64), 0.7), 1e-6)
    height = ndimage.gaussian_filter(dome, 0.6) + 0.8 * ndimage.gaussian_filter(lightness, 0.7) / inside * drawn
    slope_x, slope_y = ndimage.sobel(height, axis=1) / 8, ndimage.sobel(height, axis=0) / 8
    normal = np.stack([-slope_x * strength, slope_y * strength, np.ones_like(height)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    layer = np.zeros_like(image)
    layer[..., :3] = np.rint((normal + 1) * 127.5).astype(np.uint8)
    layer[..., 3] = np.where(drawn, 255, 0)
    layer[~drawn] = 0
    return layer


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
