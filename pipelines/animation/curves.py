"""Define the motions of a rigged figure as curves of its bones."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, cast

from pipelines.animation.puppet import Bones

Strike = Literal["swing", "thrust", "shoot", "cast", "punch"]
"""Kinds of attack, by what is in hand."""

Facing = Literal["front", "side"]

STRIKES: dict[Strike, tuple[str, ...]] = {
    "shoot": (
        "bow",
        "crossbow",
        "gun",
        "pistol",
        "rifle",
        "musket",
        "sling",
        "archer",
        "ranger",
        "hunter",
        "musketeer",
        "blowgun",
    ),
    "cast": (
        "staff",
        "wand",
        "orb",
        "book",
        "scepter",
        "sceptre",
        "spellbook",
        "wizard",
        "mage",
        "witch",
        "sorcerer",
        "sorceress",
        "warlock",
        "necromancer",
        "shaman",
        "druid",
        "priest",
        "priestess",
        "cleric",
        "lich",
        "skull",
    ),
    "thrust": (
        "spear",
        "lance",
        "trident",
        "pike",
        "halberd",
        "rapier",
        "pitchfork",
        "spearman",
        "lancer",
        "javelin",
        "polearm",
    ),
    "swing": (
        "sword",
        "axe",
        "mace",
        "hammer",
        "club",
        "dagger",
        "knife",
        "scythe",
        "flail",
        "katana",
        "whip",
        "pickaxe",
        "shovel",
        "knight",
        "warrior",
        "barbarian",
        "viking",
        "ninja",
        "samurai",
        "pirate",
        "swordsman",
        "blacksmith",
        "torch",
        "machete",
    ),
}
"""Words that tell the kind; the thing in hand is named before the trade where both are."""


def strike_of(words: str, weapon: str) -> Strike:
    """Returns the kind of attack of a figure: by its prompt, else swing with something in hand and punch without."""
    kinds: dict[str, str] = {word: kind for kind, known in STRIKES.items() for word in known}
    said = [word.rstrip("s") for word in "".join(c if c.isalpha() else " " for c in words.lower()).split()]
    named = [kinds[word] for word in reversed(said) if word in kinds]
    if not named:
        return "swing" if weapon.startswith("held") else "punch"
    if weapon == "trunk" and named[0] != "cast":
        return "punch"
    return cast(Strike, named[0])


def bones_of(
    motion: str, frames: int, facing: Facing, strike: Strike, weapon: str, *, legs: bool = True
) -> list[Bones]:
    """Returns the poses of a motion; `motion` and `frames` are checked by the caller."""
    looping = motion in ("idle", "walk", "run")
    times = [i / frames if looping else i / (frames - 1) for i in range(frames)]
    if motion == "attack":
        return [_attack(t, strike, weapon, facing) for t in times]
    if motion in ("walk", "run"):
        return [_walk(t, facing, legs=legs, run=motion == "run") for t in times]
    curve = {"idle": _idle, "hurt": _hurt, "die": _die}[motion]
    return [curve(t) for t in times]


def _idle(t: float) -> Bones:
    """Lets the chest sink and rise; the arms follow a moment later."""
    down = 1.0 if 0.25 <= t < 0.75 else 0.0
    late = 1.0 if 0.45 <= t < 0.95 else 0.0
    return Bones(trunk=(0.0, down), reach=((0.0, late - down), (0.0, late - down)))


def _walk(t: float, facing: Facing, *, legs: bool, run: bool) -> Bones:
    """Takes two steps: from the front the feet are lifted in turn, from the side legs swing, and arms against them."""
    wave, strength = math.sin(2 * math.pi * t), 1.15 if run else 1.0
    cross = math.cos(2 * math.pi * t)
    passing = abs(wave) if facing == "front" else 1 - abs(cross)
    if not legs:
        side = 1.0 if wave > 0.5 else -1.0 if wave < -0.5 else 0.0
        return Bones(
            trunk=(0.0, 0.0),
            head=(0.0, 1.0 if abs(wave) > 0.5 else 0.0),
            sway=side * strength,
            arms=(6 * wave * strength, 6 * wave * strength),
            lean=(4.0 if run else 0.0),
        )
    if facing == "front":
        lift = 2.4 * strength
        return Bones(
            trunk=(0.0, 1.0 if passing > 0.5 else 0.0),
            lift=(max(wave, 0.0) * lift, max(-wave, 0.0) * lift),
            arms=(-9 * wave * strength, -9 * wave * strength),
            reach=((0.0, round(wave)), (0.0, -round(wave))),
            sway=0.6 * wave,
        )
    swing = 17 * strength
    return Bones(
        trunk=(0.0, -1.0 if passing > 0.5 else 0.0),
        lean=5.0 if run else 2.5,
        stride=(swing * cross, -swing * cross),
        lift=(max(-wave, 0.0) * 2.2 * strength, max(wave, 0.0) * 2.2 * strength),
        arms=(-11 * cross, 11 * cross),
        sway=-0.6 - 0.4 * passing,
    )


def _at(t: float, keys: list[tuple[float, Bones]]) -> Bones:
    """Returns the pose whose time is the last not after t: animation in held keys, as pixel artists draw it."""
    chosen = keys[0][1]
    for start, bones in keys:
        if t >= start - 1e-6:
            chosen = bones
    return chosen


def _sided(bones: Bones, weapon: str) -> Bones:
    """Curves are written for a weapon at the viewer's left; this mirrors them for the right."""
    if not weapon.endswith("right"):
        return bones
    return replace(
        bones,
        trunk=(-bones.trunk[0], bones.trunk[1]),
        head=(-bones.head[0], bones.head[1]),
        lean=-bones.lean,
        arms=(-bones.arms[1], -bones.arms[0]),
        held=(-bones.held[1], -bones.held[0]),
        reach=((-bones.reach[1][0], bones.reach[1][1]), (-bones.reach[0][0], bones.reach[0][1])),
        lift=bones.lift[::-1],
        stride=(-bones.stride[1], -bones.stride[0]),
        sway=-bones.sway,
        fall=-bones.fall,
    )


