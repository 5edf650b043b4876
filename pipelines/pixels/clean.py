"""Clean-up at native size: hard alpha, specks, orphan pixels. Every step comes to rest: done twice it does no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.gates import find_orphans, label_parts
from pipelines.pixels.oklab import Lab, to_oklab
from pipelines.records import Pixels

Mask = NDArray[np.bool_]
ORPHAN_STEP = 0.12
"""OKLab distance up to which a lone pixel is noise; beyond it is an eye, a gem, a highlight."""
_SIDES = ((0, 1), (2, 1), (1, 0), (1, 2))


def hard_mask(alpha: NDArray[np.uint8]) -> Mask:
    """(h, w): alpha >= 128, and the half-clear pixels (>= 64) that solid ones enclose on all four sides."""
    mask = alpha >= 128
    padded = np.pad(mask, 1)
    enclosed = np.logical_and.reduce([padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y, x in _SIDES])
    return mask | (enclosed & (alpha >= 64))


def drop_specks(mask: Mask, alpha: NDArray[np.uint8]) -> Mask:
    """`mask` without its loose bits: 8-connected parts under 3 pixels or 1 % of the largest. Solid sparks stay."""
    labels = label_parts(mask)
    count = int(labels.max())
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    solid = np.bincount(labels.ravel(), alpha.ravel(), count + 1) / np.maximum(sizes, 1) >= 250
    keep = (sizes >= max(3, 0.01 * sizes[1:].max())) | solid
    keep[0] = False
    keep[int(sizes[1:].argmax()) + 1] = True
    return keep[labels]


def settle_orphans(image: Pixels, step: float = ORPHAN_STEP) -> Pixels:
    """Opaque pixels alone in their colour take that of two or more of their four neighbours, when within `step`.

    Each change takes one orphan away and makes none (the four passes touch no two neighbours at once), so it ends.
    """
    image = image.copy()
    lab = to_oklab(image[..., :3])
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    turn = y % 2 * 2 + x % 2
    changed = True
    while changed:
        changed = False
        for current in range(4):
            rows, columns = np.nonzero(find_orphans(image) & (turn == current))
            at = rows, columns
            source = _majority(image, lab, at, step)
            moved = source[0] >= 0
            target, source = (at[0][moved], at[1][moved]), (source[0][moved], source[1][moved])
            image[target], lab[target] = image[source], lab[source]
            changed |= bool(moved.any())
    return image


def _majority(
    image: Pixels, lab: Lab, at: tuple[NDArray[np.intp], NDArray[np.intp]], step: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each pixel of `at`: where a four-neighbour stands whose colour another one shares; (-1, -1) where none."""
    height, width = image.shape[:2]
    rows = np.stack([at[0] + dy - 1 for dy, _ in _SIDES], axis=1)
    columns = np.stack([at[1] + dx - 1 for _, dx in _SIDES], axis=1)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    around = image[rows, columns].astype(np.int64)
    solid = inside & (around[..., 3] >= 128)
    color = np.where(solid, around[..., 0] << 16 | around[..., 1] << 8 | around[..., 2], -1)
    votes = ((color[:, :, None] == color[:, None]) & solid[:, :, None]).sum(axis=1)
    distance = np.linalg.norm(lab[rows, columns] - lab[at][:, None], axis=-1)
    # most votes first, then the nearest colour
    rank = np.where((votes >= 2) & (distance <= step), votes - np.minimum(distance, 0.999), -1.0)
    best = rank.argmax(axis=1)
    each = np.arange(len(best))
    found = rank[each, best] > 0
    return np.where(found, rows[each, best], -1), np.where(found, columns[each, best], -1)
