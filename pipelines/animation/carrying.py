"""Carry the change of one frame to all frames of a sheet, along the trace of its pixels.

A changed pixel changes wherever its source pixel is shown. What the change adds beside the figure is moved as one
piece with the pixels that it touches: the rigid motion of those pixels from frame to frame is fitted to their trace.
All other pixels stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.animation.tracing import CLEAR, Source, Trace
from pipelines.records import Pixels

_MISSED = 0.2
"""Share of the changed pixels that a frame may lack without being named."""

_ROOT = 4
"""Pixels of the drawing up to this far from where a piece touches the figure say how the piece moves."""

_STRAIGHT = 0.35
"""Mean error in pixels up to which a piece is only shifted, not turned."""

Frame = tuple[str, int]
"""A clip's name, and a frame's number in it, from 0."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A sheet's frames with a change carried to all of them.

    Attributes:
        frames: clip name -> frames.
        changed: pixels that changed, by frame, where any did.
        stayed: changed pixels of the edited frames without a source; they stay in their frame only.
        hidden: pixels beside the change that the edited frames do not show, by frame.
        unlike: changed pixels that a painted frame of the same view does not show, by frame.
        apart: clips that show other drawings only.
    """

    frames: dict[str, list[Pixels]]
    changed: dict[Frame, int] = field(default_factory=dict)
    stayed: int = 0
    hidden: dict[Frame, int] = field(default_factory=dict)
    unlike: dict[Frame, int] = field(default_factory=dict)
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """What an edit changed beside the figure: colours at places in the edited frame, and the sources it hangs on.

    `mask`, `colors`: (height, width) and (height, width, 4) of the edited frame; `roots`: sources whose pixels say how
    it moves; `places`: (n, 2) row and column of those pixels in the edited frame.
    """

    mask: Mask
    colors: Pixels
    roots: NDArray[np.int64]
    places: NDArray[np.int64]


def carry(clips: Mapping[str, Sequence[Pixels]], trace: Trace, edits: Mapping[Frame, Pixels]) -> Carried:
    """Carries edited frames to all others; an edited frame comes back as it is.

    Args:
        clips: the sheet as it is now, clip name -> frames; earlier edits may have changed it since `trace`.
        trace: of the clips as they were made.
        edits: edited frames, each of the size of its frame; where two change the same source pixel, the last wins.

    Returns:
        new frames; pixels that no edit reaches are bit-equal to those of `clips`.
    """
    inside: dict[int, NDArray[np.uint8]] = {}
    pieces: list[_Piece] = []
    shown: set[int] = set()
    stayed = 0
    for (name, number), edited in edits.items():
        source, now = trace.sources[name][number], clips[name][number]
        flash = trace.flashes[name][number]
        shown.update(np.unique(source[source >= 0]).tolist())
        changed = (edited != now).any(axis=-1)
        followed = changed & (source >= 0) & (~flash | (edited[..., 3] == 0))
        for y, x in np.argwhere(followed):
            inside[int(source[y, x])] = edited[y, x]
        found, lone = _pieces(changed & (source == CLEAR), edited, now, source, trace)
        pieces += found
        stayed += lone + int((changed & ~followed & (source != CLEAR)).sum())
    drawings = {source // trace.drawings[0, ..., 0].size for source in inside}
    drawings |= {int(source) // trace.drawings[0, ..., 0].size for piece in pieces for source in piece.roots}
    near = _around(set(inside), trace) - shown
    made = {name: [frame.copy() for frame in clip] for name, clip in clips.items()}
    changes: dict[Frame, int] = {}
    hidden: dict[Frame, int] = {}
    unlike: dict[Frame, int] = {}
    apart: list[str] = []
    for name, clip in made.items():
        related = name in {edit[0] for edit in edits}
        for number, frame in enumerate(clip):
            source = trace.sources[name][number]
            related |= bool(np.isin(source[source >= 0] // trace.drawings[0, ..., 0].size, list(drawings)).any())
            if (edit := edits.get((name, number))) is not None:
                clip[number] = edit.copy()
            else:
                flash = trace.flashes[name][number]
                _paint(frame, source, flash, inside)
                missing = sum(_lay(frame, source, flash, piece, trace) for piece in pieces)
                hidden |= _some((name, number), int(np.isin(source, list(near)).sum()) + missing)
                unlike |= _some((name, number), _unlike(source, drawings, inside, trace))
            changes |= _some((name, number), int((clip[number] != clips[name][number]).any(axis=-1).sum()))
        if not related:
            apart.append(name)
    lost = [{frame: n for frame, n in counts.items() if frame[0] not in apart} for counts in (hidden, unlike)]
    return Carried(made, changes, stayed, lost[0], lost[1], tuple(apart))


def _some(frame: Frame, count: int) -> dict[Frame, int]:
    return {frame: count} if count else {}


def _split(sources: NDArray[np.int64], trace: Trace) -> NDArray[np.int64]:
    """Returns (n, 3) drawing, row and column of sources."""
    return np.stack(np.unravel_index(sources, trace.drawings.shape[:3]), axis=-1).astype(np.int64)


def _pieces(changed: Mask, edited: Pixels, now: Pixels, source: Source, trace: Trace) -> tuple[list[_Piece], int]:
    """Splits what changed beside the figure into connected pieces; returns them, and how many pixels hang on nothing.

    A piece begins where it touches the figure, with what an earlier edit drew there.
    """
    if not changed.any():
        return [], 0
    drawn = (source == CLEAR) & ((edited[..., 3] > 0) | (now[..., 3] > 0))
    marks, count = ndimage.label(drawn, np.ones((3, 3), bool))  # type: ignore[misc]
    traced = source >= 0
    reach = max(6, max(trace.drawings.shape[1:3]) // 4)
    found: list[_Piece] = []
    lone = 0
    for number in range(1, count + 1):
        whole = marks == number
        mask = whole & changed
        if not mask.any():
            continue
        distance: NDArray[np.float64] = ndimage.distance_transform_edt(~whole)  # type: ignore[assignment]
        least = float(distance[traced].min()) if traced.any() else np.inf
        if least > reach:
            lone += int(mask.sum())
            continue
        touching = _split(source[traced & (distance <= least + 0.5)].astype(np.int64), trace)
        at = _split(np.where(traced, source, 0).reshape(-1).astype(np.int64), trace).reshape(*source.shape, 3)
        same = (at[..., None, 0] == touching[:, 0]) & (
            np.abs(at[..., None, 1:] - touching[:, 1:]).max(axis=-1) <= _ROOT
        )
        close = traced & same.any(axis=-1) & (distance <= least + 2 * _ROOT)
        found.append(_Piece(mask, edited, source[close].astype(np.int64), np.argwhere(close)))
    return found, lone


def _paint(frame: Pixels, source: Source, flash: Mask, inside: Mapping[int, NDArray[np.uint8]]) -> None:
    """Writes changed pixels into a frame; in a flash they take its colour, but for dark ones where lines stay dark."""
    flashed = _flash_color(frame, flash)
    whole = flash.sum() > 0.7 * max(1, int((source >= 0).sum()))
    for y, x in np.argwhere(np.isin(source, list(inside))):
        color = inside[int(source[y, x])]
        light = color[:3].astype(int) @ np.array([299, 587, 114]) > 76_000
        if color[3] and flashed is not None and (whole or flash[y, x] or light):
            frame[y, x] = flashed
        else:
            frame[y, x] = color


def _flash_color(frame: Pixels, flash: Mask) -> NDArray[np.uint8] | None:
    """Returns the most frequent colour of the pixels that a flash coloured; None without a flash."""
    if not flash.any():
        return None
    colors, counts = np.unique(frame[flash], axis=0, return_counts=True)
    return colors[int(counts.argmax())]


def _lay(frame: Pixels, source: Source, flash: Mask, piece: _Piece, trace: Trace) -> int:
    """Lays a piece on the clear pixels of a frame; returns its size where none of its roots is shown, else 0."""
    here = np.isin(source, piece.roots)
    if not here.any():
        size = trace.drawings[0, ..., 0].size
        seen = np.isin(source[source >= 0] // size, np.unique(piece.roots // size)).any()
        return int(piece.mask.sum()) if seen else 0
    where = {int(root): place for root, place in zip(piece.roots, piece.places, strict=True)}
    there = np.argwhere(here)
    before = np.array([where[int(source[y, x])] for y, x in there])
    shift, turn = _motion(there, before)
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    place = np.rint(np.stack([y, x], axis=-1) @ turn.T + shift - 1e-9).astype(np.int64)
    inside = ((place >= 0) & (place < piece.mask.shape)).all(axis=-1)
    place[~inside] = 0
    shown = inside & piece.mask[place[..., 0], place[..., 1]] & (source == CLEAR)
    colors = piece.colors[place[..., 0], place[..., 1]]
    flashed = _flash_color(frame, flash & here)
    if flashed is not None:
        colors = np.where(colors[..., 3:] > 0, flashed, colors)
    frame[shown] = colors[shown]
    return 0


def _motion(there: NDArray[np.int64], before: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fits the rigid motion (shift, turn) that takes places (n, 2) to those `before`: a shift where that is enough.

    Orthogonal Procrustes (Schoenemann 1966), mirrors included.
    """
    middle, middle_before = there.mean(axis=0), before.mean(axis=0)
    best: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for straight in (np.eye(2), np.diag([1.0, -1.0])):
        shifts, counts = np.unique(before - there @ straight.astype(np.int64), axis=0, return_counts=True)
        shift = shifts[int(counts.argmax())].astype(float)
        left, _, right = np.linalg.svd((before - middle_before).T @ (there - middle))
        if (np.linalg.det(left @ right) < 0) != (straight[1, 1] < 0):
            left[:, 1] *= -1
        turn = left @ right
        fits = [(shift, straight)] + ([(middle_before - turn @ middle, turn)] if len(there) >= 4 else [])
        for number, (by, turned) in enumerate(fits):
            error = float(np.linalg.norm(there @ turned.T + by - before, axis=1).mean())
            error = 0.0 if not number and error <= _STRAIGHT else error
            if best is None or error < best[0] - 1e-6:
                best = error, by, turned
    assert best is not None  # there are two fits at least
    return best[1], best[2]


def _unlike(source: Source, drawings: set[int], inside: Mapping[int, NDArray[np.uint8]], trace: Trace) -> int:
    """Counts changed source pixels that a painted frame of the same view does not show; 0 where it shows most."""
    size = trace.drawings[0, ..., 0].size
    if len(trace.drawings) == 1 or not np.isin(source[source >= 0] // size, list(drawings)).any():
        return 0
    missing = len(inside) - len(np.intersect1d(np.unique(source), list(inside)))
    return missing if missing > _MISSED * len(inside) else 0


def _around(sources: set[int], trace: Trace) -> set[int]:
    """Returns the opaque pixels of the drawings that touch the sources, and are none of them."""
    mask = np.zeros(trace.drawings.shape[:3], bool)
    mask.reshape(-1)[list(sources)] = True
    grown = ndimage.binary_dilation(mask, np.ones((1, 3, 3), bool))
    return set(np.flatnonzero(grown & ~mask & (trace.drawings[..., 3] > 0)).tolist())
