"""Kernels of one call, summed by what they do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

KINDS = (
    # first, since a compiled kernel is named after all that is fused into it
    ("compiled norm", r"^triton.*norm"),
    ("compiled pointwise", r"^triton"),
    ("attention", r"flash|fmha|attention|sdpa|cudnn_generated_fort_native_sdpa"),
    ("layout copy", r"nchwToNhwc|nhwcToNchw|transpose|convert_layout"),
    ("convolution", r"conv|wgrad|dgrad|implicit|fprop|winograd|xmma_fprop"),
    ("matrix product", r"gemm|cutlass|nvjet|splitK|cublas|mm_kernel|addmm|matmul"),
    ("normalisation", r"norm|moments|welford|var_mean|Rowwise"),
    ("copy", r"copy|memcpy|memset|cat"),
    ("pointwise", r"elementwise|vectorized|upsample|gelu|silu"),
)


def profile_step(call: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Milliseconds a kind of kernel, the number of kernels, and the ten longest by name."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    for _ in range(3):
        call()
    with profiler(activities=[activity]) as trace:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    kinds: dict[str, float] = defaultdict(float)
    names: dict[str, float] = defaultdict(float)
    kernels = 0
    for event in trace.key_averages():
        took = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        if not took:
            continue
        kind = next((kind for kind, mark in KINDS if re.search(mark, event.key)), "other")
        kinds[kind] += took / 1000
        names[event.key[:70]] += took / 1000
        kernels += event.count
    longest = sorted(names.items(), key=lambda item: -item[1])[:10]
    return {
        "milliseconds": {kind: round(ms, 2) for kind, ms in sorted(kinds.items(), key=lambda item: -item[1])},
        "kernels": kernels,
        "longest": [f"{ms:.2f} ms {name}" for name, ms in longest],
    }
