"""Upsample by one transposed convolution instead of nearest neighbours and a 3x3 convolution after them.

Each output pixel of that pair sees 2x2 different input pixels through sums of the 3x3 weights, so a 4x4 kernel of such
sums with stride 2 gives the same values up to rounding, with 4/9 of the products and without the enlarged copy. In the
decoder, where the pair is compiled with its bias, it gained nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SUMS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""How each row (and column) of the 4x4 kernel is summed from those of the 3x3 kernel."""


def joined_weight(weight: Tensor) -> Tensor:
    """Sums a 3x3 weight (out, in, 3, 3) to that of the transposed convolution (in, out, 4, 4), in its dtype."""
    sums = torch.tensor(SUMS, device=weight.device)
    joined = torch.einsum("ay,bx,oiyx->ioab", sums, sums, weight.float())
    return joined.to(weight.dtype, memory_format=torch.channels_last)


class JoinedUpsampling:
    """The upsampling layers of a UNet as transposed convolutions. Make this before graphs exist.

    A layer is called as itself where its convolution is wrapped (training), wraps (`seamless.circular`) or learns, and
    where a size is asked for that is not twice the input's.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module) -> None:
        self._layers: list[Any] = [m for m in model.modules() if type(m).__name__ == "Upsample2D" and _serves(m)]
        for layer in self._layers:
            layer.__class__ = _joined_class()
            layer.register_buffer("joined_weight", joined_weight(layer.conv.weight), persistent=False)

    @torch.no_grad()
    def refresh(self) -> None:
        """Sums the weights again into the same storage, after a LoRA stack changed them."""
        for layer in self._layers:
            layer.joined_weight.copy_(joined_weight(layer.conv.weight))


def _serves(layer: Any) -> bool:
    conv = getattr(layer, "conv", None)
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == (3, 3)
        and layer.norm is None
        and layer.interpolate
        and not layer.use_conv_transpose
    )


@cache
def _joined_class() -> type[Any]:
    from diffusers.models.upsampling import Upsample2D

    class JoinedUpsample(Upsample2D):
        def forward(self, hidden_states: Tensor, output_size: Any = None, *args: Any, **kwargs: Any) -> Tensor:
            conv: Any = self.conv
            doubled = output_size is None or tuple(output_size) == tuple(2 * n for n in hidden_states.shape[-2:])
            plain = type(conv) is nn.Conv2d and "_conv_forward" not in conv.__dict__
            if not doubled or not plain or torch.is_grad_enabled():
                return super().forward(hidden_states, output_size, *args, **kwargs)
            weight: Any = self.joined_weight
            return functional.conv_transpose2d(hidden_states, weight, conv.bias, stride=2, padding=1)

    return JoinedUpsample
