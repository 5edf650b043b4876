"""Make the sheet of effects: one clip for each effect and direction, and its gates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.animation.sheets import Sheet, arrange
from pipelines.effects.drawing import EFFECTS
from pipelines.effects.ramps import ramp_name, ramp_of
from pipelines.effects.shapes import Canvas
from pipelines.errors import InvalidRequest
from pipelines.pixels.gates import Report
from pipelines.pixels.palette import Palette
from pipelines.pixels.quantize import color_counts
from pipelines.records import Pixels

SMALLEST, LARGEST = 8, 128
"""Sides of a frame in pixels."""
MOST_COLORS = 10
"""Of an effect: two ramps of five."""
_TURNS = {"": 0, "right": 0, "up": 1, "down": 3}
"""Quarter turns against the clock from a picture that looks to the right; left is right mirrored."""


def make_effects(
    effects: Sequence[str],
    side: int,
    *,
    frames: int | None = None,
    fps: float | None = None,
    seed: int = 0,
    palette: Palette | None = None,
    words: str = "",
    directions: Sequence[str] = ("",),
) -> Sheet:
    """Draws effects as one sheet, a row for each; the same arguments give the same bytes.

    Args:
        effects: names of `EFFECTS`.
        side: of a frame, in pixels.
        frames: of every clip, 2 to 8; None: what suits each effect.
        fps: frames a second; None: what suits each effect.
        seed: places the particles.
        palette: the locked palette; None: the ramps' own colours.
        words: a prompt; a colour or element that it names colours all of them.
        directions: clip endings, for a fireball only.

    Raises:
        InvalidRequest: an unknown effect, a size or number out of range, or directions for what has none.
    """
    if not SMALLEST <= side <= LARGEST:
        raise InvalidRequest(f"An effect is drawn at {SMALLEST} to {LARGEST} pixels, not {side}. Give size=32.")
    if frames is not None and not 2 <= frames <= 8:
        raise InvalidRequest(f"frames={frames} is out of range: give 2 to 8.")
    turned = tuple(directions) != ("",)
    color = ramp_name(words)
    rows: dict[str, list[Pixels]] = {}
    for name in dict.fromkeys(effects):
        effect = EFFECTS.get(name)
        if effect is None:
            raise InvalidRequest(f"The effect '{name}' is unknown. Use one of: {', '.join(EFFECTS)}.")
        if turned and name != "fireball":
            raise InvalidRequest(f"Only a fireball flies in directions; {name} has none. Leave directions out.")
        count = frames or effect.frames
        ramps = [ramp_of(color or effect.ramp, palette), ramp_of(effect.second or "gray", palette)]
        drawn = []
        for index in range(count):
            canvas = Canvas(side)
            time = index / count if effect.loop else index / (count - 1)
            effect.draw(canvas, time, np.random.default_rng(seed))
            drawn.append(canvas.picture(ramps))
        for direction in directions:
            rows[f"{name}_{direction}" if direction else name] = [_turned(frame, direction) for frame in drawn]
    kinds = {row: EFFECTS[row.split("_")[0]] for row in rows}
    sheet = arrange(rows, loops={row: effect.loop for row, effect in kinds.items()})
    clips = {row: replace(clip, fps=fps or kinds[row].fps) for row, clip in sheet.clips.items()}
    return replace(sheet, clips=clips)


def _turned(frame: Pixels, direction: str) -> Pixels:
    if direction == "left":
        return np.ascontiguousarray(frame[:, ::-1])
    return np.ascontiguousarray(np.rot90(frame, _TURNS[direction]))


def check_effects(sheet: Sheet, palette: Palette | None) -> Report:
    """Measures the gates and scores of a sheet of effects.

    Gates: alpha is 0 or 255; every frame is drawn; all colours are the palette's; a clip has at most MOST_COLORS;
    neighbouring frames differ; in looping clips the step from the last frame to the first is at most 1.5 times the
    largest step within. Scores: the largest such ratio, and the most colours of a clip.
    """
    shown = {tuple(map(int, color)) for color in color_counts([sheet.image])[0]}
    drawn, moves, closing, most = True, True, 0.0, 0
    for name, clip in sheet.clips.items():
        frames = sheet.frames(name)
        drawn &= all((frame[..., 3] > 0).any() for frame in frames)
        steps = [_changed(a, b) for a, b in itertools.pairwise(frames)]
        moves &= min(steps) > 0
        if clip.loop:
            closing = max(closing, _changed(frames[-1], frames[0]) / max(*steps, 1e-6))
        most = max(most, len(color_counts(frames)[0]))
    gates = {
        "alpha_hard": bool(np.isin(sheet.image[..., 3], (0, 255)).all()),
        "every_frame_drawn": drawn,
        "colors_within": most <= MOST_COLORS,
        "moves": moves,
        "loop_closes": closing <= 1.5,
    }
    if palette is not None:
        gates["in_palette"] = shown <= set(palette.colors)
    return Report(gates, {"loop_closing": closing, "colors": float(most)})


def _changed(a: Pixels, b: Pixels) -> float:
    """Returns the share of the pixels drawn in either frame that differ."""
    either = (a[..., 3] > 0) | (b[..., 3] > 0)
    return float((a != b).any(axis=-1)[either].mean()) if either.any() else 0.0
