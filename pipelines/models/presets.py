"""Define speed presets as frozen records: number of steps, scheduler, distillation LoRA. Imports no torch.

Sources: each LoRA's model card; guidance interval as in Kynkäänniemi et al. 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.models.hub import Repo


@dataclass(frozen=True, slots=True)
class Preset:
    """How a model is sampled. `guidance` must lie in `guidance_range`; above it a distilled model burns out.

    `scheduler` is a diffusers class ("" for the checkpoint's own) and `scheduler_changes` what differs from the
    checkpoint's settings. `lora` names a file of `repo`, without one a file beside the checkpoint. `exact`: the LoRA
    was taught for exactly `steps` steps. `part_guidance`: the guidance away from the prompt without its parts, where a
    prompt names a part and no guidance is given (0: none). `canvas` is the side in pixels that is drawn.
    """

    name: str
    steps: int
    guidance: float
    guidance_range: tuple[float, float]
    licence: str
    guided: tuple[float, float] = (0.0, 1.0)
    scheduler: str = ""
    scheduler_changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    eta: float = 0.0
    repo: Repo | None = None
    lora: str = ""
    lora_weight: float = 1.0
    style_weight: float = 1.0
    canvas: int = 1024
    tiny_decoder: bool = False
    exact: bool = False
    part_guidance: float = 0.0


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("quality", steps=30, guidance=6.0, guidance_range=(1.0, 12.0), guided=(0.0, 0.6), licence="no LoRA"),
        Preset(
            "fast",
            steps=8,
            guidance=5.0,
            guidance_range=(1.0, 8.0),
            licence="openrail++",
            scheduler="DDIMScheduler",
            scheduler_changes={"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": False},
            repo=Repo(
                "ByteDance/Hyper-SD",
                "bc08d970a87c74c71209491d64e3525845698863",
                files=("Hyper-SDXL-8steps-CFG-lora.safetensors",),
                licence="openrail++",
            ),
            lora="Hyper-SDXL-8steps-CFG-lora.safetensors",
        ),
        Preset(
            "draft",
            steps=6,
            guidance=1.5,
            guidance_range=(1.0, 2.0),
            licence="openrail++",
            scheduler="LCMScheduler",
            repo=Repo(
                "latent-consistency/lcm-lora-sdxl",
                "a18548dd4956b174ec5b0d78d340c8dae0a129cd",
                files=("pytorch_lora_weights.safetensors",),
                licence="openrail++",
            ),
            lora="pytorch_lora_weights.safetensors",
            style_weight=1.2,
            canvas=768,
            tiny_decoder=True,
        ),
        Preset(
            "turbo",
            steps=4,
            guidance=1.0,
            guidance_range=(1.0, 3.0),
            guided=(0.0, 0.5),
            licence="CC0-1.0",
            lora="turbo.safetensors",
            exact=True,
            part_guidance=2.0,
        ),
        Preset("guided", steps=8, guidance=1.5, guidance_range=(0.0, 30.0), licence="no LoRA"),
    )
}

SDXL_PRESETS = ("quality", "fast", "draft")
"""The names for SDXL; the first is what is taken where none was asked for."""

PIXEL_PRESETS = ("turbo", "guided")
"""The names for a model that draws single pixels and has a `turbo.safetensors` beside it."""

BUCKETS = (512, 768, 1024)
"""Sides of SDXL's canvases, in pixels; a canvas that is not square has about as many pixels."""


def bucket(side: int, width: int, height: int) -> tuple[int, int]:
    """Returns (width, height) of a canvas with the sprite's shape and about side x side pixels, in steps of 64.

    Few shapes, so that captured and compiled calls are used again.
    """
    ratio = min(4.0, max(0.25, width / height)) ** 0.5
    return max(64, round(side * ratio / 64) * 64), max(64, round(side / ratio / 64) * 64)