def _attack(t: float, strike: Strike, weapon: str, facing: Facing) -> Bones:
    """Winds up, strikes, follows through, recovers; written for the viewer's left hand."""
    rest = Bones()
    if strike == "swing":
        keys = [
            (0.0, rest),
            (0.15, Bones(trunk=(1.0, 0.0), lean=5.0, arms=(42.0, -6.0), held=(22.0, 0.0), sway=0.5)),
            (
                0.4,
                Bones(
                    trunk=(-1.0, 1.0), lean=-6.0, arms=(-28.0, 10.0), held=(-62.0, 0.0), stride=(6.0, -4.0), sway=-0.5
                ),
            ),
            (
                0.65,
                Bones(
                    trunk=(-1.0, 1.0), lean=-7.0, arms=(-46.0, 12.0), held=(-74.0, 0.0), stride=(6.0, -4.0), sway=-0.5
                ),
            ),
            (0.9, Bones(arms=(-12.0, 2.0), held=(-20.0, 0.0))),
        ]
    elif strike == "thrust":
        keys = [
            (0.0, rest),
            (
                0.15,
                Bones(
                    trunk=(1.0, 0.0), lean=4.0, arms=(14.0, -6.0), held=(-50.0, 0.0), reach=((2.0, -1.0), (0.0, 0.0))
                ),
            ),
            (
                0.4,
                Bones(
                    trunk=(-1.0, 1.0),
                    lean=-6.0,
                    arms=(28.0, 10.0),
                    held=(-112.0, 0.0),
                    reach=((-3.0, 0.0), (0.0, 0.0)),
                    stride=(6.0, -4.0),
                ),
            ),
            (
                0.65,
                Bones(
                    trunk=(-1.0, 1.0),
                    lean=-4.0,
                    arms=(24.0, 8.0),
                    held=(-106.0, 0.0),
                    reach=((-2.0, 0.0), (0.0, 0.0)),
                    stride=(6.0, -4.0),
                ),
            ),
            (0.9, Bones(held=(-30.0, 0.0))),
        ]
    elif strike == "shoot":
        keys = [
            (0.0, rest),
            (0.15, Bones(arms=(24.0, 0.0), held=(-14.0, 0.0), reach=((-1.0, 0.0), (-1.0, -1.0)))),
            (
                0.4,
                Bones(
                    trunk=(1.0, 0.0),
                    lean=3.0,
                    arms=(34.0, 26.0),
                    held=(-30.0, 0.0),
                    reach=((-2.0, 0.0), (-1.0, -2.0)),
                    head=(-1.0, 0.0),
                ),
            ),
            (
                0.65,
                Bones(
                    trunk=(2.0, 0.0),
                    lean=6.0,
                    arms=(34.0, -30.0),
                    held=(-34.0, 0.0),
                    reach=((-1.0, 0.0), (1.0, -1.0)),
                    head=(-1.0, 0.0),
                ),
            ),
            (0.9, Bones(arms=(12.0, 0.0), held=(-8.0, 0.0))),
        ]
    elif strike == "cast":
        keys = [
            (0.0, rest),
            (0.15, Bones(trunk=(0.0, 1.0), arms=(-8.0, 8.0), held=(-6.0, 6.0), reach=((0.0, 1.0), (0.0, 1.0)))),
            (
                0.4,
                Bones(
                    trunk=(0.0, -1.0),
                    arms=(46.0, -46.0),
                    held=(-38.0, 38.0),
                    reach=((0.0, -2.0), (0.0, -2.0)),
                    head=(0.0, -1.0),
                    sway=0.7,
                ),
            ),
            (
                0.65,
                Bones(
                    trunk=(-1.0, 0.0),
                    lean=-5.0,
                    arms=(40.0, -34.0),
                    held=(-66.0, 20.0),
                    reach=((-2.0, -1.0), (0.0, -1.0)),
                    sway=-0.7,
                ),
            ),
            (0.9, Bones(arms=(10.0, -10.0), held=(-10.0, 10.0))),
        ]
    else:
        keys = [
            (0.0, rest),
            (
                0.15,
                Bones(
                    trunk=(2.0, 0.0), lean=6.0, arms=(-14.0, 8.0), reach=((2.0, 0.0), (0.0, 0.0)), stride=(-4.0, 4.0)
                ),
            ),
            (
                0.4,
                Bones(
                    trunk=(-2.0, 1.0),
                    lean=-9.0,
                    arms=(48.0, 12.0),
                    reach=((-3.0, 0.0), (0.0, 0.0)),
                    stride=(8.0, -6.0),
                    lift=(0.0, 0.0),
                ),
            ),
            (
                0.65,
                Bones(
                    trunk=(-2.0, 1.0), lean=-7.0, arms=(40.0, 10.0), reach=((-2.0, 0.0), (0.0, 0.0)), stride=(8.0, -6.0)
                ),
            ),
            (0.9, Bones(trunk=(-1.0, 0.0), arms=(8.0, 0.0))),
        ]
    return _sided(_at(t, keys), weapon)


