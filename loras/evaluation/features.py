"""A small feature network for KID: trained once, with a fixed seed, to tell what kind of thing a sprite shows.

It knows nothing of the two made-up styles, of the embedded model or of LoRAs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.embedded.data import Sprite
from pipelines.records import Pixels

STEPS, BATCH, WIDTH = 500, 64, 96


def as_input(images: Sequence[Pixels]) -> Tensor:
    """(n, 4, 32, 32) in 0..1, colours premultiplied with hard alpha."""
    pixels = torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255
    alpha = pixels[:, 3:].round()
    return torch.cat([pixels[:, :3] * alpha, alpha], dim=1)


def train_features(sprites: Sequence[Sprite], seed: int = 0) -> nn.Module:
    """A network from pictures (n, 4, 32, 32) to features (n, WIDTH); the sprites' nouns are its lesson."""
    nouns = [s.words.noun for s in sprites]
    common = sorted({n for n in nouns if nouns.count(n) >= 12})
    kept = [i for i, n in enumerate(nouns) if n in common]
    pictures = as_input([sprites[i].image for i in kept])
    labels = torch.tensor([common.index(nouns[i]) for i in kept])
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
    return trunk.eval()


@torch.no_grad()
def features(network: nn.Module, images: Sequence[Pixels]) -> NDArray[np.float64]:
    """(n, WIDTH) features, each of about unit variance over ordinary sprites."""
    rows = [network(as_input(images[i : i + 64])) for i in range(0, len(images), 64)]
    return torch.cat(rows).double().numpy()
