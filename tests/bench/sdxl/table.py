"""`make bench`: SDXL with random weights, stock and ours, in one run. A table, then one line of JSON.

    python -m tests.bench.sdxl.table --size full      a CUDA card (24 GB); 10 minutes
    python -m tests.bench.sdxl.table --seconds 300    what can be measured until then, the most important first
    python -m tests.bench.sdxl.table --size tiny      any CPU: proves that every line runs
    python -m tests.bench.sdxl.table --size full --arms "one step"     a CPU with 24 GB: proves that it fits

Speed does not depend on what weights say: nothing is downloaded. The ceiling of every row is a matrix product, measured
in the same run. Shapes are compiled ahead by several processes (ahead.py), because that is most of the time;
then arms run in the order of their importance; a failure is printed and the next arm runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from tests.bench.loras import pace
from tests.bench.measure import Results, copy_rate, device_name, product_rate, sustained_rate
from tests.bench.sdxl import ahead, beside, drawing, low_precision, stacks, variants
from tests.bench.sdxl.rig import PLANS, Plan, Rig

ARMS: tuple[tuple[str, Callable[[Rig], None], float], ...] = (
    ("pictures", drawing.pictures, 0),
    ("batches", drawing.batches, 0),
    ("float8", low_precision.float8, 40),
    ("beside", beside.beside, 40),
    ("profile", drawing.profile, 5),
    ("stock", variants.stock, 20),
    ("training", pace.training, 50),
    ("lora", stacks.merged, 25),
    ("sizes", drawing.sizes, 30),
    ("float8 products", low_precision.products, 10),
    ("decode", variants.decode, 20),
    ("tiny vae", drawing.tiny_vae, 5),
    ("steps", variants.steps, 30),
    ("stock faster", variants.stock_faster, 40),
    ("unmerged", stacks.unmerged, 40),
    ("one step", variants.one_step, 0),
)
"""Name, function, and the seconds without which it is not begun on a GPU."""

COMPILING = 200.0
"""Seconds after which compiling ahead is ended; what is not done then is compiled where it is needed."""


def shapes_ahead(plan: Plan, arms: list[str]) -> list[ahead.Shapes]:
    """What the arms will compile, as groups of about the same work."""
    side, batch = plan.sides[0], plan.batch
    groups: list[ahead.Shapes] = []
    if {"pictures", "lora", "profile", "decode", "float8"} & set(arms):
        groups += [(f"step:2:{side}",), (f"step:1:{side}",), (f"decode:1:{side}", f"decode:{batch}:{side}")]
    if "batches" in arms:
        groups += [(f"step:{2 * batch}:{side}",), (f"step:{batch}:{side}",)]
    if "float8" in arms:
        groups += [(f"step8:{rows}:{side}",) for rows in (2, 1)]
    if "beside" in arms:
        groups += [(f"beside:{rows}:{side}",) for rows in (2, 1)]
    if "sizes" in arms and plan.seconds > 2 * COMPILING:
        groups += [(f"step:2:{small}", f"step:1:{small}", f"decode:1:{small}") for small in plan.sides[1:]]
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=tuple(PLANS), default="full" if torch.cuda.is_available() else "tiny")
    parser.add_argument("--seconds", type=float, help="time for everything; what does not fit is skipped")
    parser.add_argument("--out", type=Path, help="folder where results grow line by line")
    parser.add_argument("--arms", nargs="*", help="only these: " + ", ".join(name for name, _, _ in ARMS))
    parser.add_argument("--no-ahead", action="store_true", help="compile where it is needed, in one process")
    parser.add_argument("--only-ahead", action="store_true", help="compile, and measure nothing")
    options = parser.parse_args()
    arms = options.arms or [name for name, _, _ in ARMS if name != "one step"]
    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16 if options.size == "full" else torch.float32
    plan = PLANS[options.size]
    if options.seconds:
        plan = dataclasses.replace(plan, seconds=options.seconds)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    results = Results(device_name(device), folder=options.out)
    results.say(f"{results.device}; {options.size} SDXL, random weights, {dtype}")
    running = []
    if device.type == "cuda" and not options.no_ahead:
        running = ahead.start(options.size, shapes_ahead(plan, arms), options.out)
    if options.only_ahead:
        results.note("compiling ahead", ahead.finish(running, began + COMPILING))
        return
    rig = Rig(plan, device, dtype, results, began=began)
    with tempfile.TemporaryDirectory() as folder:
        if "beside" in arms:
            beside.write_extras(rig, Path(folder))
        if running:
            results.note("compiling ahead", ahead.finish(running, began + min(COMPILING, plan.seconds / 2.5)))
        results.note("seconds until the first measurement", round(time.perf_counter() - began, 1))
        results.product = product_rate(device, dtype)
        results.copy = copy_rate(device)
        results.say(f"matrix product {results.product:.1f} TFLOP/s, copy {results.copy:.2f} TB/s")
        results.note("matrix product after two seconds, TFLOP/s", round(sustained_rate(device, dtype), 1))
        run(rig, arms, in_order=bool(options.arms))
    print(results.to_json(), flush=True)


def run(rig: Rig, arms: list[str], in_order: bool) -> None:
    """Runs the arms, in the order in which they are named where that is wished."""
    results = rig.results
    for name, arm, needs in sorted(ARMS, key=lambda a: arms.index(a[0]) if in_order and a[0] in arms else 0):
        if name not in arms:
            continue
        if rig.device.type == "cuda" and rig.left < needs:
            results.note(f"{name}: skipped", f"{rig.left:.0f} s are left")
            continue
        start = time.perf_counter()
        try:
            arm(rig)
        except Exception as error:  # an arm that cannot run must not cost the others
            traceback.print_exc()
            results.note(f"{name}: failed", f"{type(error).__name__}: {error}"[:300])
        rig.free()
        results.say(f"  [{name}: {time.perf_counter() - start:.0f} s, {rig.left:.0f} s left]")


if __name__ == "__main__":
    main()
