"""Hold a drawing to the lines of a sketch: a ControlNet beside the UNet, in the same call and graph.

The network is diffusers' ControlNetModel, taught on scribbles: white lines on black (Zhang et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.errors import ModelError
from pipelines.records import Pixels
from pipelines.sdxl.attention import PromptKV, fuse_attention_inputs
from pipelines.sdxl.denoise import Conditioning
from pipelines.sdxl.loading import BROKEN, Resident

HOLD = 0.8
"""Weight of the ControlNet's residuals. Not judged on real weights."""
LEAST_STEP = 40
"""Difference of two flat colours, of 255, from which their border is a line."""


class Lines:
    """The ControlNet of one resident model."""

    def __init__(self, resident: Resident, folder: Path, fused: bool) -> None:
        """Loads it. `fused`: lay it out and multiply as the UNet where that is compiled.

        Raises:
            ModelError: files are missing, broken, pickles, or made for another UNet.
        """
        from diffusers.models.controlnets.controlnet import ControlNetModel

        try:
            network: Any = ControlNetModel.from_pretrained(
                folder, dtype=resident.dtype, use_safetensors=True, local_files_only=True
            )
        except BROKEN as error:
            raise ModelError(f"The ControlNet in {folder} cannot be loaded: {_first_line(error)}. {_PULL}") from error
        for name in ("cross_attention_dim", "block_out_channels", "projection_class_embeddings_input_dim"):
            if str(network.config[name]).strip("()[]") != str(resident.unet.config[name]).strip("()[]"):
                raise ModelError(f"The ControlNet in {folder} was made for another model than '{resident.model.id}'.")
        self.network = network.to(resident.device).eval().requires_grad_(False)
        # convolutions of the whole canvas, whose result is the same in every step
        self._embedding = self.network.controlnet_cond_embedding
        self.network.controlnet_cond_embedding = torch.nn.Identity()
        self._prompt_kv: PromptKV | None = None
        if fused:
            fuse_attention_inputs(network)
            self._prompt_kv = PromptKV(network)
            network.to(memory_format=torch.channels_last)

    def embed(self, lines: Tensor) -> Tensor:
        """Embeds lines (batch, 3, height, width) in 0..1, canvas pixels, once for all steps: (batch, c, h, w) cells."""
        return self._embedding(lines)

    def residuals(self, latents: Tensor, timestep: Tensor, conditioning: Conditioning, lines: Tensor) -> dict[str, Any]:
        """Computes what the UNet takes beside its inputs; `lines` are those that `embed` returned."""

        def call() -> tuple[list[Tensor], Tensor]:
            return self.network(
                latents,
                timestep,
                encoder_hidden_states=conditioning.hidden,
                controlnet_cond=lines,
                conditioning_scale=HOLD,
                added_cond_kwargs={"text_embeds": conditioning.pooled, "time_ids": conditioning.sizes},
                return_dict=False,
            )

        if self._prompt_kv is None:
            down, mid = call()
        else:
            with self._prompt_kv.given(conditioning.hidden):
                down, mid = call()
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}


def lines_of(pictures: Sequence[Pixels]) -> Tensor:
    """Draws white lines on black where colours or alpha change: (batch, 3, height, width) in 0..1."""
    from scipy.ndimage import gaussian_gradient_magnitude

    drawn = []
    for picture in pictures:
        width = max(1.0, max(picture.shape[:2]) / 340)
        alpha = picture[..., 3:].astype(np.float32) / 255
        values = np.concatenate([picture[..., :3] * alpha, 255 * alpha], axis=-1)
        steepest = np.max([gaussian_gradient_magnitude(values[..., i], width) for i in range(4)], axis=0)
        drawn.append(steepest > LEAST_STEP / (2.5 * width))
    return torch.from_numpy(np.stack(drawn)).float().unsqueeze(1).repeat(1, 3, 1, 1)


_PULL = "`dgx-pixels models pull scribble` fetches it; without it a sketch still gives its colours and places."


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
