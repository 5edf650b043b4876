"""Run a training step as a CUDA graph, because an eager SDXL step waits for the CPU that launches its kernels.

On an H100 an eager step took 852 ms and a replayed one 132 ms. There is one graph for each shape of the inputs. Where
recording fails, and on a CPU, every call is the plain one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipelines.sdxl.recording import record, run_aside

logger = logging.getLogger(__name__)

MOST_GRAPHS = 6
"""Most shapes that are recorded; calls of other shapes are plain."""


class Replayed:
    """Calls `work(*inputs) -> loss` through a CUDA graph. It may only write to tensors that stay in place.

    The first call of a shape is a plain one, and the graph is recorded after it. Recording runs nothing, so each call
    is one step. The inputs are on the device.
    """

    def __init__(self, work: Callable[..., Tensor], device: torch.device) -> None:
        self._work, self._device = work, device
        self.graphs: dict[tuple[Any, ...], tuple[tuple[Tensor, ...], Tensor, Any]] = {}
        self._pool: Any = None
        self.failed = ""
        """Why recording failed; empty where it did not."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self._device.type != "cuda" or self.failed:
            return self._work(*inputs)
        shape = tuple((x.shape, x.dtype) for x in inputs)
        if shape in self.graphs:
            buffers, loss, graph = self.graphs[shape]
            for buffer, value in zip(buffers, inputs, strict=True):
                buffer.copy_(value)
            graph.replay()
            return loss
        loss = run_aside(lambda: self._work(*inputs).clone(), self._device)
        if len(self.graphs) < MOST_GRAPHS:
            try:
                self.graphs[shape] = self.capture(inputs)
            except Exception as error:  # plain steps still train
                logger.exception("Recording a training step failed; training continues with plain steps")
                self.failed = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        return loss

    def forget(self) -> None:
        """Drops the graphs, because a tensor that they write to was replaced."""
        self.graphs.clear()
        self._pool = None

    def capture(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor, Any]:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()  # the graph takes memory of its own
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        buffers = tuple(x.clone() for x in inputs)
        graph, loss = record(lambda: self._work(*buffers), self._pool)
        return buffers, loss, graph
