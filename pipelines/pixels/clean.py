"""Clean pictures at native size: hard alpha, specks, noise in flat areas, orphan pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.gates import find_orphans, label_parts
from pipelines.pixels.oklab import Lab, to_oklab
from pipelines.pixels.palette import Palette, nearest_index, paint
from pipelines.records import Pixels

Mask = NDArray[np.bool_]
ORPHAN_STEP = 0.12
"""OKLab distance up to which a lone pixel is noise; beyond it is an eye, a gem, a highlight."""
CALM = 0.0003
"""What a neighbour of the same colour is worth, in squared OKLab distance: more also takes the grain out of grass."""
_FEW = 64
"""Colours of a palette up to which all distances fit into memory."""
_ROUNDS = 3
_AROUND = tuple((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1))
_CLOSENESS = np.array([0.7, 1.0, 0.7, 1.0, 1.0, 0.7, 1.0, 0.7], np.float32)
"""Of the neighbours in _AROUND: those at the corners are farther."""
_SIDES = ((0, 1), (2, 1), (1, 0), (1, 2))


def hard_mask(alpha: NDArray[np.uint8]) -> Mask:
    """Thresholds alpha (h, w) at 128; half-clear pixels (64..191) follow their four neighbours where these agree.

    So pinholes close and jags that hang on by a corner go, and what was drawn solid or clear stays as drawn.
    """
    mask = alpha >= 128
    padded = np.pad(mask, 1)
    sides = np.sum([padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y, x in _SIDES], axis=0)
    doubtful = (alpha >= 64) & (alpha < 192)
    return (mask | (doubtful & (sides == 4))) & ~(doubtful & (sides == 0))


def drop_specks(mask: Mask, alpha: NDArray[np.uint8]) -> Mask:
    """Removes loose bits of `mask`: 8-connected parts under 3 pixels or 1 % of the largest. Solid sparks stay."""
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


def settle_noise(
    image: Pixels, palette: Palette, weight: float = CALM, index: NDArray[np.intp] | None = None
) -> Pixels:
    """Locks `image` to `palette`, each pixel in the colour that suits both itself and its eight neighbours.

    The energy of a Potts model (squared OKLab distance to the pixel, less `weight` for every neighbour of the same
    colour) is brought down by iterated conditional modes (Besag 1986). Noise in flat areas goes, edges stay. `index` is
    what `nearest_index` found, where it is known.
    """
    if index is None:
        index = nearest_index(image, palette)
    solid = image[..., 3] >= 128
    height, width = solid.shape
    lab, colors = to_oklab(image[..., :3]), palette.lab
    label = np.full((height + 2, width + 2), -1, np.intp)
    label[1:-1, 1:-1] = np.where(solid, index, -1)
    y, x = np.mgrid[0:height, 0:width]
    turns = [np.nonzero(solid & (y % 2 * 2 + x % 2 == turn)) for turn in range(4)]
    for _ in range(_ROUNDS):
        changed = False
        for rows, columns in turns:
            around = np.stack([label[rows + dy, columns + dx] for dy, dx in _AROUND], axis=1)
            own = label[rows + 1, columns + 1]
            torn = (around != own[:, None]).any(axis=1)
            rows, columns, around, own = rows[torn], columns[torn], around[torn], own[torn]
            choices = np.concatenate([own[:, None], around], axis=1)
            same = (choices[:, :, None] == around[:, None]).astype(np.float32) @ _CLOSENESS
            cost = _squares(lab[rows, columns], colors, choices) - weight * same
            best = choices[np.arange(len(choices)), np.where(choices >= 0, cost, np.inf).argmin(axis=1)]
            changed |= bool((best != own).any())
            label[rows + 1, columns + 1] = best
        if not changed:
            break
    return paint(image, np.where(solid, label[1:-1, 1:-1], index), palette)


def _squares(lab: Lab, colors: Lab, choices: NDArray[np.intp]) -> NDArray[np.float32]:
    """Returns (n, m) squared distances of (n, 3) `lab` to the colours in (n, m) `choices`, less what m share."""
    if len(colors) <= _FEW:
        distances = np.einsum("kc,kc->k", colors, colors) - 2 * lab @ colors.T
        return np.take_along_axis(distances, choices.clip(0), axis=1)
    return np.square(lab[:, None] - colors[choices]).sum(-1) - np.square(lab).sum(-1)[:, None]


def settle_orphans(image: Pixels, step: float = ORPHAN_STEP) -> Pixels:
    """Gives opaque pixels alone in their colour that of two or more of their four neighbours, when within `step`.

    Each change takes one orphan away and makes none (the four passes never touch two neighbours together), so it ends.
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
    """Finds, for each pixel of `at`, a four-neighbour whose colour another one shares; (-1, -1) where none."""
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
