"""Draw pictures that wrap: every convolution pads circularly, per axis, during one drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.sdxl.denoise import Conditioning, Predict


@contextmanager
def circular(modules: Sequence[nn.Module], tile_x: bool, tile_y: bool) -> Iterator[None]:
    """Makes every padded Conv2d of the modules wrap in the given axes, within the context.

    The modules are restored afterwards, also when the drawing fails. Compiled or captured calls are not affected.
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
    """Wraps `predict`: shifts the latents by a random amount at each step, in the axes that wrap, and shifts back.

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
