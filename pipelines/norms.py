"""Group norm for compiled code over channels_last: moments of each channel first, in the order in which memory lies.

A group is a few channels of every pixel. What inductor makes of the plain norm walks pixel by pixel through one channel
at a time, and moves each line of memory several times. Here the moments of all channels are taken in one pass, and
joined to those of their groups. Outside compiled code the layer is the plain one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelMoments(nn.GroupNorm):
    """nn.GroupNorm, whose compiled form is `group_norm`."""

    def forward(self, input: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() or input.ndim != 4 or not self.affine:
            return super().forward(input)
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def read_channels_in_order(model: nn.Module) -> None:
    """Every group norm of the model takes the moments of its channels first, where it is compiled."""
    for module in model.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = ChannelMoments  # the same parameters under the same names


def group_norm(pixels: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """As torch's group norm, of (batch, channels, h, w); moments in float32."""
    batch, channels = pixels.shape[:2]
    variance, mean = torch.var_mean(pixels.float(), dim=(2, 3), correction=0)
    mean, variance = mean.view(batch, groups, -1), variance.view(batch, groups, -1)
    center = mean.mean(dim=2, keepdim=True)
    spread = (variance + (mean - center).square()).mean(dim=2, keepdim=True)
    # x -> (x - center) / sqrt(spread + eps) * weight + bias, as one factor and one summand a channel
    factor = (spread + eps).rsqrt() * weight.float().view(1, groups, -1)
    summand = bias.float().view(1, groups, -1) - center * factor
    factor, summand = factor.view(batch, channels, 1, 1), summand.view(batch, channels, 1, 1)
    return torch.addcmul(summand, pixels.float(), factor).to(pixels.dtype)
