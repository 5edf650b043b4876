"""Denoise latents: functions over any UNet and any diffusers scheduler.

One step is: predict with guidance, step the scheduler, restore what an inpaint mask keeps. Prompts, models and
devices are
handled by `diffusion`. A test holds the latents to those of `StableDiffusionXLPipeline` with the same weights and seed.
Sources: classifier-free guidance (Ho & Salimans 2022), guidance in a limited interval (Kynkäänniemi et al. 2024),
RePaint-like inpainting as in diffusers' SDXL inpaint pipeline.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.engine.backend import OnStep


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """The conditioning of each picture of a batch."""

    hidden: Tensor  # (batch, tokens, width): both encoders' hidden states, side by side
    pooled: Tensor  # (batch, width): the second encoder's pooled output
    sizes: Tensor  # (batch, 6): original height, width, crop top, left, target height, width
    image: Tensor | None = None  # (batch, tokens, width): tokens of reference pictures
    lines: Tensor | None = None  # (batch, c, h, w) in latent cells: the lines of a sketch, embedded

    def rows(self, indices: Sequence[int]) -> Conditioning:
        """Selects the conditioning of some pictures."""
        index = list(indices)
        beside = (None if x is None else x[index] for x in (self.image, self.lines))
        return Conditioning(self.hidden[index], self.pooled[index], self.sizes[index], *beside)

    @staticmethod
    def join(parts: Sequence[Conditioning]) -> Conditioning:
        """Concatenates several batches into one. All have image tokens, or none has; likewise lines."""
        images = [p.image for p in parts if p.image is not None]
        lines = [p.lines for p in parts if p.lines is not None]
        return Conditioning(
            torch.cat([p.hidden for p in parts]),
            torch.cat([p.pooled for p in parts]),
            torch.cat([p.sizes for p in parts]),
            torch.cat(images) if images else None,
            torch.cat(lines) if lines else None,
        )


Predict = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""(latents (batch, c, h, w), timestep (), conditioning) -> the model's prediction, shaped as the latents."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditionings:
    """The conditioning of a drawing: positive and negative prompt, and a second prompt for a region."""

    positive: Conditioning
    negative: Conditioning | None = None
    region: Conditioning | None = None
    region_weight: Tensor | None = None  # (batch, 1, h, w) in 0..1, latent cells: 1 uses only the region's prompt


@dataclass(frozen=True, slots=True, eq=False)
class Keep:
    """Inpainting: where `mask` is 0 the picture stays unchanged. All shapes are in latent cells."""

    init: Tensor  # (batch, c, h, w): the picture's latents
    noise: Tensor  # (batch, c, h, w): the noise that the drawing began with
    mask: Tensor  # (batch, 1, h, w): 1 is drawn, 0 is kept


def predict_with(unet: Any) -> Callable[..., Tensor]:
    """Calls a UNet2DConditionModel with SDXL's conditioning, and with more of its own arguments where there are any."""

    def predict(latents: Tensor, timestep: Tensor, conditioning: Conditioning, **more: Any) -> Tensor:
        return unet(
            latents,
            timestep,
            encoder_hidden_states=conditioning.hidden,
            added_cond_kwargs={"text_embeds": conditioning.pooled, "time_ids": conditioning.sizes},
            return_dict=False,
            **more,
        )[0]

    return predict


def predict_guided(
    predict: Predict, latents: Tensor, timestep: Tensor, conditionings: Conditionings, guidance: Sequence[float]
) -> Tensor:
    """Predicts with classifier-free guidance, each picture with its own scale. A scale <= 1 costs no second pass.

    The predictions of region and main prompt are blended before guidance (both are linear), all in one call.
    """
    guided = [i for i, scale in enumerate(guidance) if scale > 1] if conditionings.negative is not None else []
    batch = len(latents)
    inputs, parts = [latents], [conditionings.positive]
    if conditionings.region is not None:
        inputs.append(latents)
        parts.append(conditionings.region)
    if guided and conditionings.negative is not None:
        everyone = len(guided) == batch
        inputs.insert(0, latents if everyone else latents[guided])
        parts.insert(0, conditionings.negative if everyone else conditionings.negative.rows(guided))
    if len(parts) == 1:
        return predict(latents, timestep, conditionings.positive)
    prediction = predict(torch.cat(inputs), timestep, Conditioning.join(parts))
    without, wanted = prediction[: len(guided)], prediction[len(guided) : len(guided) + batch]
    if conditionings.region is not None and conditionings.region_weight is not None:
        wanted = torch.lerp(wanted, prediction[-batch:], conditionings.region_weight)
    if not guided:
        return wanted
    if len(guided) == batch and len(set(guidance)) == 1:  # a plain number needs no copy and no wait for the device
        return without + guidance[0] * (wanted - without)
    scales = torch.tensor([guidance[i] for i in guided], dtype=latents.dtype, device=latents.device).view(-1, 1, 1, 1)
    if len(guided) == batch:
        return without + scales * (wanted - without)
    result = wanted.clone()
    result[guided] = without + scales * (wanted[guided] - without)
    return result


