"""Rank variants by votes: Bradley-Terry strengths with intervals.

P(a is preferred to b) = 1 / (1 + exp(b - a)). Sources: Bradley & Terry (1952); a virtual win and a virtual loss against
an opponent of strength 0 keep the strengths finite while a variant has only won or lost (a unique MAP estimate).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PRIOR = 0.5
"""Virtual wins, and virtual losses, of each variant."""
_WIDTH = 1.959964
"""Standard deviations to each side of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One variant's place. `strength` is a log-odds against the average variant, (`low`, `high`) its 95 % interval;
    `share` is how often it would be preferred to the average one. A vote between three variants is two pairs."""

    key: str
    strength: float
    low: float
    high: float
    share: float
    won: float
    pairs: int


def rank(pairs: Iterable[tuple[str, str, float]]) -> list[Rank]:
    """Ranks variants, the strongest first.

    Args:
        pairs: (a, b, score): 1 where a was preferred to b, 0 where b was, 0.5 for a tie.
    """
    import numpy as np

    pairs = list(pairs)
    keys = sorted({key for a, b, _ in pairs for key in (a, b)})
    if not keys:
        return []
    n = len(keys)
    place = {key: i for i, key in enumerate(keys)}
    won, met = np.zeros((n, n)), np.zeros((n, n))
    for a, b, score in pairs:
        i, j = place[a], place[b]
        won[i, j] += score
        won[j, i] += 1 - score
        met[i, j] += 1
        met[j, i] += 1
    strength, information = np.zeros(n), np.eye(n)
    for _ in range(100):  # Newton's method on a concave function
        expected = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
        alone = 1 / (1 + np.exp(-strength))
        gradient = (won - met * expected).sum(axis=1) + PRIOR * (1 - 2 * alone)
        information = -met * expected * (1 - expected)
        np.fill_diagonal(information, -information.sum(axis=1) + 2 * PRIOR * alone * (1 - alone))
        step = np.linalg.solve(information, gradient)
        strength += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    # against the average of the variants, so that a shift common to all does not count
    centre = np.eye(n) - 1 / n
    spread = np.sqrt(np.maximum(np.diag(centre @ np.linalg.inv(information) @ centre.T), 0))
    strength = centre @ strength
    ranks = [
        Rank(
            key=key,
            strength=float(strength[i]),
            low=float(strength[i] - _WIDTH * spread[i]),
            high=float(strength[i] + _WIDTH * spread[i]),
            share=float(1 / (1 + np.exp(-strength[i]))),
            won=float(won[i].sum()),
            pairs=int(met[i].sum()),
        )
        for i, key in enumerate(keys)
    ]
    return sorted(ranks, key=lambda r: (-r.strength, r.key))
