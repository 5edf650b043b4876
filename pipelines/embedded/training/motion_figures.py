"""Random people of solid parts, drawn from four sides in three poses: more outlines than the packs hold.

A figure is a small volume of materials (ellipsoids and boxes for head, hair, hat, trunk, robe, limbs, cape, gear). It
is seen straight from the front, both sides and the back, so that what a front view says about the other three is true
by construction. Wide bodies, robes, long ears, thick and coloured outlines, which the packs lack, are frequent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.embedded.motion.slots import CELLS
from pipelines.embedded.training.motion_data import COLORS, color_groups

SHADES = 2
"""Tones of a material: the colour itself and its shadow."""

_OUTLINE, _EYE, _WHITE = 1, 2, 3
_FIRST_MATERIAL = 4
_MATERIALS = ("skin", "hair", "shirt", "trousers", "boots", "hat", "trim", "cape", "weapon", "shield", "horn", "sleeve")
_CODE = {name: _FIRST_MATERIAL + SHADES * i for i, name in enumerate(_MATERIALS)}

Volume = NDArray[np.uint8]
"""(y, x, z) of material codes, 0 is air; y grows downwards, x to the viewer's right, z towards the viewer."""


@dataclass
class _Space:
    """A volume that is being built, with coordinates in pixels: x and z from the middle, y from the top."""

    size: int
    volume: Volume = field(init=False)

    def __post_init__(self) -> None:
        n = self.size
        self.volume = np.zeros((n, n, n), np.uint8)
        middle = np.arange(n) - (n - 1) / 2
        self.y = np.arange(n, dtype=float).reshape(n, 1, 1)
        self.x, self.z = middle.reshape(1, n, 1), middle.reshape(1, 1, n)

    def round(
        self, y: tuple[float, float], x: float, z: float, rx: float, rz: float, power: float = 2.4, at_x: float = 0.0
    ) -> NDArray[np.bool_]:
        """Marks a superellipsoid from row y[0] to y[1] (exclusive) around (at_x, z)."""
        ry, cy = max((y[1] - y[0]) / 2, 0.5), (y[0] + y[1] - 1) / 2
        del x
        reach = (
            np.abs((self.y - cy) / ry) ** power
            + np.abs((self.x - at_x) / max(rx, 0.5)) ** power
            + np.abs((self.z - z) / max(rz, 0.5)) ** power
        )
        return reach <= 1

    def box(self, y: tuple[float, float], x: tuple[float, float], z: tuple[float, float]) -> NDArray[np.bool_]:
        """Marks all voxels whose middles lie in the box."""
        return (
            (self.y >= y[0])
            & (self.y < y[1])
            & (self.x >= x[0])
            & (self.x <= x[1])
            & (self.z >= z[0])
            & (self.z <= z[1])
        )

    def put(self, where: NDArray[np.bool_], material: str, *, only_air: bool = False) -> None:
        """Fills voxels with a material."""
        self.volume[where & (self.volume == 0) if only_air else where] = _CODE[material]


@dataclass(frozen=True)
class _Body:
    """The measures of a figure, in pixels of its cell."""

    size: int
    floor: float
    head: tuple[float, float]
    head_rx: float
    head_rz: float
    head_power: float
    trunk: tuple[float, float]
    trunk_rx: float
    trunk_rz: float
    robe: float
    leg: float
    leg_x: float
    leg_w: float
    arm: float
    arm_w: float
    bob: int
    stride: float
    lift: int


