"""Multiply the linear layers after SDXL's layer norms in float8, over the existing weights.

Both operands are e4m3, products are summed in float32 (torch._scaled_mm). A layer norm's output has a norm of at most
sqrt(width) before its gain, which bounds every input of the layers that follow: its columns are divided by that bound,
and the weight's columns multiplied. So scales follow from the weights alone: nothing is calibrated, nothing overflows,
and rounding an input is fused into the norm or the GEGLU before it. A scale a row, taken from the values (one more
reduction each), cost more on a GPU than the products gained. Query, key, value, the cross-attention's query and both
layers of the feed-forward are multiplied so; all else stays in the model's dtype. The weights stay where they are, so
LoRAs are merged into them as before; `refresh` rounds them again, into the same storage, which keeps graphs valid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0
"""The largest finite e4m3 number."""
UNIT = 16
"""torch._scaled_mm wants widths that are multiples of this."""
MARGIN = 1.125
"""Room above the bounds for values that were rounded before."""


class Float8Weight(NamedTuple):
    """A weight (out, in) in e4m3: its columns times `1 / inverse`, all divided by `scale`.

    inverse (in,), scale () and one () are float32. The attributes of a module that holds it are `NAMES`.
    """

    weight: Tensor
    inverse: Tensor
    scale: Tensor
    one: Tensor


NAMES = ("float8_weight", "float8_inverse", "float8_scale", "float8_one")


def hold(module: nn.Module, own: Float8Weight | None) -> None:
    """Gives a module the weight as buffers, so that compiled blocks take it as an input and share their code."""
    for name, value in zip(NAMES, own or (None,) * len(NAMES), strict=True):
        module.register_buffer(name, value, persistent=False)


def held(module: Any) -> Float8Weight | None:
    """Returns the weight that `hold` gave a module."""
    if module.float8_weight is None:
        return None
    return Float8Weight(module.float8_weight, module.float8_inverse, module.float8_scale, module.float8_one)


def float8_linear(x: Tensor, own: Float8Weight, bias: Tensor | None = None) -> Tensor:
    """Computes x @ weight.T + bias in float8, in x's dtype. x: (..., in)."""
    rows = x.reshape(-1, x.shape[-1])
    small = (rows.float() * own.inverse).clamp(-LARGEST, LARGEST).to(E4M3)
    if x.is_cuda:
        result = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
            small, own.weight.t(), own.one, own.scale, bias=bias, out_dtype=x.dtype, use_fast_accum=True
        )
    else:  # the same numbers; torch's own product takes seconds on a CPU
        result = nn.functional.linear(small.float(), own.weight.float() * own.scale).to(x.dtype)
        result = result if bias is None else result + bias
    return result.view(*x.shape[:-1], own.weight.shape[0])


def rounded(weight: Tensor, bound: Tensor) -> Float8Weight:
    """Rounds a weight (out, in) whose inputs are at most `bound` (in,) in size."""
    columns = (bound * (MARGIN / LARGEST)).clamp(min=1e-9)
    full = weight.float() * columns
    scale = (full.abs().amax() / LARGEST).clamp(min=1e-12)
    return Float8Weight((full / scale).to(E4M3), 1 / columns, scale, torch.ones_like(scale))


def norm_bound(norm: Any) -> Tensor:
    """Bounds the size of each output of a layer norm: (width,), float32."""
    return norm.weight.float().abs() * norm.weight.shape[0] ** 0.5 + norm.bias.float().abs()


def linear_bound(layer: nn.Linear, norm: Any) -> Tensor:
    """Bounds the size of each output of a linear layer after a layer norm: (out,), float32."""
    weight = layer.weight.float()
    length = (weight * norm.weight.float()).norm(dim=1) * norm.weight.shape[0] ** 0.5
    fixed = weight @ norm.bias.float()
    return length + (fixed if layer.bias is None else fixed + layer.bias.float()).abs()


def geglu_bound(layer: nn.Linear, norm: Any) -> Tensor:
    """Bounds the size of each output of a GEGLU after a layer norm; gelu(x) is at most x, and at least -0.17."""
    value, gate = linear_bound(layer, norm).chunk(2)
    return value * gate.clamp(min=0.17)


class Float8Linear(nn.Linear):
    """An nn.Linear that multiplies in float8. Made from one by `Float8Layers`; its weight and bias stay."""

    def forward(self, input: Tensor) -> Tensor:
        own = held(self)
        assert own is not None
        return float8_linear(input, own, self.bias)


class Float8Layers:
    """The layers of a UNet that multiply in float8: make this after `fuse_attention_inputs`, before graphs exist.

    Costs a byte a weight (1.7 GB for SDXL).

    Raises:
        RuntimeError: the device multiplies no float8 (before compute capability 8.9).
    """

    @torch.no_grad()
    def __init__(self, unet: nn.Module) -> None:
        self._kept: list[tuple[Float8Weight, Callable[[], Float8Weight]]] = []
        first = next(unet.parameters())
        probe = torch.ones(UNIT, UNIT, device=first.device, dtype=first.dtype)
        float8_linear(probe, rounded(probe, torch.ones(UNIT, device=first.device)))
        for block in unet.modules():
            if type(block).__name__ == "BasicTransformerBlock":
                self._convert(block)

    @torch.no_grad()
    def refresh(self) -> None:
        """Rounds the weights again, after a LoRA stack changed them."""
        for own, again in self._kept:
            for buffer, value in zip(own, again(), strict=True):
                buffer.copy_(value)

    def _convert(self, block: Any) -> None:
        attention, width = block.attn1, block.norm1.weight.shape[0]
        if width % UNIT:
            return
        common = getattr(attention, "qkv_weight", None)
        if common is not None:
            self._keep(attention, lambda: rounded(common, norm_bound(block.norm1)))
        up, down = block.ff.net[0].proj, block.ff.net[2]
        self._replace(up, lambda: rounded(up.weight, norm_bound(block.norm3)))
        self._replace(down, lambda: rounded(down.weight, geglu_bound(up, block.norm3)))
        if block.attn2 is not None:
            query = block.attn2.to_q
            self._replace(query, lambda: rounded(query.weight, norm_bound(block.norm2)))

    def _replace(self, layer: nn.Linear, make: Callable[[], Float8Weight]) -> None:
        layer.__class__ = Float8Linear
        self._keep(layer, make)

    def _keep(self, module: nn.Module, make: Callable[[], Float8Weight]) -> None:
        own = make()
        hold(module, own)
        self._kept.append((own, make))
