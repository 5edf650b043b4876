"""Write LoRA files in the diffusers/PEFT and the kohya form, with metadata about the training.

ComfyUI, A1111, Forge and InvokeAI read the kohya form (diffusers reads it too). Sources: kohya's sd-scripts for names
and `ss_` keys, the ModelSpec 1.0 standard (github.com/Stability-AI/ModelSpec) for `modelspec.` keys, diffusers'
`save_lora_adapter` for `lora_adapter_metadata`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from loras.files import synced
from loras.options import TEXT_LAYERS

if TYPE_CHECKING:
    from torch import Tensor

DIFFUSERS_NAME = "pytorch_lora_weights.safetensors"
"""What diffusers' `load_lora_weights` looks for in a folder."""


@dataclass(frozen=True, slots=True)
class About:
    """What is written into a LoRA file. `base` is the model's id, `base_hash` the fingerprint of its weights."""

    name: str
    base: str
    base_hash: str
    base_licence: str
    rank: int
    targets: tuple[str, ...]
    trigger: str
    dataset: str
    pictures: int
    steps: int
    embedded: bool = False

    @property
    def licence_note(self) -> str:
        """What a person who passes the file on must know."""
        return (
            f"Made from the trainer's own pictures on {self.base} ({self.base_licence}). The rights in the pictures "
            "stay with their owners; the base model's licence holds for what is drawn with both."
        )

    def metadata(self) -> dict[str, str]:
        """Returns the header's key-value pairs (safetensors keeps strings only)."""
        made = datetime.now(UTC).isoformat(timespec="seconds")
        return {
            "format": "pt",
            "modelspec.sai_model_spec": "1.0.0",
            "modelspec.architecture": "dgx-pixels-embedded/lora"
            if self.embedded
            else "stable-diffusion-xl-v1-base/lora",
            "modelspec.implementation": "diffusers",
            "modelspec.title": self.name,
            "modelspec.date": made,
            "modelspec.trigger_phrase": self.trigger,
            "modelspec.license": self.licence_note,
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(self.rank),
            "ss_network_alpha": str(self.rank),
            "ss_base_model_version": "dgx_pixels_embedded" if self.embedded else "sdxl_base_v1-0",
            "ss_sd_model_name": self.base,
            "ss_output_name": self.name,
            "ss_steps": str(self.steps),
            "ss_num_train_images": str(self.pictures),
            "dgx_pixels": json.dumps(
                {
                    "base": self.base,
                    "base_hash": self.base_hash,
                    "rank": self.rank,
                    "alpha": self.rank,
                    "trigger": self.trigger,
                    "dataset": self.dataset,
                    "pictures": self.pictures,
                    "steps": self.steps,
                    "licence": self.licence_note,
                },
                sort_keys=True,
            ),
        }


KOHYA = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
"""kohya's prefixes for the text encoders."""


def to_kohya(factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Writes PEFT's factors in kohya's names, fp16, with an alpha per layer that is its rank."""
    import torch

    tensors: dict[str, Tensor] = {}
    for name, factor in factors.items():
        layer, _, side = name.removesuffix(".weight").rpartition(".lora_")
        model, layer = _parted(layer)
        flat = f"{KOHYA.get(model, 'lora_unet')}_{layer.replace('.', '_')}"
        tensors[f"{flat}.lora_{'down' if side == 'A' else 'up'}.weight"] = factor.half().contiguous()
        if side == "A":
            tensors[f"{flat}.alpha"] = torch.tensor(float(factor.shape[0]), dtype=torch.float16)
    return tensors


def to_diffusers(factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Writes PEFT's factors as diffusers saves them, fp16."""
    return {".".join(_parted(name)): factor.half().contiguous() for name, factor in factors.items()}


def _parted(name: str) -> tuple[str, str]:
    """Splits the name of a factor or layer into its model and the rest; a text encoder's begins with `text_model`.

    transformers 5 leaves that out of the first encoder's names, and published files have it.
    """
    model, _, rest = name.partition(".")
    if model not in KOHYA:
        return "unet", name
    return model, rest if rest.startswith("text_model.") else f"text_model.{rest}"


def export(factors: Mapping[str, Tensor], about: About, kohya: Path, diffusers: Path) -> None:
    """Writes both forms: the kohya file, and `pytorch_lora_weights.safetensors` in the folder `diffusers`.

    Raises:
        OSError: as the operating system says; no half file is left.
    """
    from safetensors.torch import save

    metadata = about.metadata()
    adapter: dict[str, object] = {}
    for model in sorted({_parted(name)[0] for name in factors}):
        adapter |= {
            f"{model}.r": about.rank,
            f"{model}.lora_alpha": about.rank,
            f"{model}.target_modules": list(TEXT_LAYERS if model in KOHYA else about.targets),
            f"{model}.peft_type": "LORA",
        }
    diffusers.mkdir(parents=True, exist_ok=True)
    with synced(diffusers / DIFFUSERS_NAME) as file:
        file.write(save(to_diffusers(factors), metadata | {"lora_adapter_metadata": json.dumps(adapter)}))
    kohya.parent.mkdir(parents=True, exist_ok=True)
    with synced(kohya) as file:
        file.write(save(to_kohya(factors), metadata))
