"""Networks that go beside an SDXL model, random, in the layout in which they are published: tiny or at their size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipelines.models.extras import ADAPTER_FILE, ADAPTER_FOLDER, IMAGE_ENCODER

TOKENS = 4


@dataclass(frozen=True)
class Extras:
    """The sizes in which networks beside a model differ."""

    embedding: int
    """Width of an image's embedding."""
    encoder: dict[str, Any]
    """Keyword arguments of CLIPVisionConfig."""
    hint: tuple[int, ...]
    """Channels of the ControlNet's layers for its picture."""
    scale: float
    """Standard deviation of a random weight, times the root of its inputs; 0: one."""


EXTRAS = {
    # h94/IP-Adapter's ViT-H, and ControlNet's own widths
    "full": Extras(
        1024,
        {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        (16, 32, 96, 256),
        1.0,
    ),
    "tiny": Extras(
        24,
        {
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "patch_size": 56,
        },
        (8, 8, 8, 8),
        0.0,
    ),
}


@contextmanager
def _born(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """New modules are made on the device and in the dtype within the context: gigabytes are slow on a CPU."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def write_ip_adapter(unet: Any, folder: Path, seed: int = 0, size: Extras = EXTRAS["tiny"]) -> Path:
    """Writes an IP-Adapter for the UNet and an image encoder into `folder`, as h94's repository has them."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    width = unet.config.cross_attention_dim
    device, dtype = (unet.device, unet.dtype) if size.scale else (torch.device("cpu"), torch.float32)

    def weight(out: int, into: int) -> torch.Tensor:
        values = torch.randn(out, into, device=device, dtype=dtype)
        return values * (size.scale / into**0.5) if size.scale else values

    tensors = {
        "image_proj.proj.weight": weight(TOKENS * width, size.embedding),
        "image_proj.proj.bias": torch.randn(TOKENS * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    for key, name in enumerate(names):
        if name.endswith("attn2"):
            inner = unet.get_submodule(name).to_k.out_features
            for part in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{key}.{part}.weight"] = weight(inner, width)
    (folder / ADAPTER_FOLDER).mkdir(parents=True)
    save_file(tensors, folder / ADAPTER_FOLDER / ADAPTER_FILE)
    config = CLIPVisionConfig(projection_dim=size.embedding, image_size=224, **size.encoder)
    with _born(device, dtype):
        CLIPVisionModelWithProjection(config).save_pretrained(folder / IMAGE_ENCODER)
    return folder


def write_controlnet(unet: Any, folder: Path, seed: int = 0, size: Extras = EXTRAS["tiny"]) -> Path:
    """Writes a ControlNet for the UNet into `folder`, in diffusers' layout; its zero convolutions are random."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    torch.manual_seed(seed)
    with _born(unet.device, unet.dtype):
        controlnet: Any = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=size.hint)
    with torch.no_grad():
        for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            layer.weight.normal_(std=size.scale / layer.in_channels**0.5 if size.scale else 0.3)
        controlnet.controlnet_cond_embedding.conv_out.weight.normal_(std=0.3)
    controlnet.save_pretrained(folder)
    return folder
