"""Bench of the embedded model: prompt to PNG bytes, beside the stock pipeline in the same run.

    python -m tests.bench.embedded.speed [--runs 15] [--sprites 100] [--json FILE]

One UNet call of a 32x32 canvas takes about 30 ms on two cores, so the rest shows. Own pipeline and stock
pipeline take turns, so that what else the machine does hits both; best and median are given. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipelines.engine.engine import Engine
from pipelines.models.catalog import embedded_model
from pipelines.pixels.png import encode_png
from pipelines.records import Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites

NOUNS = (
    *("dragon", "goblin", "knight", "sword", "axe", "potion", "ring", "chest"),
    *("skeleton", "slime", "spider", "wolf", "wizard", "shield", "scroll", "key"),
    *("stone wall", "grass floor", "lava", "wooden floor"),
)
COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "brown", "gray", "black", "white", "cyan", "pink")


class Timed:
    """A module's calls, counted and timed."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.seconds, self.calls, self.rows = 0.0, 0, 0
        self._forward = module.forward
        module.forward = self

    def __call__(self, sample: Any, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        result = self._forward(sample, *args, **kwargs)
        self.seconds += time.perf_counter() - begun
        self.calls += 1
        self.rows += len(sample)
        return result


def in_turns(runs: int, **arms: Callable[[int], Any]) -> dict[str, list[float]]:
    """Returns the seconds of each run of each arm, without the first run of all."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for run in range(-1, runs):
        for name, arm in arms.items():
            begun = time.perf_counter()
            arm(run)
            if run >= 0:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def prompts(count: int) -> list[str]:
    """Random prompts, the same each time."""
    draw = random.Random(1)
    return [f"{draw.choice(COLORS)} {draw.choice(NOUNS)}" for _ in range(count)]


def main() -> None:
    """Prints a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--sprites", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from pipelines.embedded.architecture import load_embedded

    stock = load_embedded()
    backend = DiffusersBackend("cpu")
    backend.load("embedded")
    engine = Engine(backend)
    model = embedded_model()
    unet = Timed(backend.resident(model).unet)
    recipe = Recipe("sprite", "red dragon", 32, 32, 1)

    def png(count: int, **changes: Any) -> Callable[[int], None]:
        def arm(run: int) -> None:
            # new words each run: nothing comes out of the prompt cache
            own = replace(recipe, prompt=f"red dragon {'king ' * (run % 7)}", seed=100 * run, **changes)
            for sprite in draw_sprites(engine, own, count):
                encode_png(sprite.image, sprite.recipe.to_json(), sprite.palette)

        return arm

    def pipeline(count: int, guidance: float) -> Callable[[int], None]:
        def arm(run: int) -> None:
            stock(
                [f"red dragon {'king ' * (run % 7)}"] * count,
                num_inference_steps=model.steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(100 * run + i) for i in range(count)],
            )

        return arm

    results: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "runs": options.runs}
    for count in (1, 4):
        for guidance in (1.0, model.guidance):
            seconds = in_turns(
                options.runs,
                ours=png(count, steps=model.steps, guidance=guidance),
                stock=pipeline(count, guidance),
            )
            results |= _row(f"{count} sprites, guidance {guidance:g}", seconds)
        seconds = in_turns(options.runs, ours=png(count), stock=pipeline(count, model.guidance))
        results |= _row(f"{count} sprites, defaults", seconds)
    outside = []
    for run in range(options.runs):
        unet.seconds = 0.0
        begun = time.perf_counter()
        png(1)(run)
        outside.append(time.perf_counter() - begun - unet.seconds)
    results["outside the UNet, ms"] = {
        "best": round(1000 * min(outside), 1),
        "median": round(1000 * statistics.median(outside), 1),
    }
    print(f"{'outside the UNet, 1 sprite':34} best {1000 * min(outside):6.1f} ms  median", end=" ")
    print(f"{1000 * statistics.median(outside):6.1f} ms")
    if options.sprites:
        failed = [p for p in prompts(options.sprites) if not passes(engine, replace(recipe, prompt=p))]
        results["random prompts that fail a gate"] = failed
        print(f"{options.sprites} random prompts: {options.sprites - len(failed)} pass every gate {failed or ''}")
    engine.close()
    line = json.dumps(results)
    if options.json:
        options.json.write_text(line + "\n", encoding="utf-8")
    print(line)


def passes(engine: Engine, recipe: Recipe) -> bool:
    """Whether the sprite that a recipe draws holds every gate."""
    return draw_sprites(engine, recipe)[0].report.passed


def _row(name: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    ours, stock = seconds["ours"], seconds["stock"]
    ratio = statistics.median(s / o for s, o in zip(stock, ours, strict=True))
    print(
        f"{name:34} best {min(ours):6.3f} s  median {statistics.median(ours):6.3f} s   "
        f"stock {min(stock):6.3f} / {statistics.median(stock):6.3f} s   stock : ours {ratio:5.2f}",
        flush=True,
    )
    row = {"best": min(ours), "median": statistics.median(ours), "stock_best": min(stock)}
    row |= {"stock_median": statistics.median(stock), "ratio": ratio}
    return {name: {key: round(value, 4) for key, value in row.items()}}


if __name__ == "__main__":
    main()
