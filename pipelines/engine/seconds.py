"""Count durations by size, as a histogram that monitoring can read."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

BOUNDS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Upper bounds in seconds; what is longer counts in one more class."""


@dataclass(slots=True)
class Seconds:
    """Durations in seconds: how many in each class, and their sum. Not safe for threads by itself."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def copy(self) -> Seconds:
        """Returns what was counted until now."""
        return Seconds(list(self.counts), self.total)
