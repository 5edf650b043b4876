"""Count what this process has made and how good it was, whoever asked: tools, the studio, the web page, a workflow.

`server.protocol.metrics` shows the counts to Prometheus. Imports nothing.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Upper bounds of the classes of scores, which are 0 to 1."""
JUDGED = "recognised"
"""The score that a judge gives: how far it sees the noun of the prompt in the picture."""


@dataclass(slots=True)
class Scores:
    """How many scores are in each class, and their sum; the last class is for what is above 1."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SCORES) + 1))
    total: float = 0.0

    def add(self, score: float) -> None:
        """Counts one score."""
        self.counts[bisect_left(SCORES, round(score, 6))] += 1
        self.total += score


@dataclass(slots=True)
class Counts:
    """What was counted since the process began."""

    assets: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, model)."""
    gates: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(model, gate) of assets that a gate failed."""
    doubtful: Counter[str] = field(default_factory=Counter)
    """By model."""
    scores: dict[str, Scores] = field(default_factory=dict)
    judged: dict[str, Scores] = field(default_factory=dict)
    votes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(variant, won or lost or tie)."""
    deploys: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(state, verification)."""


class Tally:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()

    def made(self, kind: str, model: str, report: Mapping[str, Any]) -> None:
        """Counts an asset; `report` has its gates and scores by name."""
        scores: Mapping[str, float] = report.get("scores", {})
        with self._lock:
            counts = self._counts
            counts.assets[kind, model] += 1
            counts.gates.update((model, gate) for gate, held in report.get("gates", {}).items() if not held)
            if "score" in scores:
                counts.scores.setdefault(model, Scores()).add(scores["score"])
            if JUDGED in scores:
                counts.judged.setdefault(model, Scores()).add(scores[JUDGED])

    def doubted(self, model: str) -> None:
        """Counts a sprite in which the judge does not see the noun."""
        with self._lock:
            self._counts.doubtful[model] += 1

    def voted(self, variants: tuple[str, ...], winner: int) -> None:
        """Counts a vote; `winner` is an index, -1 for a tie."""
        with self._lock:
            for index, variant in enumerate(variants):
                outcome = "tie" if winner < 0 else "won" if index == winner else "lost"
                self._counts.votes[variant, outcome] += 1

    def deployed(self, state: str, verification: str) -> None:
        """Counts a deploy or an undo."""
        with self._lock:
            self._counts.deploys[state, verification] += 1

    def counts(self) -> Counts:
        """Returns a copy of what was counted."""
        with self._lock:
            return deepcopy(self._counts)


TALLY = Tally()
"""The process's own."""
