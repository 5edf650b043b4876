"""`make bench-finishing`: how many pixels come back right, and how fast, beside the peers on the same inputs.

Real tiles become mosaics of 2x2 in at most 16 colours; each class of damage blows them up and spoils them. What comes
back is locked to the true palette, and counted. Owns damage and counting; the peers run in a process of their own
(peers.py, in a virtual environment of their own), since their needs are not ours.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from pipelines.pixels.finish import FinishOptions, finish, native_pixels
from pipelines.pixels.palette import Palette, extract_palette, lock
from pipelines.pixels.png import read_picture
from pipelines.records import Pixels

TILE = 32
COLORS = 16
PEERS = ("proper-pixel-art", "perfect-pixel", "nearest", "proper-pixel-art, pitch given", "perfect-pixel, size given")
OURS = ("dgx-pixels", "dgx-pixels, pitch given")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One damaged picture, what it was made from, and what a caller could know of it."""

    damage: str
    truth: Pixels
    palette: Palette
    picture: Pixels
    pitch: float


def mosaics(folder: Path, count: int, rng: np.random.Generator) -> Iterator[tuple[Pixels, Palette]]:
    """2x2 tiles of `folder` on a flat ground, reduced to 16 colours; those with next to nothing on them left out."""
    files = sorted(folder.rglob("*.png"))
    if len(files) < 4:
        raise SystemExit(f"bench-finishing: {folder} has no tiles. Give a folder of 32x32 PNG files: DATA=folder")
    grounds = [(70, 70, 80), (24, 20, 37), (235, 235, 225), (80, 110, 70)]
    while count:
        mosaic = np.empty((2 * TILE, 2 * TILE, 4), np.uint8)
        mosaic[...] = (*grounds[count % len(grounds)], 255)
        drawn = 0
        for at in range(4):
            tile = read_picture(files[int(rng.integers(len(files)))])[:TILE, :TILE]
            spot = mosaic[at // 2 * TILE :, at % 2 * TILE :][: tile.shape[0], : tile.shape[1]]
            solid = tile[..., 3] >= 128
            spot[solid, :3] = tile[solid, :3]
            drawn += int(solid.sum())
        if drawn > TILE * TILE:
            palette = extract_palette([mosaic], COLORS)
            yield lock(mosaic, palette), palette
            count -= 1


def blow_up(truth: Pixels, pitch: float, warp: float = 0.0, phase: tuple[float, float] = (0.0, 0.0)) -> Pixels:
    """Each pixel about `pitch` wide; lines drift by up to `warp` pixels along each axis, and shift by `phase`."""
    height, width = (round(side * pitch) for side in truth.shape[:2])

    def source(length: int, cells: int, shift: float) -> np.ndarray:
        at = np.arange(length) + 0.5
        drift = warp * np.sin(2 * np.pi * at / length)
        return np.clip((at + drift + shift) / pitch, 0, cells - 1e-6).astype(np.intp)

    return truth[source(height, truth.shape[0], phase[1])[:, None], source(width, truth.shape[1], phase[0])[None]]


def blur(picture: Pixels, sigma: float) -> Pixels:
    return np.rint(ndimage.gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)


def add_noise(picture: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    noisy = picture.astype(np.float64)
    noisy[..., :3] += rng.normal(0, sigma, (*picture.shape[:2], 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def jpeg(picture: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(picture[..., :3]).save(file, "JPEG", quality=quality)
    return read_picture(file.getvalue())


def sub_pixel(picture: Pixels, dx: float, dy: float) -> Pixels:
    shifted = ndimage.shift(picture.astype(np.float32), (dy, dx, 0), order=1, mode="nearest")
    return np.rint(shifted).astype(np.uint8)


def crop(picture: Pixels, pitch: float, rng: np.random.Generator) -> tuple[Pixels, tuple[slice, slice]]:
    """A window that cuts through cells; and the slice of the truth whose cells are at least half inside."""
    windows, cells = [], []
    for length in picture.shape[:2]:
        start, stop = int(rng.uniform(0, 2 * pitch)), length - int(rng.uniform(0, 0.3 * length))
        windows.append(slice(start, stop))
        cells.append(slice(int(start / pitch + 0.5), int(stop / pitch + 0.5)))
    return picture[windows[0], windows[1]], (cells[0], cells[1])


Damage = Callable[[Pixels, np.random.Generator], tuple[Pixels, Pixels, float]]


def _plain(spoil: Callable[[Pixels, np.random.Generator], Pixels], low: int = 4, high: int = 16) -> Damage:
    """A whole pitch, then `spoil`."""

    def damage(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
        pitch = int(rng.integers(low, high + 1))
        return spoil(blow_up(truth, pitch), rng), truth, pitch

    return damage


def _broken_pitch(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = float(rng.uniform(7.5, 8.5))
    return blow_up(truth, pitch), truth, pitch


def _drift(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = int(rng.integers(8, 13))
    return blur(blow_up(truth, pitch, warp=4.0 * (1 if rng.random() < 0.5 else -1)), 0.7), truth, pitch


def _cropped(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = int(rng.integers(4, 17))
    picture, cells = crop(blow_up(truth, pitch), pitch, rng)
    return picture, truth[cells], pitch


def _everything(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = float(rng.uniform(7.5, 8.5))
    picture = blow_up(truth, pitch, warp=2.0, phase=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))))
    return jpeg(add_noise(blur(picture, 1.0), 6, rng), 80), truth, pitch


DAMAGES: dict[str, Damage] = {
    "scale 4-16": _plain(lambda p, rng: p),
    "pitch 7.5-8.5": _broken_pitch,
    "blur": _plain(lambda p, rng: blur(p, float(rng.uniform(1.0, 2.5)) * p.shape[0] / 64 / 8)),
    "JPEG 60-95": _plain(lambda p, rng: jpeg(p, int(rng.integers(60, 96)))),
    "noise": _plain(lambda p, rng: add_noise(p, float(rng.uniform(5, 20)), rng)),
    "drift +-4 px": _drift,
    "sub-pixel phase": _plain(lambda p, rng: sub_pixel(p, *(float(v) for v in rng.uniform(-0.9, 0.9, 2)))),
    "crop": _cropped,
    "all at once": _everything,
}


def make_cases(folder: Path, each: int, seed: int) -> list[Case]:
    """`each` cases of every class of damage."""
    rng = np.random.default_rng(seed)
    cases = []
    for name, damage in DAMAGES.items():
        for truth, palette in mosaics(folder, each, rng):
            picture, seen, pitch = damage(truth, rng)
            cases.append(Case(name, seen, palette, np.ascontiguousarray(picture), pitch))
    return cases


def right(native: Pixels, case: Case) -> float:
    """Share of the true pixels that `native` has right after the lock; it may be shifted by up to two cells.

    A result of another size is also tried scaled to the true one, and the better count holds.
    """
    height, width = case.truth.shape[:2]
    tries = [native]
    if native.shape[:2] != (height, width):
        tries.append(np.array(Image.fromarray(native).resize((width, height), Image.Resampling.NEAREST)))
    return max(_overlap(lock(one, case.palette)[..., :3], case.truth[..., :3]) for one in tries)


def _overlap(found: np.ndarray, truth: np.ndarray) -> float:
    height, width = truth.shape[:2]
    best = 0
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            a = truth[max(dy, 0) :, max(dx, 0) :]
            b = found[max(-dy, 0) :, max(-dx, 0) :]
            rows, columns = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
            best = max(best, int((a[:rows, :columns] == b[:rows, :columns]).all(-1).sum()))
    return best / (height * width)


def run_ours(cases: list[Case]) -> dict[str, list[tuple[float, float]]]:
    """(share right, seconds) of each case, by way of asking."""
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in OURS}
    for case in cases:
        for name, pitch in zip(OURS, (None, case.pitch), strict=True):
            start = time.perf_counter()
            native, _ = native_pixels(case.picture, pitch)
            seconds = time.perf_counter() - start
            results[name].append((right(native, case), seconds))
    return results


def run_peers(cases: list[Case], python: str) -> dict[str, list[tuple[float, float]]]:
    """The same for the peers, by the other virtual environment's `python`."""
    script = Path(__file__).with_name("peers.py")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for index, case in enumerate(cases):
            np.save(work / f"in{index}.npy", case.picture)
        known = [(case.pitch, case.truth.shape[1], case.truth.shape[0]) for case in cases]
        (work / "known.json").write_text(json.dumps(known))
        subprocess.run([python, str(script), folder], check=True, stdout=subprocess.DEVNULL)
        seconds = json.loads((work / "seconds.json").read_text())
        results: dict[str, list[tuple[float, float]]] = {}
        for number, name in enumerate(PEERS):
            natives = [np.load(work / f"out{number}-{index}.npy") for index in range(len(cases))]
            results[name] = [
                (right(native, case), taken) for native, case, taken in zip(natives, cases, seconds[name], strict=True)
            ]
        return results


def speed_cases(folder: Path) -> list[Case]:
    """Three pictures of 1024x1024, pitch 16, lightly spoilt as a renderer would."""
    rng = np.random.default_rng(2)
    return [
        Case("speed", truth, palette, add_noise(blur(blow_up(truth, 16), 1.0), 4, rng), 16.0)
        for truth, palette in mosaics(folder, 3, rng)
    ]


def table(cases: list[Case], results: dict[str, list[tuple[float, float]]]) -> str:
    """Markdown: one row a class, the mean share of right pixels in percent."""
    names = list(results)
    lines = ["| damage | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for damage in (*DAMAGES, "all classes"):
        rows = [i for i, case in enumerate(cases) if damage in (case.damage, "all classes")]
        cells = [f"{100 * np.mean([results[name][i][0] for i in rows]):.2f}" for name in names]
        lines.append(f"| {damage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def finishing_time(folder: Path) -> float:
    """Median seconds of a whole `finish` at 1024x1024 with the pitch known: grid, cells, palette, clean-up, gates."""
    times = []
    for case in speed_cases(folder) * 7:
        start = time.perf_counter()
        finish(case.picture, FinishOptions(64, 64, pitch=16))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of 32x32 tiles")
    parser.add_argument("--peers", metavar="PYTHON", help="python of the environment with the peers in it")
    parser.add_argument("--each", type=int, default=16, help="pictures for each class of damage")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    cases = make_cases(asked.data, asked.each, asked.seed)
    speed = speed_cases(asked.data)
    ours, ours_speed = run_ours(cases), run_ours(speed)
    if asked.peers:
        ours |= run_peers(cases, asked.peers)
        ours_speed |= run_peers(speed, asked.peers)
    print(f"{len(cases)} pictures, {asked.each} a class, seed {asked.seed}; {platform.machine()}\n")
    print("Pixels exactly right after the lock to the true palette, percent:\n")
    print(table(cases, ours))
    print("\nSeconds for 1024x1024 (median of 3), to native pixels:\n")
    for name, rows in ours_speed.items():
        print(f"- {name}: {np.median([taken for _, taken in rows]):.4f}")
    print(f"- dgx-pixels, whole finish with pitch given: {finishing_time(asked.data):.4f}")


if __name__ == "__main__":
    main()
