"""The bench's arm of training: how fast a LoRA is learned by the project's own trainer, rank 32, batch 1.

The base is frozen in bfloat16, as a job holds it, and latents are cached.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import torch

from loras.cache import Bucket, Cache
from loras.options import TrainOptions
from loras.trainer import Trainer
from tests.bench.measure import Row, measure, synchronize
from tests.bench.sdxl.rig import Rig

RANK = 32
STEPS = 3000


def time_steps(rig: Rig, side: int) -> None:
    """Rows for a step at that size, replayed and plain. The model is of no other use afterwards."""
    trainer = _trainer(rig, side)
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


def training(rig: Rig) -> None:
    """Rows for training on models of their own, the options that cost more last."""
    plan = rig.plan

    def fresh() -> Rig:
        rig.free()
        return Rig(plan, rig.device, rig.dtype, rig.results, began=rig.began)

    time_steps(fresh(), plan.sides[0])
    for options in ({"dropout": 0.1}, {"optimizer": "prodigy"}):
        if "optimizer" in options and importlib.util.find_spec("prodigyopt") is None:
            rig.results.note("training with Prodigy: skipped", "prodigyopt is not installed")
        else:
            time_options(fresh(), plan.sides[0], **options)


def time_options(rig: Rig, side: int, **options: Any) -> None:
    """A row for a step with those options, on a model of its own."""
    name = ", ".join(f"{key}={value}" for key, value in options.items())
    trainer = _trainer(rig, side, **options)
    for _ in range(3):
        trainer.step()
    seconds, made, peak = measure(trainer.step, rig.device, rig.plan.runs, 0)
    note = f"{STEPS} steps: {STEPS * seconds / 60:.1f} min {trainer.replayed.failed}"
    rig.results.add(Row(f"training step, {side}: {name}", seconds, made, 1, 1, 0.0, peak, note))


def _trainer(rig: Rig, side: int, **options: Any) -> Trainer:
    resident = rig.resident
    if rig.device.type == "cuda":  # as a job does it
        for module in resident.modules.values():
            module.to(torch.bfloat16)
        resident.dtype = torch.bfloat16
    return Trainer(resident, _cache(rig, side), TrainOptions(steps=STEPS, rank=RANK, resolution=side, **options))


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
