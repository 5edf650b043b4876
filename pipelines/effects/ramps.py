"""Colour ramps for effects: five steps from dark to hot, found in a locked palette or taken as they are."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from pipelines.embedded.colors import SAID_FOR
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette

Ramp = tuple[tuple[int, int, int], ...]
"""Colours from dark to hot."""

_RAMPS = {
    "fire": "3b1725 9e2835 e35a24 fba92c fff2b0",
    "red": "3a1020 8c1c36 d13a3f f4856b ffdccb",
    "orange": "42180f 9a3b12 e2701c fab13f fff0bd",
    "yellow": "4a2c0c 9c6415 dfa22a fbdc5c fffbd0",
    "green": "0f2b2a 1a6440 36a64b 8fdb5a e9fbb4",
    "cyan": "0d2b3f 136a80 23aeb2 78e3d2 e2fff0",
    "blue": "141b46 24469b 3a86e0 7cc8f8 e3faff",
    "purple": "24133f 5a2a8e 9651cf cf93f0 f8e4ff",
    "pink": "3c1136 8e2866 da5296 f79cbf ffe6ee",
    "brown": "271813 5b3724 8f5f38 c29a62 ecd9a4",
    "tan": "4b2f26 8a6440 c7a36c e6d09c f8eed0",
    "gray": "22252f 4b5162 7f8696 b4bac4 eef0f2",
    "white": "4d5a74 8193ad b3c4d6 dde9f2 ffffff",
    "black": "0d0c14 221f2e 3b3749 5f5a70 938ea2",
}
"""Name -> five RRGGBB colours. Drawn for this project; hues turn warm towards the light, as painters of pixels do."""

_ELEMENTS = {
    **{"ice": "cyan", "frost": "cyan", "water": "blue", "arcane": "purple", "magic": "purple", "shadow": "black"},
    **{
        "poison": "green",
        "acid": "green",
        "nature": "green",
        "holy": "yellow",
        "lightning": "yellow",
        "light": "white",
    },
    **{"blood": "red", "flame": "fire", "dust": "brown", "sand": "brown", "earth": "brown", "steam": "white"},
}
_REPEATED = 0.02
"""Squared OKLab distance that a repeated colour costs."""

RAMPS: dict[str, Ramp] = {
    name: tuple((int(word[:2], 16), int(word[2:4], 16), int(word[4:], 16)) for word in words.split())
    for name, words in _RAMPS.items()
}


def ramp_of(name: str, palette: Palette | None = None) -> Ramp:
    """Returns the five colours of a ramp, from dark to hot; of a locked palette those that come nearest together.

    The chosen colours never get darker along the ramp, so that shapes keep their light. A small palette repeats some.

    Args:
        name: one of RAMPS.
        palette: the locked palette; None: the ramp's own colours.
    """
    ramp = RAMPS[name]
    if palette is None:
        return ramp
    wanted = to_oklab(np.array(ramp, np.uint8)).astype(np.float64)
    order = np.argsort(palette.lab[:, 0], kind="stable")
    lab = palette.lab[order].astype(np.float64)
    # hue matters more than lightness: a green flame reads as poison, a dull one still as fire
    cost = ((wanted[:, None] - lab[None]) ** 2 * np.array([1.0, 2.0, 2.0])).sum(axis=2)
    best, back = cost[0], []
    for row in cost[1:]:
        steps = [_lowest(best, at) for at in range(len(row))]
        back.append([previous for previous, _ in steps])
        best = row + np.array([so_far for _, so_far in steps])
    chosen = [int(best.argmin())]
    for previous in reversed(back):
        chosen.append(previous[chosen[-1]])
    return tuple(palette.colors[order[at]] for at in reversed(chosen))


def _lowest(cost: NDArray[np.float64], at: int) -> tuple[int, float]:
    """Returns the cheapest earlier colour for the colour `at`, and its cost; to repeat `at` costs _REPEATED."""
    costs = cost[: at + 1].copy()
    costs[at] += _REPEATED  # five different steps look better than three
    return int(costs.argmin()), float(costs.min())


def ramp_name(words: str) -> str:
    """Returns the ramp that a prompt names by a colour or an element ("blue", "poison"); empty where it names none."""
    for word in re.findall(r"[a-z]+", words.lower()):
        name = _ELEMENTS.get(word) or SAID_FOR.get(word, word)
        if name in RAMPS:
            return name
    return ""
