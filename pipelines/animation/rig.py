"""Rig a figure: split it by its part map into parts that can move, with the joints they turn about.

A part is completed where another one covers it (a trunk behind a shield, a leg behind a robe's hem), in colours of its
own row, so that no gap shows when the cover moves.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.animation.rotate import Turnable
from pipelines.records import Pixels

PARTS = ("back", "leg_left", "leg_right", "trunk", "arm_left", "arm_right", "head", "held_left", "held_right")
"""Parts in the order in which they are drawn; left and right are the viewer's."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """A figure that can be posed.

    Attributes:
        parts: the parts that the figure has, each on the whole canvas.
        joints: (x, y) of the joint of each part, in pixels of the canvas.
        feet: row of the lowest pixel.
        height: rows from the highest to the lowest pixel.
        legs: whether two legs were found; otherwise a robe or the like.
        weapon: the part that strikes: held_left, held_right, arm_left, arm_right or trunk.
    """

    parts: dict[str, Turnable]
    joints: dict[str, tuple[float, float]]
    feet: int
    height: int
    legs: bool
    weapon: str


def rig_figure(sprite: Pixels, chances: NDArray[np.float32], names: tuple[str, ...]) -> Rig | None:
    """Returns the rig of a sprite.

    Args:
        sprite: (height, width, 4) RGBA with hard alpha; with a margin around where parts may swing out.
        chances: (height, width, classes), probability of each class; the first class is clear.
        names: of the classes; those of PARTS are used.

    Returns:
        None when the map shows no head or no trunk, so nothing could be rigged.
    """
    opaque = sprite[..., 3] > 0
    if not opaque.any():
        return None
    labels = _clean(chances[..., 1:].argmax(axis=-1) + 1, opaque)
    masks = {name: labels == names.index(name) for name in PARTS}
    total = int(opaque.sum())
    if masks["head"].sum() < 0.03 * total or masks["trunk"].sum() < 0.08 * total:
        return None
    rows = np.flatnonzero(opaque.any(axis=1))
    top, feet = int(rows[0]), int(rows[-1])
    height = feet - top + 1
    legs = _find_legs(masks, opaque, feet, height)
    for side in ("left", "right"):
        arm, held = f"arm_{side}", f"held_{side}"
        if masks[arm].sum() < 2:
            masks["trunk"] |= masks[arm]
            masks[arm] = np.zeros_like(opaque)
        if masks[held].sum() < max(3, 0.012 * total):  # a crumb, no thing
            masks[arm if masks[arm].any() else "trunk"] |= masks[held]
            masks[held] = np.zeros_like(opaque)
    joints = _joints(masks, legs)
    parts = {}
    for name in PARTS:
        if masks[name].any():
            parts[name] = Turnable(_completed(sprite, masks, name, joints))
    return Rig(parts, joints, feet, height, legs, _weapon(masks))


def _components(mask: Mask) -> list[list[tuple[int, int]]]:
    """Finds connected pieces (8 neighbours), the largest first."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    found = []
    while left:
        start = left.pop()
        piece, queue = [start], deque([start])
        while queue:
            y, x = queue.popleft()
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if near in left:
                    left.remove(near)
                    piece.append(near)
                    queue.append(near)
        found.append(piece)
    return sorted(found, key=len, reverse=True)


