"""Draw outlines: outer, inner, selective. A second one of the same kind changes nothing."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pipelines.choices import Outline
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels

KINDS = get_args(Outline)
DARK = 0.35
"""OKLab lightness up to which a colour serves as an outline."""


def _touches(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Returns for each of the four sides whether the neighbour there is in `mask`."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return [padded[y : y + height, x : x + width] for y, x in ((0, 1), (1, 0), (1, 2), (2, 1))]


def draw_outline(image: Pixels, kind: str, palette: Palette) -> Pixels:
    """Outlines `image` ((h, w, 4), alpha 0 or 255) in colours of `palette`.

    outer: the palette's darkest colour round the sprite, one pixel outside, where the edge is not dark already.
    inner: the same on the sprite's own edge pixels. selective: outside, in the darkest colour of the hue it touches.
    """
    if kind == "none":
        return image
    mask = image[..., 3] == 255
    lab = palette.lab
    lightness = lab[:, 0]
    darkest = int(lightness.argmin())
    result = image.copy()
    if kind == "inner":
        edge = mask & np.logical_or.reduce(_touches(~mask))
        result[edge, :3] = palette.rgb[darkest]
        return result
    color_of = to_oklab(image[..., :3])
    lines = {tuple(map(int, palette.rgb[i])) for i in ([darkest] if kind == "outer" else _dark(lightness, darkest))}
    packed = image[..., 0].astype(np.int64) << 16 | image[..., 1].astype(np.int64) << 8 | image[..., 2]
    drawn = np.isin(packed, [r << 16 | g << 8 | b for r, g, b in lines])
    source = mask & ~drawn
    ring = ~mask & np.logical_or.reduce(_touches(source))
    result[ring, 3] = 255
    if kind == "outer":
        result[ring, :3] = palette.rgb[darkest]
        return result
    for row, column in np.argwhere(ring):
        near = [
            color_of[row + dy, column + dx]
            for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0))
            if 0 <= row + dy < mask.shape[0] and 0 <= column + dx < mask.shape[1] and source[row + dy, column + dx]
        ]
        touched = np.mean(near, axis=0)
        choices = _dark(lightness, darkest)
        distance = np.linalg.norm(lab[choices, 1:] - touched[1:], axis=1)
        result[row, column, :3] = palette.rgb[choices[int(distance.argmin())]]
    return result


def _dark(lightness: NDArray[np.float32], darkest: int) -> list[int]:
    """Indices of the colours that may be a selective outline."""
    return sorted({darkest, *np.flatnonzero(lightness <= DARK).tolist()})
