"""A small feature network for KID: trained once, with a fixed seed, to tell which pack a sprite is from.

A pack is an artist's way of drawing, so what tells packs apart is style. The network has not seen the two made-up
styles, of the embedded model or of LoRAs. (A first one learned nouns and was blind to style: see docs/lora.md.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.embedded.training.data import Sprite
from pipelines.records import Pixels

STEPS, BATCH, WIDTH = 500, 64, 96
FEWEST = 12
"""Sprites of a folder that counts as a pack."""


def as_input(images: Sequence[Pixels]) -> Tensor:
    """(n, 4, 32, 32) in 0..1, colours premultiplied with hard alpha."""
    pixels = torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255
    alpha = pixels[:, 3:].round()
    return torch.cat([pixels[:, :3] * alpha, alpha], dim=1)


class Standard(nn.Module):
    """Features with mean 0 and variance 1 over the sprites that the network was trained on."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std + 1e-6

    def forward(self, values: Tensor) -> Tensor:
        """(n, width) -> (n, width)."""
        return (values - self.mean) / self.std


def train_features(sprites: Sequence[Sprite], seed: int = 0) -> nn.Module:
    """A network from pictures (n, 4, 32, 32) to features (n, WIDTH); the sprites' folders are its lesson."""
    folders = [s.source.rpartition("/")[0] for s in sprites]
    common = sorted(name for name, count in Counter(folders).items() if count >= FEWEST)
    kept = [i for i, name in enumerate(folders) if name in common]
    pictures = as_input([sprites[i].image for i in kept])
    labels = torch.tensor([common.index(folders[i]) for i in kept])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = nn.Sequential(
            nn.Conv2d(4, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(64, WIDTH, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, WIDTH),
        )  # fmt: skip
        head = nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, len(common)))
        optimizer = torch.optim.AdamW([*trunk.parameters(), *head.parameters()], lr=2e-3)
        for _ in range(STEPS):
            rows = torch.randint(0, len(kept), (BATCH,))
            loss = nn.functional.cross_entropy(head(trunk(pictures[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trunk.eval()
        with torch.no_grad():
            values = torch.cat([trunk(part) for part in pictures.split(256)])
        # the kernel adds 1 to a mean of products: it expects features of about unit size
        return nn.Sequential(trunk, Standard(values.mean(dim=0), values.std(dim=0)))


@torch.no_grad()
def features(network: nn.Module, images: Sequence[Pixels]) -> NDArray[np.float64]:
    """(n, WIDTH) features of pictures."""
    rows = [network(as_input(images[i : i + 64])) for i in range(0, len(images), 64)]
    return torch.cat(rows).double().numpy()
