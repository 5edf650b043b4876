"""Turn the painted walk sheet of a small figure into clips.

The stand and the two steps of each direction come from the sheet model. Other motions (a bob, a lunge, a fall) move the
pixels of those cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.animation.curves import Strike
from pipelines.animation.motion import Pose, bend, scaled
from pipelines.animation.rotate import Turnable, moved
from pipelines.records import Pixels

CYCLE = (0, 1, 0, 2)
"""Cells of a walk: stand, step, stand, other step."""

FORWARD = {"down": (0, 1), "left": (-1, 0), "right": (1, 0), "up": (0, -1)}
"""(right, down) of one pixel towards where a view looks."""


def painted_clip(
    cells: NDArray[np.uint8], direction: str, motion: str, frames: int, strike: Strike = "swing"
) -> list[Pixels]:
    """Returns the frames of a motion seen from one side.

    Args:
        cells: (3, size, size, 4): stand, step, other step of that direction, with room around for an attack.
        direction: a key of FORWARD.
        motion: idle, walk, run, attack, hurt or die.
        frames: 2 to 8.
        strike: what an attack shows: a blade's arc, a bolt that flies, or a burst.
    """
    stand, step = cells[0], cells[1]
    looping = motion in ("idle", "walk", "run")
    times = [i / frames if looping else i / (frames - 1) for i in range(frames)]
    if motion == "idle":
        return [_bobbed(stand) if 0.25 <= t < 0.75 else stand.copy() for t in times]
    if motion == "walk":
        cycle = CYCLE if frames > 2 else (1, 2)
        return [_on_line(cells[cycle[int(t * len(cycle) + 1e-6)]], stand) for t in times]
    if motion == "run":
        cycle = (1, 0, 2, 0) if frames > 2 else (1, 2)
        return [_on_line(_running(cells[cycle[int(t * len(cycle) + 1e-6)]], direction), stand) for t in times]
    if motion == "attack":
        return [_struck(stand, step, direction, strike, t) for t in times]
    if motion == "hurt":
        return [_hurt(stand, step, direction, t) for t in times]
    return [fallen(stand, step, t, left=direction == "left") for t in times]


def _height(cell: Pixels) -> int:
    return int(np.count_nonzero((cell[..., 3] > 0).any(axis=1)))


def _on_line(cell: Pixels, stand: Pixels) -> Pixels:
    """Moves the cell so that its lowest pixel is on the line of the standing one."""
    lowest = [np.flatnonzero((picture[..., 3] > 0).any(axis=1)) for picture in (cell, stand)]
    if not lowest[0].size or not lowest[1].size:
        return cell.copy()
    return moved(cell, 0, int(lowest[1][-1] - lowest[0][-1]))


def _bobbed(cell: Pixels) -> Pixels:
    return bend(cell, Pose(bob=1.0))


def _running(cell: Pixels, direction: str) -> Pixels:
    """Leans the head forwards by a pixel from the side; from the front and back the walk's cells serve."""
    right, _ = FORWARD[direction]
    if not right:
        return cell.copy()
    leaning = bend(cell if right > 0 else cell[:, ::-1], Pose(lean=1.5))
    return leaning if right > 0 else np.ascontiguousarray(leaning[:, ::-1])


def _pushed(cell: Pixels, direction: str, by: float, lean: float = 0.0) -> Pixels:
    """Moves the cell towards where it looks, or away; nothing leaves the canvas."""
    right, down = FORWARD[direction]
    if lean and right:
        turned = cell if right > 0 else cell[:, ::-1]
        turned = bend(turned, scaled(Pose(lean=lean), _height(cell) / 30))
        cell = turned if right > 0 else np.ascontiguousarray(turned[:, ::-1])
    count, distance = np.count_nonzero(cell[..., 3]), round(by)
    while distance:
        made = moved(cell, right * distance, down * distance)
        if np.count_nonzero(made[..., 3]) == count:
            return made
        distance -= 1 if distance > 0 else -1
    return cell.copy()


def _struck(stand: Pixels, step: Pixels, direction: str, strike: Strike, t: float) -> Pixels:
    """Draws back, lunges on one foot behind a blade's arc (or lets something fly), holds, recovers."""
    reach = max(2.0, _height(stand) / 6)
    if t < 0.15:
        return stand.copy()
    if t < 0.35:
        return _pushed(bend(stand, Pose(bob=1.0)), direction, -reach / 2, lean=-3.0)
    if t >= 0.9:
        return stand.copy()
    late = t >= 0.65
    if strike in ("shoot", "cast"):
        frame = _pushed(stand, direction, -1.0, lean=-2.0)
        return _let_fly(frame, direction, strike, late=late)
    frame = _pushed(step, direction, reach / 2 if late else reach, lean=3.0 if late else 6.0)
    return _slashed(frame, direction, late=late)


