"""Tell which model family a LoRA file was made for, from its header: metadata, tensor names and shapes.

Only positive evidence counts: a file that says nothing is taken for SDXL's, and fits the model or does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipelines.errors import AdapterError

SDXL = "SDXL"
_ARCHITECTURES = (
    (r"stable-diffusion-xl|sdxl", SDXL),
    (r"stable-diffusion-v1|^sd_?v?1|sd-?1[._]?[45]", "Stable Diffusion 1.5"),
    (r"stable-diffusion-v2|^sd_?v?2", "Stable Diffusion 2"),
    (r"stable-diffusion-3|^sd_?3", "Stable Diffusion 3"),
    (r"flux", "Flux"),
    (r"qwen", "Qwen-Image"),
    (r"z-?image", "Z-Image"),
    (r"chroma", "Chroma"),
    (r"hunyuan", "Hunyuan"),
    (r"wan\d|^wan", "Wan"),
    (r"pixart", "PixArt"),
    (r"lumina", "Lumina"),
)
_NAMES = (
    (r"(?:double|single)_blocks[._]\d|single_transformer_blocks[._]\d", "Flux"),
    (r"joint_blocks[._]\d", "Stable Diffusion 3"),
    (
        r"^(?:lora_)?transformer[._](?!down_blocks|up_blocks|mid_block|conv_)|^(?:base_model\.model\.)?transformer_blocks[._]\d|^lora_t5",
        "a transformer model",
    ),
    (r"^(?:diffusion_model\.|lora_unet_)?(?:blocks|layers)[._]\d", "a transformer model"),
)
_CONTEXTS = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2", 2048: SDXL}
_INPUTS = ("lora_down.weight", "lora_A.weight", "lora_A.default.weight", "hada_w1_b", "diff")


class OtherFamilyError(AdapterError):
    """A LoRA that was made for another model family; `family` names it."""

    def __init__(self, message: str, family: str) -> None:
        self.family = family
        super().__init__(message)


def family_of(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> str:
    """Returns the family by name; empty where the header does not say.

    Evidence in this order: the names of the layers, the width of the text that cross attention reads, the naming of the
    text encoder (SDXL's trainers number its two), then the metadata of kohya's scripts and of the ModelSpec standard.
    """
    for mark, family in _NAMES:
        if any(re.search(mark, name) for name in shapes):
            return family
    for name, shape in shapes.items():
        if re.search(r"attn2[._]to_[kv]\.", name) and name.endswith(_INPUTS) and len(shape) > 1:
            width = shape[1]
            if width in _CONTEXTS:
                return _CONTEXTS[width]
    if metadata.get("dgx_pixels"):
        return SDXL
    for field in ("modelspec.architecture", "ss_base_model_version", "base_model"):
        said = metadata.get(field, "").lower()
        for mark, family in _ARCHITECTURES:
            if said and re.search(mark, said):
                return family
    if any(re.match(r"(?:lora|lycoris)_te_", name) for name in shapes):
        return "Stable Diffusion 1.5"
    return ""