def _measure(rng: np.random.Generator, size: int, margin: int) -> _Body:
    unit = size / 16
    height = min(size - 2 * margin, rng.uniform(11.0, 16.0) * unit)
    floor = size - margin
    top = floor - height
    share = rng.uniform(0.42, 0.64) if rng.random() < 0.85 else rng.uniform(0.28, 0.42)
    leg = max(1.0, height * rng.uniform(0.08, 0.24))
    head = (top, top + height * share)
    widest = size / 2 - margin
    head_rx = min(widest, rng.uniform(3.2, 6.6) * unit)
    arm_w = rng.uniform(0.5, 1.2) * unit if rng.random() < 0.85 else 0.0
    wanted = head_rx * rng.uniform(0.55, 0.95) if rng.random() < 0.65 else rng.uniform(4.0, 6.8) * unit
    trunk_rx = min(widest - (1.8 * arm_w if rng.random() < 0.8 else 0), wanted)
    return _Body(
        size=size,
        floor=floor,
        head=head,
        head_rx=head_rx,
        head_rz=head_rx * rng.uniform(0.72, 1.02),
        head_power=rng.choice([2.0, 2.4, 3.0, 5.0]),
        trunk=(head[1] - 1, floor - leg),
        trunk_rx=trunk_rx,
        trunk_rz=max(1.5, trunk_rx * rng.uniform(0.5, 0.9)),
        robe=rng.uniform(0.9, 1.5) if rng.random() < 0.3 else 0.0,
        leg=leg,
        leg_x=max(1.0, trunk_rx * rng.uniform(0.35, 0.62)),
        leg_w=rng.uniform(0.6, 1.3) * unit,
        arm=rng.uniform(2.0, 4.5) * unit,
        arm_w=arm_w,
        bob=int(rng.choice([-1, 0, 1, 1])),
        stride=rng.uniform(0.8, 2.2) * unit,
        lift=int(rng.choice([1, 1, 2])),
    )


