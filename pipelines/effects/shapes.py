"""Shapes on the pixel grid: levels of a ramp painted by discs, stars, crosses and lines.

A `Canvas` holds one level for each pixel: -1 is clear, 0 to 4 the steps of the first ramp, 5 to 9 of the second.
Coordinates are shares of the side, from the left and from the top; a pixel belongs to a shape when its centre does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.effects.ramps import Ramp
from pipelines.records import Pixels

Mask = NDArray[np.bool_]
Disc = tuple[float, float, float]
"""x, y and radius."""


class Canvas:
    """A square of levels."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.levels = np.full((side, side), -1, np.int8)
        y, x = np.mgrid[0:side, 0:side]
        self.x: NDArray[np.float64] = (x + 0.5) / side
        self.y: NDArray[np.float64] = (y + 0.5) / side

    def discs(self, discs: Iterable[Disc]) -> Mask:
        """Returns the union of discs; those smaller than half a pixel are left out."""
        mask = np.zeros_like(self.levels, bool)
        for x, y, radius in discs:
            if radius * self.side >= 0.5:
                mask |= (self.x - x) ** 2 + (self.y - y) ** 2 <= radius**2
        return mask

    def star(self, x: float, y: float, inner: float, outer: Sequence[float], turn: float = 0.0) -> Mask:
        """Returns a star around a place; `outer` is the length of each of its spikes, clockwise from the right."""
        dx, dy = self.x - x, self.y - y
        count = len(outer)
        place = (np.arctan2(dy, dx) / (2 * np.pi) * count - turn) % count
        nearest = np.rint(place)
        length = np.array(outer)[nearest.astype(int) % count]
        aside = np.abs(place - nearest) * 2
        return np.hypot(dx, dy) <= inner + np.maximum(length - inner, 0.0) * (1 - aside) ** 2.2

    def line(self, x: float, y: float, angle: float, start: float, end: float, width: float) -> Mask:
        """Returns a stroke that points away from a place and thins towards its far end."""
        dx, dy = self.x - x, self.y - y
        along = dx * np.cos(angle) + dy * np.sin(angle)
        aside = np.abs(dy * np.cos(angle) - dx * np.sin(angle))
        thin = np.clip((end - along) / max(end - start, 1e-6), 0.0, 1.0)
        return (along >= start) & (along <= end) & (aside <= np.maximum(width * thin, 0.55 / self.side))

    def ellipse_line(self, x: float, y: float, rx: float, ry: float) -> Mask:
        """Returns the rim of an ellipse, one pixel wide."""
        full = ((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2 <= 1
        padded = np.pad(full, 1)
        inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return full & ~inside

    def paint(self, mask: Mask, level: int) -> None:
        """Sets the level of a shape's pixels."""
        self.levels[mask] = level

    def erase(self, mask: Mask) -> None:
        """Clears a shape's pixels."""
        self.levels[mask] = -1

    def dot(self, x: float, y: float, level: int, pixels: int = 1) -> None:
        """Sets a square of `pixels` with its middle at a place; what lies outside is left out."""
        column, row = round(x * self.side - pixels / 2), round(y * self.side - pixels / 2)
        if min(column, row) >= 0 and max(column, row) + pixels <= self.side:
            self.levels[row : row + pixels, column : column + pixels] = level

    def level_at(self, x: float, y: float) -> int:
        """Returns the level of the pixel at a place, -1 outside."""
        column, row = int(x * self.side), int(y * self.side)
        return int(self.levels[row, column]) if min(column, row) >= 0 and max(column, row) < self.side else -1

    def cross(self, x: float, y: float, arm: int, level: int, tip: int) -> None:
        """Draws a plus whose arms have `arm` pixels; the last pixel of each arm has the level `tip`."""
        column, row = int(x * self.side), int(y * self.side)
        for away in range(arm, -1, -1):
            for dx, dy in ((away, 0), (-away, 0), (0, away), (0, -away)):
                if 0 <= column + dx < self.side and 0 <= row + dy < self.side:
                    self.levels[row + dy, column + dx] = tip if away == arm and arm else level

    def drop_specks(self, least: int = 2) -> None:
        """Clears 8-connected parts of fewer than `least` pixels."""
        from pipelines.pixels.gates import label_parts

        labels = label_parts(self.levels >= 0)
        counts = np.bincount(labels.ravel())
        self.levels[(counts < least)[labels] & (labels > 0)] = -1

    def picture(self, ramps: Sequence[Ramp]) -> Pixels:
        """Returns the levels as (side, side, 4) RGBA in the ramps' colours."""
        table = np.zeros((len(ramps) * 5 + 1, 4), np.uint8)
        for number, color in enumerate(color for ramp in ramps for color in ramp):
            table[number] = (*color, 255)
        return table[self.levels]
