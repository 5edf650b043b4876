"""Draw the frames of an effect: fireball, explosion, hit, heal, smoke, sparkle.

Everything is a function of (effect, frame, number of frames, side, seed). Particles of looping effects live for one
loop and start at different phases, so the frame after the last is the first. A shape is painted from its widest,
darkest level to its smallest, hottest one, which gives the few clear bands of colour that artists draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.effects.shapes import Canvas, Disc


@dataclass(frozen=True, slots=True)
class Effect:
    """One kind of effect.

    `draw(canvas, time, rng)` paints a frame: `time` runs from 0 up to, but without, 1 where the effect loops, and from
    0 to 1 where it ends. `ramp` is its colour, `second` that of its smoke.
    """

    draw: Callable[[Canvas, float, np.random.Generator], None]
    frames: int
    loop: bool
    ramp: str
    second: str = ""
    fps: float = 12.0


def _wave(phase: float) -> float:
    return float(np.sin(2 * np.pi * phase))


def _fireball(canvas: Canvas, time: float, rng: np.random.Generator) -> None:
    count = 11
    sway, lag = rng.uniform(-1, 1, count), rng.uniform(0, 1, count)
    ages = (np.arange(count) / count + time) % 1
    tail: list[tuple[float, Disc]] = []
    for age, side, phase in zip(ages, sway, lag, strict=True):
        y = 0.5 + side * 0.13 * age**0.6 + 0.035 * _wave(2 * time + phase) * age
        tail.append((float(age), (0.63 - 0.5 * float(age), y, 0.185 * (1 - float(age)) ** 0.85 + 0.012)))
    pulse = 0.008 * _wave(2 * time)
    # head and tail are one shape on every level, so that no ring parts them
    bands = ((1, 1.0, 1.0, 0.225, 0.0), (2, 0.72, 0.74, 0.19, 0.008), (3, 0.42, 0.6, 0.145, 0.018))
    for level, oldest, share, head, ahead in (*bands, (4, 0.16, 0.4, 0.085, 0.04)):
        streaming = [(x, y, r * share) for age, (x, y, r) in tail if age < oldest]
        canvas.paint(canvas.discs([*streaming, (0.665 + ahead, 0.5 - ahead / 2, head + pulse)]), level)
    canvas.drop_specks(3)
    for index in range(3):
        age = (index / 3 + time + 0.1) % 1
        if 0.35 < age < 0.97:
            canvas.dot(0.5 - 0.46 * age, 0.5 + (index - 1) * 0.2 * age**0.7, 3 if age < 0.55 else 2, _dot(canvas))


def _dot(canvas: Canvas) -> int:
    return 2 if canvas.side >= 48 else 1


def _explosion(canvas: Canvas, time: float, rng: np.random.Generator) -> None:
    count = int(rng.integers(5, 8))
    angles = np.arange(count) / count * 2 * np.pi + rng.uniform(-0.3, 0.3, count)
    reach, fat, slow = rng.uniform(0.85, 1.1, count), rng.uniform(0.85, 1.2, count), rng.uniform(-0.12, 0.12, count)
    sparks, fast = rng.uniform(0, 2 * np.pi, 9), rng.uniform(0.8, 1.0, 9)
    if time < 0.07:
        canvas.paint(canvas.star(0.5, 0.5, 0.10, [0.26, 0.16] * 4), 3)
        canvas.paint(canvas.discs([(0.5, 0.5, 0.12)]), 4)
        return
    grown = 1 - (1 - time) ** 3
    away, radius, rise = 0.235 * grown, 0.09 + 0.125 * min(1.0, time * 3.2), 0.07 * time
    puffs = [
        (0.5 + float(np.cos(a)) * away * r, 0.52 + float(np.sin(a)) * away * r - rise, radius * f)
        for a, r, f in zip(angles, reach, fat, strict=True)
    ]
    if time < 0.5:
        body = [*puffs, (0.5, 0.52 - rise, 0.10 + 0.16 * min(1.0, time * 3) - 0.1 * time)]
        if time < 0.22:
            bands = ((2, 0.0), (3, 0.035), (4, 0.075))
        elif time < 0.36:
            bands = ((1, 0.0), (2, 0.032), (3, 0.07), (4, 0.115))
        else:
            bands = ((6, 0.0), (1, 0.03), (2, 0.065), (3, 0.105))
        for level, less in bands:
            # light falls from above left: each hotter band lies a little that way
            canvas.paint(canvas.discs((x - less * 0.35, y - less * 0.45, r - less) for x, y, r in body), level)
        if time > 0.36:
            canvas.erase(canvas.discs([(0.53, 0.53, 0.085), (0.46, 0.47, 0.05)]))
    else:
        _cooling(canvas, puffs, [(time - 0.5) / 0.5 + float(late) for late in slow])
    canvas.drop_specks(4 if canvas.side >= 24 else 2 if canvas.side >= 12 else 1)
    if 0.2 < time < 0.75:
        for angle, speed in zip(sparks, fast, strict=True):
            far = 0.49 * float(speed) * (1 - (1 - time) ** 3)
            x, y = 0.5 + float(np.cos(angle)) * far, 0.52 + float(np.sin(angle)) * far
            if canvas.level_at(x, y) < 0:
                canvas.dot(x, y, 4 if time < 0.4 else 3 if time < 0.55 else 2, _dot(canvas))


def _cooling(canvas: Canvas, puffs: list[Disc], gone: list[float]) -> None:
    """Draws a cloud of cooling smoke: one silhouette with embers at first, which parts and shrinks from below."""
    left = [(x, y - 0.02 * g, r * (1.0 - 0.55 * max(0.0, g) ** 1.2)) for (x, y, r), g in zip(puffs, gone, strict=True)]
    canvas.paint(canvas.discs(left), 6)
    lit = canvas.discs((x - 0.02, y - 0.026, r - 0.03) for x, y, r in left)
    canvas.paint(lit, 7)
    for (x, y, r), g in zip(left, gone, strict=True):
        under = canvas.discs([(x, y, r)]) & ~canvas.discs([(x - 0.03, y - 0.045, r)]) & (canvas.y > y)
        canvas.paint(under & lit, 6)
        if 0.22 <= g < 0.7:
            canvas.paint(canvas.discs([(x - 0.35 * r, y - 0.4 * r, r * 0.36)]) & (canvas.levels == 7), 8)
    middle = np.mean([(x, y) for x, y, _ in left], axis=0)
    for level, share in ((1, 0.62), (2, 0.4)):  # the fire inside, which the smoke closes over
        inner = [
            (float(middle[0] + 0.55 * (x - middle[0])), float(middle[1] + 0.55 * (y - middle[1])) + 0.03, r * share)
            for (x, y, r), g in zip(left, gone, strict=True)
            if g < 0.22
        ]
        if inner:
            inner.append((float(middle[0]), float(middle[1]) + 0.03, 0.2 * share))
        canvas.paint(canvas.discs(inner), level)
    for (x, y, r), g in zip(left, gone, strict=True):
        if g > 0.25:  # from the rim and from the hollow middle, not in spots
            out = np.array([x, y]) - middle
            out = out / max(float(np.hypot(*out)), 1e-6)
            eaten = min(1.0, (g - 0.25) / 0.75)
            rim, hollow = (x + out[0] * r, y + out[1] * r + 0.02), (x - out[0] * r, y - out[1] * r)
            canvas.erase(canvas.discs([(*rim, 0.85 * r * eaten), (*hollow, r * eaten)]))


def _hit(canvas: Canvas, time: float, rng: np.random.Generator) -> None:
    turn = float(rng.uniform(0, 1))
    spikes = [0.47, 0.30, 0.42, 0.27, 0.46, 0.31, 0.40, 0.28]
    angles = (np.arange(8) + turn) / 8 * 2 * np.pi
    if time < 0.1:
        canvas.paint(canvas.star(0.5, 0.5, 0.09, [s * 0.5 for s in spikes], turn), 3)
        canvas.paint(canvas.discs([(0.5, 0.5, 0.11)]), 4)
    elif time < 0.5:
        full = 0.86 if time < 0.3 else 1.0
        for level, share in ((2, 1.0), (3, 0.84), (4, 0.62)):
            inner = (0.2 if time < 0.3 else 0.17) * share
            canvas.paint(canvas.star(0.5, 0.5, inner, [s * full * share for s in spikes], turn), level)
        if time > 0.3:
            canvas.erase(canvas.star(0.5, 0.5, 0.075, [0.2, 0.12] * 4, turn))
    else:
        gone = (time - 0.5) / 0.5
        for angle, spike in zip(angles, spikes, strict=True):
            start, end = spike * (0.62 + 0.3 * gone), spike * (1.0 + 0.04 * gone)
            if spike < 0.35 and gone > 0.7:
                continue
            canvas.paint(canvas.line(0.5, 0.5, float(angle), start, end, 0.035 * (1.2 - gone)), 3 if gone < 0.5 else 2)
            if gone < 0.5:
                canvas.paint(canvas.line(0.5, 0.5, float(angle), start, (start + end) / 2, 0.02), 4)


def _heal(canvas: Canvas, time: float, rng: np.random.Generator) -> None:
    side = canvas.side
    roomy = side >= 24
    for ring in range(2 if roomy else 1):
        age = (time + ring / 2) % 1
        if age < 0.75:
            rx = 0.14 + 0.28 * age
            canvas.paint(canvas.ellipse_line(0.5, 0.84, rx, rx * 0.32), 3 if age < 0.3 else 2 if age < 0.55 else 1)
    columns = (0.5, 0.24, 0.74, 0.38, 0.64) if roomy else (0.5, 0.2, 0.8, 0.35, 0.68)
    starts = (np.array([0.0, 0.4, 0.6, 0.8, 0.2]) + rng.integers(0, 5) / 5) % 1
    for column, start in zip(columns, starts, strict=True):
        age = float((start + time) % 1)
        x, y = column + 0.02 * _wave(age + start), (0.76 if roomy else 0.66) - (0.64 if roomy else 0.54) * age
        large = max(1, round(side / 16))
        arm = max(1, large if 0.12 < age < 0.72 else large - 1)
        if age > 0.9 or age < 0.04:
            canvas.dot(x, y, 3)
            continue
        _plus(canvas, x, y, arm, age)


def _plus(canvas: Canvas, x: float, y: float, arm: int, age: float) -> None:
    """Draws a plus sign with thick arms where there is room, and a dark rim."""
    side = canvas.side
    column, row = int(x * side), int(y * side)
    thick = 0 if arm < 3 else arm // 3
    dx, dy = np.abs(np.arange(side) - column)[None], np.abs(np.arange(side) - row)[:, None]
    shape = ((dx <= arm) & (dy <= thick)) | ((dy <= arm) & (dx <= thick))
    padded = np.pad(shape, 1)
    rim = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    if arm > 1:
        canvas.paint(rim & ~shape, 1)
    canvas.paint(shape, 3 if age < 0.75 else 2)
    if arm > 1 and age < 0.75:
        canvas.paint(((dx <= max(arm - 2, 0)) & (dy <= 0)) | ((dy <= max(arm - 1, 0)) & (dx <= 0)), 4)


def _smoke(canvas: Canvas, time: float, rng: np.random.Generator) -> None:
    """Draws a swaying column: one silhouette that billows, lit from above left, and comes apart into wisps."""
    count = 8
    aside, fat = rng.uniform(0.5, 1.2, count), rng.uniform(0.85, 1.2, count)
    body: list[tuple[float, Disc]] = []
    for index in range(count):
        age = float((index / count + time) % 1)
        left = -1 if index % 2 else 1
        # the whole column waves: where a puff is depends on its age and on the time that the column sways in
        x = 0.48 + 0.07 * age * _wave(0.8 * age - time) + left * 0.085 * float(aside[index]) * age**0.6
        radius = (0.05 + 0.125 * age**0.55) * float(fat[index])
        if age > 0.68:
            late = (age - 0.68) / 0.32
            x += left * 0.06 * late
            radius *= 1.0 - 0.85 * late
        body.append((age, (x, 0.9 - 0.76 * age, radius)))
    body.sort()
    # every level is one shape, so that no rim parts the puffs
    canvas.paint(canvas.discs(disc for _, disc in body), 1)
    lit = canvas.discs((x - 0.018, y - 0.022, r - 0.028) for age, (x, y, r) in body if age < 0.9)
    canvas.paint(lit, 2)
    for age, (x, y, r) in body:
        if 0.3 < age < 0.76 and canvas.side >= 24:  # a billow's shaded underside, on the puffs behind it
            under = canvas.discs([(x, y, r)]) & ~canvas.discs([(x - 0.03, y - 0.036, r)])
            canvas.paint(under & lit & (canvas.y > y), 1)
    for age, (x, y, r) in body:
        if 0.2 < age < 0.7:
            shine = canvas.discs([(x - 0.3 * r, y - 0.35 * r, r * 0.5)])
            canvas.paint(shine & (canvas.levels == 2), 3)
    canvas.drop_specks(2)


def _sparkle(canvas: Canvas, time: float, rng: np.random.Generator) -> None:
    places = ((0.34, 0.36), (0.68, 0.27), (0.60, 0.68), (0.24, 0.72), (0.82, 0.52))
    starts = (0.0, 0.4, 0.7, 0.25, 0.85)
    sizes = (1.0, 0.75, 0.9, 0.6, 0.5)
    move = rng.uniform(-0.03, 0.03, (5, 2))
    for (x, y), start, size, (dx, dy) in zip(places, starts, sizes, move, strict=True):
        age = (time + start) % 1
        if age > 0.76:
            continue
        bright = float(np.sin(np.pi * age / 0.76))
        _glint(canvas, x + float(dx), y + float(dy), bright * size * 0.19 * canvas.side)


def _glint(canvas: Canvas, x: float, y: float, arm: float) -> None:
    """Draws a four-pointed star: long thin rays, a body that swells with them."""
    length = round(arm)
    if length < 1:
        canvas.dot(x, y, 3)
        return
    canvas.cross(x, y, length, 3, 2)
    if length >= 3:
        canvas.cross(x, y, length - 1, 3, 3)
        column, row = int(x * canvas.side), int(y * canvas.side)
        body = max(1, length // 3)
        dx = np.abs(np.arange(canvas.side) - column)[None]
        dy = np.abs(np.arange(canvas.side) - row)[:, None]
        canvas.paint(dx + dy <= body + 0, 3)
        canvas.paint((dx == 1) & (dy == 1), 2)
        if body > 1:
            canvas.paint(dx + dy <= body, 4)
    canvas.cross(x, y, max(0, length // 2), 4, 4)


EFFECTS = {
    "fireball": Effect(_fireball, 8, True, "fire"),
    "explosion": Effect(_explosion, 8, False, "fire", "gray"),
    "hit": Effect(_hit, 6, False, "yellow", fps=14.0),
    "heal": Effect(_heal, 8, True, "green", fps=10.0),
    "smoke": Effect(_smoke, 8, True, "gray", fps=8.0),
    "sparkle": Effect(_sparkle, 8, True, "yellow", fps=10.0),
}
