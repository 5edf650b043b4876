"""Compute SDXL's attention layers with fewer and larger matrix products, over the existing weights.

Three replacements, each equal to the plain layer up to rounding: query, key and value of a self-attention as one
product; the cross-attention keys and values of a prompt, for all layers of a UNet, as one product instead of 140 small
ones; and a head that is wider than fused kernels support (the VAE's single head of 512) as matrix products. The layers
remain as views of shared storage, so a LoRA that is merged into them in place takes effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.sdxl.float8 import float8_linear, held, hold

WIDEST_FUSED_HEAD = 256
"""Width of a head up to which fused attention kernels are fast."""
SCORES = 1 << 26
"""Scores (queries x keys) that are held at a time, as float32: 256 MB."""


def fuse_attention_inputs(model: nn.Module) -> None:
    """Lays query, key and value weights of each self-attention side by side, and multiplies with all in one product.

    A layer that is wrapped (training) is called as itself. The weights' storage moves once, here: call this before
    graphs exist.
    """
    for module in _attentions(model):
        if module.is_cross_attention or module.to_q.bias is not None:
            continue
        common = _side_by_side([module.to_q, module.to_k, module.to_v])
        module.register_buffer("qkv_weight", common, persistent=False)
        hold(module, None)  # given one by Float8Layers
        module.set_processor(_FusedInputs())


class PromptKV:
    """Computes the keys and values of a prompt for every cross-attention of a UNet by one product.

    Within `given` the cross-attentions read them. Outside, or where a layer is wrapped, each layer computes its own.
    The weights' storage moves once, here: make this before graphs exist.
    """

    def __init__(self, unet: Any) -> None:
        crossed = [m for m in _attentions(unet) if m.is_cross_attention and m.to_k.bias is None]
        width = crossed[0].to_k.in_features if crossed else 0
        self._layers = [m for m in crossed if m.to_k.in_features == width]
        self._widths = [2 * m.to_k.out_features for m in self._layers]
        if self._layers:
            self._weight = _side_by_side([layer for m in self._layers for layer in (m.to_k, m.to_v)])
        for module in self._layers:
            # a buffer, so that compiled blocks take it as an input and share their code
            module.register_buffer("prompt_kv", None, persistent=False)
            module.register_buffer("image_kv", None, persistent=False)  # set by References.given
            module.set_processor(_GivenKV())

    @contextmanager
    def given(self, hidden: Tensor) -> Iterator[None]:
        """Provides the prompt's hidden states (batch, tokens, width) for one call of the UNet."""
        if not self._layers:
            yield
            return
        prompt_kv = nn.functional.linear(hidden, self._weight).split(self._widths, dim=-1)
        try:
            for module, own in zip(self._layers, prompt_kv, strict=True):
                module.prompt_kv = own
            yield
        finally:
            for module in self._layers:
                module.prompt_kv = None


def split_wide_heads(model: nn.Module) -> None:
    """Turns attention whose heads no fused kernel serves into matrix products on a GPU."""
    for module in _attentions(model):
        if module.inner_dim // module.heads > WIDEST_FUSED_HEAD and not module.is_cross_attention:
            module.set_processor(_MatrixProducts())


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Computes softmax(q k^T / sqrt(d)) v of (batch, tokens, d), some queries at a time; softmax in float32."""
    scaled = query * query.shape[-1] ** -0.5
    rows = max(128, SCORES // (query.shape[0] * key.shape[1]))
    mixed = []
    for part in scaled.split(rows, dim=1):
        half = part.is_cuda and part.dtype != torch.float32
        scores = torch.bmm(part, key.mT, out_dtype=torch.float32) if half else part.float() @ key.mT.float()
        mixed.append(scores.softmax(dim=-1).to(value.dtype) @ value)
    return torch.cat(mixed, dim=1)


class _FusedInputs:
    """diffusers' attention processor for `fuse_attention_inputs`; anything it does not support goes to the plain
    processor.
    """

    def __init__(self) -> None:
        self._plain = _plain_processor()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        plain = type(attn.to_q) is nn.Linear and type(attn.to_k) is nn.Linear and type(attn.to_v) is nn.Linear
        if not plain or encoder_hidden_states is not None or attention_mask is not None or hidden_states.ndim != 3:
            return self._plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        batch, tokens, _ = hidden_states.shape
        if (own := held(attn)) is None:
            qkv = nn.functional.linear(hidden_states, attn.qkv_weight)
        else:
            qkv = float8_linear(hidden_states, own)
        query, key, value = qkv.view(batch, tokens, 3, attn.heads, -1).permute(2, 0, 3, 1, 4).unbind()
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return attn.to_out[0](mixed.transpose(1, 2).reshape(batch, tokens, -1))


class _GivenKV:
    """diffusers' attention processor for `PromptKV`; calls the plain processor where no prompt is given."""

    def __init__(self) -> None:
        self._plain = _plain_processor()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        prompt_kv = attn.prompt_kv
        if prompt_kv is None or attention_mask is not None or hidden_states.ndim != 3:
            return self._plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        batch, tokens, _ = hidden_states.shape
        query = attn.to_q(hidden_states).view(batch, tokens, attn.heads, -1).transpose(1, 2)
        mixed = _attend_to(query, prompt_kv)
        if attn.image_kv is not None:
            mixed = mixed + _attend_to(query, attn.image_kv)
        return attn.to_out[0](mixed.transpose(1, 2).reshape(batch, tokens, -1))


def _attend_to(query: Tensor, kv: Tensor) -> Tensor:
    """Attends from queries (batch, heads, tokens, d) to keys and values that lie side by side in the last dimension."""
    batch, heads, _, width = query.shape
    key, value = kv.view(batch, kv.shape[1], 2, heads, width).permute(2, 0, 3, 1, 4).unbind()
    return nn.functional.scaled_dot_product_attention(query, key, value)


class _MatrixProducts:
    """diffusers' attention processor for `split_wide_heads`: a spatial self-attention with one head."""

    def __init__(self) -> None:
        self._plain = _plain_processor()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        served = hidden_states.is_cuda and hidden_states.ndim == 4 and attn.heads == 1 and attn.spatial_norm is None
        if not served or encoder_hidden_states is not None or attention_mask is not None:
            return self._plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return self.apply(attn, hidden_states)

    @staticmethod
    def apply(attn: Any, hidden_states: Tensor) -> Tensor:
        batch, channels, height, width = hidden_states.shape
        tokens = hidden_states.view(batch, channels, height * width)
        if attn.group_norm is not None:
            tokens = attn.group_norm(tokens)
        tokens = tokens.transpose(1, 2)
        mixed = attend(attn.to_q(tokens), attn.to_k(tokens), attn.to_v(tokens))
        result = attn.to_out[0](mixed).transpose(1, 2).reshape(batch, channels, height, width)
        return (result + hidden_states if attn.residual_connection else result) / attn.rescale_output_factor


def _attentions(model: nn.Module) -> list[Any]:
    from diffusers.models.attention_processor import Attention

    return [module for module in model.modules() if isinstance(module, Attention)]


def _side_by_side(layers: list[Any]) -> Tensor:
    """Returns the layers' weights in one storage, of which they become views."""
    common = torch.cat([layer.weight.detach() for layer in layers])
    for layer, part in zip(layers, common.split([layer.out_features for layer in layers]), strict=True):
        layer.weight.data = part
    return common


def _plain_processor() -> Any:
    from diffusers.models.attention_processor import AttnProcessor2_0

    return AttnProcessor2_0()
