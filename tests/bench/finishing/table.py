"""`make bench-finishing`: sizes and pixels that come back right, and how fast, beside the peers on the same inputs.

Sprites, icons, isometric drawings, lines, dithering, text and mosaics are enlarged and spoilt. What comes back is
compared with what went in: its size, and its pixels after a lock to the true palette. The peers run in processes of
their own (peers.py, in a virtual environment of their own).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.pixels.fix import fix_pictures
from pipelines.pixels.palette import Palette, lock
from pipelines.records import Pixels
from tests.bench.finishing.damage import DAMAGES, TREATMENTS, add_noise, blow_up, blur
from tests.bench.finishing.inputs import KINDS, Case, make_cases, mosaic, sprites

OURS = "dgx-pixels"
PEERS = ("proper-pixel-art", "perfect-pixel", "unfake", "pixel-snapper")
BEGIN, END = "<!-- make bench-finishing -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one tool made of one input.

    `size`: the true size came out. `pixels`: share of the true pixels that are right. `said`: the tool did not claim a
    result, or warned. `changed`: any pixel is different from the truth.
    """

    size: bool
    pixels: float
    said: bool
    changed: bool
    seconds: float


def judge(native: Pixels, case: Case, said: bool, seconds: float) -> Outcome:
    """Compare a result with the truth; of results of another size the better of as-is and scaled counts."""
    height, width = case.truth.shape[:2]
    tries = [native]
    if native.shape[:2] != (height, width):
        tries.append(np.array(Image.fromarray(native).resize((width, height), Image.Resampling.NEAREST)))
    truth = lock(case.truth, case.palette)
    pixels = max(_overlap(lock(one, case.palette), truth) for one in tries)
    changed = native.shape != case.truth.shape or not np.array_equal(native, case.truth)
    return Outcome(native.shape[:2] == (height, width), pixels, said, changed, seconds)


def _overlap(found: Pixels, truth: Pixels) -> float:
    """Share of the drawn pixels of `truth` whose colour is right, at the best shift by up to two cells."""
    drawn = truth[..., 3] > 127
    best = 0
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            a, mask = truth[max(dy, 0) :, max(dx, 0) :], drawn[max(dy, 0) :, max(dx, 0) :]
            b = found[max(-dy, 0) :, max(-dx, 0) :]
            rows, columns = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
            same = (a[:rows, :columns, :3] == b[:rows, :columns, :3]).all(-1) & (b[:rows, :columns, 3] > 127)
            best = max(best, int((same & mask[:rows, :columns]).sum()))
    return best / max(int(drawn.sum()), 1)


def run_ours(cases: Sequence[Case]) -> list[Outcome]:
    outcomes = []
    for case in cases:
        start = time.perf_counter()
        fixed = fix_pictures([case.picture])
        seconds = time.perf_counter() - start
        outcomes.append(judge(fixed.frames[0].image, case, bool(fixed.notes), seconds))
    return outcomes


def start_peers(folder: Path, python: str, names: Sequence[str], snapper: str) -> subprocess.Popen[bytes]:
    """The peers `names`, one after the other, in the background."""
    script = Path(__file__).with_name("peers.py")
    commands = " && ".join(f'"{python}" "{script}" "{folder}" {name} "{snapper}"' for name in names)
    return subprocess.Popen(commands, shell=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})


def read_peer(folder: Path, name: str, cases: Sequence[Case]) -> list[Outcome]:
    seconds = json.loads((folder / name / "seconds.json").read_text())
    natives = [np.load(folder / name / f"in{index:04}.npy") for index in range(len(cases))]
    return [judge(native, case, False, taken) for native, case, taken in zip(natives, cases, seconds, strict=True)]


def percent(outcomes: Sequence[Outcome], held: Callable[[Outcome], bool]) -> str:
    return f"{100 * np.mean([held(one) for one in outcomes]):.1f}"


def pixel_share(outcomes: Sequence[Outcome]) -> str:
    return f"{100 * np.mean([one.pixels for one in outcomes]):.2f}"


def honesty(cases: Sequence[Case], ours: Sequence[Outcome]) -> str:
    """Our own table: sizes right, said, and silently wrong, by treatment."""
    lines = [
        "| treatment | inputs | right size | right or said | silently wrong | pixels changed |",
        "|---|---|---|---|---|---|",
    ]
    for treatment in (*TREATMENTS, *DAMAGES):
        some = [one for one, case in zip(ours, cases, strict=True) if case.treatment == treatment]
        right, said = percent(some, lambda one: one.size), percent(some, lambda one: one.size or one.said)
        silent, changed = sum(not one.size and not one.said for one in some), sum(one.changed for one in some)
        lines.append(f"| {treatment} | {len(some)} | {right} | {said} | {silent} | {changed} |")
    return "\n".join(lines)


