"""Palette slots: the tokens of the walk sheet model.

Each pixel is clear (slot 0) or one of the key sprite's own colours, so a painted sheet holds no other colour.
A slot is described to the network by its colour, its pixel count and its place in the key.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.pixels.oklab import to_oklab

SLOTS = 64
"""Slots of one sheet, the clear one (0) included."""

FEATURES = 8
"""Numbers that describe a slot."""

DIRECTIONS = ("down", "left", "right", "up")
"""Rows of a sheet, as the model paints them."""

CELLS = 3
"""Cells of a row: stand, one step, the other step. A walk of four frames shows them as 0, 1, 0, 2."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """A key sprite as slots, one sample without a batch axis.

    Attributes:
        tokens: (height, width) int64, slot of each pixel.
        lab: (SLOTS, 3) float32, OKLab colour of each slot; rows of unused slots are 0.
        used: (SLOTS,) bool, which slots the key has; False for the clear one.
        colors: (SLOTS, 3) uint8, sRGB of each slot.
    """

    tokens: torch.Tensor
    lab: torch.Tensor
    used: torch.Tensor
    colors: NDArray[np.uint8]


def key_slots(sprite: NDArray[np.uint8]) -> Key:
    """Finds the slots of a sprite (height, width, 4); more than SLOTS - 1 colours are merged into the most frequent."""
    opaque = sprite[..., 3] > 127
    colors, inverse, counts = np.unique(sprite[opaque][:, :3], axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    if len(colors) >= SLOTS:
        kept = colors[np.argsort(-counts)[: SLOTS - 1]]
        distance = np.linalg.norm(to_oklab(colors)[:, None] - to_oklab(kept)[None], axis=-1)
        inverse, colors = distance.argmin(axis=1)[inverse], kept
    tokens = np.zeros(opaque.shape, np.int64)
    tokens[opaque] = inverse + 1
    lab, used = np.zeros((SLOTS, 3), np.float32), np.zeros(SLOTS, bool)
    rgb = np.zeros((SLOTS, 3), np.uint8)
    last = len(colors) + 1
    rgb[1:last], lab[1:last], used[1:last] = colors, to_oklab(colors), True
    return Key(torch.from_numpy(tokens), torch.from_numpy(lab), torch.from_numpy(used), rgb)


def slot_features(key: torch.Tensor, lab: torch.Tensor) -> torch.Tensor:
    """Returns what describes each slot: colour, pixel count, mean place and spread in the key, all about -1..1.

    Args:
        key: (batch, size, size) int64, the key's slots.
        lab: (batch, SLOTS, 3) float, OKLab.

    Returns:
        (batch, SLOTS, FEATURES) float.
    """
    batch, size, _ = key.shape
    hits = torch.nn.functional.one_hot(key.reshape(batch, -1), SLOTS).to(lab.dtype)
    count = hits.sum(1)
    share = hits / count.clamp(min=1).unsqueeze(1)
    place = torch.arange(size * size, device=key.device)
    y, x = ((place // size + 0.5) / size * 2 - 1).to(lab.dtype), ((place % size + 0.5) / size * 2 - 1).to(lab.dtype)
    mean_y, mean_x = torch.einsum("bps,p->bs", share, y), torch.einsum("bps,p->bs", share, x)
    spread_y = (share * (y.view(1, -1, 1) - mean_y.unsqueeze(1)).abs()).sum(1)
    spread_x = (share * (x.view(1, -1, 1) - mean_x.unsqueeze(1)).abs()).sum(1)
    lightness, a, b = lab.unbind(-1)
    drawn = count / (size * size) * 256
    described = [
        lightness * 2 - 1,
        a * 5,
        b * 5,
        (drawn + 1).log() / 3 - 0.6,
        mean_y,
        mean_x,
        spread_y * 2 - 0.5,
        spread_x * 2 - 0.5,
    ]
    return torch.stack(described, -1)
