"""Train one model in several processes, one for each GPU, started by torchrun.

Every worker trains by itself for `EVERY` steps, then all take the mean of their weights ("local SGD", Stich 2019). The
exchange is in host memory and outside the step, so that a step stays a single CUDA graph.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, distributed

EVERY = 200
"""Steps between two meetings."""


class Workers:
    """This process' place among the workers: `rank` of `count`; rank 0 reports and saves."""

    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1:
            distributed.init_process_group("gloo")

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def device(self, kind: str) -> torch.device:
        """Returns this worker's own device."""
        return torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces the tensors by their mean over all workers, in place."""
        if self.count == 1:
            return
        with torch.no_grad():
            flat = torch.cat([t.detach().reshape(-1) for t in tensors]).cpu()
            distributed.all_reduce(flat)
            flat = (flat / self.count).to(tensors[0].device)
            for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def agree(self, value: int) -> int:
        """Returns the first worker's value to all."""
        if self.count == 1:
            return value
        said = torch.tensor(value)
        distributed.broadcast(said, 0)
        return int(said)

    def leave(self) -> None:
        """Ends the talk."""
        if self.count > 1:
            distributed.destroy_process_group()
