"""Call a UNet on the two halves of its rows at a time, on two streams.

In one chain of kernels each waits for the one before: a large card is idle at the end of each. Two chains that do not
wait for each other fill those gaps, if half of the rows is enough to fill the card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LEAST_ROWS = 4
"""A guided picture is two rows: apart they were slower on an H200 in every measured case."""


def in_halves(call: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    """Returns a function that is `call` on each half of the rows; its tensors of no dimensions go to both.

    The second half runs on a stream of its own on CUDA. The number of rows is even.
    """
    beside: Any = None

    def halved(*inputs: Tensor) -> Tensor:
        nonlocal beside
        middle = len(inputs[0]) // 2
        first, second = (
            tuple(x if x.ndim == 0 else x[part] for x in inputs) for part in (slice(middle), slice(middle, None))
        )
        if device.type != "cuda":
            return torch.cat([call(*first), call(*second)])
        beside = beside or torch.cuda.Stream(device)
        here = torch.cuda.current_stream(device)
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            low = call(*second)
        high = call(*first)
        here.wait_stream(beside)
        return torch.cat([high, low])

    return halved


def can_halve(inputs: tuple[Tensor, ...]) -> bool:
    """Returns whether halves are worth a trial: an even number of rows, LEAST_ROWS at least."""
    return len(inputs[0]) >= LEAST_ROWS and len(inputs[0]) % 2 == 0
