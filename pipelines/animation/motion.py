"""Move the pixels of a finished sprite procedurally, into the frames of an animation. Needs numpy only.

Every frame remaps whole pixels, so palette, grid and hard alpha hold by construction, and the feet stay on their
line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pipelines.choices import Motion
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

MOTIONS = get_args(Motion)
LOOPING = frozenset({"idle", "walk", "run"})


@dataclass(frozen=True, slots=True)
class Pose:
    """How far each part of the body is from rest, for a body 30 pixels high (scaled to others); x grows forwards.

    `bob`: the upper body, downwards. `shift`: everything, forwards. `lean`: the head, forwards (a shear from the feet).
    `lift`, `swing`: (rear, fore) leg, upwards and forwards. `squash`: share of the height that is lost, 0..1.
    `sink`: share of the body that has gone below the feet line, 0..1. `flash`: every pixel in the lightest colour.
    """

    bob: float = 0.0
    shift: float = 0.0
    lean: float = 0.0
    lift: tuple[float, float] = (0.0, 0.0)
    swing: tuple[float, float] = (0.0, 0.0)
    squash: float = 0.0
    sink: float = 0.0
    flash: bool = False


def poses(motion: str, frames: int) -> tuple[Pose, ...]:
    """Returns the key poses of a motion, spread over 2..8 frames.

    Raises:
        InvalidRequest: an unknown motion or number of frames.
    """
    if motion not in MOTIONS:
        raise InvalidRequest(f"The motion '{motion}' is unknown. Use one of: {', '.join(MOTIONS)}.")
    if not 2 <= frames <= 8:
        raise InvalidRequest(f"An animation has 2 to 8 frames, not {frames}.")
    phases = np.arange(frames) / frames if motion in LOOPING else np.arange(frames) / (frames - 1)
    return tuple(_POSE_AT[motion](float(t)) for t in phases)


def _idle(t: float) -> Pose:
    """Breathes: the chest sinks by a pixel and rises again, a touch slower going down."""
    return Pose(bob=1.0 if 0.25 <= t < 0.75 else 0.0)


def _walk(t: float) -> Pose:
    """Goes through contact, passing, contact, passing: one leg swings forwards in the air while the other carries."""
    swing = float(np.cos(2 * np.pi * t)) * 2.0
    lift = float(np.sin(2 * np.pi * t)) * 2.4
    passing = abs(float(np.sin(2 * np.pi * t)))
    return Pose(bob=-round(passing), lift=(max(lift, 0.0), max(-lift, 0.0)), swing=(-swing, swing), lean=0.8)


def _run(t: float) -> Pose:
    """Walks with longer steps, leaning forwards."""
    step = _walk(t)
    return replace(
        step,
        lean=2.6,
        lift=(step.lift[0] * 1.4, step.lift[1] * 1.4),
        swing=(step.swing[0] * 1.5, step.swing[1] * 1.5),
    )


def _attack(t: float) -> Pose:
    """Winds up, strikes, holds, recovers."""
    if t < 0.25:
        return Pose(shift=-2.0, lean=-2.5, bob=2.0)
    if t < 0.6:
        return Pose(shift=4.0, lean=4.5, swing=(-1.0, 2.0), squash=0.06)
    if t < 0.85:
        return Pose(shift=2.0, lean=2.0, swing=(0.0, 1.0))
    return Pose()


def _hurt(t: float) -> Pose:
    """Throws the figure back in a flash, then upright again."""
    if t < 0.3:
        return Pose(shift=-3.0, lean=-3.5, flash=True)
    if t < 0.7:
        return Pose(shift=-2.0, lean=-2.0, bob=1.0)
    return Pose(shift=-0.4)


def _die(t: float) -> Pose:
    """Staggers, folds down to a heap; the last frame is what stays on the floor."""
    if t < 0.15:
        return Pose(shift=-1.0, lean=-2.0, flash=True)
    return Pose(lean=-3.0 * min(t * 1.5, 1.0), squash=0.2 * t, sink=0.5 * t**1.5)


_POSE_AT = {"idle": _idle, "walk": _walk, "run": _run, "attack": _attack, "hurt": _hurt, "die": _die}


def animate(sprite: Pixels, motion: str, frames: int, *, faces_left: bool = False) -> list[Pixels]:
    """Makes a motion's frames, each of the sprite's size, feet on one line; a loop's first pose is nearly at rest.

    A sprite that fills its canvas leans and shifts less: nothing is pushed over the edge. A margin of 1/8 gives room.

    Raises:
        InvalidRequest: an unknown motion or number of frames, or a sprite without an opaque pixel.
    """
    if not (sprite[..., 3] > 0).any():
        raise InvalidRequest("There is nothing to animate: the sprite has no opaque pixel.")
    upright = sprite[:, ::-1] if faces_left else sprite
    scale = np.count_nonzero((sprite[..., 3] > 0).any(axis=1)) / 30
    planned = poses(motion, frames)
    if not _has_legs(upright):
        planned = tuple(_waddling(pose) for pose in planned)
    made = [bend(upright, scaled(pose, scale)) for pose in planned]
    return [np.ascontiguousarray(frame[:, ::-1]) if faces_left else frame for frame in made]


def _waddling(pose: Pose) -> Pose:
    """Returns the pose of a body without legs to lift (a robe, a slime): it rocks from side to side instead."""
    rear, fore = pose.lift
    rock = 0.0 if abs(rear - fore) < 0.5 else 2.0 if rear > fore else -2.0
    return replace(pose, lift=(0.0, 0.0), swing=(0.0, 0.0), lean=pose.lean + rock if rock else pose.lean)


def scaled(pose: Pose, scale: float) -> Pose:
    """Returns the pose for a body `scale` times as high as 30 pixels; what moves at all moves by a pixel at least."""

    def at(value: float) -> float:
        grown = value * scale
        return float(np.sign(grown)) if abs(value) >= 0.5 and abs(grown) < 0.5 else grown

    return replace(
        pose,
        bob=at(pose.bob),
        shift=at(pose.shift),
        lean=at(pose.lean),
        lift=(at(pose.lift[0]), at(pose.lift[1])),
        swing=(at(pose.swing[0]), at(pose.swing[1])),
    )


def bend(sprite: Pixels, pose: Pose) -> Pixels:
    """Returns the sprite in a pose: legs first, the upper body over them, then lean, squash, sink and shift."""
    top, feet, hip, middle = _body(sprite)
    height = feet - top + 1

    frame = np.zeros_like(sprite)
    for leg, inside in enumerate((slice(0, middle), slice(middle, sprite.shape[1]))):
        part = np.zeros_like(sprite)
        part[hip : feet + 1, inside] = sprite[hip : feet + 1, inside]
        part = _within(part, pose.swing[leg], lambda swing, part=part: _moved(part, 0, round(swing)))
        _lay(frame, _moved(part, round(-pose.lift[leg]), 0))
    body = np.zeros_like(sprite)
    body[:hip] = sprite[:hip]
    bob = round(pose.bob)
    if bob < 0:  # the hip's row fills the gap that a rising body leaves
        for gap in range(-bob):
            frame[hip - 1 - gap] = np.where(sprite[hip - 1, :, 3:] > 0, sprite[hip - 1], frame[hip - 1 - gap])
    elif pose.lift != (0.0, 0.0) or pose.swing != (0.0, 0.0):
        frame[hip] = np.where(sprite[hip, :, 3:] > 0, sprite[hip], frame[hip])
    if bob < 0:
        body = _within(body, float(bob), lambda rise, body=body: _moved(body, round(rise), 0))
    else:
        body = _moved(body, bob, 0)
    _lay(frame, body)

    lowest = int(np.flatnonzero((frame[..., 3] > 0).any(axis=1))[-1])
    frame = _moved(frame, feet - lowest, 0)  # a carrying leg that is the shorter one still stands on the line
    frame = _within(frame, pose.lean, lambda lean, frame=frame: _sheared(frame, lean, feet, height))
    frame = _squashed(frame, pose.squash, pose.sink, feet, height)
    frame = _within(frame, pose.shift, lambda shift, frame=frame: _moved(frame, 0, round(shift)))
    if pose.flash:
        opaque = frame[..., 3] > 0
        frame[opaque, :3] = _lightest(sprite)[:3]
    return frame


def _body(sprite: Pixels) -> tuple[int, int, int, int]:
    """Finds (top row, feet row, hip row, column between the legs)."""
    rows = np.flatnonzero((sprite[..., 3] > 0).any(axis=1))
    columns = np.flatnonzero((sprite[..., 3] > 0).any(axis=0))
    top, feet = int(rows[0]), int(rows[-1])
    hip = feet + 1 - max(2, round((feet - top + 1) * 0.32))
    return top, feet, hip, _middle(sprite, hip, int(columns[0]), int(columns[-1]))


def _has_legs(sprite: Pixels) -> bool:
    """Returns whether there is a gap between two legs: at least half of the column between them, from the floor up."""
    _, feet, hip, middle = _body(sprite)
    low = sprite[(hip + feet + 1) // 2 : feet + 1, middle, 3] > 0
    return bool(low.mean() <= 0.5)


def _middle(sprite: Pixels, hip: int, left: int, right: int) -> int:
    """Returns the column between the legs: the emptiest below the hip, near the middle of the body."""
    center = (left + right + 1) / 2
    filled = (sprite[hip:, :, 3] > 0).sum(axis=0)
    reach = max(1, (right - left + 1) // 6)
    near = range(max(left + 1, int(center) - reach), min(right, int(center) + reach) + 1)
    return min(near, key=lambda x: (filled[x], abs(x - center)), default=int(center))


def _moved(picture: Pixels, down: int, right: int) -> Pixels:
    moved = np.zeros_like(picture)
    height, width = picture.shape[:2]
    source_y, source_x = (
        slice(max(0, -down), min(height, height - down)),
        slice(max(0, -right), min(width, width - right)),
    )
    target_y, target_x = (
        slice(max(0, down), min(height, height + down)),
        slice(max(0, right), min(width, width + right)),
    )
    moved[target_y, target_x] = picture[source_y, source_x]
    return moved


def _lay(frame: Pixels, part: Pixels) -> None:
    opaque = part[..., 3] > 0
    frame[opaque] = part[opaque]


def _within(frame: Pixels, amount: float, change: Callable[[float], Pixels]) -> Pixels:
    """Returns the change by the largest part of the amount that pushes no pixel over the canvas' edge."""
    before = np.count_nonzero(frame[..., 3])
    while round(amount) != 0:
        changed = change(amount)
        if np.count_nonzero(changed[..., 3]) == before:
            return changed
        amount -= float(np.sign(amount))
    return frame


