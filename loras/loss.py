"""Compute noise, target and weight of the diffusion loss of one batch, for epsilon and v-prediction.

Pure functions over tensors. Sources: DDPM (Ho et al. 2020), v-prediction (Salimans & Ho 2022), min-SNR weighting (Hang
et al. 2023), zero terminal SNR (Lin et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from loras.errors import TrainingError

LEAST_WEIGHT = 0.3
"""Floor under the weight of v-prediction: min-SNR alone would teach nothing about a first step that starts at SNR 0,
and that step decides the palette."""


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """Per timestep: signal² (`alphas`, cumulative product) and the loss weight; both (timesteps,) float32."""

    alphas: Tensor
    weights: Tensor
    predicts_v: bool

    @staticmethod
    def of(scheduler: Any, snr_limit: float) -> NoiseSchedule:
        """Returns the schedule that a diffusers scheduler's configuration names (betas, zero terminal SNR, prediction).

        Raises:
            TrainingError: the model predicts something else than noise or v.
        """
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        kind = scheduler.config.get("prediction_type", "epsilon")
        if kind not in ("epsilon", "v_prediction"):
            raise TrainingError(
                f"The model predicts '{kind}', which cannot be trained here. Use a model of SDXL's kind."
            )
        config = scheduler.config
        plain = DDPMScheduler(
            num_train_timesteps=config.get("num_train_timesteps", 1000),
            beta_start=config["beta_start"],
            beta_end=config["beta_end"],
            beta_schedule=config["beta_schedule"],
            rescale_betas_zero_snr=config.get("rescale_betas_zero_snr", False),
        )
        alphas = plain.alphas_cumprod.float()
        snr = alphas / (1 - alphas)
        if kind == "epsilon":
            weights = snr.clamp(max=snr_limit) / snr
        else:
            weights = (snr.clamp(max=snr_limit) / (snr + 1)).clamp(min=LEAST_WEIGHT)
        return NoiseSchedule(alphas, weights, kind == "v_prediction")

    def to(self, device: torch.device) -> NoiseSchedule:
        """Returns the schedule on a device."""
        return NoiseSchedule(self.alphas.to(device), self.weights.to(device), self.predicts_v)

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the model sees and what it is to answer, both (batch, c, h, w), at `times` (batch,)."""
        alpha = self.alphas[times].view(-1, 1, 1, 1)
        seen = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents if self.predicts_v else noise
        return seen, target

    def loss(self, predicted: Tensor, target: Tensor, times: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the weighted mean square error, a scalar.

        With a `mask` (batch, 1, h, w) in 0..1 each picture's mean is over what the mask shows: a small sprite counts as
        much as a large one, and what is outside of it teaches nothing (kohya's masked loss without its factor).
        """
        square = (predicted.float() - target.float()).square()
        if mask is None:
            error = square.mean(dim=(1, 2, 3))
        else:
            error = (square.mean(dim=1, keepdim=True) * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)).clamp(min=1)
        return (error * self.weights[times]).mean()


def spread_times(uniform: Tensor, timesteps: int) -> Tensor:
    """Spreads (batch,) of 0..1 to timesteps, one from each of `batch` equal parts of the range: less variance."""
    batch = len(uniform)
    spread = (uniform + torch.arange(batch, device=uniform.device)) / batch
    return (spread * timesteps).long().clamp(max=timesteps - 1)
