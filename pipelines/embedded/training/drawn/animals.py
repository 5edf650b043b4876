"""Shapes of animals from a few measures: quadrupeds, birds and fish in side view, facing left (see `render`)."""

from __future__ import annotations

from typing import Any

from pipelines.embedded.training.drawn.render import Shape, parse


def quadruped(
    length: float = 8,
    height: float = 4.6,
    legs: float = 7,
    thick: float = 2.8,
    neck: tuple[float, float] = (-4, -4),
    nape: float = 4.4,
    head: tuple[float, float] = (3.8, 3.2),
    snout: tuple[float, float, float, float] = (-3, 1, 2.4, 1.8),
    ear: str = "point",
    tail: str = "thin",
    horn: str = "",
    mane: str = "",
    belly: str = "",
    marks: str = "",
    nose: str = "k",
    feet: str = "",
    hump: int = 0,
    face: str = "",
) -> list[Shape]:
    """Builds an animal on four legs.

    Args:
        length: half the body's length; height: half its height.
        legs: their length below the body; thick: their width.
        neck: from the shoulder to the head's middle; nape: its width.
        head: half axes; snout: its place from the head's middle and half axes.
        ear: point, round, long, floppy or none; tail: thin, bushy, short, long, tuft, hair, curl or none.
        horn: antler, palm, curve, ram, one, goat, nose or trunk; mane, belly, feet, face (the snout): colours.
        marks: stripes, spots, patches or wool, and a colour: "stripes k".
    """
    x, y = 17.0, 17.0
    shoulder, back = x - 0.72 * length, x + 0.7 * length
    hx, hy = shoulder + neck[0], y - 0.35 * height + neck[1]
    low = y + 0.5 * height + legs
    out: list[str] = []
    leg_tops = y + 0.2 * height
    for px, shade in ((shoulder + 2.6, "A-"), (back - 2.4, "A-")):
        out.append(f"l {shade} {thick} {px} {leg_tops} {px} {low - thick / 2}")
    by = y - 0.45 * height
    tails = {
        "thin": f"l A 1.6 {back} {by} {back + 4} {by + 3} {back + 5} {by + 8}",
        "long": f"l A 2 {back} {by} {back + 5} {by} {back + 6} {by - 6} {back + 4} {by - 9}",
        "tuft": f"l A 1.4 {back} {by} {back + 4} {by + 3} {back + 5} {by + 7}; e D {back + 5} {by + 8} 1.4 2",
        "hair": (
            f"p {mane or 'D'} {back} {by - 1} {back + 4} {by} {back + 6} {by + 6} {back + 5} {by + 11} "
            f"{back + 3} {by + 8} {back + 1} {by + 3}"
        ),
        "bushy": (
            f"p A {back - 1} {by} {back + 5} {by - 7} {back + 9} {by - 5} {back + 9} {by + 1} {back + 3} "
            f"{by + 5}; p {belly or 'A+'} {back + 6} {by - 7} {back + 10} {by - 5} {back + 9} {by - 1}"
        ),
        "short": f"e A {back + 1.6} {by} 1.9 1.6 -30",
        "curl": (
            f"l A 1.5 {back} {by} {back + 3} {by - 1} {back + 3.4} {by - 3.4} {back + 1.6} {by - 3} "
            f"{back + 4.4} {by - 1}"
        ),
        "up": f"l A 2.2 {back} {by} {back + 4} {by - 6}",
        "none": "",
    }
    out.append(tails[tail])
    if hump:
        for k in range(hump):
            out.append(f"e A {x + (k - (hump - 1) / 2) * 6} {y - height} 3 3.6")
    kind, _, tint = marks.partition(" ")
    if kind == "wool":
        for dx, dy in ((-6, -2), (-2, -4), (3, -4), (6, -2), (7, 1), (-7, 1), (4, 3), (-3, 3)):
            out.append(f"e A {x + dx * length / 8} {y + dy * height / 5} {height * 0.62} {height * 0.62}")
    out.append(f"e A {x} {y} {length} {height}")
    if belly:
        out.append(f"e {belly}! {x} {y + 0.55 * height} {length * 0.7} {height * 0.4}")
    if kind == "stripes":
        for dx in (-5, -2, 1, 4, 6.4):
            top = height * (1 - (dx / 9) ** 2) ** 0.5
            out.append(f"l {tint}! 1.2 {x + dx * length / 8} {y - top} {x + dx * length / 8 - 0.8} {y + 0.35 * height}")
    if kind == "spots":
        for dx, dy in ((-5, -1), (-2, 1.6), (-1.4, -2), (2, 0.4), (4.6, -2), (5, 1.8)):
            out.append(f"e {tint}! {x + dx * length / 8} {y + dy * height / 5} 1.1 1.1")
    if kind == "patches":
        out.append(
            f"e {tint}! {x - 3} {y - 1.5} {length * 0.34} {height * 0.5}; e {tint}! {x + 4.6} {y + 0.6} "
            f"{length * 0.28} {height * 0.44}"
        )
    if kind == "saddle":
        out.append(f"e {tint}! {x + 1} {y - 0.4 * height} {length * 0.6} {height * 0.55}")
    for px in (shoulder, back):
        out.append(f"l A {thick} {px} {leg_tops} {px} {low - thick / 2}")
        if feet:
            out.append(f"r {feet}! {px - thick / 2} {low - 2} {px + thick / 2} {low}")
    out.append(f"l A {nape} {shoulder + 1} {y - 0.3 * height} {hx} {hy}")
    if kind == "stripes" and abs(neck[1]) > 5:
        out.append(
            f"l {tint}! 1 {(hx + shoulder) / 2 - 1} {(hy + y) / 2 - 3} {(hx + shoulder) / 2 + 2} {(hy + y) / 2 - 2}"
        )
    if kind == "spots" and neck[1] < -9:
        for t in (0.25, 0.5, 0.75):
            out.append(f"e {tint}! {hx + (shoulder - hx) * t} {hy + (y - hy) * t - 1} 1.1 1.1")
    if mane and mane.startswith("+"):  # a lion's
        out.append(f"e {mane[1:]} {hx + 1} {hy + 0.5} {head[0] + 3} {head[1] + 3.4}")
    elif mane:
        out.append(f"l {mane} 2.2 {hx + head[0] * 0.6} {hy - head[1]} {shoulder + 3.2} {y - 0.9 * height}")
    ears = {
        "point": (
            f"p A {hx + 0.5} {hy - head[1] + 1} {hx + 1.6} {hy - head[1] - 3.2} {hx + 3.4} {hy - head[1] + 1.4}; "
            f"p A {hx - 2} {hy - head[1] + 1} {hx - 1.4} {hy - head[1] - 2.6} {hx + 0.6} {hy - head[1] + 1}"
        ),
        "round": f"e A {hx + 2.2} {hy - head[1] + 0.2} 1.9 1.9; e A {hx - 1.6} {hy - head[1] + 0.2} 1.7 1.7",
        "long": f"e A {hx + 2} {hy - head[1] - 2.6} 1.4 3.8 15; e A {hx} {hy - head[1] - 2.6} 1.4 3.8",
        "none": "",
        "floppy": "",
        "side": "",
        "big": "",
    }
    out.append(ears[ear])
    if horn == "antler":
        out.append(
            f"l n 1.5 {hx + 1} {hy - head[1]} {hx + 1} {hy - head[1] - 4} {hx + 5} {hy - head[1] - 8}; "
            f"l n 1.3 {hx + 2} {hy - head[1] - 5} {hx} {hy - head[1] - 9}; l n 1.3 {hx - 1} {hy - head[1]} "
            f"{hx - 3} {hy - head[1] - 5} {hx - 5} {hy - head[1] - 7}; l n 1.2 {hx - 3} {hy - head[1] - 5} "
            f"{hx - 2} {hy - head[1] - 8}"
        )
    if horn == "palm":
        out.append(
            f"p t {hx} {hy - head[1] + 1} {hx + 2} {hy - head[1] - 3} {hx + 7} {hy - head[1] - 6} {hx + 6} "
            f"{hy - head[1] - 1}; p t {hx - 1} {hy - head[1] + 1} {hx - 3} {hy - head[1] - 3} {hx - 7} "
            f"{hy - head[1] - 5} {hx - 5} {hy - head[1] - 1}"
        )
    out.append(f"e A {hx} {hy} {head[0]} {head[1]}")
    sx, sy, sw, sh = snout
    if sw:
        out.append(f"e {face or 'A'} {hx + sx} {hy + sy} {sw} {sh}")
    if kind == "mask":
        out.append(f"e {tint}! {hx - 1} {hy - 0.4} {head[0] * 0.7} 1.3")
    if nose:
        out.append(f"e {nose}! {hx + sx - sw * 0.75} {hy + sy - sh * 0.3} 1 .8")
    out.append(f"e k! {hx - 0.8} {hy - 0.6} .85 1")
    if ear == "floppy":
        out.append(f"e A- {hx + head[0] * 0.75} {hy + 1} 1.7 3.6 -10")
    if ear == "side":
        out.append(f"e A- {hx + head[0]} {hy - 1} 2.6 1.4 -20")
    if ear == "big":
        out.append(f"e A- {hx + head[0] * 0.9} {hy + 0.8} 4 5")
    if horn == "curve":
        out.append(
            f"l C 1.5 {hx + 0.6} {hy - head[1] + 0.4} {hx - 0.6} {hy - head[1] - 2.4} {hx - 3} {hy - head[1] - 3}; "
            f"l C 1.5 {hx + 2.4} {hy - head[1] + 0.6} {hx + 3.4} {hy - head[1] - 2} {hx + 1.4} {hy - head[1] - 3.6}"
        )
    if horn == "goat":
        out.append(
            f"l L 1.7 {hx + 1} {hy - head[1] + 0.4} {hx + 3} {hy - head[1] - 3} {hx + 6} {hy - head[1] - 3.4}; "
            f"p {belly or 'w'} {hx + sx - 1} {hy + sy + sh} {hx + sx + 2} {hy + sy + sh} {hx + sx} "
            f"{hy + sy + sh + 4}"
        )
    if horn == "ram":
        out.append(
            f"l t 2 {hx + 1} {hy - head[1]} {hx + 4.5} {hy - head[1]} {hx + 5} {hy + 2.4} {hx + 2} "
            f"{hy + 3} {hx + 2} {hy + 0.6}"
        )
    if horn == "one":
        out.append(f"p y {hx - 1.6} {hy - head[1] + 1} {hx - 4} {hy - head[1] - 6} {hx + 0.6} {hy - head[1] + 0.4}")
    if horn == "nose":
        out.append(
            f"p C {hx + sx - 2} {hy + sy - 0.4} {hx + sx - 3.4} {hy + sy - 5.4} {hx + sx + 1.2} {hy + sy - 1.4}; "
            f"p C {hx + sx + 1} {hy + sy - 1.6} {hx + sx + 0.8} {hy + sy - 4} {hx + sx + 3} {hy + sy - 1.8}"
        )
    if horn == "trunk":
        out.append(
            f"l A 2.8 {hx - head[0] * 0.7} {hy + 1} {hx - head[0] - 1.6} {hy + 6} {hx - head[0] - 1} "
            f"{hy + 11} {hx - head[0] - 3.4} {hy + 12}; l w 1.6 {hx - head[0] * 0.5} {hy + 3} {hx - head[0] - 2.6} "
            f"{hy + 5.4}"
        )
    return parse(";".join(out))


