"""Make pixel art larger or smaller without new colours: enlarge by Scale2x, reduce by a vote for each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import to_oklab
from pipelines.records import Pixels

_LINE_WEIGHT = 0.45
"""What an outline pixel counts in the vote of a pixel that is not at the edge of the shape."""

_LINED = 12
"""From this side on an icon keeps its outline at the edge; below, there is no room for one."""

_SHINE_WEIGHT = 1.6
"""What one of the lightest pixels counts: without lights a small shape is a blot."""

_FILLED = 0.42
"""Share of its area from which a pixel is opaque."""


def scale2x(picture: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Doubles a picture of packed colours (height, width); corners between equal pixels take their colour.

    Scale2x (Mazzoleni 2001). Alpha is compared as clear or not: it may carry a tag (`pipelines.animation.tracing`).
    """
    padded = np.pad(picture, 1, mode="edge")
    up, right, left, down = _sides(padded)
    bare = padded.view(np.uint8).reshape(*padded.shape, 4).copy()
    bare[..., 3][bare[..., 3] > 0] = 255
    up_c, right_c, left_c, down_c = _sides(bare.view(np.uint32)[..., 0])
    large = np.zeros((picture.shape[0] * 2, picture.shape[1] * 2), np.uint32)
    large[::2, ::2] = np.where((left_c == up_c) & (left_c != down_c) & (up_c != right_c), up, picture)
    large[::2, 1::2] = np.where((up_c == right_c) & (up_c != left_c) & (right_c != down_c), right, picture)
    large[1::2, ::2] = np.where((down_c == left_c) & (down_c != right_c) & (left_c != up_c), left, picture)
    large[1::2, 1::2] = np.where((right_c == down_c) & (right_c != up_c) & (down_c != left_c), down, picture)
    return large


def _sides(padded: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], ...]:
    """Returns the pixels above, right, left and below of each pixel of a picture with one more around."""
    return padded[:-2, 1:-1], padded[1:-1, 2:], padded[1:-1, :-2], padded[2:, 1:-1]


def enlarged(picture: Pixels, height: int, width: int) -> Pixels:
    """Returns a larger picture of the same colours, with smooth edges: Scale2x until it is larger, then nearest pixels.

    Args:
        picture: (h, w, 4) RGBA, alpha 0 or 255; few colours, since only equal ones make an edge.
        height, width: at least those of the picture.
    """
    large = np.ascontiguousarray(picture).view(np.uint32)[..., 0]
    while large.shape[0] < height or large.shape[1] < width:
        large = scale2x(large)
    if large.shape != (height, width):  # a finer grid to take the nearest pixels from
        large = scale2x(scale2x(large))
    rows = ((np.arange(height) + 0.5) * large.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * large.shape[1] / width).astype(np.intp)
    return np.ascontiguousarray(large[rows][:, columns])[..., None].view(np.uint8)


def reduced(picture: Pixels, height: int, width: int) -> Pixels:
    """Returns a small icon of the same colours: what is drawn fills it, and each pixel is voted for by its area.

    Outline pixels count less than others inside of the shape, so that lines do not eat it up, and the lightest more.

    Args:
        picture: (h, w, 4) RGBA, alpha 0 or 255.
        height, width: of the icon, smaller than the picture.
    """
    opaque = picture[..., 3] > 0
    if not opaque.any():
        return np.zeros((height, width, 4), np.uint8)
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    box = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(height / box.shape[0], width / box.shape[1])
    high, wide = (max(1, round(length * scale)) for length in box.shape[:2])
    down, across = _shares(box.shape[0], high), _shares(box.shape[1], wide)
    colors, index = np.unique(box[..., :3].reshape(-1, 3), axis=0, return_inverse=True)
    solid = (box[..., 3] > 0).astype(float)
    area = down @ solid @ across.T
    light = to_oklab(colors)[:, 0]
    inside = light[index.reshape(-1)][solid.reshape(-1) > 0]
    dark = light < min(0.35, float(np.quantile(inside, 0.3)) + 0.05)
    shiny = light >= float(np.quantile(inside, 0.92))
    filled = area >= _FILLED
    padded = np.pad(filled, 1)
    edge = filled & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    lined = min(height, width) >= _LINED
    votes = np.zeros((len(colors), high, wide))
    for number in range(len(colors)):
        share = down @ (solid * (index.reshape(box.shape[:2]) == number)) @ across.T
        votes[number] = share * np.where(shiny[number], _SHINE_WEIGHT, 1.0)
        if dark[number]:
            votes[number] = np.where(edge & lined, share, share * _LINE_WEIGHT)
    chosen = colors[votes.argmax(axis=0)]
    icon = np.zeros((height, width, 4), np.uint8)
    top, left = (height - high) // 2, (width - wide) // 2
    icon[top : top + high, left : left + wide] = np.where(
        filled[..., None], np.concatenate([chosen, np.full((high, wide, 1), 255, np.uint8)], axis=-1), 0
    )
    return icon


def _shares(length: int, count: int) -> NDArray[np.float64]:
    """Returns (count, length): the share of each of `count` equal parts that each of `length` pixels covers."""
    edges = np.linspace(0, length, count + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) / (length / count)
