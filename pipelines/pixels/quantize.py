"""Count the colours of pictures, and cluster them in OKLab."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import from_oklab, to_oklab
from pipelines.records import Pixels

SAME = 0.03
"""OKLab distance under which two extracted colours are one colour with noise on it."""
_MANY = 4096


ALPHA = np.array([0, 0, 0, 255], np.uint8).view(np.uint32)[0]
"""The bits of a pixel read as one word that are its alpha."""


def as_words(image: Pixels) -> NDArray[np.uint32]:
    """Views `image` ((h, w, 4) RGBA) as (h, w) with one word for each pixel: one comparison or gather instead of four.

    A view, also of a turned picture; a copy only where the four bytes of a pixel do not lie side by side.
    """
    return (image if image.strides[-1] == 1 else np.ascontiguousarray(image)).view(np.uint32)[..., 0]


def as_bytes(words: NDArray[np.uint32]) -> Pixels:
    """Returns (h, w) words of `as_words` as a picture, (h, w, 4) RGBA, contiguous."""
    return np.ascontiguousarray(words)[..., None].view(np.uint8)


def pack(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Packs (..., 3 or 4) bytes as 0xRRGGBB; alpha is left out."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return red * 65536 + green * 256 + blue


def unpack(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Unpacks 0xRRGGBB to (..., 3) bytes."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)


def color_counts(images: Sequence[Pixels]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Counts the colours of all pixels with alpha >= 128: (n, 3) sorted by value, and how often each occurs."""
    codes = [pack(picture)[picture[..., 3] >= 128] for picture in images] or [np.zeros(0, np.uint32)]
    unique, counts = np.unique(np.concatenate(codes), return_counts=True)
    return unpack(unique), counts.astype(np.int64)


def few_colors(rgb: NDArray[np.uint8], counts: NDArray[np.int64], count: int, same: float) -> NDArray[np.uint8]:
    """Reduces (n, 3) colours, each as often as `counts` says, to (k, 3) with k <= `count`.

    Farthest-point start (so nothing is random), Lloyd's iterations, then clusters nearer than `same` become one, since
    noise in a flat area does not count as a second colour.
    """
    lab, weight = to_oklab(rgb).astype(np.float64), np.sqrt(counts)
    if len(lab) > _MANY:
        # a photograph: bins of five bits a channel, each at its mean, cost no visible colour
        code = (rgb >> 3).astype(np.int64) @ np.array([1 << 10, 1 << 5, 1])
        lab, weight = _means(lab, weight, np.unique(code, return_inverse=True)[1], len(lab))
    return from_oklab(_clusters(lab, weight, count, same))


def _clusters(lab: NDArray[np.float64], weight: NDArray[np.float64], count: int, same: float) -> NDArray[np.float64]:
    centers = _farthest_points(lab, weight, count)
    for _ in range(30):
        means, _ = _means(lab, weight, nearest_rows(lab, centers), len(centers))
        moved = float(np.abs(means - centers).max()) if len(means) == len(centers) else 1.0
        centers = means
        if moved < 1e-4:
            break
    centers, mass = _means(lab, weight, nearest_rows(lab, centers), len(centers))
    while len(centers) > 1:
        distance = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
        distance[np.diag_indices(len(centers))] = np.inf
        a, b = divmod(int(distance.argmin()), len(centers))
        if distance[a, b] >= same:
            break
        centers[a] = (centers[a] * mass[a] + centers[b] * mass[b]) / (mass[a] + mass[b])
        mass[a] += mass[b]
        centers, mass = np.delete(centers, b, axis=0), np.delete(mass, b)
    return centers


def _farthest_points(lab: NDArray[np.float64], weight: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Starts at the heaviest colour; then always the colour with the largest distance x weight**0.5 to those chosen."""
    chosen = [int(weight.argmax())]
    distance = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    pull = np.sqrt(weight)
    while len(chosen) < count:
        index = int((distance * pull).argmax())
        if distance[index] <= 0:
            break
        chosen.append(index)
        distance = np.minimum(distance, np.linalg.norm(lab - lab[index], axis=1))
    return lab[chosen]


def _means(
    lab: NDArray[np.float64], weight: NDArray[np.float64], label: NDArray[np.intp], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mass = np.bincount(label, weight, count).astype(np.float64)
    sums = np.stack([np.bincount(label, weight * lab[:, c], count) for c in range(3)], axis=1)
    used = mass > 0
    return sums[used] / mass[used, None], mass[used]


def nearest_rows(lab: NDArray[np.floating], centers: NDArray[np.floating]) -> NDArray[np.intp]:
    """Finds the index of the nearest centre for each row: (n, 3), (k, 3) -> (n,). The first of equals wins."""
    # |x - c|^2 without |x|^2: one matrix product instead of an (n, k, 3) array
    return (np.einsum("kc,kc->k", centers, centers) - 2 * lab @ centers.T).argmin(axis=1)
