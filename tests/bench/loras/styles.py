"""Two styles that no model has seen, made from any sprites by a rule that is written here in full.

handheld: four greens by lightness, and an outline two pixels thick in the darkest (one outside, one inside the edge).
ember: five colours from violet to cream by lightness, dithered on a 2x2 chequer, and a rim of one pixel in cream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import to_oklab
from pipelines.records import Pixels

HANDHELD = np.array([(15, 56, 15), (48, 98, 48), (139, 172, 15), (202, 220, 159)], np.uint8)
EMBER = np.array([(36, 16, 62), (110, 24, 92), (196, 48, 70), (246, 136, 50), (255, 240, 190)], np.uint8)


def handheld(image: Pixels) -> Pixels:
    """The sprite ((h, w, 4), alpha 0 or 255) in the first style."""
    opaque = image[..., 3] >= 128
    level = np.minimum((_lightness(image, opaque) * len(HANDHELD)).astype(int), len(HANDHELD) - 1)
    result = np.zeros_like(image)
    result[opaque, :3] = HANDHELD[level[opaque]]
    outline = (opaque & _beside(~opaque)) | (~opaque & _beside(opaque))
    result[outline, :3] = HANDHELD[0]
    result[opaque | outline, 3] = 255
    return result


def ember(image: Pixels) -> Pixels:
    """The sprite ((h, w, 4), alpha 0 or 255) in the second style."""
    opaque = image[..., 3] >= 128
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    chequer = np.where((x + y) % 2, 0.25, -0.25) / len(EMBER)
    level = np.clip(((_lightness(image, opaque) + chequer) * len(EMBER)).astype(int), 0, len(EMBER) - 1)
    result = np.zeros_like(image)
    result[opaque, :3] = EMBER[level[opaque]]
    result[opaque & _beside(~opaque), :3] = EMBER[-1]
    result[opaque, 3] = 255
    return result


STYLES: Mapping[str, Callable[[Pixels], Pixels]] = {"handheld": handheld, "ember": ember}


def _lightness(image: Pixels, opaque: NDArray[np.bool_]) -> NDArray[np.float64]:
    """OKLab lightness, stretched so that the sprite's own 5 % and 95 % quantiles are 0 and 1."""
    lightness = to_oklab(image[..., :3])[..., 0].astype(np.float64)
    low, high = np.quantile(lightness[opaque], (0.05, 0.95))
    return np.clip((lightness - low) / max(high - low, 0.05), 0, 1)


def _beside(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with a neighbour (of four) in `mask`; what lies outside the picture is not in it."""
    padded = np.pad(mask, 1)
    h, w = mask.shape
    return np.logical_or.reduce([padded[y : y + h, x : x + w] for y, x in ((0, 1), (1, 0), (1, 2), (2, 1))])
