"""Recognise what a figure wears and holds: a crown, a robe, a sword; to choose among candidates.

A linear classifier for each thing on the judge's last feature map, pooled over its upper, middle and lower third. It
learned from pictures of 32 pixels whose tags name everything that is worn and held
(`pipelines.embedded.training.worn`), so it is asked about figures of that size only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from pipelines.embedded.words import read_prompt, without_parts

FILE = Path(__file__).parent / "judge_weights" / "worn.safetensors"
"""`weight` (features, things), `bias` (things,), and the names of the things in the header."""

_THIRDS = (0, 3, 5, 8)
"""Rows of the judge's 8x8 map."""


def pool_thirds(features: Tensor) -> Tensor:
    """Pools means and maxima of the judge's last map (batch, channels, 8, 8) by thirds: (batch, 6 * channels)."""
    bands = [features[:, :, top:end] for top, end in pairwise(_THIRDS)]
    return torch.cat([pool for band in bands for pool in (band.mean(dim=(2, 3)), band.amax(dim=(2, 3)))], dim=1)


@cache
def load_worn() -> tuple[tuple[str, ...], Tensor, Tensor]:
    """Returns the names of the things, and weight and bias in float32."""
    with safe_open(FILE, "pt") as file:
        things = tuple(json.loads(file.metadata()["things"]))
        return things, file.get_tensor("weight").float(), file.get_tensor("bias").float()


def things_asked(prompt: str, things: Sequence[str]) -> tuple[str, ...]:
    """Finds the things that a prompt asks for behind its subject: "knight with a sword and a shield" for both.

    Of "horned helmet" and "helmet" the longer counts.
    """
    bare = without_parts(prompt)
    said = f" {read_prompt(prompt[len(bare) :]).text} " if bare else ""
    found: list[str] = []
    for thing in sorted(things, key=len, reverse=True):
        if f" {thing} " in said:
            found.append(thing)
            said = said.replace(f" {thing} ", " ")
    return tuple(found)


def worn(features: Tensor, asked: Sequence[str]) -> Tensor:
    """Rates 0..1 how well each picture shows what is asked for, beside the one that shows it best: (batch,).

    The mean over the things of each one's probability, as a share of the largest of the batch: no farmer of the
    training data has a torch, so that the probability itself says little.

    Args:
        features: the judge's last map of pictures of 32 pixels.
        asked: some of the things of `load_worn`, at least one.
    """
    things, weight, bias = load_worn()
    chosen = [things.index(thing) for thing in asked]
    likely = (pool_thirds(features) @ weight[:, chosen] + bias[chosen]).sigmoid()
    return (likely / likely.amax(dim=0, keepdim=True).clamp(min=1e-6)).mean(dim=1)
