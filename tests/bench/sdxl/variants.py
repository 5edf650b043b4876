"""The bench's arms on a model without anything of ours: the stock pipeline, and the ways that led to our step."""

from __future__ import annotations

import contextlib
import time
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from pipelines.sdxl import graphs
from pipelines.sdxl.attention import split_wide_heads
from pipelines.sdxl.denoise import Conditioning, predict_with
from pipelines.sdxl.graphs import Captured, compiled_regions
from pipelines.sdxl.upsampling import JoinedUpsampling
from tests.bench.measure import Row, measure
from tests.bench.sdxl.drawing import compare_with_stock
from tests.bench.sdxl.rig import NEGATIVE, PROMPT, Rig


def pipeline(rig: Rig, parts: dict[str, Any]) -> Any:
    """The stock pipeline, quiet."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stock(rig: Rig) -> None:
    """The pipeline as its documentation shows it: the VAE is raised to float32 for every picture."""
    plan, parts = rig.plan, rig.build()
    parts["vae"].register_to_config(force_upcast=rig.dtype == torch.float16)
    draw = _drawing(rig, pipeline(rig, parts))
    tflop = rig.picture_tflop(1, plan.sides[0], plan.steps, plan.steps)
    seconds, runs, peak = measure(draw, rig.device, plan.runs, warmup=1, most_seconds=8)
    rig.results.add(Row("stock pipeline", seconds, runs, plan.steps, 1, tflop, peak))
    compare_with_stock(rig)


def stock_faster(rig: Rig) -> None:
    """The stock pipeline with its documented speed-ups that suit a server: float16 VAE, regional compile."""
    plan, parts = rig.plan, rig.build()
    parts["vae"].register_to_config(force_upcast=False)
    draw, unet = _drawing(rig, pipeline(rig, parts)), parts["unet"]
    tflop = rig.picture_tflop(1, plan.sides[0], plan.steps, plan.steps)
    seconds, runs, peak = measure(draw, rig.device, plan.runs // 2, warmup=1, most_seconds=15)
    rig.results.add(Row("stock pipeline, float16 VAE", seconds, runs, plan.steps, 1, tflop, peak))
    with graphs.compiled(_blocks(unet)):
        began = time.perf_counter()
        draw()
        note = f"first picture {time.perf_counter() - began:.0f} s"
        seconds, runs, peak = measure(draw, rig.device, plan.runs, warmup=0, most_seconds=10)
    rig.results.add(Row("stock, float16 VAE, blocks compiled", seconds, runs, plan.steps, 1, tflop, peak, note))


def _drawing(rig: Rig, pipe: Any) -> Any:
    steps, side = rig.plan.steps, rig.plan.sides[0]
    return lambda: pipe(PROMPT, negative_prompt=NEGATIVE, num_inference_steps=steps, height=side, width=side)


def _blocks(unet: Any) -> list[graphs.Region]:
    return [(m, "forward") for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock"]


def steps(rig: Rig) -> None:
    """One guided step by the ways that lead to ours, one change at a time."""
    unet, side = rig.build()["unet"], rig.plan.sides[0]

    def call(latents: Tensor, timestep: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor) -> Tensor:
        return predict_with(unet)(latents, timestep, Conditioning(hidden, pooled, sizes))

    def attempt(name: str, regions: list[graphs.Region]) -> None:
        rig.time_step(f"step, guided: {name}", 2, side, Captured(call, rig.device, regions))
        rig.free()

    rig.time_step("step, guided: eager", 2, side, call)
    with mock.patch.object(graphs, "fastest_kernels", return_value=contextlib.nullcontext()):
        attempt("graph", [])
    attempt("graph, kernels chosen", [])
    if rig.device.type == "cuda":
        attempt("graph, blocks compiled", _blocks(unet))


def decode(rig: Rig) -> None:
    """One decode: eager, as a graph, compiled in channels_last, then one change after the other."""
    vae, side = rig.build()["vae"], rig.plan.sides[0]
    latents = rig.latents(1, side)

    def attempt(name: str, call: Any) -> None:
        note = ""
        with torch.inference_mode():
            call(latents)
            while isinstance(call, Captured) and call.warm():
                note = f"compile {call.compile_state} {call.state()['failed'] or ''}"
            seconds, runs, peak = measure(lambda: call(latents), rig.device, rig.plan.runs)
        rig.results.add(Row(f"decode: {name}", seconds, runs, 0, 1, rig.tflop("decode", 1, side), peak, note))
        rig.free()

    def plain(x: Tensor) -> Tensor:
        return vae.decode(x, return_dict=False)[0]

    attempt("eager", plain)
    attempt("graph", Captured(plain, rig.device))
    vae.to(memory_format=torch.channels_last)
    attempt("graph, compiled, channels_last", Captured(plain, rig.device, compiled_regions(vae)))
    with torch.inference_mode():
        before = plain(latents).float()
        split_wide_heads(vae)
        error = float((plain(latents).float() - before).norm() / before.norm())
    rig.results.note("wide head as products: relative difference of the picture", error)
    attempt("the same + wide head as products", Captured(plain, rig.device, compiled_regions(vae)))
    JoinedUpsampling(vae)
    attempt("the same + upsampling as transposed convolutions", Captured(plain, rig.device, compiled_regions(vae)))


def one_step(rig: Rig) -> None:
    """A single call, no warm-up: proof that the model fits and computes, where it is too slow for more."""
    import resource

    side = rig.plan.sides[0]
    inputs = rig.inputs(1, side)
    began = time.perf_counter()
    with torch.inference_mode():
        finite = bool(rig.step(*inputs).isfinite().all())
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    rig.results.add(Row("one call, one row", seconds, 1, 1, 1, rig.tflop("step", 1, side), peak, f"finite: {finite}"))
