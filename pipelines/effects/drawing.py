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
    count = 6
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
        for (x, y, r), late in zip(puffs, slow, strict=True):
            _fading(canvas, (x, y, r), min(1.0, max(0.0, (time - 0.5) / 0.5 * 0.86 + float(late))))
    canvas.drop_specks(4 if canvas.side >= 24 else 2)
    if 0.2 < time < 0.75:
        for angle, speed in zip(sparks, fast, strict=True):
            far = 0.49 * float(speed) * (1 - (1 - time) ** 3)
            x, y = 0.5 + float(np.cos(angle)) * far, 0.52 + float(np.sin(angle)) * far
            if canvas.level_at(x, y) < 0:
                canvas.dot(x, y, 4 if time < 0.4 else 3 if time < 0.55 else 2, _dot(canvas))


def _fading(canvas: Canvas, puff: Disc, gone: float) -> None:
    """Draws a puff of cooling smoke: embers inside at first, then lit smoke, eaten away from below."""
    x, y, r = puff
    r *= 1.0 - 0.45 * gone
    bands = ((5, 0.0), (6, 0.02), (1, 0.055), (2, 0.085)) if gone < 0.2 else ((5, 0.0), (6, 0.025), (7, 0.075))
    own = np.full_like(canvas.levels, -1)
    for level, less in bands:
        own[canvas.discs([(x - less * 0.4, y - less * 0.5, r - less)])] = level
    if gone > 0.3:
        eaten = (gone - 0.3) / 0.7
        own[canvas.discs([(x + 0.4 * r, y + 0.55 * r, r * 1.25 * eaten), (x - 0.6 * r, y + 0.5 * r, r * eaten)])] = -1
    canvas.levels[own >= 0] = own[own >= 0]


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
    for ring in range(2):
        age = (time + ring / 2) % 1
        if age < 0.75:
            rx = 0.14 + 0.28 * age
            canvas.paint(canvas.ellipse_line(0.5, 0.84, rx, rx * 0.32), 3 if age < 0.3 else 2 if age < 0.55 else 1)
    columns = (0.5, 0.24, 0.74, 0.38, 0.64)
    starts = (np.array([0.0, 0.4, 0.6, 0.8, 0.2]) + rng.integers(0, 5) / 5) % 1
    for column, start in zip(columns, starts, strict=True):
        age = float((start + time) % 1)
        x, y = column + 0.02 * _wave(age + start), 0.76 - 0.64 * age
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
    count = 6
    sway, fat = rng.uniform(-1, 1, count), rng.uniform(0.88, 1.14, count)
    puffs = []
    for index in range(count):
        age = float((index / count + time) % 1)
        x = 0.47 + 0.08 * age + 0.055 * float(sway[index]) + 0.05 * _wave(age * 0.8 + float(sway[index])) * age
        radius = (0.075 + 0.13 * age**0.6) * float(fat[index]) * (1.0 if age < 0.6 else 1.0 - 0.9 * (age - 0.6))
        puffs.append((age, x, 0.87 - 0.66 * age, radius))
    puffs.sort(reverse=True)  # the young ones lie in front
    for age, x, y, r in puffs:
        part = canvas.discs([(x, y, r)])
        bands = ((1, 0.0), (2, 0.04), (3, 0.105)) if age < 0.7 else ((1, 0.0), (2, 0.05))
        own = np.full_like(canvas.levels, -1)
        for level, less in bands:
            own[part & canvas.discs([(x - less * 0.5, y - less * 0.6, r - less * 0.9)])] = level
        if age > 0.55:
            gone = (age - 0.55) / 0.45
            bites = [
                (x + 0.45 * r, y + 0.5 * r, r * 1.15 * gone),
                (x - 0.5 * r, y + 0.55 * r, r * 0.95 * gone),
                (x + 0.1 * r, y - 0.1 * r, r * 0.9 * max(0.0, gone - 0.35) / 0.65),
            ]
            own[canvas.discs(bites)] = -1
        canvas.levels[own >= 0] = own[own >= 0]
    canvas.drop_specks(3)


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
