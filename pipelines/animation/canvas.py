"""Crop the frames of a clip, which are made on a large canvas, to the one size that all of them need."""

from __future__ import annotations

import numpy as np

from pipelines.records import Pixels

_STEP = 4


def fitted(clips: dict[str, list[Pixels]], spare: int) -> tuple[dict[str, list[Pixels]], int]:
    """Cuts frames on all four sides to the least margin that loses nothing.

    Args:
        clips: frames of one size, the sprite's canvas with `spare` pixels around.
        spare: pixels around the sprite's canvas.

    Returns:
        the clips, and the margin that is left: a multiple of 4, at most `spare`.
    """
    drawn = np.any([frame[..., 3] > 0 for clip in clips.values() for frame in clip], axis=0)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    height, width = drawn.shape
    outside = (rows[0], height - 1 - rows[-1], columns[0], width - 1 - columns[-1])
    margin = min(spare, -(-max(0, *(spare - int(free) for free in outside)) // _STEP) * _STEP)
    cut = slice(spare - margin, margin - spare or None)
    return {name: [np.ascontiguousarray(frame[cut, cut]) for frame in clip] for name, clip in clips.items()}, margin


def margin_note(margin: int) -> str:
    """Returns what the answer says about a margin."""
    return f"Frames are {2 * margin} px larger than the sprite so that nothing is cut; the figure is in the middle."
