"""Measure a sprite that is to be animated: its drawn size, its symmetry, and whether its prompt names a creature.

The clips that the animators return are defined here too, so that `making` and the animators import the same record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

FRONT_SYMMETRY, MIRROR_SYMMETRY = 0.62, 0.25
"""Symmetry from which a sprite counts as a front view, and from which the left view mirrors the right one.

The first limit does not apply where four directions are requested: those start from a front view."""

_CREATURES = """
    bat spider slime jelly ooze snake worm dragon drake wyvern wolf dog cat rat mouse fish bird eagle crow raven
    owl beetle ant scorpion frog toad turtle crab octopus squid kraken eye beholder bear horse deer boar pig cow
    sheep goat bee wasp butterfly moth lizard crocodile hydra fox rabbit lion tiger elephant mimic chest plant
    mushroom fungus tree elemental ghost wisp cloud snail shark whale unicorn pegasus griffin chicken duck
    dinosaur scarab centipede spiderling blob cube
"""
CREATURES = frozenset(_CREATURES.split())
"""Words of prompts whose figures do not walk on two legs."""

Check = Callable[[], None]
"""Called often; raises to cancel."""

Tag = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Gets the drawings (n, height, width, 4) that a method moves, and returns them with tags in alpha (`tracing`)."""


def untagged(drawings: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the drawings as they are."""
    return drawings


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """The clips of a figure.

    Attributes:
        frames: clip name -> frames, all of one size.
        how: clip name -> a sentence that says what was drawn and what was moved.
        notes: sentences about the whole sheet (a fallback, a guessed back).
        margin: pixels added on each side of the sprite, so that nothing is cut.
        stands: whether its looping clips keep to the floor; False for what hops or flies.
    """

    frames: dict[str, list[Pixels]]
    how: dict[str, str]
    notes: list[str] = field(default_factory=list)
    margin: int = 0
    stands: bool = True


def symmetry(sprite: Pixels) -> float:
    """Returns the share of opaque pixels (0 to 1) that stay equal when the sprite is mirrored.

    The axis near the middle with the largest share counts.
    """
    opaque = sprite[..., 3] > 0
    columns = np.flatnonzero(opaque.any(axis=0))
    if not columns.size:
        return 0.0
    width, best = sprite.shape[1], 0.0
    place = np.arange(width)
    for axis in range(int(columns[0] + columns[-1]) - 2, int(columns[0] + columns[-1]) + 3):
        source = axis - place
        inside = (source >= 0) & (source < width)
        mirrored = np.zeros_like(sprite)
        mirrored[:, inside] = sprite[:, source[inside]]
        both = opaque & (mirrored[..., 3] > 0)
        either = opaque | (mirrored[..., 3] > 0)
        best = max(best, float(((sprite == mirrored).all(axis=-1) & both).sum() / max(either.sum(), 1)))
    return best


def drawn_size(sprite: Pixels) -> int:
    """Returns the longer side of the box around the opaque pixels.

    Raises:
        InvalidRequest: no pixel is opaque.
    """
    opaque = sprite[..., 3] > 0
    if not opaque.any():
        raise InvalidRequest("There is nothing to animate: the sprite has no opaque pixel. Give another asset_id.")
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    return int(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)


def is_creature(prompt: str) -> bool:
    """Returns whether the last two words of a prompt name something that does not walk on two legs."""
    words = ["".join(c for c in word if c.isalpha()) for word in prompt.lower().split()]
    return any(word in CREATURES or (word.endswith("s") and word[:-1] in CREATURES) for word in words[-2:])
