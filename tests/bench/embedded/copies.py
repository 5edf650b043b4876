"""Count drawings that copy a training sprite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.embedded.colors import turn_hue
from pipelines.embedded.training.data import Sprite
from pipelines.records import Pixels

PLAIN = (
    "horse", "cow", "cat", "penguin", "owl", "bear", "fox", "turtle", "guitar", "key", "lantern", "crown", "umbrella",
    "bomb", "axe", "boots", "apple", "pizza", "bread", "mushroom", "cactus", "house", "castle", "tent", "chair",
    "barrel", "car", "tank", "boat", "robot",
)  # fmt: skip
"""Nouns without a colour, four seeds each at 32 and at 16 pixels: for near-copies."""

PEOPLE = (
    "knight", "archer", "wizard", "king", "queen", "princess", "pirate", "ninja", "monk", "bard", "butcher", "bishop",
    "barbarian", "blacksmith", "boxer", "bride", "builder", "captain", "caveman", "cook", "farmer", "guard", "miner",
    "nun", "samurai", "sailor", "thief", "viking", "witch", "woman in a red dress",
)  # fmt: skip
"""People whom paper dolls teach, four seeds each at 32 pixels: for near-copies."""

NEAR = 0.05
"""Root mean square of premultiplied RGBA in 0..1 below which a picture is a copy of a training sprite."""


def premultiplied(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, h, w, 4) -> (n, h * w * 4), colour times alpha, 0..1."""
    values = pictures.astype(np.float32) / 255
    values[..., :3] *= values[..., 3:]
    return values.reshape(len(pictures), -1).astype(np.float32)


def copy_distances(
    pictures: Sequence[Pixels], sprites: Sequence[Sprite], device: str, hues: int = 8
) -> NDArray[np.float64]:
    """Distance of each picture to the nearest sprite, over `hues` turns of its colours and its mirror image."""
    asked = torch.from_numpy(premultiplied(np.stack(pictures))).to(device)
    norm = asked.square().sum(1)
    nearest = torch.full((len(pictures),), float("inf"), device=device)
    for at in range(0, len(sprites), 256):
        bank = np.stack([v for s in sprites[at : at + 256] for v in _turned(s.image, hues)])
        bank[bank[..., 3] == 0] = 0
        rows = torch.from_numpy(premultiplied(np.concatenate([bank, bank[:, :, ::-1]]))).to(device)
        distance = norm[:, None] + rows.square().sum(1)[None] - 2 * asked @ rows.T
        nearest = torch.minimum(nearest, distance.min(dim=1).values)
    return (nearest.clamp(min=0) / asked.shape[1]).sqrt().cpu().double().numpy()


def _turned(image: Pixels, hues: int) -> list[Pixels]:
    opaque = image[..., 3] > 0
    unique, inverse = np.unique(image[opaque][:, :3], axis=0, return_inverse=True)
    out = [image]
    for k in range(1, hues):
        turned = image.copy()
        turned[opaque, :3] = turn_hue(unique, 360 * k / hues)[inverse.ravel()]
        out.append(turned)
    return out


def near_copies(pictures: Sequence[Pixels], sprites: Sequence[Sprite], hues: int = 8) -> NDArray[np.bool_]:
    """Which pictures are nearer than NEAR to a sprite, as `copy_distances` says, in a small part of its time.

    Colour only adds to the distance of two outlines, so only sprites with nearly the same outline are compared.
    Pictures and sprites have hard alpha.
    """
    asked, bank = np.stack(pictures), np.stack([s.image for s in sprites])
    outline = torch.from_numpy((asked[..., 3] > 0).reshape(len(asked), -1).astype(np.float32))
    limit = NEAR**2 * asked[0].size
    near = np.zeros(len(asked), bool)
    for flipped in (False, True):
        shown = bank[:, :, ::-1] if flipped else bank
        others = torch.from_numpy((shown[..., 3] > 0).reshape(len(bank), -1).astype(np.float32))
        differing = outline.sum(1)[:, None] + others.sum(1)[None] - 2 * outline @ others.T
        for i, j in torch.nonzero(differing <= limit).tolist():
            if not near[i]:
                turned = np.stack(_turned(np.ascontiguousarray(shown[j]), hues))
                turned[turned[..., 3] == 0] = 0
                apart = premultiplied(turned) - premultiplied(asked[i : i + 1])
                near[i] = bool((np.square(apart).sum(axis=1) < limit).any())
    return near
