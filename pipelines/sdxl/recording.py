"""Record work as a CUDA graph: the one recorder for drawing and for both trainers.

PyTorch's rules are in torch/cuda/graphs.py: run the work on a side stream first, then capture it. The recorded work
reads and writes fixed tensors; a replay does all of it with one launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def run_aside(work: Callable[[], T], device: torch.device) -> T:
    """Runs `work` once on a side stream, the warm-up that a capture needs."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        result = work()
    torch.cuda.current_stream(device).wait_stream(stream)
    return result


def record(work: Callable[[], T], pool: Any = None) -> tuple[torch.cuda.CUDAGraph, T]:
    """Captures `work` without running it. Returns the graph and the tensors that each replay fills.

    Args:
        work: calls on fixed CUDA tensors; it must have run once (`run_aside`).
        pool: a memory pool that several graphs share; None: one of its own.

    Raises:
        RuntimeError: the work does something that cannot be captured.
    """
    graph = torch.cuda.CUDAGraph()
    # Other threads (a training preview, a gallery) may allocate too: only this thread's calls are captured.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = work()
    return graph, result
