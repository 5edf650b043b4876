"""The bench's arms that draw with our backend: pictures, batches, smaller canvases, words, a step's kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pipelines.sdxl.graphs import Captured
from tests.bench.measure import Row, measure
from tests.bench.sdxl.profile import profile_step
from tests.bench.sdxl.projection import Cost, project
from tests.bench.sdxl.rig import Rig


def pictures(rig: Rig) -> None:
    """Measures whole pictures with the prompt encoded each time, then prompts and steps alone."""
    plan, side = rig.plan, rig.plan.sides[0]
    rig.time_picture(f"ours: {plan.steps} steps, guided", 1, side, plan.steps, 7.5)
    compare_with_stock(rig)
    rig.time_picture(f"ours: {plan.few} steps, no guidance", 1, side, plan.few, 1.0)
    rig.time_picture(f"ours: {plan.steps} steps, guided for 60 %", 1, side, plan.steps, 7.5, 0.6)
    words(rig)
    rig.time_step("step, guided: ours", 2, side)
    rig.time_step("step, one row: ours", 1, side)
    time_decode(rig, 1)
    rig.results.note("graphs", rig.fast.state())


def compare_with_stock(rig: Rig) -> None:
    """Notes how many times faster ours is, once both are measured."""
    ours = rig.results.find(f"ours: {rig.plan.steps} steps, guided")
    stock = rig.results.find("stock pipeline")
    if ours and stock:
        rig.results.note("times faster than the stock pipeline", round(stock.seconds / ours.seconds, 2))


def words(rig: Rig) -> None:
    """A prompt's embedding, eager and by our call."""
    ids = torch.tensor([[49406, *range(1, 10), *[49407] * 67]], device=rig.device)
    for name, call in (("eager", rig.prompts.run), ("ours", rig.prompts.call)):
        with torch.inference_mode():
            call(ids, ids)
            rig.warm()
            seconds, runs, peak = measure(lambda c=call: c(ids, ids), rig.device, 2 * rig.plan.runs)
        rig.results.add(Row(f"words of one prompt: {name}", seconds, runs, peak_gb=peak))


def time_decode(rig: Rig, rows: int) -> None:
    """A row for our decoder."""
    side = rig.plan.sides[0]
    latents = rig.latents(rows, side)
    with torch.inference_mode():
        rig.fast.decode(latents)
        rig.warm()
        seconds, runs, peak = measure(lambda: rig.fast.decode(latents), rig.device, rig.plan.runs)
    rig.results.add(Row(f"decode, {rows}: ours", seconds, runs, 0, rows, rig.tflop("decode", rows, side), peak))


def batches(rig: Rig) -> None:
    """Several pictures of one request in one batch."""
    plan, side = rig.plan, rig.plan.sides[0]
    rig.time_step(f"step, guided, batch {plan.batch}: ours", 2 * plan.batch, side)
    rig.time_picture(f"ours: batch {plan.batch}, {plan.steps} steps, guided", plan.batch, side, plan.steps, 7.5, runs=3)


def sizes(rig: Rig) -> None:
    """The smaller canvases."""
    plan = rig.plan
    for side in plan.sides[1:]:
        rig.time_picture(f"ours: {side}, {plan.steps} steps, guided", 1, side, plan.steps, 7.5)


def profile(rig: Rig) -> None:
    """Where one guided step's, one unguided step's and a decode's time goes, and what that means for a Spark."""
    step, one_row, decode = (profile_call(rig, rows) for rows in (2, 1, 0))
    project(rig.results, rig.plan, step, one_row, decode, "float16")


@torch.inference_mode()
def profile_call(rig: Rig, rows: int, label: str = "") -> Cost:
    """Notes the kernels of a step of so many rows, or of a decode (0); returns what they cost."""
    side = rig.plan.sides[0]
    inputs = rig.inputs(rows, side) if rows else (rig.latents(1, side),)
    call: Callable[..., Any] = rig.step if rows else rig.fast.decode
    call(*inputs)
    rig.warm()
    found = profile_step(lambda: call(*inputs), rig.device)
    rig.results.note(f"profile of a step of {rows} rows{label}" if rows else f"profile of a decode{label}", found)
    return Cost.of(found)


def tiny_vae(rig: Rig) -> None:
    """TAESDXL's decoder, which drafts use."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    with torch.device(rig.device):
        tiny: Any = AutoencoderTiny()
    tiny.to(rig.dtype).eval().requires_grad_(False)
    latents = rig.latents(1, rig.plan.sides[0])
    decode = Captured(lambda x: tiny.decode(x, return_dict=False)[0], rig.device)
    with torch.inference_mode():
        for name in ("eager", "graph"):
            seconds, runs, peak = measure(lambda: decode(latents), rig.device, rig.plan.runs)
            rig.results.add(Row(f"decode, tiny VAE: {name}", seconds, runs, 0, 1, peak_gb=peak))
            decode.warm()
