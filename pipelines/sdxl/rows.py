"""Make each row of a UNet's batch independent of the number of rows, from two rows on, on a CPU.

A matrix library sums in another order for another number of rows, so a picture of a small batch may differ by a pixel
from the same one in a large batch. In this UNet only layers with few rows do so: those on the timestep's embedding
(their rows are the batch) and the 1x1 convolutions. They work on blocks of one size here. Attention and 3x3
convolutions of two rows or more keep their order by themselves (measured with oneDNN and MKL of torch 2.15, AVX-512; a
test holds it).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

BLOCK = 16
"""Rows of a matrix product: a guided batch of eight, so that it costs what it did."""


def fix_row_order(unet: nn.Module) -> None:
    """Replaces the calls of the layers in question. Weights may change afterwards; dtype and shapes stay."""
    for module in unet.modules():
        # the instance's own attribute shadows the class's method
        if isinstance(module, nn.Linear):
            setattr(module, "forward", _by_blocks(module, module.forward))  # noqa: B010 (pyright wants a method)
        elif isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            setattr(module, "forward", _one_by_one(module.forward))  # noqa: B010


def _by_blocks(module: nn.Linear, call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(rows: Tensor) -> Tensor:
        if rows.ndim != 2:
            return call(rows)
        count = len(rows)
        padded = rows.new_zeros((-(-count // BLOCK) * BLOCK, module.in_features))
        padded[:count] = rows
        return torch.cat([call(block) for block in padded.split(BLOCK)])[:count]

    return forward


def _one_by_one(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(pictures: Tensor) -> Tensor:
        return torch.cat([call(picture) for picture in pictures.split(1)])

    return forward
