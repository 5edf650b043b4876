"""How fast a LoRA is learned here: SDXL with random weights, the project's own trainer, rank 32, batch 1.

    python -m tests.bench.loras.pace --size full     a CUDA card (24 GB); a minute
    python -m tests.bench.loras.pace --size tiny     any CPU: proves that every line runs

The base is frozen in bfloat16, as a job holds it, and latents are cached. A table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from loras.cache import Bucket, Cache
from loras.options import TrainOptions
from loras.trainer import Trainer
from tests.bench.measure import Results, Row, device_name, measure, product_rate, synchronize
from tests.bench.sdxl.rig import PLANS, Rig

RANK = 32
STEPS = 3000


def time_steps(rig: Rig, side: int) -> None:
    """Rows for a step at that size, replayed and plain. The model is of no other use afterwards."""
    resident = rig.resident
    if rig.device.type == "cuda":  # as a job does it
        for module in resident.modules.values():
            module.to(torch.bfloat16)
        resident.dtype = torch.bfloat16
    trainer = Trainer(resident, _cache(rig, side), TrainOptions(steps=STEPS, rank=RANK, resolution=side))
    tflop = 2.1 * rig.tflop("step", 1, side)  # backward of a frozen base: gradients of the activations alone

    def row(name: str, runs: int, warmup: int) -> None:
        seconds, made, peak = measure(trainer.step, rig.device, runs, warmup)
        note = f"{STEPS} steps: {STEPS * seconds / 60:.1f} min {trainer.replayed.failed}"
        rig.results.add(Row(f"training step, {side}: {name}", seconds, made, 1, 1, tflop, peak, note))

    for _ in range(3):  # the first records the graph
        trainer.step()
    synchronize(rig.device)
    began, steps = time.perf_counter(), 10 * rig.plan.runs * 2 if rig.device.type == "cuda" else rig.plan.runs
    for _ in range(steps):
        trainer.step()
    synchronize(rig.device)
    rate = steps / (time.perf_counter() - began)
    note = f"{steps} steps in a row, {rate:.2f} a second"
    rig.results.note(f"training, {side}", f"{note}; {STEPS} take {STEPS / rate / 60:.1f} min")
    row("ours", 2 * rig.plan.runs, 0)
    trainer.replayed.failed = "plain calls"
    row("eager", 3, 1)


def _cache(rig: Rig, side: int) -> Cache:
    """Eight pictures with a caption each, all random."""
    size, cells, count = rig.plan.size, side // 8, 8
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Any:
        return torch.randn(shape, generator=draw)

    sizes = torch.tensor([[side, side, 0, 0, side, side]] * count, dtype=torch.float32)
    latents = random(count, 4, cells, cells)
    bucket = Bucket(latents, 0.1 * latents.abs(), sizes, torch.arange(1, count + 1))
    hidden, pooled = random(count + 1, 77, sum(size.text)), random(count + 1, size.text[1])
    return Cache((bucket,), hidden, pooled, {"dataset": "random"})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=tuple(PLANS), default="full" if torch.cuda.is_available() else "tiny")
    parser.add_argument("--out", type=Path, help="folder where results grow line by line")
    parser.add_argument("--sides", type=int, nargs="*", help="canvas pixels (default: the plan's largest and smallest)")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    plan = PLANS[options.size]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    results = Results(device_name(device), product_rate(device, dtype), folder=options.out)
    results.say(f"{results.device}; {options.size} SDXL, random weights; product {results.product:.1f} TFLOP/s")
    for side in options.sides or (plan.sides[0], plan.sides[-1]):
        rig = Rig(plan, device, dtype, results)
        time_steps(rig, side)
        rig.free()
    print(results.to_json(), flush=True)


if __name__ == "__main__":
    main()
