"""A square picture that is painted part by part: shapes in shares of the side, rims, light from above left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.effects.ramps import Ramp

Mask = NDArray[np.bool_]

SKINS: dict[str, Ramp] = {
    name: tuple((int(word[:2], 16), int(word[2:4], 16), int(word[4:], 16)) for word in words.split())
    for name, words in {
        "light": "5b2f2a b8704f e8ab7f f7cfa3 ffe9cf",
        "tan": "4a2620 96583a c98556 e3aa78 f6d2a6",
        "brown": "2e1813 5f3626 8f5a3c b27c57 d7a67f",
        "pale": "463f52 8d86a0 c4c0d0 e2e0ea f8f6ff",
        "green": "17301f 3d6a35 6b9a45 96c05e c9e291",
        "red": "3a0f18 7d1f24 b93a33 dc6a4f f3a683",
        "bone": "3a332e 8c8069 c9bf9f e9e3cb fffdf2",
    }.items()
}
WHITE, DARK = (250, 248, 240), (28, 20, 30)


class Board:
    """A square picture, painted part by part; `step` is how many pixels wide light and shade are."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.image = np.zeros((side, side, 4), np.uint8)
        y, x = np.mgrid[0:side, 0:side]
        self.x: NDArray[np.float64] = (x + 0.5) / side
        self.y: NDArray[np.float64] = (y + 0.5) / side
        self.step = max(1, round(side / 30))

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> Mask:
        """Returns a filled ellipse."""
        return ((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2 <= 1

    def box(self, left: float, top: float, right: float, bottom: float) -> Mask:
        """Returns a rectangle, at least a pixel on each side."""
        x0, y0 = round(left * self.side), round(top * self.side)
        x1, y1 = max(x0 + 1, round(right * self.side)), max(y0 + 1, round(bottom * self.side))
        mask = np.zeros((self.side, self.side), bool)
        mask[max(0, y0) : y1, max(0, x0) : x1] = True
        return mask

    def wedge(self, x: float, y: float, base_y: float, left: float, right: float) -> Mask:
        """Returns a triangle with its tip at (x, y) and its base at `base_y` from `left` to `right`."""
        share = np.clip((self.y - y) / (base_y - y), 0, 1)
        low, high = min(y, base_y), max(y, base_y)
        inside = (self.x >= x + (left - x) * share) & (self.x <= x + (right - x) * share)
        return inside & (self.y >= low) & (self.y <= high)

    def fill(self, mask: Mask, color: tuple[int, int, int]) -> None:
        """Paints a shape in one colour."""
        self.image[mask] = (*color, 255)

    def part(self, mask: Mask, ramp: Ramp, *, lit: bool = True, rim: bool = True) -> None:
        """Paints a part: a dark rim around it, its base, light at its upper left, shade at its lower right."""
        if rim:
            wide = np.pad(mask, 1)
            near = wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
            self.fill(near & ~mask, ramp[0])
        self.fill(mask, ramp[2])
        k = self.step
        self.fill(mask & ~shifted(mask, -k, -k), ramp[1])
        if lit:
            self.fill(mask & shifted(mask, -k, -k) & ~shifted(mask, 2 * k, k) & shifted(mask, k - 1, 0), ramp[3])


def shifted(mask: Mask, right: int, down: int) -> Mask:
    """Returns a mask moved by whole pixels; what enters is empty."""
    made = np.zeros_like(mask)
    height, width = mask.shape
    made[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return made
