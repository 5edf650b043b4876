"""The denoise loop: from noise to latents, as functions over any UNet and any diffusers scheduler.

Owns guidance, image-to-image, inpainting, blended regions and the order of one step. Knows nothing of models, prompts
as text, devices or files. `StableDiffusionXLPipeline` on the same weights and seed gives the same latents (a test).
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
    """What a UNet is told of each picture of a batch."""

    hidden: Tensor  # (batch, tokens, width): both encoders' hidden states, side by side
    pooled: Tensor  # (batch, width): the second encoder's pooled output
    sizes: Tensor  # (batch, 6): original height, width, crop top, left, target height, width

    def rows(self, indices: Sequence[int]) -> Conditioning:
        """Those pictures' conditioning."""
        index = list(indices)
        return Conditioning(self.hidden[index], self.pooled[index], self.sizes[index])

    @staticmethod
    def join(parts: Sequence[Conditioning]) -> Conditioning:
        """One batch out of several."""
        return Conditioning(
            torch.cat([p.hidden for p in parts]),
            torch.cat([p.pooled for p in parts]),
            torch.cat([p.sizes for p in parts]),
        )


Predict = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""(latents (batch, c, h, w), timestep (), conditioning) -> the model's prediction, shaped as the latents."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The conditioning of a drawing: what is wanted, what is not, and what else is wanted in a part of the picture."""

    positive: Conditioning
    negative: Conditioning | None = None
    region: Conditioning | None = None
    region_weight: Tensor | None = None  # (batch, 1, h, w) in 0..1, latent cells: 1 is the region's words alone


@dataclass(frozen=True, slots=True, eq=False)
class Keep:
    """Inpainting: where `mask` is 0 the picture stays what it was. All in latent cells."""

    init: Tensor  # (batch, c, h, w): the picture's latents
    noise: Tensor  # (batch, c, h, w): the noise that the drawing began with
    mask: Tensor  # (batch, 1, h, w): 1 draws anew, 0 keeps


def predict_with(unet: Any) -> Predict:
    """The plain call of a UNet2DConditionModel with SDXL's conditioning."""

    def predict(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        return unet(
            latents,
            timestep,
            encoder_hidden_states=conditioning.hidden,
            added_cond_kwargs={"text_embeds": conditioning.pooled, "time_ids": conditioning.sizes},
            return_dict=False,
        )[0]

    return predict


def predict_guided(
    predict: Predict, latents: Tensor, timestep: Tensor, words: Words, guidance: Sequence[float]
) -> Tensor:
    """One prediction for each picture, guided by its own scale; a picture whose scale is <= 1 costs no second pass.

    Region and main words are blended before guidance (both are linear, so the order is free), all in one call.
    """
    guided = [i for i, scale in enumerate(guidance) if scale > 1] if words.negative is not None else []
    batch = len(latents)
    inputs, parts = [latents], [words.positive]
    if words.region is not None:
        inputs.append(latents)
        parts.append(words.region)
    if guided and words.negative is not None:
        everyone = len(guided) == batch
        inputs.insert(0, latents if everyone else latents[guided])
        parts.insert(0, words.negative if everyone else words.negative.rows(guided))
    if len(parts) == 1:
        return predict(latents, timestep, words.positive)
    prediction = predict(torch.cat(inputs), timestep, Conditioning.join(parts))
    without, wanted = prediction[: len(guided)], prediction[len(guided) : len(guided) + batch]
    if words.region is not None and words.region_weight is not None:
        wanted = torch.lerp(wanted, prediction[-batch:], words.region_weight)
    if not guided:
        return wanted
    if len(guided) == batch and len(set(guidance)) == 1:  # a plain number: nothing to copy, no wait for the device
        return without + guidance[0] * (wanted - without)
    scales = torch.tensor([guidance[i] for i in guided], dtype=latents.dtype, device=latents.device).view(-1, 1, 1, 1)
    if len(guided) == batch:
        return without + scales * (wanted - without)
    result = wanted.clone()
    result[guided] = without + scales * (wanted[guided] - without)
    return result


def draw_noise(shape: tuple[int, int, int], generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Standard normal noise (batch, *shape), each picture from its own CPU generator: a seed means the same picture in
    any batch and on any device."""
    rows = [torch.randn((1, *shape), generator=g, dtype=like.dtype) for g in generators]
    return torch.cat(rows).to(like.device)


def first_step(steps: int, strength: float) -> int:
    """The step at which image-to-image begins: strength 1 is all steps, and at least one is taken."""
    return steps - max(1, min(int(steps * strength + 1e-6), steps))


def start_latents(scheduler: Any, noise: Tensor, init: Tensor | None, begin: int) -> Tensor:
    """What the loop starts from: noise at the scheduler's scale, or `init` with the noise of step `begin`."""
    if init is None:
        return noise * scheduler.init_noise_sigma
    set_begin(scheduler, begin)
    return scheduler.add_noise(init, noise, scheduler.timesteps[begin : begin + 1])


def set_begin(scheduler: Any, begin: int) -> None:
    """Tells a scheduler that counts its steps where the count begins."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin * getattr(scheduler, "order", 1))


def step_arguments(scheduler: Any, generators: Sequence[torch.Generator], eta: float) -> dict[str, Any]:
    """The arguments that only some schedulers' `step` takes."""
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
    words: Words,
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
    """Latents (batch, c, h, w) denoised by the scheduler's timesteps, which the caller has set (on the CPU).

    `guided` is the part of the steps (from, to; of 1) in which guidance acts. Raising from `on_step` ends the loop.
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
        prediction = predict_guided(predict, inputs, timestep, words, scales)
        # 2. step to the next noise level
        latents = scheduler.step(prediction, timestep, latents, **extra, return_dict=False)[0].to(latents.dtype)
        # 3. put back what must stay, at the new noise level
        if keep is not None:
            kept = keep.init
            if i + 1 < total:
                kept = scheduler.add_noise(keep.init, keep.noise, timesteps[i + 1 : i + 2])
            latents = torch.lerp(kept, latents, keep.mask)
        # 4. whatever ties the pictures of the batch together
        if couple is not None:
            latents = couple(latents, i, total)
        on_step(i + 1, total)
    return latents