def _traits(rng: np.random.Generator) -> dict[str, float]:
    """Chooses what a figure wears and is, once for all its poses."""

    def maybe(chance: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < chance else 0.0

    covering = rng.choice(
        ["hair", "long hair", "bald", "helmet", "hood", "creature"], p=[0.3, 0.2, 0.1, 0.12, 0.14, 0.14]
    )
    return {
        "hair": float(covering in ("hair", "long hair")),
        "long": maybe(1, 0.1, 0.9) if covering == "long hair" else 0.0,
        "helmet": float(covering == "helmet"),
        "hood": float(covering == "hood"),
        "fringe": rng.uniform(0.2, 0.5),
        "face": rng.uniform(0.45, 0.95),
        "thick": rng.uniform(0.0, 1.2),
        "eyes": rng.uniform(0.45, 0.7),
        "apart": rng.uniform(0.25, 0.6),
        "tall eyes": float(rng.random() < 0.4),
        "whites": float(rng.random() < 0.25),
        "blind": float(rng.random() < 0.06),
        "beard": maybe(0.16, 0.15, 0.8),
        "ears": maybe(0.18, 1.0, 3.5),
        "horns": maybe(0.12, 1.0, 3.5),
        "cone": maybe(0.13, 1.5, 5.0),
        "brim": maybe(0.12, 0.6, 2.0),
        "crown": maybe(0.05, 1, 2),
        "cap": maybe(0.1, 0.2, 0.45),
        "nose": maybe(0.35, 0.6, 2.5),
        "cape": maybe(0.16, 0.5, 1.0),
        "pack": maybe(0.06, 0.6, 1.0),
        "weapon": maybe(0.16, 0.3, 1.0),
        "staff": float(rng.random() < 0.4),
        "shield": maybe(0.08, 1.2, 2.6),
        "tail": maybe(0.08, 1, 3),
        "belt": maybe(0.3, 0.5, 0.9),
        "apron": maybe(0.14, 0.3, 0.8),
        "pads": maybe(0.1, 0.8, 1.6),
        "bare": float(rng.random() < 0.12),
        "collar": float(rng.random() < 0.2),
        "hands": float(rng.random() < 0.8),
        "arms out": maybe(0.3, 0.3, 1.5),
        "boots": maybe(0.7, 0.3, 0.9),
        "sleeves": float(rng.random() < 0.5),
        "band": maybe(0.1, 0.15, 0.35),
    }


def _build(body: _Body, traits: dict[str, float], phase: int) -> tuple[Volume, float]:
    """Builds the volume in a pose (0 stand, 1 and 2 the two steps); returns how far the head has moved down too."""
    s, t, unit = _Space(body.size), traits, body.size / 16
    bob = body.bob if phase else 0
    side = {0: 0, 1: 1, 2: -1}[phase]  # which leg is in front: x > 0 in the first step
    low = body.trunk[1]
    legs_hidden = body.robe > 0
    for x_sign in (-1, 1):
        forward = side * x_sign
        lift = body.lift if forward > 0 else 0
        z = forward * body.stride * (0.4 if legs_hidden else 1.0)
        bottom = body.floor - (lift if phase else 0)
        x = x_sign * body.leg_x
        leg = s.box((low - 1, bottom), (x - body.leg_w, x + body.leg_w), (z - body.leg_w - 0.3, z + body.leg_w + 0.3))
        s.put(leg, "trousers")
        if t["boots"]:
            s.put(leg & (s.y >= bottom - max(1, body.leg * t["boots"])), "boots")
            s.put(s.box((bottom - 1, bottom), (x - body.leg_w, x + body.leg_w), (z, z + body.leg_w + 1)), "boots")
    top, end = body.trunk[0] + bob, low + bob
    trunk = (
        s.round((top - 1, end + 1), 0, 0, body.trunk_rx + 0.3, body.trunk_rz + 0.3, 3.2) & (s.y >= top) & (s.y < end)
    )
    s.put(trunk, "skin" if t["bare"] else "shirt")
    if legs_hidden:
        down = body.floor - (1 if body.leg > 1.5 else 0)
        share = np.clip((s.y - top) / max(down - top, 1), 0, 1)
        rx = body.trunk_rx * (1 + (body.robe - 1) * share) + 0.3
        rx = np.minimum(rx, body.size / 2 - 1)
        rz = body.trunk_rz * (1 + (body.robe - 1) * share) + 0.3
        sway = side * 0.5 * share
        skirt = (np.abs((s.x - sway) / rx) ** 2.6 + np.abs(s.z / rz) ** 2.6 <= 1) & (s.y >= top) & (s.y < down)
        s.put(skirt, "shirt")
        trunk = trunk | skirt
    if t["belt"]:
        row = np.floor(top + (end - top) * t["belt"])
        s.put(trunk & (s.y >= row) & (s.y < row + 1), "trim")
    if t["apron"]:
        s.put(trunk & (np.abs(s.x) <= body.trunk_rx * t["apron"]) & (s.z > 0) & (s.y > top + 1), "trim")
    if t["collar"]:
        s.put(trunk & (s.y < top + 2), "trim")
    if body.arm_w:
        for x_sign in (-1, 1):
            forward = -side * x_sign
            x = x_sign * (body.trunk_rx + body.arm_w * 0.6 + t["arms out"])
            z = forward * body.stride * 0.8
            start = top + (0 if body.trunk_rx > 4 * unit else 1)
            finish = min(start + body.arm, body.floor - 1) - (1 if forward > 0 and phase else 0)
            span = (x - body.arm_w, x + body.arm_w)
            arm = s.box((start, finish), span, (z * 0.5 - body.arm_w - 0.2, z * 0.5 + body.arm_w + 0.2))
            s.put(arm, "sleeve" if t["sleeves"] and not t["bare"] else ("skin" if t["bare"] else "shirt"))
            hand = s.box((finish - 1.5, finish), span, (z - body.arm_w - 0.2, z + body.arm_w + 0.2))
            if t["hands"]:
                s.put(hand, "skin")
            if t["pads"]:
                s.put(
                    s.round((start - 1, start + 2), 0, 0, body.arm_w + t["pads"], body.arm_w + t["pads"], 2.2, x),
                    "trim",
                )
            if t["weapon"] and x_sign < 0:
                long = body.size * 0.55 * t["weapon"] + 3
                reach = (finish - long, finish + (long * 0.4 if t["staff"] else 0.5))
                grip = (round(x) - 0.5 - 0.01, round(x) - 0.5 + (0.6 if not t["staff"] and t["weapon"] > 0.6 else 0.01))
                s.put(s.box(reach, grip, (z + 0.5, z + 2.0)), "weapon")
                s.put(s.box((finish - 2, finish - 1), (grip[0] - 1, grip[1] + 1), (z + 0.5, z + 1.6)), "trim")
            if t["shield"] and x_sign > 0:
                r = t["shield"] * unit
                s.put(s.round((finish - 1 - 1.2 * r, finish - 1 + 1.2 * r), 0, z + 1.5, r, 0.8, 2.6, x), "shield")
    if t["cape"]:
        rear = -(body.trunk_rz + 0.8)
        reach = (top, top + (body.floor - 0.5 - top) * t["cape"])
        s.put(
            s.box(reach, (-body.trunk_rx - 0.8, body.trunk_rx + 0.8), (rear - 0.9 + side * 0, rear + 0.4)),
            "cape",
            only_air=True,
        )
    elif t["pack"]:
        s.put(s.round((top, end), 0, -body.trunk_rz - 1, body.trunk_rx * t["pack"], 2 * unit, 4), "cape", only_air=True)
    if t["tail"]:
        s.put(
            s.box(
                (end - 1, end + 0.5), (side - 0.6, side + 0.6), (-body.trunk_rz - t["tail"] * unit, -body.trunk_rz + 1)
            ),
            "skin",
            only_air=True,
        )
    _head(s, body, t, bob)
    return s.volume, bob


def _head(s: _Space, body: _Body, t: dict[str, float], bob: int) -> None:
    top, chin = body.head[0] + bob, body.head[1] + bob
    tall, rx, rz, power = chin - top, body.head_rx, body.head_rz, body.head_power
    unit = body.size / 16
    cover = t["cone"] or t["brim"] or t["crown"] or t["cap"]
    head = s.round((top, chin), 0, 0, rx, rz, power)
    s.put(head, "skin")
    brow = top + tall * t["fringe"]
    face = (s.z > rz * 0.15) & (s.y >= brow) & (np.abs(s.x) <= rx * t["face"])
    if t["hair"]:
        grown = s.round((top - 0.6, chin + t["thick"]), 0, -0.3, rx + 0.4 * t["thick"], rz + 0.4 * t["thick"], power)
        s.put((grown | head) & ~face & ((s.y < chin - 1) | (s.z < rz * 0.2)), "hair")
        if t["long"]:
            hang = s.round((top, chin + t["long"] * 5 * unit), 0, -0.5, rx + 0.5, rz + 0.5, 4)
            s.put(hang & (s.z < rz * 0.1) & (s.y > brow) & ((s.z < -rz * 0.3) | (np.abs(s.x) > rx * 0.7)), "hair")
    if t["hood"]:
        grown = s.round((top - 1, chin + 1), 0, -0.3, rx + 0.6, rz + 0.6, power)
        s.put(grown & ~(face & (np.abs(s.x) <= rx * min(t["face"], 0.7))), "hat")
    if t["helmet"]:
        grown = s.round((top - 0.6, chin + 0.4), 0, 0, rx + 0.3, rz + 0.3, power)
        slit = (s.z > 0) & (s.y >= brow) & (s.y < brow + 2) & (np.abs(s.x) <= rx * t["face"])
        s.put(grown & ~slit, "hat")
        s.put(grown & (np.abs(s.x) < 0.6) & (s.y < top + 2), "trim")
    if t["beard"] and not t["helmet"]:
        low = chin - tall * 0.22
        s.put(
            s.round((low - 1, chin + t["beard"] * 3 * unit + 1), 0, rz * 0.6, rx * 0.75, rz * 0.55, 2.4) & (s.y >= low),
            "hair",
        )
    if t["nose"] and not t["helmet"]:
        middle = top + tall * (t["eyes"] + 0.16)
        wide = 0.6 if t["nose"] < 1.6 else rx * 0.4
        s.put(
            s.box(
                (middle - 0.5, middle + 0.5 + (t["nose"] > 1.6)), (-wide, wide), (rz * 0.6, rz + t["nose"] * 0.7 * unit)
            ),
            "skin",
        )
    if t["ears"] and not t["helmet"]:
        row = top + tall * t["eyes"]
        out = rx + t["ears"] * unit
        slope = np.abs(s.x) - rx
        s.put(
            s.box((row - 2, row + 1.1), (-out, out), (-1.1, 0.6))
            & (s.y >= row - 1 - slope * 0.5)
            & (s.y <= row + 1 - slope * 0.4),
            "skin",
            only_air=True,
        )
    if t["horns"]:
        for x_sign in (-1, 1):
            x = x_sign * rx * 0.65
            s.put(s.box((top - t["horns"] * unit, top + 2), (x - 0.7, x + 0.7), (-0.8, 0.8)), "horn", only_air=True)
    if t["band"]:
        row = np.floor(brow)
        s.put(s.round((top - 0.6, chin), 0, 0, rx + 0.4, rz + 0.4, power) & (s.y >= row - 1) & (s.y < row), "trim")
    if cover:
        line = top + tall * max(t["cap"], 0.28)
        grown = s.round((top - 0.7, chin), 0, 0, rx + 0.5, rz + 0.5, power) & (s.y < line)
        s.put(grown, "hat")
        if t["cone"]:
            share = np.clip((line - s.y) / (line - top + t["cone"] * unit), 0, 1)
            s.put(
                (s.x**2 + s.z**2 <= ((1 - share) * (rx + 0.4)) ** 2) & (s.y < line) & (s.y >= top - t["cone"] * unit),
                "hat",
            )
        if t["brim"]:
            r = min(rx + t["brim"], body.size / 2 - 0.5)
            s.put((s.x**2 + s.z**2 <= r**2) & (s.y >= line - 1) & (s.y < line), "hat")
        elif t["cap"]:
            s.put(s.box((line - 1, line), (-rx * 0.8, rx * 0.8), (0, rz + 1.2)), "trim")
        if t["crown"]:
            s.put(grown & (s.y >= line - 1), "trim")
            s.put(
                (grown & (s.y < line - 2))
                | (
                    s.box((top - 1.5, line - 1), (-rx, rx), (-rz, rz))
                    & (np.round(s.x).astype(int) % 2 == 0)
                    & (s.y < top + 1)
                ),
                "trim",
                only_air=True,
            )


def _look(volume: Volume, view: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Returns material and depth (larger is nearer) of the outermost voxels, seen as down, left, right, up."""
    turned = {
        0: volume[:, :, ::-1],
        1: volume[:, ::-1, ::-1].transpose(0, 2, 1),
        2: volume.transpose(0, 2, 1),
        3: volume[:, ::-1],
    }[view]
    solid = turned > 0
    first = solid.argmax(axis=2)
    material = np.take_along_axis(turned, first[..., None], 2)[..., 0]
    return material, np.where(solid.any(axis=2), turned.shape[2] - first, 0)


def _shade(material: NDArray[np.uint8], depth: NDArray[np.int64], style: dict[str, float]) -> NDArray[np.uint8]:
    """Returns material codes with shadows, inner lines and outlines."""
    cell = material.copy()
    solid = material > 0
    padded = np.pad(depth, 1).astype(float)
    if style["shadow"]:
        fall = (padded[1:-1, :-2] - padded[1:-1, 2:]) * 0.5 + (padded[:-2, 1:-1] - padded[2:, 1:-1]) * 0.7
        cell[solid & (material >= _FIRST_MATERIAL) & (fall > style["shadow"])] += 1
    if style["under"]:
        above = np.pad(depth, ((1, 0), (0, 0)))[:-1]
        cell[
            solid & (material >= _FIRST_MATERIAL) & (above - depth >= 2) & ((cell - _FIRST_MATERIAL) % SHADES == 0)
        ] += 1
    if style["inner"]:
        nearer = np.max([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1]], axis=0)
        cell[solid & (nearer - depth >= style["inner"])] = _OUTLINE
    return cell


def _outlined(cell: NDArray[np.uint8], style: dict[str, float]) -> NDArray[np.uint8]:
    for _ in range(int(style["outline"])):
        solid = np.pad(cell > 0, 1)
        near = solid[1:-1, :-2] | solid[1:-1, 2:] | solid[:-2, 1:-1] | solid[2:, 1:-1]
        if style["corners"]:
            near |= solid[:-2, :-2] | solid[:-2, 2:] | solid[2:, :-2] | solid[2:, 2:]
        cell = np.where((cell == 0) & near, np.uint8(_OUTLINE), cell)
    return cell


def _palette(rng: np.random.Generator) -> NDArray[np.float32]:
    """Chooses OKLab of every code; the trainer changes hues anyway, so plain spread is enough."""
    lab = np.zeros((COLORS, 3), np.float32)
    lab[_OUTLINE] = (rng.uniform(0.1, 0.27), rng.normal(0, 0.02), rng.normal(0, 0.02))
    lab[_EYE] = (
        lab[_OUTLINE] if rng.random() < 0.5 else (rng.uniform(0.1, 0.6), rng.normal(0, 0.08), rng.normal(0, 0.08))
    )
    lab[_WHITE] = (rng.uniform(0.88, 1.0), 0, 0)
    for code in _CODE.values():
        light, chroma, hue = rng.uniform(0.4, 0.92), rng.uniform(0.0, 0.17), rng.uniform(0, 2 * np.pi)
        lab[code] = (light, chroma * np.cos(hue), chroma * np.sin(hue))
        lab[code + 1] = lab[code] * (rng.uniform(0.68, 0.85), 1.0, 1.0)
    if rng.random() < 0.5:
        lab[_CODE["sleeve"]], lab[_CODE["sleeve"] + 1] = lab[_CODE["shirt"]], lab[_CODE["shirt"] + 1]
    if rng.random() < 0.4:
        lab[_CODE["boots"]], lab[_CODE["boots"] + 1] = lab[_CODE["trousers"]], lab[_CODE["trousers"] + 1]
    if rng.random() < 0.3:
        lab[_CODE["cape"]], lab[_CODE["cape"] + 1] = lab[_CODE["hat"]], lab[_CODE["hat"] + 1]
    return lab


def draw_figure(seed: int, size: int = 16) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Draws a random figure: tokens (4, CELLS, size, size), palette (COLORS, 3) OKLab, colour groups (COLORS,)."""
    rng = np.random.default_rng(seed)
    style = {
        "outline": float(rng.choice([0, 1, 2], p=[0.25, 0.6, 0.15])),
        "corners": float(rng.random() < 0.3),
        "shadow": float(rng.choice([0.0, 1.2, 2.2], p=[0.3, 0.4, 0.3])),
        "under": float(rng.random() < 0.5),
        "inner": float(rng.choice([0, 2, 3, 4], p=[0.45, 0.15, 0.2, 0.2])),
    }
    margin = int(style["outline"]) if rng.random() < 0.7 else 0
    body, traits = _measure(rng, size, margin), _traits(rng)
    tokens = np.zeros((4, CELLS, size, size), np.uint8)
    eye_row = _eye_row(_look(_build(body, traits, 0)[0], 0)[0], body, traits)
    for phase in range(CELLS):
        volume, bob = _build(body, traits, phase)
        for view in range(4):
            material, depth = _look(volume, view)
            cell = _shade(material, depth, style)
            _eyes(cell, material, view, eye_row + round(bob), body, traits)
            tokens[view, phase] = _outlined(cell, style)
    if not tokens[0, 0].any():
        return draw_figure(seed + 1_000_003, size)
    lab = _palette(rng)
    return tokens, lab, color_groups(lab)


def _eye_row(front: NDArray[np.uint8], body: _Body, t: dict[str, float]) -> int:
    """Finds the row of the eyes: where the traits want it, or the next below with skin in the middle of the face."""
    row, middle = round(body.head[0] + (body.head[1] - body.head[0]) * t["eyes"]), body.size // 2
    for lower in range(row, min(row + 5, body.size)):
        if (front[lower, middle - 2 : middle + 2] == _CODE["skin"]).any():
            return lower
    return min(row, body.size - 1)


def _eyes(
    cell: NDArray[np.uint8], material: NDArray[np.uint8], view: int, row: int, body: _Body, t: dict[str, float]
) -> None:
    """Draws the eyes on a cell: two from the front, one near the edge from the side, where skin (or a slit) is seen."""
    if view == 3 or t["blind"]:
        return
    size, middle = body.size, body.size / 2
    open_skin = (_CODE["skin"], _CODE["skin"] + 1, _OUTLINE) + ((_CODE["hat"], _CODE["hat"] + 1) if t["helmet"] else ())
    rows = [r for r in ((row - 1, row) if t["tall eyes"] else (row,)) if 0 <= r < size]
    if view == 0:
        apart = max(1, round(body.head_rx * t["apart"]))
        columns = [int(middle - 1 - apart + 0.5), int(middle + apart - 0.5)]
        whites = [columns[0] - 1, columns[1] + 1]
    else:
        inside = np.flatnonzero(material[min(max(row, 0), size - 1)] > 0)
        if not inside.size:
            return
        columns = [int(inside[0]) + 1 if view == 1 else int(inside[-1]) - 1]
        whites = [columns[0] + (1 if view == 1 else -1)]
    for r in rows:
        for x, paint in [*((x, _EYE) for x in columns), *((x, _WHITE) for x in whites if t["whites"])]:
            if 0 <= x < size and cell[r, x] in open_skin:
                cell[r, x] = paint