def _hurt(t: float) -> Bones:
    """Throws the figure back in a flash with the arms out, then upright again."""
    keys = [
        (0.0, Bones(trunk=(2.0, 0.0), lean=8.0, arms=(30.0, -30.0), flash=True)),
        (
            0.3,
            Bones(
                trunk=(2.0, 1.0), lean=10.0, head=(1.0, 1.0), arms=(36.0, -30.0), held=(14.0, -14.0), stride=(-4.0, 6.0)
            ),
        ),
        (0.6, Bones(trunk=(1.0, 1.0), lean=4.0, arms=(14.0, -12.0))),
        (0.95, Bones()),
    ]
    return _at(t, keys)


def _die(t: float) -> Bones:
    """Staggers, sinks to the knees, tips over and stays on the floor."""
    keys = [
        (0.0, Bones(trunk=(1.0, 0.0), lean=6.0, arms=(24.0, -24.0), flash=True)),
        (
            0.15,
            Bones(trunk=(0.0, 4.0), head=(0.0, 1.0), lean=4.0, arms=(-10.0, 10.0), held=(-40.0, 40.0), lift=(3.0, 3.0)),
        ),
        (
            0.45,
            Bones(
                trunk=(0.0, 4.0), head=(0.0, 1.0), arms=(-10.0, 10.0), held=(-50.0, 50.0), lift=(3.0, 3.0), fall=42.0
            ),
        ),
        (0.75, Bones(fall=90.0, arms=(8.0, -14.0))),
    ]
    return _at(t, keys)