def _sheared(frame: Pixels, lean: float, feet: int, height: int) -> Pixels:
    if round(lean) == 0:
        return frame
    sheared = np.zeros_like(frame)
    for y in range(frame.shape[0]):
        offset = round(lean * np.clip((feet - y) / max(height - 1, 1), 0.0, 1.0))
        sheared[y] = _moved(frame[y : y + 1], 0, int(offset))[0]
    return sheared


def _squashed(frame: Pixels, squash: float, sink: float, feet: int, height: int) -> Pixels:
    """Takes rows out evenly (squash), and moves the lower part below the feet line (sink)."""
    lost = min(0.9, squash + sink)
    if round(lost * height) == 0:
        return frame
    squashed = np.zeros_like(frame)
    top = feet - height + 1
    kept = height - round(lost * height)
    source: NDArray[np.intp] = np.round(np.linspace(top, feet, kept)).astype(np.intp)
    squashed[feet - kept + 1 : feet + 1] = frame[source]
    wider = 1 + 0.35 * lost
    columns = np.flatnonzero((frame[..., 3] > 0).any(axis=0))
    center = float(columns.mean()) if columns.size else frame.shape[1] / 2
    x = np.round((np.arange(frame.shape[1]) - center) / wider + center).astype(np.intp)
    return squashed[:, np.clip(x, 0, frame.shape[1] - 1)]


