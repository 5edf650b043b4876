"""Make clips of larger people: a part map rigs the sprite, and curves of bones pose it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.animation.canvas import fitted, margin_note
from pipelines.animation.curves import bones_of, strike_of
from pipelines.animation.figures import Check, Clips, Tag, is_creature, untagged
from pipelines.animation.motion import seen_from_behind
from pipelines.animation.puppet import pose_figure
from pipelines.animation.rig import Rig, rig_figure
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

BIPED_CHANCE = 0.5
"""Chance of two legs, from the part map, from which a figure is posed as a puppet."""


def puppet_clips(
    sprite: Pixels,
    motions: Sequence[str],
    frames: int,
    directions: Sequence[str],
    *,
    words: str = "",
    faces_left: bool = False,
    forced: bool = False,
    check: Check | None = None,
    tag: Tag = untagged,
) -> Clips | str:
    """Returns the clips, or the reason why the sprite should be warped instead.

    Raises:
        InvalidRequest: a puppet was asked for by name, and no head or trunk was found.
    """
    from pipelines.embedded.motion.parts import PARTS, map_parts
    from pipelines.embedded.motion.weights import part_net

    if not forced and is_creature(words):
        return "A creature that does not walk on two legs is warped. method='puppet' poses it as a person."
    chances, biped = map_parts(part_net(), sprite)
    if not forced and biped < BIPED_CHANCE:
        return (
            f"The part map sees no figure on two legs (chance {biped:.2f}), so the sprite was warped."
            " method='puppet' poses it anyway."
        )
    spare = max(sprite.shape[:2]) // 2
    room = np.pad(tag(sprite[None])[0], ((spare, spare), (spare, spare), (0, 0)))
    padded = np.pad(chances, ((spare, spare), (spare, spare), (0, 0)))
    rig = rig_figure(room, padded, PARTS)
    if rig is None:
        if forced:
            raise InvalidRequest(
                "The part map finds no head or no trunk in this sprite. Leave method out, or draw a whole figure."
            )
        return "The part map finds no head or no trunk, so the sprite was warped."
    strike = strike_of(words, rig.weapon)
    made: dict[str, list[Pixels]] = {}
    how: dict[str, str] = {}
    for motion in motions:
        for direction in directions:
            if check is not None:
                check()
            name = f"{motion}_{direction}" if direction else motion
            made[name] = _clip(rig, motion, frames, direction, strike, faces_left)
            how[name] = _said(motion, direction, strike, rig)
    made, margin = fitted(made, spare)
    notes = [_found(rig, biped)]
    if margin:
        notes.append(margin_note(margin))
    if "up" in directions:
        notes.append("The back is a guess: hair or hood over the face. A figure of 16 px gets painted backs.")
    return Clips(made, how, notes, margin)


def _clip(rig: Rig, motion: str, frames: int, direction: str, strike: str, faces_left: bool) -> list[Pixels]:
    side = direction in ("left", "right") or (direction == "" and motion in ("walk", "run"))
    bones = bones_of(motion, frames, "side" if side else "front", strike, rig.weapon, legs=rig.legs)  # type: ignore[arg-type]
    posed = [pose_figure(rig, one) for one in bones]
    if direction == "up":
        return [seen_from_behind(frame) for frame in posed]
    mirrored = direction == "left" or (direction == "" and faces_left and side)
    return [np.ascontiguousarray(frame[:, ::-1]) for frame in posed] if mirrored else posed


def _found(rig: Rig, biped: float) -> str:
    named = {
        "held_left": "a thing in the left of the picture",
        "held_right": "a thing in the right of the picture",
        "arm_left": "bare arms",
        "arm_right": "bare arms",
        "trunk": "no arms",
    }
    below = "two legs" if rig.legs else "a robe, no legs"
    return f"The part map (two legs {biped:.2f}) found {below} and {named[rig.weapon]}."


def _said(motion: str, direction: str, strike: str, rig: Rig) -> str:
    moved = {
        "idle": "the chest sinks and rises",
        "walk": "legs step and arms swing" if rig.legs else "the robe sways",
        "run": "legs stride, the body leans",
        "attack": {
            "swing": "the arm swings what it holds",
            "thrust": "the arm thrusts what it holds",
            "shoot": "the arm aims and lets go",
            "cast": "the arms are raised and thrown forwards",
            "punch": "the arm punches",
        }[strike],
        "hurt": "thrown back in a flash",
        "die": "sinks, falls and lies",
    }[motion]
    return f"puppet of the sprite's own parts: {moved}" + {"left": ", mirrored", "up": ", the back guessed"}.get(
        direction, ""
    )
