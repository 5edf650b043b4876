"""The part map: which pixel of a figure is head, trunk, arm, leg, what a hand holds, or what hangs behind.

A small U-Net (Ronneberger et al. 2015) on a canvas of 32, taught on people composed of layers, whose masks are exact.
It also says whether the picture shows a figure that walks on two legs at all.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

CANVAS = 32
"""Width and height that the network sees, in pixels."""

PARTS = ("clear", "head", "trunk", "arm_left", "arm_right", "held_left", "held_right", "leg_left", "leg_right", "back")
"""Classes of a pixel; left and right are the viewer's. `back` is what hangs behind: a cloak, wings."""

PART = {name: index for index, name in enumerate(PARTS)}

MIRRORED = tuple(PART[name.replace("left", "?").replace("right", "left").replace("?", "right")] for name in PARTS)
"""The class that each class becomes when the picture is mirrored."""


def _pair(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [nn.Conv2d(channels, outside, 3, padding=1), nn.GroupNorm(8, outside), nn.SiLU()]
    return nn.Sequential(*layers)


class PartNet(nn.Module):
    """Scores of PARTS for each pixel, and of "walks on two legs" for the picture."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.down = nn.ModuleList([_pair(6, w), _pair(w, 2 * w), _pair(2 * w, 4 * w), _pair(4 * w, 4 * w)])
        self.up = nn.ModuleList([_pair(8 * w, 4 * w), _pair(6 * w, 2 * w), _pair(3 * w, w)])
        self.pixel = nn.Conv2d(w, len(PARTS), 1)
        self.biped = nn.Sequential(nn.Linear(4 * w, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (batch, 6, 32, 32) of `encode_figures` to scores (batch, PARTS, 32, 32) and (batch,)."""
        kept: list[torch.Tensor] = []
        for i, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if i else x)
            kept.append(x)
        biped = self.biped(x.mean((2, 3))).squeeze(1)
        for i, block in enumerate(self.up):
            x = block(torch.cat([kept[-2 - i], F.interpolate(x, scale_factor=2.0)], 1))
        return self.pixel(x), biped


def encode_figures(rgba: torch.Tensor) -> torch.Tensor:
    """Converts (batch, 4, 32, 32) float in 0..1, alpha 0 or 1, to the network's colour, alpha and place in -1..1."""
    batch, _, height, width = rgba.shape
    alpha = rgba[:, 3:]
    y = torch.linspace(-1, 1, height, device=rgba.device).view(1, 1, -1, 1).expand(batch, 1, height, width)
    x = torch.linspace(-1, 1, width, device=rgba.device).view(1, 1, 1, -1).expand(batch, 1, height, width)
    return torch.cat([(rgba[:, :3] * 2 - 1) * alpha, alpha * 2 - 1, y, x], 1)


@torch.inference_mode()
def map_parts(net: PartNet, sprite: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Returns the class probabilities of each pixel of a sprite, and the probability that it walks on two legs.

    The sprite's drawn box is fitted to the canvas (feet down, whole pixels where it fits), and the answer of the
    mirrored picture is averaged in.

    Args:
        net: the network, in evaluation mode.
        sprite: (height, width, 4) RGBA with hard alpha and at least one opaque pixel.

    Returns:
        (height, width, len(PARTS)) float32, clear where the sprite is, and a number 0..1.
    """
    opaque = sprite[..., 3] > 127
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    box = sprite[top:bottom, left:right]
    largest = max(box.shape[:2])
    scale = 1.0 if CANVAS * 0.6 < largest <= CANVAS else (CANVAS - 2) / largest
    height, width = (max(1, min(CANVAS, round(side * scale))) for side in box.shape[:2])
    from_y = np.minimum(((np.arange(height) + 0.5) / height * box.shape[0]).astype(int), box.shape[0] - 1)
    from_x = np.minimum(((np.arange(width) + 0.5) / width * box.shape[1]).astype(int), box.shape[1] - 1)
    canvas = np.zeros((CANVAS, CANVAS, 4), np.float32)
    y0, x0 = CANVAS - height - (1 if height < CANVAS else 0), (CANVAS - width) // 2
    canvas[y0 : y0 + height, x0 : x0 + width] = box[from_y][:, from_x] / 255
    canvas[..., 3] = canvas[..., 3] > 0.5
    picture = torch.from_numpy(canvas).permute(2, 0, 1).unsqueeze(0)
    pixels, biped = net(encode_figures(torch.cat([picture, picture.flip(-1)])))
    chance = pixels.softmax(1)
    chance = (chance[0] + chance[1].flip(-1)[list(MIRRORED)]) / 2
    inner = chance[:, y0 : y0 + height, x0 : x0 + width].permute(1, 2, 0).numpy()
    back_y = np.minimum(((np.arange(box.shape[0]) + 0.5) / box.shape[0] * height).astype(int), height - 1)
    back_x = np.minimum(((np.arange(box.shape[1]) + 0.5) / box.shape[1] * width).astype(int), width - 1)
    found = np.zeros((*sprite.shape[:2], len(PARTS)), np.float32)
    found[..., 0] = 1
    found[top:bottom, left:right] = cast(NDArray[np.float32], inner[back_y][:, back_x])
    found[~opaque] = np.eye(1, len(PARTS), dtype=np.float32)
    return found, float(biped.sigmoid().mean())
