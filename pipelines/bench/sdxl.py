"""`make bench`: SDXL with random weights, stock and ours, in one run. A table, then one line of JSON.

    python -m pipelines.bench.sdxl --size full      a CUDA card (15 GB); 4-7 minutes
    python -m pipelines.bench.sdxl --size tiny      any CPU: proves that every line runs
    python -m pipelines.bench.sdxl --size full --arms "one step"     a CPU with 10 GB: proves that it fits

Speed does not depend on what weights say: nothing is downloaded. The ceiling of every row is a matrix product, measured
in the same run. Arms run in the order of their importance; a failure is printed and the next arm goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import resource
import statistics
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch._dynamo

from pipelines import graphs
from pipelines.adapters import WeightStack
from pipelines.bench import training
from pipelines.bench.measure import Results, Row, copy_rate, device_name, measure, product_rate, synchronize
from pipelines.bench.model import random_adapter
from pipelines.bench.profile import profile_step
from pipelines.bench.rig import NEGATIVE, PLANS, PROMPT, Rig
from pipelines.graphs import Captured, compiled_regions, fuse_attention_inputs

RANK = 32


def stock(rig: Rig) -> None:
    """The pipeline as its documentation shows it: the VAE is raised to float32 for every picture."""
    plan, pipe = rig.plan, rig.pipe()
    rig.parts["vae"].register_to_config(force_upcast=rig.dtype == torch.float16)
    tflop = rig.picture_tflop(1, plan.sides[0], plan.steps, plan.steps)

    def draw() -> Any:
        return pipe(
            PROMPT, negative_prompt=NEGATIVE, num_inference_steps=plan.steps, height=plan.sides[0], width=plan.sides[0]
        )

    seconds, runs, peak = measure(draw, rig.device, plan.runs, warmup=1, most_seconds=30)
    rig.results.add(Row("stock pipeline", seconds, runs, plan.steps, 1, tflop, peak))
    rig.parts["vae"].to(rig.dtype)
    rig.parts["vae"].register_to_config(force_upcast=False)
    seconds, runs, peak = measure(draw, rig.device, plan.runs // 2, warmup=1, most_seconds=15)
    rig.results.add(Row("stock pipeline, float16 VAE", seconds, runs, plan.steps, 1, tflop, peak))


def stock_faster(rig: Rig) -> None:
    """The stock pipeline with its documented speed-ups that suit a server: float16 VAE, regional compile."""
    plan, pipe, unet = rig.plan, rig.pipe(), rig.parts["unet"]
    tflop = rig.picture_tflop(1, plan.sides[0], plan.steps, plan.steps)
    began = time.perf_counter()
    with graphs.compiled([(m, "forward") for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock"]):

        def draw() -> Any:
            return pipe(
                PROMPT,
                negative_prompt=NEGATIVE,
                num_inference_steps=plan.steps,
                height=plan.sides[0],
                width=plan.sides[0],
            )

        draw()
        began = time.perf_counter() - began
        seconds, runs, peak = measure(draw, rig.device, plan.runs, warmup=0, most_seconds=10)
    note = f"first picture {began:.0f} s"
    rig.results.add(Row("stock, float16 VAE, blocks compiled", seconds, runs, plan.steps, 1, tflop, peak, note))


def ours_steps(rig: Rig) -> None:
    """One guided step as the arms that lead to ours; the fastest becomes what the later arms draw with."""
    unet, side = rig.parts["unet"], rig.plan.sides[0]
    rig.time_step("step, guided: eager", rig.plain_step, 2, side)
    with mock.patch.object(graphs, "fastest_kernels", return_value=contextlib.nullcontext()):
        rig.time_step("step, guided: graph", rig.captured_step([]), 2, side)
    rig.free()
    candidates: list[tuple[Row, list[graphs.Region], torch.memory_format]] = []

    def attempt(name: str, regions: list[graphs.Region], layout: torch.memory_format) -> None:
        unet.to(memory_format=layout)
        torch._dynamo.reset()  # compiled code does not look at the weights' layout again
        row = rig.time_step(f"step, guided: {name}", rig.captured_step(regions), 2, side)
        rig.free()
        if "FAILED" not in row.note and "failed" not in row.note:
            candidates.append((row, regions, layout))

    plain, nhwc = torch.contiguous_format, torch.channels_last
    blocks = [(m, "forward") for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock"]
    attempt("graph, kernels chosen", [], plain)
    if rig.device.type == "cuda":
        attempt("graph, blocks compiled", blocks, plain)
        attempt("graph, regions compiled, channels_last", compiled_regions(unet), nhwc)
        attempt("graph, regions compiled", compiled_regions(unet), plain)
    fuse_attention_inputs(unet)
    _, regions, layout = min(candidates, key=lambda c: c[0].seconds)
    attempt("graph, the fastest + fused QKV", regions, layout)
    if rig.device.type == "cuda":
        before = torch.backends.cuda.preferred_blas_library()
        torch.backends.cuda.preferred_blas_library("cublaslt")
        rig.time_step("step, guided: the last, by cuBLASLt", rig.captured_step(regions), 2, side)
        torch.backends.cuda.preferred_blas_library(before)
        rig.free()
    best = min(candidates, key=lambda c: c[0].seconds)
    rig.results.note("chosen for ours", best[0].name)
    unet.to(memory_format=best[2])
    rig.step = rig.captured_step(best[1])


def ours_decode(rig: Rig) -> None:
    """One decode: eager, as a graph, and with compiled blocks in channels_last."""
    vae, side = rig.parts["vae"], rig.plan.sides[0]
    latents = torch.randn(1, 4, side // 8, side // 8, device=rig.device).to(rig.dtype)
    best: tuple[float, Any, torch.memory_format] = (float("inf"), rig.plain_decode, torch.contiguous_format)
    for name, regions, layout in (
        ("eager", None, torch.contiguous_format),
        ("graph", [], torch.contiguous_format),
        ("graph, compiled, channels_last", compiled_regions(vae), torch.channels_last),
    ):
        vae.to(memory_format=layout)
        decode = rig.plain_decode if regions is None else rig.captured_decode(regions)
        with torch.inference_mode():
            decode(latents)
            note = ""
            while isinstance(decode, Captured) and decode.warm():
                note = f"compile {decode.compile_state} {decode.state()['failed'] or ''}"
            seconds, runs, peak = measure(lambda d=decode: d(latents), rig.device, rig.plan.runs)
        rig.results.add(Row(f"decode: {name}", seconds, runs, 0, 1, rig.tflop("decode", 1, side), peak, note))
        if seconds < best[0]:
            best = (seconds, decode, layout)
        del decode
        rig.free()
    vae.to(memory_format=best[2])
    rig.decode = best[1]
    if isinstance(rig.decode, Captured):
        rig.decode.reset()


def ours_pictures(rig: Rig) -> None:
    """Whole pictures by our road, words encoded anew each time."""
    plan, side = rig.plan, rig.plan.sides[0]
    row = rig.time_picture(f"ours: {plan.steps} steps, guided", 1, side, plan.steps, 7.5)
    before = rig.results.find("stock pipeline")
    if before:
        rig.results.note("times faster than the stock pipeline", round(before.seconds / row.seconds, 2))
    rig.time_picture(f"ours: {plan.steps} steps, guided for 60 %", 1, side, plan.steps, 7.5, 0.6)
    rig.time_picture(f"ours: {plan.few} steps, no guidance", 1, side, plan.few, 1.0)
    if isinstance(rig.step, Captured):
        rig.results.note("step graphs", rig.step.state())
    if isinstance(rig.decode, Captured):
        rig.results.note("decode graphs", rig.decode.state())


def lora(rig: Rig) -> None:
    """Merged stacks against none and against unmerged PEFT adapters; change of stack; bit-equal restore."""
    unet, side = rig.parts["unet"], rig.plan.sides[0]
    stack = WeightStack({"unet": unet})
    inputs = rig.inputs(2, side)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"adapter{i}.safetensors" for i in range(3)]
        for i, file in enumerate(files):
            random_adapter(unet, file, RANK, seed=i)
        before = {name: weight.detach().clone() for name, weight in unet.named_parameters()}
        with torch.inference_mode():
            rig.step(*inputs)
            rig.warm()
            plain = rig.step(*inputs)
            began = time.perf_counter()
            stack.apply([(files[0], 1.0)])
            synchronize(rig.device)
            rig.results.note("first use of an adapter, read from disk, seconds", round(time.perf_counter() - began, 4))
            three = [(file, 0.5) for file in files]
            _time_stacks(
                rig, stack, inputs, {"no adapter": [], "1 adapter merged": three[:1], "3 adapters merged": three}
            )
            stack.apply(three)
            rig.results.note("the step sees the adapters", not torch.equal(rig.step(*inputs), plain))
            for name, one, other in (
                ("change of stack: 1 to another", [(files[0], 1.0)], [(files[1], 1.0)]),
                ("change of stack: 3 to other weights", three, [(file, 0.4) for file in files]),
                ("change of stack: 3 to none", three, []),
            ):
                seconds, runs, peak = _time_changes(rig, stack, one, other)
                rig.results.add(Row(name, seconds, runs, peak_gb=peak))
            stack.apply(three)
            stack.restore()
            same = all(torch.equal(before[name], weight) for name, weight in unet.named_parameters())
            rig.results.note("weights bit-equal after restore", same)
            rig.results.note("output bit-equal after restore", torch.equal(rig.step(*inputs), plain))
        del before
        rig.free()
        unmerged(rig, files)


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
    for name, took in times.items():
        first = next(iter(times.values()))
        median, least = statistics.median(took) / statistics.median(first), min(took) / min(first)
        note = f"/ none: median {median:.4f}, least {least:.4f}"
        rig.results.add(Row(f"step, guided: ours, {name}", statistics.median(took), len(took), 1, 1, tflop, note=note))


def _time_changes(rig: Rig, stack: WeightStack, one: Any, other: Any) -> tuple[float, int, float]:
    """Median time of a change from `one` to `other`, files being cached; the way back is not counted."""
    seconds: list[float] = []
    for _ in range(2 * rig.plan.runs):
        stack.apply(one)
        synchronize(rig.device)
        began = time.perf_counter()
        stack.apply(other)
        synchronize(rig.device)
        seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated(rig.device) / 1e9 if rig.device.type == "cuda" else 0.0
    return statistics.median(seconds), len(seconds), peak


def one_step(rig: Rig) -> None:
    """A single call, no warm-up: proof that the model fits and computes, where it is too slow for more."""
    side = rig.plan.sides[0]
    inputs = rig.inputs(1, side)
    began = time.perf_counter()
    with torch.inference_mode():
        finite = bool(rig.plain_step(*inputs).isfinite().all())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    rig.results.add(
        Row(
            "one call, one row",
            time.perf_counter() - began,
            1,
            1,
            1,
            rig.tflop("step", 1, side),
            peak,
            f"finite: {finite}",
        )
    )


def unmerged(rig: Rig, files: list[Path]) -> None:
    """What PEFT's adapters beside the weights cost a step."""
    pipe, side = rig.pipe(), rig.plan.sides[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for count in (1, 3):
            for i in range(0 if count == 1 else 1, count):
                pipe.load_lora_weights(str(files[i].parent), weight_name=files[i].name, adapter_name=f"a{i}")
            pipe.set_adapters([f"a{i}" for i in range(count)], [0.5] * count)
            rig.time_step(f"step, guided: PEFT, {count} unmerged, eager", rig.plain_step, 2, side)
            rig.time_step(f"step, guided: PEFT, {count} unmerged, graph", rig.captured_step([]), 2, side)
            rig.free()
        pipe.unload_lora_weights()


def batches(rig: Rig) -> None:
    """Several pictures of one request in one batch."""
    plan, side = rig.plan, rig.plan.sides[0]
    rig.time_step(f"step, guided, batch {plan.batch}: ours", rig.step, 2 * plan.batch, side)
    rig.time_picture(f"ours: batch {plan.batch}, {plan.steps} steps, guided", plan.batch, side, plan.steps, 7.5, runs=3)
    rig.time_step("step, one row: ours", rig.step, 1, side)


def sizes(rig: Rig) -> None:
    """The smaller canvases, and the tiny autoencoder."""
    plan = rig.plan
    for side in plan.sides[1:]:
        rig.time_picture(f"ours: {side}, {plan.steps} steps, guided", 1, side, plan.steps, 7.5)
        if rig.left < 60:
            return


def tiny_vae(rig: Rig) -> None:
    """Drafts: few steps and TAESDXL's decoder."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    with torch.device(rig.device):
        tiny: Any = AutoencoderTiny()
    tiny.to(rig.dtype).eval().requires_grad_(False)
    decode = Captured(lambda latents: tiny.decode(latents, return_dict=False)[0], rig.device)
    full, rig.decode = rig.decode, decode
    try:
        rig.time_picture(f"ours: {rig.plan.few} steps, tiny VAE", 1, rig.plan.sides[0], rig.plan.few, 1.0)
    finally:
        rig.decode = full


def profile(rig: Rig) -> None:
    """Where one guided step's time goes, kernel by kernel."""
    inputs = rig.inputs(2, rig.plan.sides[0])
    with torch.inference_mode():
        rig.step(*inputs)
        rig.warm()
        rig.results.note("profile of a guided step", profile_step(lambda: rig.step(*inputs), rig.device))


ARMS: tuple[tuple[str, Callable[[Rig], None], float], ...] = (
    ("stock", stock, 0),
    ("stock faster", stock_faster, 0),
    ("steps", ours_steps, 0),
    ("decode", ours_decode, 20),
    ("pictures", ours_pictures, 20),
    ("lora", lora, 25),
    ("profile", profile, 5),
    ("tiny vae", tiny_vae, 10),
    ("batches", batches, 90),
    ("sizes", sizes, 90),
    ("training", training.steps, 50),
    ("one step", one_step, 0),
)
"""Name, function, and the seconds without which it is not begun on a full-size model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=tuple(PLANS), default="full" if torch.cuda.is_available() else "tiny")
    parser.add_argument("--seconds", type=float, help="time for everything; what does not fit is skipped")
    parser.add_argument("--json", type=Path, help="also write the JSON line here, after every arm")
    parser.add_argument("--arms", nargs="*", help="only these: " + ", ".join(name for name, _, _ in ARMS))
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16 if options.size == "full" else torch.float32
    plan = PLANS[options.size]
    if options.seconds:
        plan = dataclasses.replace(plan, seconds=options.seconds)
    results = Results(device_name(device))
    print(f"{results.device}; {options.size} SDXL, random weights, {dtype}", flush=True)
    began = time.perf_counter()
    results.product = product_rate(device, dtype)
    results.copy = copy_rate(device)
    print(f"matrix product {results.product:.1f} TFLOP/s, copy {results.copy:.2f} TB/s", flush=True)
    rig = Rig(plan, device, dtype, results, began=began)
    results.note("seconds to build", round(time.perf_counter() - began, 1))
    for name, arm, needs in ARMS:
        if name not in options.arms if options.arms else name == "one step":
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
        print(f"  [{name}: {time.perf_counter() - start:.0f} s, {rig.left:.0f} s left]", flush=True)
        if options.json:
            options.json.write_text(results.to_json() + "\n", encoding="utf-8")
    print(results.to_json(), flush=True)


if __name__ == "__main__":
    main()
