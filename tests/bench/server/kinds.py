"""`make eval-more`: every kind beside sprites, terrains and motions, with 5 seeds through the gates; a sheet of each.

    python -m tests.bench.server.kinds [effects ...] [--seeds 5] [--out docs/images]

Prints how many gates held and the seconds of each, writes `kinds-<name>.png`, and fails when a gate does not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.effects.drawing import EFFECTS
from pipelines.effects.making import check_effects, make_effects
from pipelines.pixels.gates import Report
from pipelines.pixels.named_palettes import named_palette
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import encode_png
from pipelines.records import Pixels, no_progress
from pipelines.ui.kit import make_kit
from pipelines.ui.pieces import MATERIALS
from server.settings import Settings
from server.studio import Studio

BACKGROUND = (44, 48, 66)
COLORS = ("red", "green", "purple", "yellow")

Made = tuple[dict[str, list[Report]], Pixels]
"""Reports by what was made, and the sheet."""


def effects(seeds: int) -> Made:
    """Draws all effects at 16, 32 and 64 px, without and with palettes; shows them at 32 and 16 px."""
    reports: dict[str, list[Report]] = {}
    for side in (16, 32, 64):
        for name in ("", "pico-8", "game boy"):
            palette = Palette.from_words(named_palette(name)) if name else None
            sheets = [make_effects(tuple(EFFECTS), side, seed=seed, palette=palette) for seed in range(seeds)]
            reports[f"effects {side} px {name}".strip()] = [check_effects(sheet, palette) for sheet in sheets]
    large = [make_effects((name,), 32, seed=1).image for name in EFFECTS]
    small = [make_effects((name,), 16, seed=2).image for name in EFFECTS]
    pico = Palette.from_words(named_palette("pico-8"))
    green = Palette.from_words(named_palette("game boy"))
    colored = [
        make_effects(("fireball",), 32, seed=2, words="blue").image,
        make_effects(("explosion",), 32, seed=2, palette=pico).image,
        make_effects(("explosion",), 32, seed=3, palette=green).image,
        make_effects(("hit",), 32, seed=2, words="red").image,
        make_effects(("heal",), 32, seed=2, words="pink").image,
        make_effects(("smoke",), 32, seed=2, words="poison").image,
    ]
    return reports, beside(stacked(large), stacked(colored), stacked(small))


LOOKS = (
    ("wood", 32, ("sword", "red potion", "golden key", "red heart")),
    ("blue stone", 32, ("shield", "bow", "helmet", "magic staff")),
    ("metal", 16, ("gear", "blue gem", "bomb", "coin")),
    ("green paper", 16, ("scroll", "apple", "mushroom", "book")),
    ("purple wood", 24, ("ring", "candle", "crown", "boots")),
)
"""(prompt, side, icons) of the kits that are shown."""


def ui(seeds: int) -> Made:
    """Makes every look in five colours at 16 and 32 px, and five kits with icons of the embedded model."""
    from server.features.requests import UiRequest
    from server.features.ui import generate_ui

    reports: dict[str, list[Report]] = {}
    for material in MATERIALS:
        for side in (16, 32):
            colors = ("", *COLORS)[:seeds]
            reports[f"ui {material} {side} px"] = [make_kit(f"{color} {material}", side).report for color in colors]
    with studio() as desk:
        made = [
            generate_ui(desk, UiRequest(prompt=look, size=side, icons=icons, seed=7), no_progress)
            for look, side, icons in LOOKS
        ]
    reports["ui with icons"] = [one.kit.report for one in made]
    shown = [one.kit for one in made]
    large = beside(*(kit.preview for kit in shown[:2]))
    small = beside(*(kit.preview for kit in shown[2:]))
    sheets = beside(shown[0].image, shown[0].font.image)
    return reports, stacked([large, small, sheets], gap=6)


@contextmanager
def studio() -> Iterator[Studio]:
    """A studio with the embedded model and an empty library."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Studio(Settings(data_dir=Path(folder)))
        try:
            yield desk
        finally:
            desk.close()


KINDS: dict[str, Callable[[int], Made]] = {"effects": effects, "ui": ui}


def stacked(pictures: Sequence[Pixels], gap: int = 2) -> Pixels:
    """Pictures below each other."""
    width = max(picture.shape[1] for picture in pictures)
    rows = [np.pad(p, ((0, gap), (0, width - p.shape[1]), (0, 0))) for p in pictures]
    return np.concatenate(rows, axis=0)


def beside(*pictures: Pixels, gap: int = 6) -> Pixels:
    """Pictures side by side, on one upper line."""
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate([np.pad(p, ((0, height - p.shape[0]), (0, gap), (0, 0))) for p in pictures], axis=1)


def on_background(picture: Pixels, zoom: int, background: tuple[int, int, int] = BACKGROUND) -> Pixels:
    """The picture on a plain colour, enlarged."""
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)))
    shown = np.where(padded[..., 3:] >= 128, padded, np.array([*background, 255], np.uint8)).astype(np.uint8)
    return shown.repeat(zoom, 0).repeat(zoom, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    wanted = parser.parse_args(arguments)
    table, failed = Table("what", "sets", "gates held", "seconds"), 0
    for kind in wanted.kinds or KINDS:
        started = time.perf_counter()
        reports, picture = KINDS[kind](wanted.seeds)
        seconds = time.perf_counter() - started
        wanted.out.mkdir(parents=True, exist_ok=True)
        zoom = max(1, 1400 // picture.shape[1])
        (wanted.out / f"kinds-{kind}.png").write_bytes(encode_png(on_background(picture, zoom)))
        for name, made in reports.items():
            held = sum(report.passed for report in made)
            broken = sorted({gate for report in made for gate, holds in report.gates.items() if not holds})
            table.add_row(name, str(len(made)), f"{held}/{len(made)} {' '.join(broken)}".strip(), "")
            failed += len(made) - held
        table.add_row(f"[bold]{kind}[/]", "", "", f"{seconds:.1f}", end_section=True)
    Console().print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