def _clean(labels: NDArray[np.intp], opaque: Mask) -> NDArray[np.intp]:
    """Labels of opaque pixels (others 0); crumbs apart from a part's largest piece take the label around them."""
    labels = np.where(opaque, labels, 0)
    loose = np.zeros_like(opaque)
    for label in np.unique(labels[opaque]):
        pieces = _components(labels == label)
        for piece in pieces[1:]:
            if len(piece) < max(3, 0.35 * len(pieces[0])):
                for y, x in piece:
                    loose[y, x] = True
    labels[loose] = 0
    for _ in range(opaque.shape[0]):
        missing = np.argwhere(opaque & (labels == 0))
        if not missing.size:
            break
        known = labels.copy()
        for y, x in missing:
            around = known[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            around = around[around > 0]
            if around.size:
                labels[y, x] = int(np.bincount(around).argmax())
    return labels


def _find_legs(masks: dict[str, Mask], opaque: Mask, feet: int, height: int) -> bool:
    """Returns whether there are two legs; if not, their pixels join the trunk."""
    sides = [masks["leg_left"], masks["leg_right"]]
    enough = [side.sum() >= 3 and np.flatnonzero(side.any(axis=1))[-1] >= feet - max(1, height // 10) for side in sides]
    total = int(opaque.sum())
    if all(enough) and sum(int(side.sum()) for side in sides) >= 0.05 * total:
        return True
    for name in ("leg_left", "leg_right"):
        masks["trunk"] |= masks[name]
        masks[name] = np.zeros_like(opaque)
    return False


def _grown(mask: Mask) -> Mask:
    wide = np.pad(mask, 1)
    return wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:] | mask


def _middle(mask: Mask) -> tuple[float, float]:
    y, x = np.nonzero(mask)
    return float(x.mean()), float(y.mean())


def _joints(masks: dict[str, Mask], legs: bool) -> dict[str, tuple[float, float]]:
    trunk_y, trunk_x = np.nonzero(masks["trunk"])
    middle = float(np.median(trunk_x))
    joints = {"trunk": (middle, float(trunk_y.max())), "back": (middle, float(trunk_y.min()))}
    touching = masks["head"] & _grown(masks["trunk"])
    head_x, head_y = _middle(touching if touching.any() else masks["head"])
    joints["head"] = (middle if abs(middle - head_x) < 2 else head_x, head_y)
    for side, sign in (("left", -1), ("right", 1)):
        arm, held, leg = masks[f"arm_{side}"], masks[f"held_{side}"], masks[f"leg_{side}"]
        if arm.any():
            shoulder = arm & _grown(_grown(masks["trunk"]))
            y, x = np.nonzero(shoulder if shoulder.any() else arm)
            upper = y <= y.min() + 2
            joints[f"arm_{side}"] = (float(x[upper].max() if sign < 0 else x[upper].min()), float(y[upper].mean()))
        if held.any():
            joints[f"held_{side}"] = _grip(arm, held, joints.get(f"arm_{side}", (middle, float(trunk_y.min() + 2))))
        if legs:
            y, x = np.nonzero(leg)
            upper = y <= y.min() + 1
            joints[f"leg_{side}"] = (float(x[upper].mean()), float(y.min()))
    return joints


def _grip(arm: Mask, held: Mask, shoulder: tuple[float, float]) -> tuple[float, float]:
    """Returns where a hand holds a thing: the far end of the arm beside it; without an arm the middle of the thing."""
    beside = arm & _grown(_grown(held))
    if not beside.any():
        return _middle(held)
    y, x = np.nonzero(beside)
    far = np.hypot(x - shoulder[0], y - shoulder[1])
    chosen = far >= far.max() - 1.5
    return float(x[chosen].mean()), float(y[chosen].mean())


def _completed(sprite: Pixels, masks: dict[str, Mask], name: str, joints: dict[str, tuple[float, float]]) -> Pixels:
    """Returns the part's own pixels, and below its covers the nearest colour of its row."""
    own = masks[name]
    picture = np.zeros_like(sprite)
    picture[own] = sprite[own]
    if name in ("trunk", "head", "back"):
        covers = np.zeros_like(own)
        for cover in PARTS[PARTS.index(name) + 1 :]:
            covers |= masks[cover]
        if name == "trunk":
            covers &= ~masks["head"]
        for y in np.flatnonzero(own.any(axis=1)):
            x = np.flatnonzero(own[y])
            inner = x[1:-1] if x.size > 4 else x  # the drawn edge is not what lies under a cover
            for gap in np.flatnonzero(covers[y, x[0] : x[-1] + 1]) + x[0]:
                picture[y, gap] = sprite[y, inner[np.abs(inner - gap).argmin()]]
    if name == "trunk":
        for side in ("left", "right"):
            if masks[f"arm_{side}"].any():  # the shoulder stays when the arm turns
                x, y = joints[f"arm_{side}"]
                rows, columns = np.nonzero(masks[f"arm_{side}"])
                near = np.hypot(columns - x, rows - y) <= 1.5
                picture[rows[near], columns[near]] = sprite[rows[near], columns[near]]
        for side in ("left", "right"):  # a hip row, so that a lifted leg hangs together with the trunk
            leg = masks[f"leg_{side}"]
            if leg.any():
                row = int(np.flatnonzero(leg.any(axis=1))[0])
                picture[row][leg[row]] = sprite[row][leg[row]]
    return picture


def _weapon(masks: dict[str, Mask]) -> str:
    """Returns what strikes: the longer thing in hand, a bare arm, or the whole trunk."""

    def length(mask: Mask) -> float:
        y, x = np.nonzero(mask)
        if x.size < 3:
            return 0.0
        spread = np.linalg.eigvalsh(np.cov(np.stack([x, y]) + 0.0))
        return float(np.sqrt(max(spread[1], 0)) * (1.5 - min(1.0, np.sqrt(max(spread[0], 0) / max(spread[1], 1e-6)))))

    held = {name: length(masks[name]) for name in ("held_left", "held_right") if masks[name].any()}
    if held:
        return max(held, key=lambda name: held[name])
    arms = {name: int(masks[name].sum()) for name in ("arm_left", "arm_right") if masks[name].any()}
    return max(arms, key=lambda name: arms[name]) if arms else "trunk"
