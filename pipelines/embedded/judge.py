"""Classify what a sprite shows, independently of the model that drew it.

A small convolutional network with two outputs: the kind, and the noun among those with enough training sprites. Its
input is a 32x32 picture with hard alpha. It chooses among candidates, and the evaluation scores with it.
`pipelines.embedded.training.judge` trains it on sprites that people drew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.embedded.canvas import SIZE, place
from pipelines.embedded.language import families, split_words, subjects
from pipelines.embedded.words import nearest_words
from pipelines.embedded.worn import load_worn, things_asked, worn
from pipelines.records import Pixels

FOLDER = Path(__file__).parent / "judge_weights"
"""Where the shipped judge lies: model.safetensors and labels.json."""

KINDS = ("character", "item", "tile", "prop", "effect")


class Judge(nn.Module):
    """Two answers about a picture, as logits: its kind and its noun."""

    def __init__(self, nouns: Sequence[str], width: int = 64) -> None:
        super().__init__()
        self.nouns = tuple(nouns)
        w = width
        layers: list[nn.Module] = []
        for channels, out, stride in (
            (4, w, 1),
            (w, w, 1),
            (w, 2 * w, 2),
            (2 * w, 2 * w, 1),
            (2 * w, 4 * w, 2),
            (4 * w, 4 * w, 1),
        ):
            layers += [nn.Conv2d(channels, out, 3, stride, 1), nn.GroupNorm(8, out), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        self.kind, self.noun = nn.Linear(8 * w, len(KINDS)), nn.Linear(8 * w, len(nouns))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (batch, 4, 32, 32) colour times alpha and alpha, 0..1, to logits (batch, kinds), (batch, nouns)."""
        pooled = self.drop(self.pooled(pictures))
        return self.kind(pooled), self.noun(pooled)

    def pooled(self, pictures: Tensor) -> Tensor:
        """Returns what `forward` classifies: mean and maximum of each channel, (batch, 8 * width)."""
        return pool(self.body(pictures))

    def probabilities(self, pictures: Sequence[Pixels]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, kinds) and (n, nouns) for RGBA pictures of 32x32 pixels."""
        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            kind, noun = self(as_input(stacked.to(next(self.parameters()).device)))
        return kind.softmax(-1).cpu().numpy(), noun.softmax(-1).cpu().numpy()


def pool(features: Tensor) -> Tensor:
    """Pools mean and maximum of each channel of the last map: (batch, channels, h, w) -> (batch, 2 * channels)."""
    return torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)


def as_input(pictures: Tensor) -> Tensor:
    """Converts (batch, 4, h, w) RGBA bytes to the judge's input."""
    values = pictures.float() / 255
    return torch.cat([values[:, :3] * values[:, 3:], values[:, 3:]], dim=1)


@cache
def load_judge() -> Judge:
    """Returns the shipped judge, in float32 on the CPU."""
    judge = Judge(json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))["nouns"])
    judge.load_state_dict({name: value.float() for name, value in load_file(FOLDER / "model.safetensors").items()})
    return judge.eval()


def match(pictures: Sequence[Pixels], prompt: str) -> np.ndarray | None:
    """Rates 0..1 how well each picture, of any size, shows what the prompt asks for; None without a noun it knows."""
    return compare(pictures, prompt).shown


class Compared(NamedTuple):
    """What `compare` sees, each (n,) and 0..1; None where the prompt asks for nothing that is known."""

    shown: np.ndarray | None
    """How well each picture shows the noun."""
    likeness: np.ndarray
    """How much each picture is like the others."""
    worn: np.ndarray | None
    """How well each picture shows what the figure should wear and hold."""


def compare(pictures: Sequence[Pixels], prompt: str) -> Compared:
    """Sees pictures of any size that were drawn for one prompt.

    The likeness, 0..1, is the mean over the other pictures of the cosine of the judge's features, squared, times the
    mean Bhattacharyya coefficient of its nouns; 1 for a single picture. What one drawing of four shows and the other
    three do not is seldom what was asked for.
    """
    judge = load_judge()
    stacked = torch.from_numpy(np.stack([as_seen(picture) for picture in pictures])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        last = judge.body(as_input(stacked))
        pooled = pool(last)
        noun = judge.noun(pooled).softmax(-1)
        features, root = functional.normalize(pooled, dim=1), noun.sqrt()
        others = max(len(pictures) - 1, 1)
        cosine, overlap = (
            ((matrix @ matrix.T).sum(1) - 1) / others if len(pictures) > 1 else torch.ones(1)
            for matrix in (features, root)
        )
        likeness = (cosine.square() * overlap).clamp(0, 1)
        things = things_asked(prompt, load_worn()[0]) if max(pictures[0].shape[:2]) > SIZE // 2 else ()
        held = worn(last, things) if things else None
    asked = noun_asked(prompt, judge.nouns)
    return Compared(
        noun[:, judge.nouns.index(asked)].numpy() if asked else None,
        likeness.numpy(),
        None if held is None else held.numpy(),
    )


def noun_asked(prompt: str, nouns: Sequence[str]) -> str:
    """Returns which of the nouns a prompt asks for; '' where it is none of them.

    "hatchet with a skull" asks for an axe, "skeleton king" for a king, or for a skeleton if the
    judge does not know kings.
    """
    common = {word: noun for (_, word), noun in families().items()}
    for i, word in enumerate(subjects(split_words(prompt, frozenset()))):
        for near in nearest_words(word):
            if found := next((n for n in (near, common.get(near) if i == 0 else None) if n in nouns), None):
                return found
    return ""


def as_seen(picture: Pixels) -> Pixels:
    """Returns a finished picture of any size on the judge's canvas, as training sprites stand on it."""
    placed = place(picture)
    if placed is None:  # larger, or empty
        placed = np.array(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BOX)), SIZE
    seen = placed[0].copy()
    seen[seen[..., 3] < 128] = 0
    return seen
