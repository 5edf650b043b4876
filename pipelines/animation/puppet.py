"""Pose a rigged figure: bones turn its parts, which are drawn over one another in the sprite's own colours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pipelines.animation.rig import PARTS, Rig
from pipelines.records import Pixels


@dataclass(frozen=True, slots=True)
class Bones:
    """A pose of a figure 30 pixels high; lengths in pixels (scaled to others), angles in degrees, clockwise.

    Attributes:
        trunk: (right, down) of everything above the hips.
        head: (right, down) of the head, beyond the trunk.
        lean: turn of trunk, head and arms about the hips.
        arms: turn of (left, right) arm about its shoulder.
        held: turn of what (left, right) hand holds about the hand, beyond the arm's.
        reach: (right, down) of (left, right) arm, beyond the trunk.
        lift: how far (left, right) foot is above the floor.
        stride: turn of (left, right) leg about the hip.
        sway: (right) of cloak and robe's hem.
        fall: turn of the whole figure, lying at 90 or -90.
        flash: every pixel in the lightest colour.
    """

    trunk: tuple[float, float] = (0.0, 0.0)
    head: tuple[float, float] = (0.0, 0.0)
    lean: float = 0.0
    arms: tuple[float, float] = (0.0, 0.0)
    held: tuple[float, float] = (0.0, 0.0)
    reach: tuple[tuple[float, float], tuple[float, float]] = field(default=((0.0, 0.0), (0.0, 0.0)))
    lift: tuple[float, float] = (0.0, 0.0)
    stride: tuple[float, float] = (0.0, 0.0)
    sway: float = 0.0
    fall: float = 0.0
    flash: bool = False


def _pixels(value: float, scale: float) -> int:
    """Returns a length on this figure; what moves at all moves by a pixel at least."""
    grown = value * scale
    return round(math.copysign(1.0, grown)) if abs(value) >= 0.5 and abs(grown) < 0.5 else round(grown)


def _about(point: tuple[float, float], pivot: tuple[float, float], degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    x, y = point[0] - pivot[0], point[1] - pivot[1]
    return pivot[0] + math.cos(angle) * x - math.sin(angle) * y, pivot[1] + math.sin(angle) * x + math.cos(angle) * y


def pose_figure(rig: Rig, bones: Bones) -> Pixels:
    """Returns the figure in a pose, standing (or lying) on its line, on the canvas of its rig."""
    scale = rig.height / 30
    hips = rig.joints["trunk"]
    shift = (_pixels(bones.trunk[0], scale), _pixels(bones.trunk[1], scale))
    sway = _pixels(bones.sway, scale)
    drawn: dict[str, Pixels] = {}
    for side, name in enumerate(("left", "right")):
        leg = rig.parts.get(f"leg_{name}")
        if leg is not None:
            joint = rig.joints[f"leg_{name}"]
            lifted = (joint[0] + shift[0] * 0.5, joint[1] - _pixels(bones.lift[side], scale))
            drawn[f"leg_{name}"] = leg.turned(
                bones.stride[side], joint, (round(lifted[0]), lifted[1]) if shift[0] else lifted
            )

    def carried(point: tuple[float, float]) -> tuple[float, float]:
        x, y = _about(point, hips, bones.lean)
        return x + shift[0], y + shift[1]

    if (trunk := rig.parts.get("trunk")) is not None:
        drawn["trunk"] = trunk.turned(bones.lean, hips, carried(hips))
    if (back := rig.parts.get("back")) is not None:
        joint = rig.joints["back"]
        to = carried(joint)
        drawn["back"] = back.turned(
            bones.lean + 3.0 * bones.sway, joint, (to[0] + (sway if abs(sway) > 1 else 0), to[1])
        )
    if (head := rig.parts.get("head")) is not None:
        joint = rig.joints["head"]
        to = carried(joint)
        to = (to[0] + _pixels(bones.head[0], scale), to[1] + _pixels(bones.head[1], scale))
        drawn["head"] = head.turned(bones.lean, joint, to)
    for side, name in enumerate(("left", "right")):
        reach = tuple(_pixels(value, scale) for value in bones.reach[side])
        turn = bones.lean + bones.arms[side]
        arm, held = rig.parts.get(f"arm_{name}"), rig.parts.get(f"held_{name}")
        shoulder = rig.joints.get(f"arm_{name}")
        if arm is not None and shoulder is not None:
            to = carried(shoulder)
            to = (to[0] + reach[0], to[1] + reach[1])
            drawn[f"arm_{name}"] = arm.turned(turn, shoulder, to)
        if held is not None:
            grip = rig.joints[f"held_{name}"]
            if shoulder is not None:
                base = carried(shoulder)
                hand = _about((base[0] + grip[0] - shoulder[0], base[1] + grip[1] - shoulder[1]), base, turn)
            else:
                hand = carried(grip)
            drawn[f"held_{name}"] = held.turned(turn + bones.held[side], grip, (hand[0] + reach[0], hand[1] + reach[1]))
    frame = np.zeros_like(next(iter(drawn.values())))
    for name in PARTS:
        if name in drawn:
            opaque = drawn[name][..., 3] > 0
            frame[opaque] = drawn[name][opaque]
    if not rig.legs and sway:
        frame = _swayed(frame, rig, sway)
    if bones.fall:
        frame = _fallen(frame, rig, bones.fall)
    frame = _grounded(_filled(frame), rig.feet)
    if bones.flash:
        opaque = frame[..., 3] > 0
        colors = frame[opaque]
        lightest = colors[int((colors[:, :3].astype(np.int32) @ np.array([299, 587, 114])).argmax())]
        frame[opaque, :3] = lightest[:3]
    return frame


def _swayed(frame: Pixels, rig: Rig, sway: int) -> Pixels:
    """Shifts a robe's hem to one side: rows in the lower third, the lowest most."""
    result = frame.copy()
    start = rig.feet - rig.height // 3
    for y in range(start, rig.feet + 1):
        by = round(sway * (y - start + 1) / (rig.feet - start + 1))
        result[y] = np.roll(frame[y], by, axis=0)
    return result


def _fallen(frame: Pixels, rig: Rig, degrees: float) -> Pixels:
    from pipelines.animation.rotate import Turnable

    middle = rig.joints["trunk"][0]
    pivot = (middle, float(rig.feet - rig.height // 3))
    return Turnable(frame).turned(degrees, pivot, pivot)


def _filled(frame: Pixels) -> Pixels:
    """Fills single clear pixels between opaque ones, which turning leaves, with the colour at their side."""
    opaque = frame[..., 3] > 0
    wide = np.pad(opaque, 1)
    left, right, up, down = wide[1:-1, :-2], wide[1:-1, 2:], wide[:-2, 1:-1], wide[2:, 1:-1]
    holes = ~opaque & (left & right & (up | down))
    for y, x in np.argwhere(holes):
        frame[y, x] = frame[y, x - 1]
    lone = opaque & ~(left | right | up | down)
    diagonal = wide[:-2, :-2] | wide[:-2, 2:] | wide[2:, :-2] | wide[2:, 2:]
    frame[lone & ~diagonal] = 0
    return frame


def _grounded(frame: Pixels, feet: int) -> Pixels:
    """Moves the frame so that its lowest pixel is on the line."""
    from pipelines.animation.rotate import moved

    rows = np.flatnonzero((frame[..., 3] > 0).any(axis=1))
    return moved(frame, 0, feet - int(rows[-1])) if rows.size and rows[-1] != feet else frame
