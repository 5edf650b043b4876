"""Convert between RGBA pictures and latents of the embedded model: pixel-unshuffle by 2, lossless, without weights.

A picture is (batch, 4, h, w) in -1..1, its latents are (batch, 16, h/2, w/2). diffusers finds the class by its name in
model_index.json only if this module was imported before `from_pretrained`; `architecture.load_embedded` does that.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin  # diffusers looks for this name here when it loads the class
from torch import Tensor
from torch.nn import functional


class PixelDistribution:
    """What `encode` returns as `latent_dist`: a distribution with all its mass on the latents."""

    def __init__(self, latents: Tensor) -> None:
        self.mean = latents

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns the latents; nothing is random."""
        return self.mean

    def mode(self) -> Tensor:
        """Returns the latents."""
        return self.mean


class PixelAutoencoder(ModelMixin, ConfigMixin):
    """Space-to-depth as an SDXL `vae`: 4 image channels (straight RGBA), 16 latent channels, scale factor 2.

    `block_out_channels` has two entries because diffusers reads the scale factor off its length. A transparent pixel
    is (0, 0, 0, -1).
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        latent_channels: int = 16,
        block_out_channels: tuple[int, ...] = (4, 16),
        scaling_factor: float = 1.0,
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        # diffusers asks a module for its dtype and device and insists on a weight file: one zero serves both.
        self.register_buffer("anchor", torch.zeros(1))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the pipeline was moved to."""
        return self.anchor.dtype  # pyright: ignore[reportReturnType]

    @property
    def device(self) -> torch.device:
        """The device that the pipeline was moved to."""
        return self.anchor.device  # pyright: ignore[reportReturnType]

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Encodes pictures (batch, 4, h, w) in -1..1, h and w even, as `.latent_dist` over (batch, 16, h/2, w/2)."""
        distribution = PixelDistribution(functional.pixel_unshuffle(x, 2))
        return SimpleNamespace(latent_dist=distribution) if return_dict else (distribution,)

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> Any:
        """Decodes latents (batch, 16, h, w) to pictures (batch, 4, 2h, 2w): the inverse of `encode`, exactly."""
        sample = functional.pixel_shuffle(z, 2)
        return SimpleNamespace(sample=sample) if return_dict else (sample,)

    def forward(self, sample: Tensor) -> Tensor:
        """Encodes and decodes."""
        return self.decode(self.encode(sample).latent_dist.mode()).sample
