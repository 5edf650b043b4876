"""Multiply the linear layers of SDXL's transformer blocks in float8, over the existing weights.

Weights are rounded to e4m3 with one scale an output channel, activations with one scale a row, products are summed in
float32 (torch._scaled_mm). Convolutions, norms, attention, embeddings, and the keys and values of the prompt stay in
the model's dtype. The weights themselves stay where they are, so LoRAs are merged into them as before; `refresh`
rounds them again, into the same storage, which keeps graphs valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0
"""The largest finite e4m3 number."""
UNIT = 16
"""torch._scaled_mm wants widths that are multiples of this."""


def scaled_linear(
    x: Tensor, weight: Tensor, scales: Tensor, bias: Tensor | None = None, out: torch.dtype | None = None
) -> Tensor:
    """x @ weight.T + bias in float8, in x's dtype.

    Args:
        x: (..., in).
        weight: (out, in) in e4m3.
        scales: (1, out) in float32: what each row of `weight` was divided by.
        bias: (out,) or None.
        out: dtype of the product (`product_dtype`); None: x's.
    """
    rows = x.reshape(-1, x.shape[-1])
    factor = rows.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    small = (rows.float() / factor).to(E4M3)
    product = torch._scaled_mm(small, weight.t(), factor, scales, out_dtype=out or x.dtype, use_fast_accum=x.is_cuda)
    result = product.to(x.dtype).view(*x.shape[:-1], weight.shape[0])
    return result if bias is None else result + bias


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a weight (out, in) in e4m3 and its scales (1, out), for `scaled_linear`."""
    full = weight.detach().float()
    scales = full.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (full / scales).to(E4M3), scales.t().contiguous()


def product_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Returns `dtype` where the device's library writes such products in it, else bfloat16.

    Raises:
        RuntimeError: the device multiplies no float8 (before compute capability 8.9).
    """
    small, scales = rounded(torch.ones(UNIT, UNIT, device=device))
    for out in (dtype, torch.bfloat16):
        try:
            torch._scaled_mm(small, small.t(), scales.t(), scales, out_dtype=out)
            return out
        except (RuntimeError, ValueError) as error:
            refused = error
    raise RuntimeError(f"{device} multiplies no float8: {str(refused).splitlines()[0]}") from refused


class Float8Linear(nn.Linear):
    """An nn.Linear that multiplies in float8. Made from one by `Float8Layers`; its weight and bias stay."""

    float8_weight: Tensor
    float8_scales: Tensor
    float8_out: torch.dtype

    def forward(self, input: Tensor) -> Tensor:
        return scaled_linear(input, self.float8_weight, self.float8_scales, self.bias, self.float8_out)


class Float8Layers:
    """The layers of a UNet that multiply in float8: make this after `fuse_attention_inputs`, before graphs exist.

    Query, key and value of a self-attention are one product; the layers themselves stay plain there. Costs a byte a
    weight (2.1 GB for SDXL).
    """

    def __init__(self, unet: nn.Module) -> None:
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        first = next(unet.parameters())
        self._out = product_dtype(first.device, first.dtype)
        for block in unet.modules():
            if type(block).__name__ == "BasicTransformerBlock":
                self._convert(block)

    @torch.no_grad()
    def refresh(self) -> None:
        """Rounds the weights again, after a LoRA stack changed them."""
        for weight, small, scales in self._pairs:
            again, own = rounded(weight)
            small.copy_(again)
            scales.copy_(own)

    def _convert(self, block: Any) -> None:
        common = getattr(block.attn1, "qkv_weight", None)
        if common is not None and common.shape[1] % UNIT == 0:
            block.attn1.float8_weight, block.attn1.float8_scales = self._kept(common)
            block.attn1.float8_out = self._out
        for layer in _layers(block):
            if type(layer) is nn.Linear and layer.in_features % UNIT == layer.out_features % UNIT == 0:
                small, scales = self._kept(layer.weight.detach())
                layer.register_buffer("float8_weight", small, persistent=False)
                layer.register_buffer("float8_scales", scales, persistent=False)
                layer.__class__ = Float8Linear
                layer.float8_out = self._out

    def _kept(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        small, scales = rounded(weight)
        self._pairs.append((weight, small, scales))
        return small, scales


def _layers(block: Any) -> Iterator[nn.Module]:
    yield block.attn1.to_out[0]
    if block.attn2 is not None:
        yield block.attn2.to_q
        yield block.attn2.to_out[0]
    yield from (module for module in cast("nn.Module", block.ff).modules() if isinstance(module, nn.Linear))
