"""Trace each pixel of a sheet's frames back to the pixel of the drawing that it was moved from.

The frames are made again by the code that made them, from drawings whose alpha holds a part of each pixel's number.
All that moves pixels asks only whether alpha is 0, so the trace follows every turn, mirror and squash exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.animation.figures import Clips, Tag
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

CLEAR, DRAWN = -1, -2
"""Sources of pixels without one: nothing is there, or it was drawn by the motion (an arc, a guessed back)."""

_BASE = 254
"""Alpha 1 to 254 is a digit of a pixel's number; 255 says that the motion drew it."""

_LIKE = 0.7
"""Share of a 5x5 neighbourhood that must look alike for a painted step to follow the standing cell."""

_SIMILAR, _SIMILAR_COUNTS = 96, 0.6
"""Sum of the differences of RGB up to which two colours are similar, and how much of an equal pixel that is."""

_USUAL = 4.0
"""What the shift that suits a whole step is worth at each pixel, in pixels of 25; parts of one colour have no other."""

Source = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Where the pixels of clips come from.

    Attributes:
        drawings: (n, height, width, 4): the sprite, or the 12 cells of a painted sheet.
        frames: clip name -> frames as they were made.
        sources: clip name -> (height, width) of each frame: an index into the flat pixels of `drawings`, CLEAR or
            DRAWN.
        flashes: clip name -> (height, width) of each frame: which pixels with a source a motion gave another colour.
    """

    drawings: NDArray[np.uint8]
    frames: Mapping[str, Sequence[Pixels]]
    sources: Mapping[str, Sequence[Source]]
    flashes: Mapping[str, Sequence[NDArray[np.bool_]]]


def trace_clips(make: Callable[[Tag], Clips]) -> Trace:
    """Traces the clips that `make` makes with a tag; it is called twice.

    Raises:
        InvalidRequest: the drawings have more than 254 x 254 opaque pixels.
    """
    kept: list[NDArray[np.uint8]] = []

    def tagging(digit: int) -> Tag:
        def tag(drawings: NDArray[np.uint8]) -> NDArray[np.uint8]:
            kept[:] = [drawings.copy()]
            number = _numbers(drawings)
            tagged = drawings.copy()
            tagged[..., 3] = np.where(drawings[..., 3] > 0, number // _BASE**digit % _BASE + 1, 0)
            return tagged

        return tag

    low, high = make(tagging(0)).frames, make(tagging(1)).frames
    drawings = kept[0]
    indices = np.append(np.flatnonzero(drawings[..., 3] > 0), 0).astype(np.int32)
    links = _links(drawings)
    colors = drawings.reshape(-1, 4)[:, :3]
    sources: dict[str, list[Source]] = {}
    flashes: dict[str, list[NDArray[np.bool_]]] = {}
    frames: dict[str, list[Pixels]] = {}
    for name, clip in low.items():
        sources[name], frames[name], flashes[name] = [], [], []
        for one, two in zip(clip, high[name], strict=True):
            alphas = one[..., 3].astype(np.int32), two[..., 3].astype(np.int32)
            number = (alphas[1] - 1) * _BASE + alphas[0] - 1
            moved = (alphas[0] > 0) & (alphas[0] <= _BASE)
            source = indices[np.where(moved, number, -1)]
            flashes[name].append(moved & (colors[source] != one[..., :3]).any(axis=-1))
            sources[name].append(np.where(moved, links[source], np.where(alphas[0] > 0, DRAWN, CLEAR)).astype(np.int32))
            whole = one.copy()
            whole[..., 3][alphas[0] > 0] = 255
            frames[name].append(whole)
    return Trace(drawings, frames, sources, flashes)


def _numbers(drawings: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Numbers the opaque pixels of drawings from 0, row by row."""
    number = np.cumsum((drawings[..., 3] > 0).reshape(-1)).reshape(drawings.shape[:-1]) - 1
    if number.size and int(number.max()) >= _BASE**2:
        raise InvalidRequest("The sprite is too large to follow its pixels: 64,516 opaque ones are the most.")
    return number


def _links(drawings: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns for each flat pixel of the drawings the one that stands for it.

    Of a painted sheet, steps follow the standing cell of their view where they look alike, and a right view that
    mirrors the left one is the left one. Everything else stands for itself.
    """
    links = np.arange(drawings[..., 0].size, dtype=np.int32).reshape(drawings.shape[:-1])
    if len(drawings) != 12:
        return links.reshape(-1)
    for first in (0, 3, 6, 9):  # the rows are down, left, right, up
        for step in (first + 1, first + 2):
            _follow(drawings[step], drawings[first], links[step], links[first])
    if (drawings[6] == drawings[3, :, ::-1]).all():
        mirrored = np.where((drawings[6:9] == drawings[3:6, :, ::-1]).all(axis=-1), links[3:6, :, ::-1], links[6:9])
        links[6:9] = mirrored
    return links.reshape(-1)


def _follow(step: Pixels, stand: Pixels, links: Source, standing: Source) -> None:
    """Lets the pixels of a step stand for those of the standing cell that show the same: writes into `links`."""
    height, width = step.shape[:2]
    room = 4
    wide = np.pad(stand, ((room, room), (room, room), (0, 0)))
    places = np.pad(standing, room, constant_values=-1)
    shifts = sorted(((y, x) for y in range(-2, 3) for x in range(-1, 2)), key=lambda at: abs(at[0]) + abs(at[1]))
    around = np.pad(step, ((2, 2), (2, 2), (0, 0)))
    scores: list[NDArray[np.float64]] = []
    for down, right in shifts:
        view = wide[room - 2 + down : room + 2 + down + height, room - 2 + right : room + 2 + right + width]
        differs = np.abs(view.astype(np.int32) - around).sum(axis=-1)
        alike = np.where(differs == 0, 1.0, np.where(differs <= _SIMILAR, _SIMILAR_COUNTS, 0.0))
        score = np.lib.stride_tricks.sliding_window_view(alike, (5, 5)).sum(axis=(2, 3))
        scores.append(np.where((view[2:-2, 2:-2, 3] > 0) & (step[..., 3] > 0), score, 0.0))
    whole = int(np.argmax([score.sum() for score in scores]))
    best = np.full((height, width), _LIKE * 25)
    for number, ((down, right), score) in enumerate(zip(shifts, scores, strict=True)):
        score = np.where(score > 0, score + _USUAL * (number == whole), 0.0)
        taken = score > best
        links[taken] = places[room + down : room + down + height, room + right : room + right + width][taken]
        best = np.where(taken, score, best)
