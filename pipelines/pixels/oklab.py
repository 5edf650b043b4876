"""Convert between sRGB and OKLab, the colour space in which distances are measured here.

Source: Björn Ottosson, "A perceptual color space for image processing" (2020). Distances are Euclidean; 0.02 is about
the smallest step that an eye sees between two flat areas, black to white is 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float32]
"""(..., 3): lightness 0..1, a, b about -0.4..0.4."""

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_LMS, _FROM_LAB = np.linalg.inv(_TO_LMS), np.linalg.inv(_TO_LAB)
_PART = 1 << 20
_LEVEL = np.arange(256) / 255
_LINEAR = np.where(_LEVEL <= 0.04045, _LEVEL / 12.92, ((_LEVEL + 0.055) / 1.055) ** 2.4)


def to_oklab(rgb: NDArray[np.uint8]) -> Lab:
    """Converts (..., 3) sRGB bytes to OKLab."""
    rows = rgb.reshape(-1, 3)
    lab = np.empty(rows.shape, np.float32)
    for begin in range(0, len(rows), _PART):  # in parts: double precision takes ten times the memory of the bytes
        part = slice(begin, begin + _PART)
        lab[part] = np.cbrt(_LINEAR[rows[part]] @ _TO_LMS.T) @ _TO_LAB.T
    return lab.reshape(rgb.shape)


def from_oklab(lab: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Converts (..., 3) OKLab to the nearest sRGB bytes; what lies outside sRGB is clipped."""
    linear = np.clip((np.asarray(lab, np.float64) @ _FROM_LAB.T) ** 3 @ _FROM_LMS.T, 0, 1)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)
