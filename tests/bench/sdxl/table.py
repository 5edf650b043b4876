"""`make bench`: SDXL with random weights, stock and ours, in one run. A table, then one line of JSON.

    python -m tests.bench.sdxl.table --size full      a CUDA card (40 GB; 15 GB with --no-ahead); 6-9 minutes
    python -m tests.bench.sdxl.table --size tiny      any CPU: proves that every line runs
    python -m tests.bench.sdxl.table --size full --arms "one step"     a CPU with 24 GB: proves that it fits

Speed does not depend on what weights say: nothing is downloaded. The ceiling of every row is a matrix product, measured
in the same run. Shapes are compiled ahead by several processes (ahead.py), because that is most of the time;
then arms run in the order of their importance; a failure is printed and the next arm runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from tests.bench.measure import Results, copy_rate, device_name, product_rate, sustained_rate
from tests.bench.sdxl import ahead, drawing, low_precision, stacks, variants
from tests.bench.sdxl.rig import PLANS, Plan, Rig

ARMS: tuple[tuple[str, Callable[[Rig], None], float], ...] = (
    ("batches", drawing.batches, 0),
    ("pictures", drawing.pictures, 0),
    ("float8", low_precision.float8, 60),
    ("float8 products", low_precision.products, 10),
    ("lora", stacks.merged, 20),
    ("stock", variants.stock, 30),
    ("sizes", drawing.sizes, 30),
    ("profile", drawing.profile, 10),
    ("decode", variants.decode, 20),
    ("tiny vae", drawing.tiny_vae, 5),
    ("steps", variants.steps, 30),
    ("ways", variants.ways, 40),
    ("any shape", variants.any_shape, 60),
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
    if "batches" in arms:
        groups.append((f"step:{2 * batch}:{side}", f"decode:{batch}:{side}"))
    if {"pictures", "lora", "profile", "decode", "float8"} & set(arms):
        groups += [(f"step:2:{side}", f"decode:1:{side}"), (f"step:1:{side}",)]
    if "sizes" in arms:
        groups += [(f"step:2:{small}", f"decode:1:{small}") for small in plan.sides[1:]]
    if "ways" in arms:
        groups += [(f"{name}:2:{side}",) for name in variants.WAYS if name != "ours"]
    if "float8" in arms:
        groups += [(f"step8:{rows}:{side}",) for rows in (2, 1, 2 * batch)]
    if "any shape" in arms:
        groups.append((f"any:2:{side}", f"any:1:{side}"))
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
    if device.type == "cuda" and not options.no_ahead:
        running = ahead.start(options.size, shapes_ahead(plan, arms), options.out)
        results.note("compiling ahead", ahead.finish(running, COMPILING))
        results.note("compiling ahead, seconds", round(time.perf_counter() - began, 1))
    if options.only_ahead:
        return
    results.product = product_rate(device, dtype)
    results.copy = copy_rate(device)
    results.say(f"matrix product {results.product:.1f} TFLOP/s, copy {results.copy:.2f} TB/s")
    results.note("matrix product after two seconds, TFLOP/s", round(sustained_rate(device, dtype), 1))
    rig = Rig(plan, device, dtype, results, began=began)
    results.note("seconds until the model is built", round(time.perf_counter() - began, 1))
    for name, arm, needs in sorted(ARMS, key=lambda a: arms.index(a[0]) if options.arms and a[0] in arms else 0):
        if name not in arms:
            continue
        if device.type == "cuda" and rig.left < needs:
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
    print(results.to_json(), flush=True)


if __name__ == "__main__":
    main()
