"""Turn a request into pictures with one resident model: encode the prompts, denoise, decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipelines.engine.backend import OnStep
from pipelines.errors import DrawingError
from pipelines.models.presets import Preset
from pipelines.records import DrawRequest, Pixels
from pipelines.sdxl.denoise import (
    Conditioning,
    Conditionings,
    Keep,
    denoise,
    draw_noise,
    first_step,
    start_latents,
)
from pipelines.sdxl.fast import FastModel
from pipelines.sdxl.lines import lines_of
from pipelines.sdxl.loading import Resident, make_scheduler
from pipelines.sdxl.references import References
from pipelines.sdxl.seamless import circular, rolled
from pipelines.sdxl.text import Embedding


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a request is sampled, after presets and defaults."""

    preset: Preset | None
    steps: int
    guidance: float
    guided: tuple[float, float]


def draw_pictures(
    resident: Resident,
    fast: FastModel,
    references: References | None,
    request: DrawRequest,
    plan: Sampling,
    on_step: OnStep,
) -> tuple[Pixels, ...]:
    """Draws one batch with weights as they are: prompts, noise, the loop, decode. In inference mode."""
    # 1. the prompts
    away = _guided_away(request, plan)
    batch = len(away)
    sizes = _size_conditioning(request).to(resident.device, resident.dtype)

    image = references.encode(request.references).expand(batch, -1, -1) if references else None
    without = references.nothing(len(request.references)).expand(batch, -1, -1) if references else None

    drawn = lines_of(request.init).to(resident.device, resident.dtype) if request.lines else None
    lines = None if drawn is None else fast.embed_lines(drawn)

    def conditioning(embeddings: Sequence[Embedding], image: Tensor | None) -> Conditioning:
        return Conditioning(
            torch.cat([e.hidden for e in embeddings]),
            torch.cat([e.pooled for e in embeddings]),
            sizes.expand(len(embeddings), -1),
            image,
            lines,
        )

    prompts = resident.prompts
    conditionings = Conditionings(
        positive=conditioning([prompts.encode(p) for p in request.prompts], image),
        negative=conditioning([prompts.encode_negative(prompt or "") for prompt in away], without)
        if any(prompt is not None for prompt in away)
        else None,
        region=conditioning([prompts.encode(request.region.prompt)] * batch, image) if request.region else None,
        region_weight=_cells(request.region.weight, resident) if request.region else None,
    )
    # 2. the noise, and the picture to begin with
    preset, own = plan.preset, resident.scheduler
    name = preset.scheduler if preset and preset.scheduler else type(own).__name__
    scheduler = make_scheduler(name, {**own.config, **(preset.scheduler_changes if preset else {})})
    scheduler.set_timesteps(plan.steps)
    generators = [torch.Generator().manual_seed(seed) for seed in request.seeds]
    shape = (resident.unet.config.in_channels, request.height // resident.scale, request.width // resident.scale)
    noise = draw_noise(shape, generators, conditionings.positive.hidden)
    init = _encode(resident, request.init) if request.init else None
    begin = first_step(plan.steps, request.strength) if request.init else 0
    keep = None
    if init is not None and request.mask:
        mask = _cells(np.stack(request.mask).astype(np.float32), resident, touched=True)
        keep = Keep(init, noise, mask)
    # 3. the loop
    wraps = request.tile_x or request.tile_y
    predict = fast.predict(plain=wraps)
    if wraps:
        predict = rolled(predict, request.seeds[0], request.tile_x, request.tile_y)
    drafts = preset is not None and preset.tiny_decoder and resident.tiny_vae is not None
    decoder: Any = resident.tiny_vae if drafts else resident.vae
    with circular([resident.unet, decoder], request.tile_x, request.tile_y):
        latents = denoise(
            predict,
            scheduler,
            start_latents(scheduler, noise, init, begin),
            conditionings,
            [1.0 if prompt is None else plan.guidance for prompt in away],
            generators,
            begin=begin,
            guided=plan.guided,
            eta=preset.eta if preset else 0.0,
            keep=keep,
            couple=request.couple,
            on_step=on_step,
        )
        # 4. pictures
        if drafts:
            images = to_pictures(fast.draft(latents, plain=wraps))
        else:
            latents = (latents / resident.vae.config.scaling_factor).to(resident.vae.dtype)
            images = to_pictures(fast.decode(latents, plain=wraps))
    for i, mask in enumerate(request.mask):  # exact to the pixel, where a latent cell is several
        images[i][~mask] = request.init[i][~mask]
    return tuple(images)


def _guided_away(request: DrawRequest, plan: Sampling) -> list[str | None]:
    """Returns the prompt that guidance moves each picture away from; None: no guidance.

    With a preset that has `part_guidance` it is the prompt without its parts: what is said of them is drawn more often.
    """
    batch = len(request.prompts)
    if plan.guidance <= 1:
        return [None] * batch
    if plan.preset and plan.preset.part_guidance and not request.negative:
        return [bare or None for bare in request.bare_prompts] or [None] * batch
    return [request.negative] * batch


def _size_conditioning(request: DrawRequest) -> Tensor:
    """Returns SDXL's size conditioning (1, 6): original size, no crop, target size."""
    target = (request.height, request.width)
    original = (request.native, request.native) if request.native else target
    return torch.tensor([[*original, 0, 0, *target]], dtype=torch.float32)


def _cells(weight: Any, resident: Resident, touched: bool = False) -> Tensor:
    """Reduces (batch, h, w) canvas pixels to (batch, 1, h, w) latent cells: the mean, or with `touched` the largest."""
    pixels = torch.as_tensor(np.ascontiguousarray(weight, np.float32)).unsqueeze(1)
    pool = functional.max_pool2d if touched else functional.avg_pool2d
    return pool(pixels, resident.scale).to(resident.device, resident.dtype)


def _encode(resident: Resident, images: Sequence[Pixels]) -> Tensor:
    """Encodes RGBA pictures as latents (batch, c, h, w). A model without an alpha channel gets them over white."""
    pixels = torch.from_numpy(np.stack(images)).to(resident.device).movedim(-1, 1).to(resident.dtype)
    alpha = pixels[:, 3:] / 255
    if resident.vae.config.in_channels == 4:
        # a transparent pixel is (0, 0, 0, -1), as in training
        values = torch.cat([(pixels[:, :3] / 127.5 - 1) * alpha.round(), alpha * 2 - 1], dim=1)
    else:
        values = (pixels[:, :3] * alpha + 255 * (1 - alpha)) / 127.5 - 1
    latents = resident.vae.encode(values.to(resident.vae.dtype)).latent_dist.mode()
    return latents.to(resident.dtype) * resident.vae.config.scaling_factor


def to_pictures(values: Tensor) -> list[Pixels]:
    """Rounds values in -1..1 to RGBA uint8 pictures, on the device: a quarter of the bytes leaves it.

    Raises:
        DrawingError: a value is NaN or infinite, which would become a black picture.
    """
    if not bool(torch.isfinite(values).all()):
        raise DrawingError(
            "The model drew values that are not numbers (NaN or infinity), so there is no picture. Draw without LoRAs, "
            "or with a lower weight; if it happens without any, the model's files are damaged: download them again."
        )
    pixels = (values * 127.5 + 127.5).clamp_(0, 255).round_().to(torch.uint8).movedim(1, -1)
    if pixels.shape[-1] == 3:
        pixels = functional.pad(pixels, (0, 1), value=255)
    return list(pixels.cpu().numpy())
