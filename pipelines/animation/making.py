"""Makes the clips of a figure, by what suits its size and kind: painted, posed or warped.

Small front views (12 to 24 px) get a painted walk sheet, larger people a puppet, and all else, or what a model itself
finds unconvincing, the warps of `pipelines.animation.motion`. What was done is said for every clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from pipelines.animation.canvas import fitted, margin_note
from pipelines.animation.curves import Strike, strike_of
from pipelines.animation.motion import LOOPING, animate, seen_from_behind
from pipelines.animation.painted import painted_clip
from pipelines.choices import FrameMethod
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

METHODS: tuple[str, ...] = get_args(FrameMethod)

SMALLEST, LARGEST_PAINTED = 9, 24
"""Drawn sizes (the longer side) of figures whose walk is painted."""

SURPRISE_LIMIT = 0.75
"""Own surprise of the sheet model, nats a pixel, above which its sheet is not shown."""

FRONT_SYMMETRY, MIRROR_SYMMETRY = 0.62, 0.25
"""Symmetry from which a sprite counts as a front view, and from which right mirrors left.

The first one does not count where four directions are asked for: those begin with a front view."""

BIPED_CHANCE = 0.5
"""Chance of two legs, as the part map says it, from which a figure is posed as a puppet."""

CREATURES = frozenset(
    [
        "bat",
        "spider",
        "slime",
        "jelly",
        "ooze",
        "snake",
        "worm",
        "dragon",
        "drake",
        "wyvern",
        "wolf",
        "dog",
        "cat",
        "rat",
        "mouse",
        "fish",
        "bird",
        "eagle",
        "crow",
        "raven",
        "owl",
        "beetle",
        "ant",
        "scorpion",
        "frog",
        "toad",
        "turtle",
        "crab",
        "octopus",
        "squid",
        "kraken",
        "eye",
        "beholder",
        "bear",
        "horse",
        "deer",
        "boar",
        "pig",
        "cow",
        "sheep",
        "goat",
        "bee",
        "wasp",
        "butterfly",
        "moth",
        "lizard",
        "crocodile",
        "hydra",
        "fox",
        "rabbit",
        "lion",
        "tiger",
        "elephant",
        "mimic",
        "chest",
        "plant",
        "mushroom",
        "fungus",
        "tree",
        "elemental",
        "ghost",
        "wisp",
        "cloud",
        "snail",
        "shark",
        "whale",
        "unicorn",
        "pegasus",
        "griffin",
        "chicken",
        "duck",
        "dinosaur",
        "scarab",
        "centipede",
        "spiderling",
        "blob",
        "cube",
    ]
)
"""Words of prompts whose figures do not walk on two legs."""

Check = Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """The clips of a figure.

    Attributes:
        frames: clip name -> frames, all of one size.
        how: clip name -> one sentence: what was drawn and what was moved.
        notes: what the whole answer should say (a fallback, a guessed back).
        margin: pixels added on each side of the sprite, so that nothing is cut.
    """

    frames: dict[str, list[Pixels]]
    how: dict[str, str]
    notes: list[str] = field(default_factory=list)
    margin: int = 0


def symmetry(sprite: Pixels) -> float:
    """Share of the drawn pixels that are equal when the sprite is mirrored about the best axis near its middle."""
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
    """The longer side of the box around the opaque pixels."""
    opaque = sprite[..., 3] > 0
    if not opaque.any():
        raise InvalidRequest("There is nothing to animate: the sprite has no opaque pixel.")
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    return int(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)


def is_creature(words: str) -> bool:
    """Whether a prompt names something that does not walk on two legs; a rider or keeper named first is a person."""
    said = ["".join(c for c in word if c.isalpha()) for word in words.lower().split()]
    return any(word in CREATURES or (word.endswith("s") and word[:-1] in CREATURES) for word in said[-2:])


def make_clips(
    sprite: Pixels,
    motions: Sequence[str],
    frames: int,
    directions: Sequence[str],
    *,
    faces_left: bool = False,
    method: FrameMethod = "auto",
    words: str = "",
    seed: int = 0,
    check: Check | None = None,
) -> Clips:
    """The clips of a finished sprite.

    Args:
        sprite: (height, width, 4) RGBA with hard alpha.
        motions: of `pipelines.animation.motion.MOTIONS`.
        frames: 2 to 8 in each clip.
        directions: clip endings: "" or of down, up, right, left.
        faces_left: which way a side view looks.
        method: auto chooses; the others force one, or raise where it cannot be done.
        words: the prompt of the sprite; it names the weapon and tells creatures from people.
        seed: of what is painted.
        check: called often; raises to cancel.

    Raises:
        InvalidRequest: nothing is drawn, or a forced method does not fit the sprite.
    """
    if method not in METHODS:
        raise InvalidRequest(f"method='{method}' is unknown. Use one of: {', '.join(METHODS)}.")
    size, notes = drawn_size(sprite), []
    fits_painted = SMALLEST <= size <= LARGEST_PAINTED
    if method == "painted" and not fits_painted:
        raise InvalidRequest(
            f"A sheet is painted for figures of {SMALLEST} to {LARGEST_PAINTED} pixels; this one has {size}."
            " Draw it at size=16, or leave method out."
        )
    if method == "painted" or (method == "auto" and fits_painted):
        from pipelines.animation.small import small_clips

        made = small_clips(
            sprite, motions, frames, directions, words=words, seed=seed, check=check, forced=method == "painted"
        )
        if isinstance(made, Clips):
            return made
        notes.append(made)
    elif method in ("auto", "puppet"):
        from pipelines.animation.large import puppet_clips

        made = puppet_clips(
            sprite,
            motions,
            frames,
            directions,
            words=words,
            faces_left=faces_left,
            forced=method == "puppet",
            check=check,
        )
        if isinstance(made, Clips):
            return made
        notes.append(made)
    return _warped(sprite, motions, frames, directions, faces_left, notes, strike_of(words, "held"))


def _warped(
    sprite: Pixels,
    motions: Sequence[str],
    frames: int,
    directions: Sequence[str],
    faces_left: bool,
    notes: list[str],
    strike: Strike,
) -> Clips:
    """Every frame a warp of the key's own pixels; left is right mirrored, up a guess at the back.

    An attack gets room around the sprite for its lunge, and at small sizes the arc or bolt that painted figures have.
    """
    spare = max(sprite.shape[:2]) // 2
    facing_right = sprite[:, ::-1] if faces_left else sprite
    views = {"down": sprite, "up": seen_from_behind(sprite), "right": facing_right}
    small = drawn_size(sprite) <= LARGEST_PAINTED
    made: dict[str, list[Pixels]] = {}
    how: dict[str, str] = {}
    for motion in motions:
        for direction in directions:
            name = f"{motion}_{direction}" if direction else motion
            side = "right" if direction == "left" or (direction == "" and faces_left) else direction or "down"
            view = views[side]
            if motion == "attack":
                room = np.pad(view, ((spare, spare), (spare, spare), (0, 0)))
                looks = "right" if direction in ("", "left", "right") else direction
                steps = animate(room, "walk", 4)
                cells = np.stack([room, steps[1], steps[3]])
                clip = painted_clip(cells, looks, motion, frames, strike) if small else animate(room, motion, frames)
            else:
                clip = [
                    np.pad(frame, ((spare, spare), (spare, spare), (0, 0))) for frame in animate(view, motion, frames)
                ]
            mirrored = direction == "left" or (direction == "" and faces_left)
            made[name] = [frame[:, ::-1] for frame in clip] if mirrored else clip
            how[name] = "warped from the sprite's own pixels" + _WARPED_TOO.get(direction, "")
            if motion == "attack" and small:
                how[name] += ", a blow drawn in its lightest colour"
    made, margin = fitted(made, spare)
    return Clips(made, how, [*notes, margin_note(margin)] if margin else notes, margin)


_WARPED_TOO = {"left": ", mirrored", "up": ", the back guessed"}


def loops_of(names: Sequence[str]) -> dict[str, bool]:
    """Which clips loop, by their motion."""
    return {name: name.split("_")[0] in LOOPING for name in names}
