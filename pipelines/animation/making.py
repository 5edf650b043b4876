"""Make the clips of a figure with the method that suits its size and kind: rigged, painted, posed or warped.

Creatures named by the prompt get a rig of their own (`creatures`) where its parts are found. Small front views (9 to
24 px) get a painted walk sheet (`small`), larger people a puppet (`large`). All other figures, and those that a network
is not sure of, are warped (`motion`). `Clips.how` says for each clip what was done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from pipelines.animation.canvas import fitted, margin_note
from pipelines.animation.creatures import LEAVES_FLOOR, MOVED, SAID, Creature, CreatureKind, kind_of
from pipelines.animation.curves import Strike, strike_of
from pipelines.animation.figures import FRONT_SYMMETRY, Check, Clips, Tag, drawn_size, symmetry, untagged
from pipelines.animation.motion import LOOPING, animate, seen_from_behind
from pipelines.animation.painted import painted_clip
from pipelines.choices import FrameMethod
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

METHODS: tuple[str, ...] = get_args(FrameMethod)

SMALLEST, LARGEST_PAINTED = 9, 24
"""Drawn sizes (the longer side, in pixels) of figures whose walk is painted."""


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
    tag: Tag = untagged,
) -> Clips:
    """Makes the clips of a finished sprite.

    Args:
        sprite: (height, width, 4) RGBA with hard alpha.
        motions: of `pipelines.animation.motion.MOTIONS`.
        frames: 2 to 8 in each clip.
        directions: clip endings: "" or of down, up, right, left.
        faces_left: which way a side view looks.
        method: auto chooses by size and kind; another name forces that method.
        words: the prompt of the sprite; it names the weapon and tells creatures from people.
        seed: the seed of the painted sheet.
        check: called often; raises to cancel.
        tag: marks the drawings after all has been decided, before they are moved.

    Raises:
        InvalidRequest: nothing is drawn, or a forced method does not fit the sprite.
    """
    if method not in METHODS:
        raise InvalidRequest(f"method='{method}' is unknown. Use one of: {', '.join(METHODS)}.")
    size, notes = drawn_size(sprite), []
    kind = kind_of(words) if method == "auto" else None
    if kind is not None:
        rigged = _rigged(sprite, kind, motions, frames, directions, faces_left, check, tag)
        if isinstance(rigged, Clips):
            return rigged
        notes.append(rigged)
    fits_painted = SMALLEST <= size <= LARGEST_PAINTED
    if method == "painted" and not fits_painted:
        raise InvalidRequest(
            f"A sheet is painted for figures of {SMALLEST} to {LARGEST_PAINTED} pixels; this one has {size}."
            " Draw it at size=16, or leave method out."
        )
    if method == "painted" or (method == "auto" and fits_painted):
        from pipelines.animation.small import small_clips

        made = small_clips(
            sprite,
            motions,
            frames,
            directions,
            words=words,
            seed=seed,
            check=check,
            forced=method == "painted",
            tag=tag,
        )
        if isinstance(made, Clips):
            return replace(made, notes=[*notes, *made.notes])
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
            tag=tag,
        )
        if isinstance(made, Clips):
            return replace(made, notes=[*notes, *made.notes])
        notes.append(made)
    return _warped(sprite, motions, frames, directions, faces_left, notes, strike_of(words, "held"), tag)


def _rigged(
    sprite: Pixels,
    kind: CreatureKind,
    motions: Sequence[str],
    frames: int,
    directions: Sequence[str],
    faces_left: bool,
    check: Check | None,
    tag: Tag,
) -> Clips | str:
    """Returns the clips of a creature's rig, or the reason why it has none."""
    spare = max(sprite.shape[:2]) // 2
    room = np.pad(tag(sprite[None])[0], ((spare, spare), (spare, spare), (0, 0)))
    side = symmetry(sprite) < FRONT_SYMMETRY
    right = Creature(np.ascontiguousarray(room[:, ::-1]) if faces_left else room, kind, side=side)
    if not right.usable:
        return f"The prompt names a {kind}, but its {MOVED[kind]} were not found, so the rig was not used."
    front, back = Creature(room, kind, side=False), Creature(seen_from_behind(room), kind, side=False)
    made: dict[str, list[Pixels]] = {}
    how: dict[str, str] = {}
    for motion in motions:
        for direction in directions:
            if check is not None:
                check()
            name = f"{motion}_{direction}" if direction else motion
            looks = direction if direction in ("down", "up") else "right"
            creature = {"down": front, "up": back, "right": right}[looks]
            clip = creature.clip(motion, frames, looks)
            mirrored = direction == "left" or (direction == "" and faces_left)
            made[name] = [np.ascontiguousarray(frame[:, ::-1]) for frame in clip] if mirrored else clip
            how[name] = f"rig of a {kind}: {SAID[kind]}" + _WARPED_TOO.get(direction, "")
    made, margin = fitted(made, spare)
    notes = [f"The prompt names a {kind}, which has a rig of its own. method='warp' or 'painted' overrides it."]
    notes += [margin_note(margin)] if margin else []
    return Clips(made, how, notes, margin, stands=kind not in LEAVES_FLOOR)


def _warped(
    sprite: Pixels,
    motions: Sequence[str],
    frames: int,
    directions: Sequence[str],
    faces_left: bool,
    notes: list[str],
    strike: Strike,
    tag: Tag,
) -> Clips:
    """Warps the key's own pixels into every frame; left is right mirrored, up a guess at the back.

    An attack gets room around the sprite for its lunge, and at small sizes the arc or bolt that painted figures have.
    """
    spare = max(sprite.shape[:2]) // 2
    sprite = tag(sprite[None])[0]
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
    """Returns which clips loop, by their motion."""
    return {name: name.split("_")[0] in LOOPING for name in names}
