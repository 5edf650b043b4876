"""Sprites on disk, and a tiny model with SDXL's layout that trains in no time."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipelines.models.catalog import Model
from pipelines.records import Pixels
from pipelines.sdxl.loading import Resident
from pipelines.sdxl.text import PromptEncoder
from tests.random_sdxl import SIZES, build


def sprite(seed: int, side: int = 16) -> Pixels:
    """A blob in three colours on a clear ground."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 4), np.uint8)
    picture[2:-2, 3:-3, :3] = rng.integers(0, 256, (3, 3), dtype=np.uint8)[rng.integers(0, 3, (side - 4, side - 6))]
    picture[2:-2, 3:-3, 3] = 255
    return picture


def save(path: Path, picture: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


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


def write_metadata(folder: Path, captions: dict[str, str]) -> None:
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in captions.items()]
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