def _lightest(frame: Pixels) -> NDArray[np.uint8]:
    colors = frame[frame[..., 3] > 0]
    lightest = colors[int((colors[:, :3].astype(np.int32) @ np.array([299, 587, 114])).argmax())].copy()
    lightest[3] = 255  # what is drawn in it has no source pixel (`tracing`)
    return lightest


def _ahead(frame: Pixels, direction: str) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Measures each pixel's distance from the body's middle, its angle from the line of sight, and half the body."""
    rows, columns = np.flatnonzero((frame[..., 3] > 0).any(axis=1)), np.flatnonzero((frame[..., 3] > 0).any(axis=0))
    middle_y, middle_x = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    right, down = FORWARD[direction]
    along = (x - middle_x) * right + (y - middle_y) * down
    across = (x - middle_x) * abs(down) + (y - middle_y) * abs(right)
    half = (columns[-1] - columns[0] + 1) / 2 if right else (rows[-1] - rows[0] + 1) / 2
    return np.hypot(along, across), np.arctan2(across, along), float(half)


def _slashed(frame: Pixels, direction: str, *, late: bool) -> Pixels:
    """Draws a crescent in the lightest colour before the figure; later only its end is left."""
    distance, angle, half = _ahead(frame, direction)
    radius = half + 1.5
    start, end = (0.15, 1.15) if late else (-1.15, 1.0)
    share = np.clip((angle - start) / (end - start), 0, 1)
    thick = 0.6 + 1.6 * np.sin(np.pi * share)
    arc = (angle >= start) & (angle <= end) & (distance <= radius + 0.6) & (distance > radius + 0.6 - thick)
    clear = frame[..., 3] == 0
    made = frame.copy()
    made[arc & clear if direction == "up" else arc & (clear | (distance > half - 1))] = _lightest(frame)
    return made


def _let_fly(frame: Pixels, direction: str, strike: Strike, *, late: bool) -> Pixels:
    """Draws a bolt or a burst in the lightest colour on its way from the figure."""
    distance, angle, half = _ahead(frame, direction)
    along, across = distance * np.cos(angle), distance * np.sin(angle)
    away = half + (4.5 if late else 1.5)
    if strike == "shoot":
        shape = (np.abs(across) < 0.8) & (np.abs(along - away) <= 1.6)
    else:
        size = 2.4 if late else 1.6
        shape = (np.abs(across) + np.abs(along - away) <= size) & ~(
            (np.abs(across) < 0.8) & (np.abs(along - away) < 0.8) & late
        )
    made = frame.copy()
    made[shape & (frame[..., 3] == 0)] = _lightest(frame)
    return made


def _hurt(stand: Pixels, step: Pixels, direction: str, t: float) -> Pixels:
    """Flashes the figure, throws it back, and sets it upright again."""
    if t < 0.3:
        return flashed(_pushed(stand, direction, -1.0))
    if t < 0.7:
        return _pushed(step, direction, -2.0, lean=-4.0)
    return stand.copy()


def flashed(cell: Pixels) -> Pixels:
    """Returns the cell in its lightest colour but for its dark lines and eyes, which still say where it looks."""
    frame = cell.copy()
    opaque = cell[..., 3] > 0
    luma = cell[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    darkest, lightest = luma[opaque].min(), luma[opaque].max()
    frame[opaque & (luma > darkest + 0.3 * (lightest - darkest)), :3] = _lightest(cell)[:3]
    return frame


def fallen(stand: Pixels, step: Pixels, t: float, *, left: bool) -> Pixels:
    """Lets the figure flash, stagger, tip over and lie flat; a quarter turn is exact, so the last frame is clean.

    `left`: the head comes to lie on the left. A side view falls towards where it looks.
    """
    if t < 0.15:
        return flashed(stand)
    if t < 0.45:
        return step.copy()
    turn = (45.0 if t < 0.75 else 90.0) * (-1 if left else 1)
    rows = np.flatnonzero((stand[..., 3] > 0).any(axis=1))
    feet = int(rows[-1])
    size = stand.shape[0]
    pivot = ((size - 1) / 2, (size - 1) / 2)
    if abs(turn) == 90:
        frame = np.ascontiguousarray(np.rot90(stand, -1 if turn > 0 else 1))
    else:
        frame = Turnable(stand).turned(turn, pivot, pivot)
    low = int(np.flatnonzero((frame[..., 3] > 0).any(axis=1))[-1])
    return moved(frame, 0, feet - low)