def draw_noise(shape: tuple[int, int, int], generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Draws standard normal noise (batch, *shape), each picture from its own CPU generator.

    A seed therefore gives the same picture in any batch and on any device.
    """
    rows = [torch.randn((1, *shape), generator=g, dtype=like.dtype) for g in generators]
    return torch.cat(rows).to(like.device)


def first_step(steps: int, strength: float) -> int:
    """Returns the step at which image-to-image begins. Strength 1 takes all steps; at least one is taken."""
    return steps - max(1, min(int(steps * strength + 1e-6), steps))


def start_latents(scheduler: Any, noise: Tensor, init: Tensor | None, begin: int) -> Tensor:
    """Returns the first latents: noise at the scheduler's scale, or `init` with the noise of step `begin`."""
    if init is None:
        return noise * scheduler.init_noise_sigma
    set_begin(scheduler, begin)
    return scheduler.add_noise(init, noise, scheduler.timesteps[begin : begin + 1])


def set_begin(scheduler: Any, begin: int) -> None:
    """Sets the first step of a scheduler that counts its steps."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin * getattr(scheduler, "order", 1))


def step_arguments(scheduler: Any, generators: Sequence[torch.Generator], eta: float) -> dict[str, Any]:
    """Returns the arguments that only some schedulers' `step` accepts."""
    takes = inspect.signature(scheduler.step).parameters
    extra: dict[str, Any] = {}
    if "eta" in takes:
        extra["eta"] = eta
    if "generator" in takes:
        extra["generator"] = list(generators)
    return extra


@torch.inference_mode()
def denoise(
    predict: Predict,
    scheduler: Any,
    latents: Tensor,
    conditionings: Conditionings,
    guidance: Sequence[float],
    generators: Sequence[torch.Generator],
    *,
    begin: int = 0,
    guided: tuple[float, float] = (0.0, 1.0),
    eta: float = 0.0,
    keep: Keep | None = None,
    couple: Callable[[Tensor, int, int], Tensor] | None = None,
    on_step: OnStep = lambda done, total: None,
) -> Tensor:
    """Denoises latents (batch, c, h, w) over the scheduler's timesteps, which the caller has set (on the CPU).

    `guided` is the interval of the steps (from, to; 0..1) in which guidance acts. `couple` may change the latents
    after a step. Raising from `on_step` ends the loop.
    """
    timesteps = scheduler.timesteps[begin * getattr(scheduler, "order", 1) :]
    total = len(timesteps)
    set_begin(scheduler, begin)
    extra = step_arguments(scheduler, generators, eta)
    unguided = [1.0] * len(latents)
    for i, timestep in enumerate(timesteps):
        # 1. predict
        scales = guidance if guided[0] <= i / total < guided[1] else unguided
        inputs = scheduler.scale_model_input(latents, timestep)
        prediction = predict_guided(predict, inputs, timestep, conditionings, scales)
        # 2. step to the next noise level
        latents = scheduler.step(prediction, timestep, latents, **extra, return_dict=False)[0].to(latents.dtype)
        # 3. put back what must stay, at the new noise level
        if keep is not None:
            kept = keep.init
            if i + 1 < total:
                kept = scheduler.add_noise(keep.init, keep.noise, timesteps[i + 1 : i + 2])
            latents = torch.lerp(kept, latents, keep.mask)
        # 4. couple the pictures of the batch
        if couple is not None:
            latents = couple(latents, i, total)
        on_step(i + 1, total)
    return latents
