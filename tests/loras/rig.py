"""A tiny model with SDXL's layout that trains in no time."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from pipelines.models.catalog import Model
from pipelines.sdxl.loading import Resident
from pipelines.sdxl.text import PromptEncoder
from tests.random_sdxl import SIZES, build


@functools.cache
def _tiny() -> dict[str, Any]:
    return build(SIZES["tiny"], torch.device("cpu"), torch.float32)


def tiny_resident(scheduler: dict[str, Any] | None = None) -> Resident:
    """A random SDXL of 64 px canvases, fresh weights each time; `scheduler` changes its configuration."""
    import copy

    parts = copy.deepcopy(_tiny())
    encoders = [parts["text_encoder"], parts["text_encoder_2"]]
    configured = parts["scheduler"].__class__.from_config({**parts["scheduler"].config, **(scheduler or {})})
    return Resident(
        model=Model("tiny", "tiny", "none", Path(), canvases=(64,)),
        revision="tiny",
        unet=parts["unet"],
        vae=parts["vae"],
        tiny_vae=None,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        prompts=PromptEncoder([parts["tokenizer"], parts["tokenizer_2"]], encoders, True),
        scheduler=configured,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
