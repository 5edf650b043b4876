"""Paint walk sheets: masked prediction in a few passes, the surest pixels first, several seeds together.

The first cell is the key itself in every pass. Which seed is kept is settled by two judges: surprise (how unlikely the
network itself finds a finished sheet when half of it is hidden again) and, if given, the side judge (how surely a
player tells left, right and back).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.embedded.motion.network import SheetNet
from pipelines.embedded.motion.sides import SideNet, readable
from pipelines.embedded.motion.slots import CELLS, SLOTS, Key, key_slots, slot_features

PASSES = 10
"""Passes over a sheet; fewer show as specks, more change little."""

FACING = ((0.25, 0.0), (0.4, 0.2), (0.6, 0.0))
"""Guidance of consecutive seeds: of the side views away from one another, and of the back away from the front."""

SEEDS = len(FACING)

UNREADABLE, WORST = (0.15, 0.04), -4.0
"""How much a nat of the side judge weighs against a nat of surprise, for sides and back, and the least that counts."""

Check = Callable[[], None]
"""Called before each pass; raises to stop the work."""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """A painted sheet.

    Attributes:
        cells: (4, CELLS, size, size, 4) uint8 RGBA; rows as DIRECTIONS, cells stand, step, other step.
        surprise: mean cross-entropy of hidden halves, nats a pixel; larger is worse.
        seed: which seed painted it.
        sides: chance (0 to 1) that a side view is recognised as left or right by the side judge; 1 without a judge.
    """

    cells: NDArray[np.uint8]
    surprise: float
    seed: int
    sides: float = 1.0


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return -torch.log(-torch.log(torch.rand(shape, generator=generator).clamp(1e-6, 1 - 1e-6)))


def paint_tokens(
    net: SheetNet,
    key: torch.Tensor,
    lab: torch.Tensor,
    used: torch.Tensor,
    seeds: list[int],
    *,
    mirrored: bool,
    passes: int = PASSES,
    check: Check | None = None,
    temperature: float = 0.3,
    facing: Sequence[tuple[float, float]] = ((0.0, 0.0),),
) -> torch.Tensor:
    """Paints sheets by masked prediction: (count, 4, CELLS, size, size) int64 slots.

    Args:
        net: the network, in evaluation mode.
        key: (count, size, size) int64 slots of the keys, or (1, size, size) for one key and several seeds.
        lab: (count or 1, SLOTS, 3) OKLab of the slots.
        used: (count or 1, SLOTS) bool, slots of the keys.
        seeds: of the random choices, one for each sheet.
        mirrored: whether the row to the right is the row to the left, mirrored, with its steps.
        passes: how many times the network is asked.
        check: called before each pass.
        temperature: of the choice of a slot.
        facing: for each seed (or one for all), how far side views are guided away from the opposite side's, and
            the back from the front.
    """
    count, size, device, one_key = len(seeds), key.shape[-1], key.device, len(key) == 1
    features = slot_features(key, lab).expand(count, -1, -1)
    used = used.expand(count, -1)
    x = torch.zeros(count, 4, CELLS, size, size, dtype=torch.long, device=device)
    hidden = torch.ones_like(x, dtype=torch.bool)
    x[:, 0, 0], hidden[:, 0, 0] = key, False
    total = int(hidden[0].sum())
    guide = torch.tensor(facing, dtype=torch.float32, device=device).expand(count, 2)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise(shape: torch.Size) -> torch.Tensor:
        return torch.stack([_noise(tuple(shape[1:]), generator) for generator in generators]).to(device)

    for turn in range(passes):
        if check is not None:
            check()
        if turn == 0 and one_key:  # nothing is known yet but the key, so one answer serves all seeds
            scores = net(x[:1], hidden[:1], features[:1], used[:1]).expand(count, -1, -1, -1, -1, -1)
        else:
            scores = net(x, hidden, features, used)
        likely = scores.log_softmax(-1)
        if mirrored:
            likely = likely.clone()
            likely[:, 1] = (likely[:, 1] + likely[:, 2].flip(3)) / 2
            likely[:, 2] = likely[:, 1].flip(3)
        if guide.any():
            likely = _turned(likely, guide)
        picked = (likely + temperature * noise(likely.shape)).argmax(-1)
        if mirrored:
            picked[:, 2] = picked[:, 1].flip(3)
        sure = likely.gather(-1, picked.unsqueeze(-1)).squeeze(-1)
        x = torch.where(hidden, picked, x)
        left = int(total * math.cos(math.pi / 2 * (turn + 1) / passes))
        if turn == passes - 1 or left < 1:
            break
        sure = sure + (1 - (turn + 1) / passes) * noise(sure.shape)
        if mirrored:
            sure[:, 2] = sure[:, 1].flip(3)
        sure = torch.where(hidden, sure, torch.full_like(sure, 1e9)).reshape(count, -1)
        border = sure.kthvalue(left, dim=1).values.view(count, 1, 1, 1, 1)
        hidden = sure.view(x.shape) <= border
    return x


def _turned(likely: torch.Tensor, guide: torch.Tensor, most: float = 4.0) -> torch.Tensor:
    """Guides log-probabilities (count, 4, CELLS, size, size, SLOTS) towards what tells a view from its opposite.

    As classifier-free guidance does, with the opposite view in place of the unconditional score: what is as likely in
    both stays, what only one of them shows becomes likelier there. A difference counts up to `most` nats. `guide`:
    (count, 2) weights of the sides and of the back.
    """
    opposite = likely[:, [3, 2, 1, 0]]
    weight = torch.cat([torch.zeros_like(guide[:, :1]), guide[:, [0, 0, 1]]], 1).view(-1, 4, 1, 1, 1, 1)
    return (likely + weight * (likely - opposite).clamp(-most, most)).log_softmax(-1)


def surprise(net: SheetNet, key: Key, sheets: torch.Tensor) -> torch.Tensor:
    """Computes (n,) mean cross-entropies of sheets (n, 4, CELLS, size, size) with half of the 2x2 blocks hidden."""
    count, size = len(sheets), sheets.shape[-1]
    features = slot_features(key.tokens.unsqueeze(0), key.lab.unsqueeze(0)).expand(count, -1, -1)
    line = torch.arange(size) // 2
    hidden = ((line.view(-1, 1) + line.view(1, -1)) % 2 == 0).expand(sheets.shape).clone()
    hidden[:, 0, 0] = False
    scores = net(sheets, hidden, features, key.used.unsqueeze(0).expand(count, -1))
    loss = torch.nn.functional.cross_entropy(scores.reshape(-1, SLOTS), sheets.reshape(-1), reduction="none")
    drawn = hidden & (sheets > 0)
    return (loss.view(sheets.shape) * drawn).sum((1, 2, 3, 4)) / drawn.sum((1, 2, 3, 4)).clamp(min=1)


@torch.inference_mode()
def paint_walk(
    net: SheetNet,
    sprite: NDArray[np.uint8],
    *,
    mirrored: bool,
    seed: int = 0,
    seeds: int = SEEDS,
    passes: int = PASSES,
    check: Check | None = None,
    judge: SideNet | None = None,
) -> list[Painted]:
    """Paints walk sheets of a front view, the best first: little surprise, sides and back that are easily told.

    Args:
        net: the network, in evaluation mode.
        sprite: (size, size, 4) RGBA with hard alpha; size is divisible by 4, 16 or 24 is what the network learned.
        mirrored: whether the row to the right mirrors the row to the left.
        seed: the first of `seeds` consecutive seeds.
        seeds: how many sheets are painted.
        passes: network passes of a sheet.
        check: called before each pass; raises to cancel.
        judge: chooses among the seeds together with the surprise.
    """
    key = key_slots(sprite)
    tokens = paint_tokens(
        net,
        key.tokens.unsqueeze(0),
        key.lab.unsqueeze(0),
        key.used.unsqueeze(0),
        list(range(seed, seed + seeds)),
        mirrored=mirrored,
        passes=passes,
        check=check,
        facing=[FACING[i % len(FACING)] for i in range(seeds)],
    )
    if check is not None:
        check()
    found = surprise(net, key, tokens)
    likely = readable(judge, tokens, key.lab) if judge is not None else torch.zeros(seeds, 4)
    sides, back = likely[:, 1:3].mean(1), likely[:, 3]
    scored = found - UNREADABLE[0] * sides.clamp(min=WORST) - UNREADABLE[1] * back.clamp(min=WORST)
    painted = []
    for i in np.argsort(scored.numpy()):
        picked = tokens[int(i)].numpy()
        cells = np.concatenate([key.colors[picked], (picked > 0)[..., None].astype(np.uint8) * 255], -1)
        cells[picked == 0] = 0
        painted.append(Painted(cells, float(found[int(i)]), seed + int(i), float(sides[int(i)].exp())))
    return painted
