"""`make eval-tilesets`: 10 pairs of terrains x 5 seeds on the embedded model, every layout, both methods, and
which way of sampling tiles best.

    python -m tests.bench.server.tilesets [--seeds 5] [--picture a.png] [--layouts-picture b.png] [--joint-picture c]

Prints the seam ratios (difference across a seam over the mean inside: the mean of all pairs, the worst set's, the worst
single pair, and the worst line of pixels inside a tile) and fails when a gate does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.choices import Method
from pipelines.engine.engine import Engine
from pipelines.records import DrawRequest, Pixels, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.tiles.seams import SEAM_LIMIT, texture_seam
from pipelines.tiles.tileset import Tileset, draw_tileset

METHODS: tuple[Method, ...] = get_args(Method)
PAIRS = (
    ("grass", "water"),
    ("grass", "dirt"),
    ("grass", "sand"),
    ("sand", "water"),
    ("snow", "water"),
    ("stone floor", "lava"),
    ("stone floor", "dirt"),
    ("dirt", "lava"),
    ("snow", "grass"),
    ("brick floor", "grass"),
)
"""(upper, lower)."""
COMPARED = tuple(PAIRS[i] for i in (0, 1, 3, 5, 8, 9))
"""The pairs that are drawn both ways: liquids, soft ground, things that are built."""
SHOWN = (
    ("seamless", "brick floor", "", "composite"),
    ("variations", "grass", "", "composite"),
    ("variations", "stone floor", "", "composite"),
    ("wang16", "grass", "water", "composite"),
    ("blob47", "stone floor", "lava", "composite"),
    ("edge16", "dirt", "grass", "composite"),
    ("platformer", "grass", "dirt", "composite"),
    ("platformer", "snow", "stone floor", "composite"),
    ("wang16", "snow", "grass", "joint"),
)
"""(layout, upper, lower, method)."""
TERRAINS = ("green grass floor", "gray stone floor", "brown dirt floor", "blue water floor")


def every_set(engine: Engine, seeds: int, picture: Path | None, console: Console) -> bool:
    """Draws the sets and prints a line for each pair; returns whether all gates hold."""
    table = Table(
        "upper, lower",
        "pass",
        "seam, mean",
        "worst set",
        "worst pair",
        "interior",
        "seconds, median",
        title=f"wang16, 16 px; a set fails when one legal pair is above {SEAM_LIMIT}",
    )
    previews: list[Pixels] = []
    good = True
    for upper, lower in PAIRS:
        passed, failed = 0, set[str]()
        ratios: list[float] = []
        worst: list[float] = []
        interior: list[float] = []
        seconds: list[float] = []
        for seed in range(seeds):
            made, took = _corner_set(engine, upper, lower, 100 + seed)
            seconds.append(took)
            passed += made.report.passed
            failed |= {name for name, held in made.report.gates.items() if not held}
            ratios.append(made.report.scores["seam_ratio"])
            worst.append(made.report.scores["seam_worst_pair"])
            interior.append(made.report.scores["interior_worst_line"])
            if seed == 0:
                previews.append(made.preview)
        good &= passed == seeds
        verdict = f"{passed}/{seeds} {' '.join(sorted(failed))}"
        table.add_row(
            f"{upper}, {lower}",
            verdict,
            *(
                f"{value:.2f}"
                for value in (np.mean(ratios), max(ratios), max(worst), max(interior), np.median(seconds))
            ),
        )
    console.print(table)
    if picture:
        _write(previews, picture)
    return good


def every_layout(engine: Engine, picture: Path | None, console: Console) -> bool:
    """A set of every layout in two sizes, a line each; whether all gates hold."""
    table = Table("layout", "terrains", "16 px", "32 px", title="every layout: gates, worst pair")
    previews: list[Pixels] = []
    good = True
    for layout, upper, lower, method in SHOWN:
        cells = []
        for size in (16, 32):
            options = {"layout": layout, "upper": upper, "lower": lower, "method": method}
            recipe = Recipe("tileset", upper, size, size, 100, candidates=0, options=options)
            report = (made := draw_tileset(engine, recipe)).report
            good &= report.passed
            failed = " ".join(name for name, held in report.gates.items() if not held)
            cells.append(f"{failed or 'pass'}, {report.scores['seam_worst_pair']:.2f}")
            if size == 16:
                previews.append(made.preview)
        table.add_row(f"{layout} {'' if method == 'composite' else method}", f"{upper} {lower}", *cells)
    console.print(table)
    if picture:
        _write(previews, picture, 3)
    return good


def both_methods(engine: Engine, seeds: int, picture: Path | None, console: Console) -> None:
    """Compares painted borders with joint diffusion, a line for each pair; never fails."""
    table = Table("upper, lower", title="painted | joint diffusion: wang16, 16 px")
    for name in ("pass", "seam, mean", "worst pair", "seconds, median"):
        table.add_column(name)
    previews: list[Pixels] = []
    for upper, lower in COMPARED:
        cells: dict[str, list[tuple[float, ...]]] = {}
        for seed, method in product(range(seeds), METHODS):
            made, seconds = _corner_set(engine, upper, lower, 100 + seed, method)
            scores = made.report.scores
            row = float(made.report.passed), scores["seam_ratio"], scores["seam_worst_pair"], seconds
            cells.setdefault(method, []).append(row)
            if seed == 0:
                previews.append(made.preview)
        columns = [list(zip(*cells[method], strict=True)) for method in METHODS]
        table.add_row(
            f"{upper}, {lower}",
            " | ".join(f"{sum(c[0]):.0f}/{seeds}" for c in columns),
            " | ".join(f"{np.mean(c[1]):.2f}" for c in columns),
            " | ".join(f"{max(c[2]):.2f}" for c in columns),
            " | ".join(f"{np.median(c[3]):.1f}" for c in columns),
        )
    console.print(table)
    if picture:
        _write(previews, picture, 4)


def ways_of_sampling(engine: Engine, seeds: int, console: Console) -> None:
    """The seam of plain 32 px textures: as drawn, with wrapping convolutions, with rolled latents, with both."""
    table = Table("terrain", "neither", "padding", "rolling", "both", title="seam ratio of textures, mean over seeds")
    for prompt in TERRAINS:
        cells = []
        for padding, rolling in ((False, False), (True, False), (False, True), (True, True)):
            with _without(padding=not padding, rolling=not rolling):
                request = DrawRequest(
                    "embedded", (prompt,) * seeds, tuple(range(seeds)), 32, 32, native=32, tile_x=True, tile_y=True
                )
                cells.append(f"{np.mean([texture_seam(image) for image in engine.draw(request).images]):.2f}")
        table.add_row(prompt, *cells)
    console.print(table)


def _corner_set(engine: Engine, upper: str, lower: str, seed: int, method: str = "composite") -> tuple[Tileset, float]:
    """A wang16 set of 16 px tiles, and the seconds that it took."""
    started = time.perf_counter()
    options = {"layout": "wang16", "upper": upper, "lower": lower, "method": method}
    recipe = Recipe("tileset", f"{upper} {lower}", 16, 16, seed, candidates=0, options=options)
    return draw_tileset(engine, recipe), time.perf_counter() - started


@contextmanager
def _without(*, padding: bool, rolling: bool) -> Iterator[None]:
    """Sampling without the wrapping convolutions, or without the rolled latents."""

    def plain(*_: Any, **__: Any) -> Any:
        return nullcontext()

    def still(denoiser: Any, *_: Any, **__: Any) -> Any:
        return denoiser

    with (
        mock.patch("pipelines.sdxl.diffusion.circular", plain) if padding else nullcontext(),
        mock.patch("pipelines.sdxl.diffusion.rolled", still) if rolling else nullcontext(),
    ):
        yield


def _write(previews: list[Pixels], path: Path, columns: int = 2) -> None:
    """The maps in rows, with a clear line between them."""
    from PIL import Image

    edged = [np.pad(preview, ((0, 4), (0, 4), (0, 0))) for preview in previews]
    rows = [np.concatenate(edged[i : i + columns], axis=1) for i in range(0, len(edged), columns)]
    Image.fromarray(np.concatenate(rows, axis=0)[:-4, :-4]).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="a picture of one sample map a pair")
    parser.add_argument("--layouts-picture", type=Path, help="a picture of one sample map a layout")
    parser.add_argument("--joint-picture", type=Path, help="a picture of painted maps beside those of joint diffusion")
    arguments = parser.parse_args()
    console = Console(width=110)
    engine = Engine(DiffusersBackend())
    try:
        ways_of_sampling(engine, 8, console)
        both_methods(engine, 2, arguments.joint_picture, console)
        good = every_layout(engine, arguments.layouts_picture, console)
        good &= every_set(engine, arguments.seeds, arguments.picture, console)
    finally:
        engine.close()
    sys.exit(not good)


if __name__ == "__main__":
    main()
