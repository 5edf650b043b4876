"""Compute the loss of one batch of the embedded model, from packed pictures to a scalar.

It adds noise, augments on the device, drops captions and weights the loss, all without a host sync, so that a CUDA
graph can record it.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from pipelines.embedded.architecture import SPECIAL, build_scheduler
from pipelines.embedded.canvas import SIZE
from pipelines.embedded.training.data import Packed

DROPPED = 0.12
"""Share of captions that are replaced by zeros, so that guidance has something to push away from."""

LEAST_WEIGHT = 0.1
"""Floor under the min-SNR weight: it alone would teach nothing about the first step, which starts at SNR 0."""

SIZELESS = 0.1
"""Share of pictures whose native size is not told (0): what a thing is is learned apart from its size."""

MOST_SHIFT = 3
"""Pixels (native ones of a 16 px sprite count double) by which a picture moves sideways, within its clear margins."""

DRAWS = 8
"""Uniform numbers that one picture of a batch needs."""


def text_states(encoder: CLIPTextModel | CLIPTextModelWithProjection, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Encodes (batch, 16) ids as (hidden_states[-2], pooled output): (batch, 16, width), (batch, width).

    The same numbers as the class's own forward, without the Python around it that neither a compiler nor a CUDA graph
    likes; a test holds the two together.
    """
    trunk: Any = encoder.text_model if isinstance(encoder, CLIPTextModelWithProjection) else encoder
    hidden = trunk.embeddings(input_ids=ids)
    before = hidden
    for layer in trunk.encoder.layers:
        before, attention, x = hidden, layer.self_attn, layer.layer_norm1(hidden)
        q, k, v = (
            project(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        hidden = hidden + attention.out_proj(mixed)
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    end = (ids == SPECIAL.index("</s>")).int().argmax(dim=-1)
    pooled = trunk.final_layer_norm(hidden)[torch.arange(len(ids), device=ids.device), end]
    if isinstance(encoder, CLIPTextModelWithProjection):
        pooled = encoder.text_projection(pooled)
    return before, pooled


class Objective(nn.Module):
    """The model and its data on one device; calling it gives the loss of a batch."""

    images: Tensor
    tokens: Tensor
    cumulative: Tensor
    native: Tensor
    margins: Tensor
    loose: Tensor
    alphas: Tensor
    loss_weight: Tensor

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        packed: Packed,
        words: list[str],
    ) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.text_encoder_2 = unet, text_encoder, text_encoder_2
        alphas = build_scheduler().alphas_cumprod
        snr = alphas / (1 - alphas)
        data = {
            "images": torch.from_numpy(packed.images),
            "tokens": torch.from_numpy(packed.tokens),
            "cumulative": torch.from_numpy(packed.weight).double().cumsum(0).float(),
            "native": torch.from_numpy(packed.native),
            "margins": torch.from_numpy(packed.margins),
            "loose": torch.from_numpy(packed.loose),
            "alphas": alphas,
            "loss_weight": (snr.clamp(max=5) / (snr + 1)).clamp(min=LEAST_WEIGHT),
        }
        for name, value in data.items():
            self.register_buffer(name, value, persistent=False)
        self.left, self.right = (words.index(w) if w in words else -1 for w in ("left", "right"))

    def forward(self, uniform: Tensor, noise: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            uniform: (batch, DRAWS) in 0..1: which picture, caption, mirror, shift (two), time, dropped
                caption, dropped size.
            noise: (batch, 16, 16, 16) standard normal.
        """
        pictures, tokens, native, loose = self.augmented(uniform)
        latents = functional.pixel_unshuffle(pictures, 2)
        # times spread evenly over the batch: the same mean, less variance
        batch = len(uniform)
        spread = (uniform[:, 5] + torch.arange(batch, device=uniform.device)) / batch
        times = (spread * len(self.alphas)).long().clamp(max=len(self.alphas) - 1)
        alpha = self.alphas[times].view(-1, 1, 1, 1)
        noised = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents

        kept = uniform[:, 6] >= DROPPED
        states, conditions = self.conditions(tokens, native, kept, loose)
        predicted = self.unet(noised, times, states, added_cond_kwargs=conditions, return_dict=False)[0]
        error = (predicted.float() - target).square().mean(dim=(1, 2, 3))
        return (error * self.loss_weight[times]).mean()

    def conditions(
        self, tokens: Tensor, native: Tensor, kept: Tensor, loose: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the UNet's conditions: text states (batch, 16, 2 x width), SDXL's pooled text and size conditioning.

        Args:
            native: (batch,) 16, 32, or 0 where it is not told.
            kept: (batch,) bool; a caption that is not kept is zeros.
            loose: (batch,) see data.Sprite.loose; told as the upper edge of the crop.
        """
        first, _ = text_states(self.text_encoder, tokens)
        second, pooled = text_states(self.text_encoder_2, tokens)
        share = kept.to(first.dtype)
        zero, whole = torch.zeros_like(native), torch.full_like(native, SIZE)
        return torch.cat([first, second], dim=-1) * share.view(-1, 1, 1), {
            "text_embeds": pooled * share.view(-1, 1),
            "time_ids": torch.stack([native, native, loose, zero, whole, whole], dim=1),
        }

    def augmented(self, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns pictures (batch, 4, 32, 32) in -1..1, token ids (batch, 16), native sizes and looseness (batch,)."""
        index = torch.searchsorted(self.cumulative, uniform[:, 0].contiguous()).clamp(max=len(self.images) - 1)
        slot = (uniform[:, 1] * self.tokens.shape[1]).long()
        pictures = self.images[index].float() / 127.5 - 1
        pictures[:, :3] *= pictures[:, 3:] > 0  # 128 is a hair above 0
        tokens, native = self.tokens[index, slot].long(), self.native[index].float()

        mirrored = uniform[:, 2] < 0.5
        swapped = torch.where(tokens == self.left, self.right, torch.where(tokens == self.right, self.left, tokens))
        tokens = torch.where(mirrored.view(-1, 1), swapped, tokens)
        margins = self.margins[index].long().clamp(max=MOST_SHIFT)
        left = torch.where(mirrored, margins[:, 1], margins[:, 0])
        right = torch.where(mirrored, margins[:, 0], margins[:, 1])
        shift = (uniform[:, 3] * (left + right + 1)).long() - left
        shift = torch.where(native == SIZE // 2, shift // 2 * 2, shift)  # a doubled pixel stays on its grid
        shift = torch.where(uniform[:, 4] < 0.5, shift, torch.zeros_like(shift))

        columns = torch.arange(SIZE, device=pictures.device).view(1, -1) - shift.view(-1, 1)
        columns = torch.where(mirrored.view(-1, 1), SIZE - 1 - columns, columns) % SIZE
        pictures = pictures.gather(3, columns.view(-1, 1, 1, SIZE).expand(pictures.shape))
        told = torch.where(uniform[:, 7] < SIZELESS, torch.zeros_like(native), native)
        return pictures, tokens, told, self.loose[index].float()
