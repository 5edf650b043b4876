"""The bench's arms of float8: products of the step's shapes, a step, whole pictures, and the error against float16."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# pyright: reportPrivateImportUsage=false
from pipelines.sdxl.float8 import E4M3, LARGEST, Float8Linear
from tests.bench.measure import Row, measure
from tests.bench.sdxl.drawing import profile_call
from tests.bench.sdxl.projection import project
from tests.bench.sdxl.rig import Rig


def products(rig: Rig) -> None:
    """Rows for all products of one guided step that float8 replaces, by each way of multiplying them."""
    names = {"float16": _half, "float8, a scale a tensor": _tensor_scales, "float8, a scale a row": _row_scales}
    shapes = _shapes(rig)
    tflop = sum(2 * m * n * k * count for (m, n, k), count in shapes.items()) / 1e12
    for name, make in names.items():
        total, note = 0.0, []
        for (m, n, k), count in shapes.items():
            call = make(torch.randn(m, k, device=rig.device), torch.randn(n, k, device=rig.device), rig.dtype)
            seconds = _replayed(call, rig.device)
            total += seconds * count
            note.append(f"{m}x{n}x{k}: {2 * m * n * k / seconds / 1e12:.0f}")
        rig.results.add(Row(f"products of a step: {name}", total, 1, 1, 1, tflop, note=", ".join(note)))


def _shapes(rig: Rig) -> dict[tuple[int, int, int], int]:
    """(rows, out, in) -> how many of the products of one guided step, as the model's blocks say."""
    counts: dict[tuple[int, int, int], int] = {}
    size, cells = rig.plan.size, rig.plan.sides[0] // 8
    for module in rig.resident.unet.modules():
        if type(module).__name__ != "BasicTransformerBlock":
            continue
        width = module.attn1.to_out[0].in_features
        rows = 2 * (cells >> size.widths.index(width)) ** 2
        for out, into, times in ((3, 1, 1), (1, 1, 3), (8, 1, 1), (1, 4, 1)):
            shape = (rows, out * width, into * width)
            counts[shape] = counts.get(shape, 0) + times
    return counts


def _half(a: Tensor, b: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    x, w = a.to(dtype), b.to(dtype)
    return lambda: torch.nn.functional.linear(x, w)


def _tensor_scales(a: Tensor, b: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    one = torch.ones((), device=a.device)
    x, w = a.to(E4M3), b.to(E4M3)
    return lambda: torch._scaled_mm(x, w.t(), one, one, out_dtype=dtype, use_fast_accum=a.is_cuda)


def _row_scales(a: Tensor, b: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    rows, columns = (x.abs().amax(dim=1, keepdim=True) / LARGEST for x in (a, b))
    x, w = (a / rows).to(E4M3), (b / columns).to(E4M3)
    scales = columns.t().contiguous()
    return lambda: torch._scaled_mm(x, w.t(), rows, scales, out_dtype=dtype, use_fast_accum=a.is_cuda)


def _replayed(call: Callable[[], Any], device: torch.device, times: int = 20) -> float:
    """Seconds of one call among `times` in a row, as a graph on a GPU."""
    if device.type != "cuda":
        return measure(call, device, 3, 1)[0]
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            call()
    return measure(graph.replay, device, 5, 2)[0] / times


def float8(rig: Rig) -> None:
    """Rows for a step and for pictures in float8, and their difference from the same weights in float16."""
    plan, side = rig.plan, rig.plan.sides[0]
    low = rig.low
    served = sum(isinstance(module, Float8Linear) for module in low.resident.unet.modules())
    rig.results.note("float8: layers beside the joined inputs", served)
    low.time_step("float8: step, guided", 2, side)
    low.time_picture(f"float8: {plan.steps} steps, guided", 1, side, plan.steps, 7.5)
    errors(rig, low)
    low.time_picture(f"float8: {plan.steps} steps, guided for 60 %", 1, side, plan.steps, 7.5, 0.6)
    low.time_picture(f"float8: {plan.few} steps, no guidance", 1, side, plan.few, 1.0)
    low.time_step("float8: step, one row", 1, side)
    step, one_row, decode = (profile_call(low, rows, ", float8") for rows in (2, 1, 0))
    project(rig.results, plan, step, one_row, decode, "float8")  # taken as twice float16's rate there as well
    rig.results.note("graphs, float8", low.fast.state())


@torch.inference_mode()
def errors(rig: Rig, low: Rig) -> None:
    """Notes how far float8 is from float16 on the same latents, and the pictures of one seed from each other."""
    side = rig.plan.sides[0]
    for timestep in (981.0, 501.0, 41.0):
        latents, _, *rest = rig.inputs(2, side)
        inputs = (latents, torch.tensor(timestep), *rest)
        whole, small = rig.step(*inputs).float(), low.step(*inputs).float()
        rig.results.note(f"float8: error at timestep {timestep:.0f}", float((small - whole).norm() / whole.norm()))
    for steps, guidance in ((rig.plan.steps, 7.5), (rig.plan.few, 1.0)):
        drawn = [one.draw(1, side, steps, guidance, number=steps).images[0] for one in (rig, low)]
        pictures = [torch.from_numpy(image).float() for image in drawn]
        difference = pictures[0] - pictures[1]
        psnr = 10 * math.log10(255**2 / max(float(difference.square().mean()), 1e-9))
        mean = float(difference.abs().mean())
        rig.results.note(f"float8: picture of {steps} steps, mean difference of 255, PSNR", (mean, psnr))
