"""Resize training sprites: a 16 px sprite as one of 32, and the other way round.

Pixels are enlarged eightfold without new colours (EPX, also called Scale2x: https://www.scale2x.it/algorithm), then the
most frequent colour in the area of each target pixel is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.records import Pixels


def resized(image: Pixels, longest: int, most: float = 2.25) -> Pixels:
    """Resizes what (h, w, 4) RGBA shows to `longest` pixels on its longer side, at most `most` times as large."""
    rows, columns = np.nonzero(image[..., 3])
    image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    factor = min(longest / max(image.shape[:2]), most)
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    colors, flat = np.unique(image.reshape(-1, 4), axis=0, return_inverse=True)
    names = flat.reshape(image.shape[:2]).astype(np.int32)
    clear = np.flatnonzero(colors[:, 3] == 0)
    outside = int(clear[0]) if clear.size else len(colors)
    for _ in range(3):
        names = _doubled(names, outside)
    return np.concatenate([colors, [[0, 0, 0, 0]]]).astype(np.uint8)[_sampled(names, height, width, len(colors) + 1)]


def _doubled(names: NDArray[np.int32], outside: int) -> NDArray[np.int32]:
    padded = np.pad(names, 1, constant_values=outside)
    middle = padded[1:-1, 1:-1]
    up, down, left, right = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    out = names.repeat(2, axis=0).repeat(2, axis=1)
    edge = (up != down) & (left != right)
    out[0::2, 0::2] = np.where(edge & (up == left), left, middle)
    out[0::2, 1::2] = np.where(edge & (up == right), right, middle)
    out[1::2, 0::2] = np.where(edge & (down == left), left, middle)
    out[1::2, 1::2] = np.where(edge & (down == right), right, middle)
    return out


def _sampled(names: NDArray[np.int32], height: int, width: int, count: int) -> NDArray[np.intp]:
    """Takes the commonest name under each of height x width pixels."""
    rows = (np.arange(names.shape[0]) * height) // names.shape[0]
    columns = (np.arange(names.shape[1]) * width) // names.shape[1]
    votes = np.zeros((height, width, count), np.int32)
    np.add.at(votes, (rows[:, None], columns[None, :], names), 1)
    return votes.argmax(axis=-1)