def bird(
    body: tuple[float, float] = (8, 6),
    tilt: float = 15,
    neck: tuple[float, float] = (-6, -7),
    nape: float = 4.4,
    head: float = 3.6,
    beak: tuple[float, float, float] = (4, 1.6, 0.4),
    beak_color: str = "o",
    legs: float = 4,
    tail: str = "short",
    crest: str = "",
    wing: str = "A-",
    belly: str = "",
    marks: str = "",
    leg_color: str = "o",
) -> list[Shape]:
    """Builds a bird. `beak`: its length, half its height, how far it bends down. Other arguments as for `quadruped`."""
    x, y = 17.0, 18.0
    hx, hy = x + neck[0], y + neck[1]
    right = x + body[0] * 0.8
    tails = {
        "short": f"p A {right - 2} {y - 2} {right + 6} {y - 4} {right + 5} {y + 2} {right - 2} {y + 3}",
        "long": f"p A- {right - 2} {y - 2} {right + 10} {y + 6} {right + 8} {y + 9} {right - 3} {y + 3}",
        "up": f"p A- {right - 3} {y} {right + 2} {y - 9} {right + 7} {y - 8} {right + 6} {y - 3} {right} {y + 3}",
        "fan": ";".join(
            f"e G {x + 5 + dx} {y - 7 + dy} 3.4 4.4; e b! {x + 5 + dx} {y - 7 + dy} 1.6 2"
            for dx, dy in ((-7, -3), (-2, -6), (4, -6), (8, -2), (9, 4))
        ),
        "none": "",
    }
    out = [tails[tail]]
    if legs:
        foot = y + body[1] + legs
        for px in (x + 2.4, x - 1.6):
            out.append(
                f"l {leg_color if leg_color.isalpha() else 'o'} 1.4 {px} {y + body[1] - 1} {px} {foot} "
                f"{px - 2.6} {foot}"
            )
    out.append(f"e A {x} {y} {body[0]} {body[1]} {-tilt}")
    if belly:
        out.append(f"e {belly}! {x - 2} {y + body[1] * 0.4} {body[0] * 0.6} {body[1] * 0.5} {-tilt}")
    out.append(f"l A {nape} {x - body[0] * 0.55} {y - 1} {hx} {hy}")
    if crest == "comb":
        out.append(
            f"e R {hx + 0.6} {hy - head} 1.6 2; e R {hx - 1.4} {hy - head + 0.2} 1.4 1.8; e R {hx + 2.4} "
            f"{hy - head + 0.6} 1.4 1.6; e R {hx - head - 0.6} {hy + head * 0.9} 1.1 1.8"
        )
    if crest == "tuft":
        out.append(f"p A {hx} {hy - head + 1} {hx + 3} {hy - head - 4} {hx + 5} {hy - head - 2} {hx + 3} {hy - 1}")
    if crest == "crown":
        out.append(
            f"l A 1 {hx} {hy - head} {hx - 2} {hy - head - 4}; l A 1 {hx + 1} {hy - head} {hx + 1} "
            f"{hy - head - 4.6}; l A 1 {hx + 2} {hy - head} {hx + 4} {hy - head - 4}"
        )
    length, half, bend = beak
    bx = hx - head * 0.7
    out.append(f"e {marks or 'A'} {hx} {hy} {head} {head}")
    out.append(
        f"p {beak_color} {bx} {hy - half} {bx - length} {hy + bend} {bx - length * 0.5} {hy + half + bend} "
        f"{bx} {hy + half}"
    )
    out.append(f"e {wing} {x + 1.4} {y} {body[0] * 0.62} {body[1] * 0.6} {-tilt - 10}")
    out.append(f"e w! {hx - 0.8} {hy - 0.8} 1.3 1.3; e k! {hx - 1} {hy - 0.8} .8 .9")
    return parse(";".join(out))


