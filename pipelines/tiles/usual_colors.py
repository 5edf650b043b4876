"""Keep a terrain's usual colour under a locked palette: sand stays sand where the nearest colours would make it green.

A lock takes the nearest colour pixel by pixel, so a drawing between two hues turns into a mixture of both. Where too
much of a locked texture has another hue than the terrain, it takes shades of the palette's best colour for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.clean import settle_orphans
from pipelines.pixels.oklab import Lab, to_oklab
from pipelines.pixels.palette import Palette, lock
from pipelines.records import Pixels
from pipelines.tiles.geometry import wrapped

MOST_FOREIGN = 0.12
"""The share of pixels of another hue up to which a locked texture stays as it is."""
FAR = 0.12
"""How far (OKLab, lightness counts half) the palette's best colour may be from the usual one without a warning."""
DARKER, LIGHTER = 0.2, 0.1
"""Shares of the pixels that take a darker and a lighter shade."""
_WEIGHTS = np.array([0.5, 1, 1], np.float32)
_GRAY = 0.04
"""OKLab chroma below which a colour has no hue that an eye names."""


def foreign_share(texture: Pixels, usual: Lab) -> float:
    """Measures the share of pixels whose hue is not the usual one.

    Of a gray terrain those with a strong colour count; of a colourful one, gray pixels too.
    """
    lab = to_oklab(texture[..., :3])
    foreign = _foreign(lab, usual)
    if np.hypot(usual[1], usual[2]) > 2 * _GRAY:
        foreign |= np.hypot(lab[..., 1], lab[..., 2]) < _GRAY
    return float(foreign.mean())


def keep_usual(drawn: Pixels, locked: Pixels, usual: Lab, palette: Palette) -> tuple[Pixels, bool]:
    """Returns the locked texture, or one in shades of the terrain's colour, and whether the palette has that colour.

    Args:
        drawn: the texture before the lock, (h, w, 4).
        locked: the same in the palette's nearest colours.
        usual: the terrain's colour (OKLab).
        palette: what rules.
    """
    main, near = _main_color(usual, palette)
    if _is_usual(locked, usual):
        return locked, near
    shaded = drawn.copy()
    shaded[..., :3] = palette.rgb[_shades(drawn, drawn, main, usual, palette)]
    margin = min(4, shaded.shape[0])
    return settle_orphans(wrapped(shaded, margin))[margin:-margin, margin:-margin], near


def keep_both(
    tiles: Sequence[Pixels], palette: Palette, terrains: Sequence[tuple[int, Lab | None]]
) -> tuple[list[Pixels], list[bool]]:
    """Returns tiles that show two terrains, locked, each terrain in its usual colour; and whether the palette has it.

    In tiles that show both a pixel belongs to the terrain whose mean colour is nearer.

    Args:
        tiles: before the lock, (h, w, 4) each.
        palette: what rules.
        terrains: for each terrain the tile that shows nothing else, and its usual colour; None: any colour is right.
    """
    locked = [lock(tile, palette) for tile in tiles]
    means = np.array([to_oklab(tiles[index][..., :3]).mean(axis=(0, 1)) for index, _ in terrains])
    found = []
    for number, (index, usual) in enumerate(terrains):
        if usual is None:
            found.append(True)
            continue
        main, near = _main_color(usual, palette)
        found.append(near)
        if _is_usual(locked[index], usual):
            continue
        pure = {index: at == number for at, (index, _) in enumerate(terrains)}
        for place, (tile, done) in enumerate(zip(tiles, locked, strict=True)):
            away = np.linalg.norm((to_oklab(tile[..., :3])[..., None, :] - means) * _WEIGHTS, axis=-1)
            own = np.full(away.shape[:2], pure[place]) if place in pure else away.argmin(axis=-1) == number
            done[own, :3] = palette.rgb[_shades(tile, tiles[index], main, usual, palette)][own]
    return locked, found


def _main_color(usual: Lab, palette: Palette) -> tuple[int, bool]:
    """Finds the palette's best colour for a terrain, and whether it is near enough."""
    away = np.linalg.norm((palette.lab - usual) * _WEIGHTS, axis=-1)
    # a colour of another hue is worse than one that is lighter or darker
    away += np.where(_foreign(palette.lab, usual), 0.1, 0)
    main = int(away.argmin())
    return main, bool(away[main] <= FAR)


def _is_usual(locked: Pixels, usual: Lab) -> bool:
    mean = np.linalg.norm((to_oklab(locked[..., :3]).mean(axis=(0, 1)) - usual) * _WEIGHTS)
    return foreign_share(locked, usual) <= MOST_FOREIGN and bool(mean <= FAR)


def _shades(drawn: Pixels, pure: Pixels, main: int, usual: Lab, palette: Palette) -> NDArray[np.intp]:
    """Indices of the main colour, and of a darker and a lighter one where `drawn` is dark or light for `pure`."""
    lightness, whole = to_oklab(drawn[..., :3])[..., 0], to_oklab(pure[..., :3])[..., 0]
    indices = np.full(lightness.shape, main)
    if (darker := _shade(palette, main, usual, -1)) is not None:
        indices[lightness < np.quantile(whole, DARKER)] = darker
    if (lighter := _shade(palette, main, usual, 1)) is not None:
        indices[lightness > np.quantile(whole, 1 - LIGHTER)] = lighter
    return indices


def _shade(palette: Palette, main: int, usual: Lab, direction: int) -> int | None:
    """Finds the nearest colour to the main one that is darker (-1) or lighter (1), of a fitting hue; else None."""
    step = (palette.lab[:, 0] - palette.lab[main, 0]) * direction
    change = np.linalg.norm(palette.lab - palette.lab[main], axis=-1)
    fits = (step > 0.02) & (change < 0.25) & ~_foreign(palette.lab, usual)
    return int(np.where(fits, change, np.inf).argmin()) if fits.any() else None


def _foreign(colors: Lab, usual: Lab) -> NDArray[np.bool_]:
    """Marks colours of another hue than the usual one: more than 40 degrees away, and not a gray of its lightness."""
    chroma = np.hypot(colors[..., 1], colors[..., 2])
    if np.hypot(usual[1], usual[2]) < _GRAY:
        return chroma > 2 * _GRAY
    turn = np.arctan2(colors[..., 2], colors[..., 1]) - np.arctan2(usual[2], usual[1])
    turn = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    gray = chroma < _GRAY
    return (turn > np.radians(40)) & ~gray | gray & (np.abs(colors[..., 0] - usual[0]) > 0.2)
