"""The bench's arms of LoRA stacks: cost of a step, change of stack, bit-equal restore; and PEFT's own way."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from pipelines.adapters.stack import WeightStack
from pipelines.sdxl.denoise import Conditioning, predict_with
from pipelines.sdxl.graphs import Captured
from tests.bench.measure import Row, synchronize
from tests.bench.sdxl.rig import Rig
from tests.random_sdxl import random_adapter

RANK = 32


def merged(rig: Rig) -> None:
    """Stacks of ours in the same graph: changes, a step under each, bit-equal restore."""
    unet, side = rig.resident.unet, rig.plan.sides[0]
    stack = WeightStack({"unet": unet})
    inputs = rig.inputs(2, side)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        files = write_adapters(unet, Path(folder))
        before = {name: weight.detach().clone() for name, weight in unet.named_parameters()}
        rig.step(*inputs)
        rig.warm()
        plain = rig.step(*inputs)
        began = time.perf_counter()
        stack.apply([(files[0], 1.0)])
        synchronize(rig.device)
        rig.results.note("first use of an adapter, read from disk, seconds", round(time.perf_counter() - began, 4))
        three = [(file, 0.5) for file in files]
        stack.apply(three)
        rig.results.note("the step sees the adapters", not torch.equal(rig.step(*inputs), plain))
        for name, one, other in (
            ("change of stack: 1 to another", [(files[0], 1.0)], [(files[1], 1.0)]),
            ("change of stack: 3 to other weights", three, [(file, 0.4) for file in files]),
            ("change of stack: 3 to none", three, []),
        ):
            _time_change(rig, stack, name, one, other)
        _time_stacks(rig, stack, inputs, {"no adapter": [], "1 adapter merged": three[:1], "3 adapters merged": three})
        stack.apply(three)
        stack.restore()
        same = all(torch.equal(before[name], weight) for name, weight in unet.named_parameters())
        rig.results.note("weights bit-equal after restore", same)
        rig.results.note("output bit-equal after restore", torch.equal(rig.step(*inputs), plain))


def write_adapters(unet: Any, folder: Path) -> list[Path]:
    """Three files with random factors."""
    files = [folder / f"adapter{i}.safetensors" for i in range(3)]
    for i, file in enumerate(files):
        random_adapter(unet, file, RANK, seed=i)
    return files


def _time_stacks(rig: Rig, stack: WeightStack, inputs: Any, stacks: dict[str, Any]) -> None:
    """A row for the step under each stack, measured in turns: drift of the machine falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in stacks}
    for _ in range(2 * rig.plan.runs):
        for name, wanted in stacks.items():
            stack.apply(wanted)
            rig.step(*inputs)
            synchronize(rig.device)
            began = time.perf_counter()
            rig.step(*inputs)
            synchronize(rig.device)
            times[name].append(time.perf_counter() - began)
    tflop = rig.tflop("step", 2, rig.plan.sides[0])
    first = next(iter(times.values()))
    for name, took in times.items():
        median, least = statistics.median(took) / statistics.median(first), min(took) / min(first)
        note = f"/ none: median {median:.4f}, least {least:.4f}"
        rig.results.add(Row(f"step, guided: ours, {name}", statistics.median(took), len(took), 1, 1, tflop, note=note))


def _time_change(rig: Rig, stack: WeightStack, name: str, one: Any, other: Any) -> None:
    """A row for a change from `one` to `other`, files being cached; the way back is not counted."""
    seconds: list[float] = []
    queued: list[float] = []
    for run in range(-1, 2 * rig.plan.runs):
        stack.apply(one)
        synchronize(rig.device)
        began = time.perf_counter()
        stack.apply(other)
        launched = time.perf_counter() - began
        synchronize(rig.device)
        if run >= 0:
            seconds.append(time.perf_counter() - began)
            queued.append(launched)
    peak = torch.cuda.max_memory_allocated(rig.device) / 1e9 if rig.device.type == "cuda" else 0.0
    note = f"least {1000 * min(seconds):.1f} ms; the CPU's part {1000 * statistics.median(queued):.1f} ms"
    rig.results.add(Row(name, statistics.median(seconds), len(seconds), peak_gb=peak, note=note))


def unmerged(rig: Rig) -> None:
    """What PEFT's adapters beside the weights cost a step, on a model without anything of ours."""
    parts, side = rig.build(), rig.plan.sides[0]
    predict = predict_with(parts["unet"])

    def step(latents: Any, timestep: Any, *words: Any) -> torch.Tensor:
        return predict(latents, timestep, Conditioning(*words))

    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    pipe: Any = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = write_adapters(parts["unet"], Path(folder))
        for count in (1, 3):
            for i in range(0 if count == 1 else 1, count):
                pipe.load_lora_weights(str(files[i].parent), weight_name=files[i].name, adapter_name=f"a{i}")
            pipe.set_adapters([f"a{i}" for i in range(count)], [0.5] * count)
            rig.time_step(f"step, guided: PEFT, {count} unmerged, eager", 2, side, step)
            rig.time_step(f"step, guided: PEFT, {count} unmerged, graph", 2, side, Captured(step, rig.device))
            rig.free()
