"""Pictures that wrap: every convolution pads with the other edge, per axis, for as long as a drawing lasts.

Owns the change to the modules and its undoing. Knows nothing of tiles, Wang edges or finishing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.sdxl.denoise import Conditioning, Predict


@contextmanager
def circular(modules: Sequence[nn.Module], tile_x: bool, tile_y: bool) -> Iterator[None]:
    """Within the context every padded Conv2d of the modules wraps in the axes asked for, and pads zeros in the others.

    The modules are what they were afterwards, also when the drawing fails. Compiled or captured calls do not see it.
    """
    changed: list[nn.Conv2d] = []
    try:
        if tile_x or tile_y:
            for convolution in (m for module in modules for m in module.modules() if isinstance(m, nn.Conv2d)):
                if any(convolution._reversed_padding_repeated_twice):
                    # the instance's own attribute shadows the class's method until it is deleted
                    convolution._conv_forward = _wrapping(convolution, tile_x, tile_y)
                    changed.append(convolution)
        yield
    finally:
        for convolution in changed:
            del convolution._conv_forward


def _wrapping(convolution: nn.Conv2d, tile_x: bool, tile_y: bool):
    left, right, top, bottom = convolution._reversed_padding_repeated_twice
    x_mode, y_mode = ("circular" if tile else "constant" for tile in (tile_x, tile_y))

    def forward(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        values = functional.pad(input, (left, right, 0, 0), mode=x_mode)
        values = functional.pad(values, (0, 0, top, bottom), mode=y_mode)
        return functional.conv2d(values, weight, bias, convolution.stride, 0, convolution.dilation, convolution.groups)

    return forward


def rolled(predict: Predict, seed: int, tile_x: bool, tile_y: bool) -> Predict:
    """`predict` on latents that are shifted by a random amount each step, in the axes that wrap, and shifted back.

    A UNet halves the picture at fixed places; the shift keeps those from showing as a seam.
    """
    generator = torch.Generator().manual_seed(seed)

    def shifted(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = latents.shape[-2:]
        dy = int(torch.randint(height, (), generator=generator)) if tile_y else 0
        dx = int(torch.randint(width, (), generator=generator)) if tile_x else 0
        prediction = predict(torch.roll(latents, (dy, dx), (-2, -1)), timestep, conditioning)
        return torch.roll(prediction, (-dy, -dx), (-2, -1))

    return shifted