def fish(
    body: tuple[float, float] = (10, 6),
    tail: float = 6,
    fin: str = "plain",
    belly: str = "",
    marks: str = "",
    mouth: str = "",
    fins: str = "A-",
) -> list[Shape]:
    """Builds a fish; `fin` on its back: plain, tall (a shark's) or sail. Other arguments as for `quadruped`."""
    x, y = 15.0, 17.0
    right = x + body[0]
    out = [f"p {fins} {right - 2} {y} {right + 5} {y - tail} {right + 4} {y} {right + 5} {y + tail}"]
    fins_at = {
        "plain": f"p {fins} {x - 4} {y - body[1] + 1} {x + 1} {y - body[1] - 3.4} {x + 5} {y - body[1] + 2}",
        "tall": f"p A {x - 1} {y - body[1] + 1.4} {x + 4} {y - body[1] - 6} {x + 5} {y - body[1] + 2}",
        "sail": (
            f"p {fins} {x - 6} {y - body[1] + 2} {x - 3} {y - body[1] - 5} {x + 6} {y - body[1] - 3} {x + 7} {y - 2}"
        ),
        "none": "",
    }
    out.append(fins_at[fin])
    out.append(
        f"p A {x - body[0]} {y} {x - body[0] * 0.6} {y - body[1] * 0.8} {x} {y - body[1]} {x + body[0] * 0.6} "
        f"{y - body[1] * 0.6} {right + 1} {y} {x + body[0] * 0.6} {y + body[1] * 0.6} {x} {y + body[1]} "
        f"{x - body[0] * 0.6} {y + body[1] * 0.8}"
    )
    if belly:
        out.append(
            f"p {belly}! {x - body[0] + 1} {y + 1.4} {right - 3} {y + 1.4} {x + body[0] * 0.5} {y + body[1] * 0.6} "
            f"{x} {y + body[1] - 0.5} {x - body[0] * 0.6} {y + body[1] * 0.75}"
        )
    kind, _, tint = marks.partition(" ")
    if kind == "stripes":
        for dx, span in ((-3, 0.9), (2, 0.92), (6, 0.6)):
            out.append(f"l {tint}! 1.8 {x + dx} {y - body[1] * span} {x + dx} {y + body[1] * span}")
    if kind == "scales":
        for dx, dy in ((-1, -2), (3, -1), (1, 2), (5, 1.4), (-2, 1.4)):
            out.append(f"l A-! .9 {x + dx} {y + dy - 1.4} {x + dx + 1} {y + dy} {x + dx} {y + dy + 1.4}")
    out.append(f"p {fins} {x - 2} {y + 1} {x + 4} {y + 2} {x + 3} {y + body[1] + 1.4}")
    if mouth == "teeth":
        out.append(
            f"p w! {x - body[0] + 1} {y + 1.6} {x - body[0] + 6} {y + 1.6} {x - body[0] + 5} {y + 3.4} "
            f"{x - body[0] + 2.6} {y + 3}"
        )
    out.append(
        f"e w! {x - body[0] * 0.55} {y - body[1] * 0.25} 1.6 1.6; e k! {x - body[0] * 0.57} {y - body[1] * 0.25} .9 1"
    )
    return parse(";".join(out))


MAKERS: dict[str, Any] = {"quadruped": quadruped, "bird": bird, "fish": fish}