def _lightest(sprite: Pixels) -> NDArray[np.uint8]:
    colors = sprite[sprite[..., 3] > 0]
    return colors[int((colors[:, :3].astype(np.int32) @ np.array([299, 587, 114])).argmax())]


def seen_from_behind(sprite: Pixels) -> Pixels:
    """Returns a guess at the sprite's back: mirrored, with the face covered by what the top of the head is coloured.

    Right for heads with hair, a hood or a helmet; a creature whose face is its whole body only loses its features.
    """
    rows = np.flatnonzero((sprite[..., 3] > 0).any(axis=1))
    back = sprite[:, ::-1].copy()
    if not rows.size:
        return back
    top, height = int(rows[0]), int(rows[-1] - rows[0] + 1)
    crown = top + max(1, round(height * 0.14))
    opaque = back[..., 3] > 0
    inside = opaque.copy()  # a pixel whose four neighbours are opaque: the drawn edge of the head stays
    inside[1:] &= opaque[:-1]
    inside[:-1] &= opaque[1:]
    inside[:, 1:] &= opaque[:, :-1]
    inside[:, :-1] &= opaque[:, 1:]
    columns = np.flatnonzero(opaque[top : top + 2].any(axis=0))  # the head, not a raised hand beside it
    left, right = max(0, int(columns[0]) - 2), int(columns[-1]) + 3
    crown_pixels = back[top:crown, left:right][opaque[top:crown, left:right]]
    bright = crown_pixels[:, :3].max(axis=1) > 48  # the drawn outline is not hair
    crown_pixels = crown_pixels[bright] if bright.any() else crown_pixels
    hair, counts = np.unique(crown_pixels[:, :3], axis=0, return_counts=True)
    chin = top + max(2, min(round(height * 0.36), round((right - left) * 1.1)))
    face = np.zeros_like(inside)
    face[crown:chin, left:right] = inside[crown:chin, left:right]
    back[face] = (*hair[int(counts.argmax())], 255)
    return back
