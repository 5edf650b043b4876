"""Make clips of small front views: the sheet model paints views and steps; other motions move those cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.animation.canvas import fitted, margin_note
from pipelines.animation.curves import Strike, strike_of
from pipelines.animation.eyes import find_eyes, with_eyes
from pipelines.animation.figures import FRONT_SYMMETRY, MIRROR_SYMMETRY, Check, Clips, Tag, symmetry, untagged
from pipelines.animation.outlines import with_outline, without_outline
from pipelines.animation.painted import painted_clip
from pipelines.records import Pixels

if TYPE_CHECKING:  # torch is loaded when a sheet is painted
    from pipelines.embedded.motion.sampling import Painted

SURPRISE_LIMIT = 1.0
"""The sheet model's own surprise, in nats for each pixel, above which its sheet is not used."""

HARD_TO_TELL = 0.5
"""Chance that a side view is recognised, below which the answer says so."""

_PAINTED: dict[tuple[bytes, tuple[int, ...], int], tuple[NDArray[np.uint8], Painted]] = {}
"""The last painted sheets, by cell and seed: more motions of one sprite, and edits of its sheet, paint it once."""

_MOST_PAINTED = 8

_ROWS = {"down": 0, "left": 1, "right": 2, "up": 3, "": 0}


def small_clips(
    sprite: Pixels,
    motions: Sequence[str],
    frames: int,
    directions: Sequence[str],
    *,
    words: str = "",
    seed: int = 0,
    check: Check | None = None,
    forced: bool = False,
    tag: Tag = untagged,
) -> Clips | str:
    """Returns the clips, or the reason why the sprite should be warped instead."""
    from pipelines.embedded.motion.sampling import SEEDS

    even = symmetry(sprite)
    if not forced and "down" not in directions and even < FRONT_SYMMETRY:
        return (
            f"The sprite looks like a side view (symmetry {even:.2f}), which the sheet model has not learned, so it was"
            " warped. Draw the figure facing front, or give method='painted'."
        )
    cell, place = _celled(sprite)
    cells, best = painted_sheet(cell, seed=seed, check=check)
    if not forced and best.surprise > SURPRISE_LIMIT:
        return (
            f"The sheet model was not sure of its painting (surprise {best.surprise:.2f}, limit"
            f" {SURPRISE_LIMIT}), so the sprite was warped. method='painted' shows it anyway."
        )
    strike, spare = strike_of(words, "held"), cell.shape[0] // 2
    cells = tag(cells.reshape(-1, *cell.shape)).reshape(cells.shape)
    room = np.pad(cells, ((0, 0), (0, 0), (spare, spare), (spare, spare), (0, 0)))
    made: dict[str, list[Pixels]] = {}
    how: dict[str, str] = {}
    for motion in motions:
        for direction in directions:
            name = f"{motion}_{direction}" if direction else motion
            side = direction or ("right" if motion == "attack" else "down")
            clip = painted_clip(room[_ROWS[side]], side, motion, frames, strike)
            made[name] = [_uncelled(frame, sprite.shape, place, spare) for frame in clip]
            how[name] = _said(motion, side, strike)
    made, margin = fitted(made, spare)
    notes = [
        f"The sheet model painted {SEEDS} sheets; seed {best.seed} was kept (surprise {best.surprise:.2f}, sides told"
        f" apart {best.sides:.2f})."
    ]
    if best.sides < HARD_TO_TELL and {"left", "right"} & set(directions):
        notes.append("Left and right are hard to tell apart. A key with a clear face, or another seed, helps.")
    if even < MIRROR_SYMMETRY and {"left", "right"} <= set(directions):
        notes.append("The sprite is not symmetric, so left and right were painted separately.")
    if margin:
        notes.append(margin_note(margin))
    return Clips(made, how, notes, margin)


def painted_sheet(cell: Pixels, *, seed: int = 0, check: Check | None = None) -> tuple[NDArray[np.uint8], Painted]:
    """Paints the walk sheet of a front view; its first cell is the view itself.

    A thick outline comes off before and goes on again after; a side view that lost its eye gets one.

    Args:
        cell: (size, size, 4) RGBA with hard alpha; size is divisible by 4.
        seed: the first of the seeds.
        check: called before each pass; raises to cancel.

    Returns:
        cells (4, CELLS, size, size, 4), and what the model painted.
    """
    from pipelines.embedded.motion.sampling import paint_walk
    from pipelines.embedded.motion.weights import sheet_net, side_net

    known = (cell.tobytes(), cell.shape, seed)
    if known in _PAINTED:
        return _PAINTED[known]
    inner, outline = without_outline(cell)
    mirrored = symmetry(cell) >= MIRROR_SYMMETRY
    best = paint_walk(sheet_net(), inner, mirrored=mirrored, seed=seed, check=check, judge=side_net())[0]
    made = with_outline(best.cells, outline) if outline is not None else best.cells.copy()
    eyes = find_eyes(cell)
    if eyes is not None:
        made = with_eyes(made, eyes)
    made[0, 0] = cell
    while len(_PAINTED) >= _MOST_PAINTED:
        _PAINTED.pop(next(iter(_PAINTED)), None)
    _PAINTED[known] = made, best
    return made, best


def _said(motion: str, side: str, strike: Strike) -> str:
    front = side == "down"
    if motion == "walk":
        return "steps painted by the sheet model" + (", standing is the sprite itself" if front else ", the view too")
    view = "the sprite itself" if front else "the painted view"
    blow = {"shoot": "lets a bolt fly", "cast": "throws a burst"}.get(strike, "lunges behind a blade's arc")
    moved = {
        "idle": "bobs",
        "run": "leans and steps",
        "attack": f"{blow} (drawn in the sprite's lightest colour)",
        "hurt": "flashes and is thrown back",
        "die": "falls over" if side in ("down", "up") else "falls forwards",
    }
    return f"{view} {moved[motion]}"


def _celled(sprite: Pixels) -> tuple[Pixels, tuple[slice, slice, slice, slice]]:
    """Returns the sprite on a square cell of 16 or 24 px, and where its pixels come from and go to."""
    opaque = sprite[..., 3] > 0
    height, width = sprite.shape[:2]
    if height == width and height in (16, 24):
        whole = slice(0, height)
        return np.where(opaque[..., None], sprite, 0).astype(np.uint8), (whole, whole, whole, whole)
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    size = 16 if max(bottom - top, right - left) <= 16 else 24
    cell = np.zeros((size, size, 4), np.uint8)
    x = (size - (right - left)) // 2
    to_y, to_x = slice(size - (bottom - top), size), slice(x, x + right - left)
    box = sprite[top:bottom, left:right]
    cell[to_y, to_x] = np.where(box[..., 3:] > 0, box, 0)
    return cell, (slice(top, bottom), slice(left, right), to_y, to_x)


def _uncelled(cell: Pixels, shape: tuple[int, ...], place: tuple[slice, slice, slice, slice], spare: int) -> Pixels:
    """Puts a cell with room around it on the sprite's canvas with the same room, at the place that the sprite has."""
    height, width = shape[:2]
    frame = np.zeros((height + 2 * spare, width + 2 * spare, 4), np.uint8)
    from_y, from_x, to_y, to_x = place
    down, right = from_y.start - to_y.start, from_x.start - to_x.start
    y0, x0 = max(0, down), max(0, right)
    y1, x1 = min(frame.shape[0], down + cell.shape[0]), min(frame.shape[1], right + cell.shape[1])
    frame[y0:y1, x0:x1] = cell[y0 - down : y1 - down, x0 - right : x1 - right]
    return frame
