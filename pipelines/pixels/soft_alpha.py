"""Decide what becomes of half-transparent pixels: kept, dithered to clear and solid ones, made solid, or dropped."""

from __future__ import annotations

from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from pipelines.choices import Soft
from pipelines.errors import InvalidRequest
from pipelines.pixels.clean import hard_mask
from pipelines.pixels.dither import bayer
from pipelines.records import Pixels

SOFT: tuple[str, ...] = get_args(Soft)
_NEARLY = 8
"""Alpha levels from clear or solid that count as such in a picture with noise on it."""
_ALIKE = 24
"""Alpha levels by which neighbours in a glow or a shadow may differ."""


def read_soft(value: str) -> Soft:
    """Returns the option that a user wrote.

    Raises:
        InvalidRequest: it is none of the four.
    """
    if value not in SOFT:
        raise InvalidRequest(f"soft is one of {', '.join(SOFT)}, not '{value}'.")
    return cast("Soft", value)


def has_soft(picture: Pixels) -> bool:
    """Returns whether any pixel is neither clear nor solid."""
    return bool(((picture[..., 3] > 0) & (picture[..., 3] < 255)).any())


def settle_soft(native: Pixels, soft: Soft, exact: bool) -> Pixels:
    """Settles the half-transparent pixels of `native` ((h, w, 4) RGBA) as `soft` says.

    Where alpha is not `exact`, pixels that are half clear for the blur of an edge follow their neighbours; a glow or a
    shadow is known by a neighbour of about the same alpha.
    """
    alpha = native[..., 3]
    if not ((alpha > 0) & (alpha < 255)).any():
        return native
    if not exact:
        edge = (alpha > 0) & (alpha < 255) & ~_plateau(alpha)
        alpha = np.where(edge, np.where(hard_mask(alpha), 255, 0), alpha).astype(np.uint8)
    half = (alpha > 0) & (alpha < 255)
    if soft == "dither":
        height, width = alpha.shape
        threshold = np.tile(bayer(4), (height // 4 + 1, width // 4 + 1))[:height, :width]
        alpha = np.where(half, np.where(alpha > 255 * threshold, 255, 0), alpha)
    elif soft != "keep":
        alpha = np.where(half, 255 if soft == "solid" else 0, alpha)
    result = native.copy()
    result[..., 3] = alpha
    if soft != "keep" or not exact:
        result[alpha == 0] = 0
    return result


def _plateau(alpha: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Marks half-clear pixels with a neighbour of about the same alpha."""
    value = np.pad(alpha.astype(np.int16), 1, constant_values=-999)
    middle = value[1:-1, 1:-1]
    half = (middle > _NEARLY) & (middle < 255 - _NEARLY)
    sides = (value[:-2, 1:-1], value[2:, 1:-1], value[1:-1, :-2], value[1:-1, 2:])
    return half & np.any([np.abs(side - middle) <= _ALIKE for side in sides], axis=0)