def table(cases: Sequence[Case], results: dict[str, list[Outcome]], show: Callable[[Sequence[Outcome]], str]) -> str:
    """One row for every treatment of every kind, one column for every tool; the best is bold."""
    lines = ["| input | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    rows = [(kind, treatment) for kind in KINDS for treatment in TREATMENTS] + [("mosaic", name) for name in DAMAGES]
    chosen = {row: [i for i, case in enumerate(cases) if (case.kind, case.treatment) == row] for row in rows}
    for treatment in TREATMENTS:
        chosen["all kinds", treatment] = [i for i, case in enumerate(cases) if case.treatment == treatment]
    chosen["all inputs", ""] = list(range(len(cases)))
    for (kind, treatment), indices in chosen.items():
        cells = [show([outcomes[i] for i in indices]) for outcomes in results.values()]
        best = max(float(cell) for cell in cells)
        marked = [f"**{cell}**" if float(cell) == best else cell for cell in cells]
        lines.append(f"| {', '.join(word for word in (kind, treatment) if word)} | " + " | ".join(marked) + " |")
    return "\n".join(lines)


def behind(cases: Sequence[Case], results: dict[str, list[Outcome]]) -> str:
    """The kinds and treatments in which a peer is ahead of us, with both figures; one line for each."""
    found = []
    for row in dict.fromkeys((case.kind, case.treatment) for case in cases):
        chosen = [i for i, case in enumerate(cases) if (case.kind, case.treatment) == row]
        for what, show in (("size", lambda some: percent(some, lambda one: one.size)), ("pixels", pixel_share)):
            shares = {name: show([outcomes[i] for i in chosen]) for name, outcomes in results.items()}
            best = max(shares, key=lambda name: float(shares[name]))
            if float(shares[best]) > float(shares[OURS]):
                found.append(f"- {', '.join(row)}: {what} {shares[OURS]}, {best} {shares[best]}")
    return "\n".join(found) or "- nowhere"


def speed_cases(folder: Path) -> list[Case]:
    """Three pictures of 1024x1024, pitch 16, lightly spoilt as a renderer would."""
    rng = np.random.default_rng(2)
    source = sprites(folder, rng)
    cases = []
    for number in range(3):
        parts = [mosaic(source, number) for _ in range(4)]
        truth = np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])])
        picture = add_noise(blur(blow_up(truth, 16), 1.0), 4, rng)
        cases.append(Case("speed", "", truth, Palette("all", ((0, 0, 0),)), picture, 16.0))
    return cases


def our_speed(cases: Sequence[Case], pitch: float | None) -> float:
    """CPU seconds of `fix_pictures` on the speed pictures: the fastest run, since other work only adds to it."""
    times = []
    for case in list(cases) * 3:
        start = time.process_time()
        fix_pictures([case.picture], pitch=pitch)
        times.append(time.process_time() - start)
    return float(np.min(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of sprites; where it is missing, the example game's art")
    parser.add_argument("--peers", metavar="PYTHON", help="python of the environment with the peers in it")
    parser.add_argument("--snapper", default="", help="the program spritefusion-pixel-snapper")
    parser.add_argument("--each", type=int, default=19, help="inputs for each kind and treatment")
    parser.add_argument("--damage", type=int, default=8, help="mosaics for each kind of damage")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--held-back", type=int, default=101, help="seed of inputs that nothing was tuned on; ours only"
    )
    parser.add_argument("--write", type=Path, help="put the tables into this file, between its marks")
    asked = parser.parse_args()
    names = [name for name in PEERS if asked.peers and (name != "pixel-snapper" or asked.snapper)]
    if "pixel-snapper" not in names:
        print("pixel-snapper is left out: it needs cargo (https://rustup.rs).")
    start = time.perf_counter()
    cases = make_cases(asked.data, asked.each, asked.damage, asked.seed)
    speed = speed_cases(asked.data)
    results: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for index, case in enumerate(cases):
            Image.fromarray(case.picture).save(folder / f"in{index:04}.png", compress_level=1)
        slow = [start_peers(folder, asked.peers, names[:1], "")] if names else []
        results[OURS] = run_ours(cases)
        ours_speed = our_speed(speed, 16.0), our_speed(speed, None)
        slow += [start_peers(folder, asked.peers, names[1:], asked.snapper)] if names[1:] else []
        held_back = make_cases(asked.data, asked.each, asked.damage, asked.held_back)
        ours_held_back = run_ours(held_back)
        if any(process.wait() for process in slow):
            raise SystemExit("bench-finishing: a peer could not be run. Remove .venv-bench and try again.")
        results |= {name: read_peer(folder, name, cases) for name in names}
    seconds = "\n".join(f"- {name}: {np.median([one.seconds for one in rows]):.3f}" for name, rows in results.items())
    text = f"""
{len(cases):,} inputs, {asked.each} for each kind and treatment, seed {asked.seed}; {platform.machine()}, two cores,
{(time.perf_counter() - start) / 60:.1f} minutes for all tools.

What dgx-pixels answers:

{honesty(cases, results[OURS])}

The same of {len(held_back):,} inputs that nothing was tuned on (seed {asked.held_back}):

{honesty(held_back, ours_held_back)}

Where a peer is ahead:

{behind(cases, results)}

Right size, percent of the inputs (bold: the best):

{table(cases, results, lambda some: percent(some, lambda one: one.size))}

Drawn pixels that are right after the lock to the true palette, percent:

{table(cases, results, pixel_share)}

Median seconds for an input of this bench, tools side by side on two cores:

{seconds}

dgx-pixels for 1024x1024 to 64x64, noise and blur on it, the whole finish: {ours_speed[0]:.3f} s of one core with the
pitch given, {ours_speed[1]:.3f} s without (fastest of nine: three pictures, each three times).
"""
    print(text)
    if asked.write:
        before, rest = asked.write.read_text().split(BEGIN)
        asked.write.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
