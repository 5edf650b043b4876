"""Networks that go beside an SDXL model, random and tiny, in the layout in which they are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipelines.models.extras import ADAPTER_FILE, ADAPTER_FOLDER, IMAGE_ENCODER

EMBEDDING, TOKENS = 24, 4


def write_ip_adapter(unet: Any, folder: Path, seed: int = 0) -> Path:
    """Writes an IP-Adapter for the UNet and an image encoder into `folder`, as h94's repository has them."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    width = unet.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(TOKENS * width, EMBEDDING),
        "image_proj.proj.bias": torch.randn(TOKENS * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    for key, name in enumerate(names):
        if name.endswith("attn2"):
            inner = unet.get_submodule(name).to_k.out_features
            for part in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{key}.{part}.weight"] = torch.randn(inner, width)
    (folder / ADAPTER_FOLDER).mkdir(parents=True)
    save_file(tensors, folder / ADAPTER_FOLDER / ADAPTER_FILE)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=37,
        projection_dim=EMBEDDING,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=224,
        patch_size=56,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder / IMAGE_ENCODER)
    return folder


def write_controlnet(unet: Any, folder: Path, seed: int = 0) -> Path:
    """Writes a ControlNet for the UNet into `folder`, in diffusers' layout; its zero convolutions are random."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    torch.manual_seed(seed)
    controlnet: Any = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 8, 8))
    with torch.no_grad():
        for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            layer.weight.normal_(std=0.3)
        controlnet.controlnet_cond_embedding.conv_out.weight.normal_(std=0.3)
    controlnet.save_pretrained(folder)
    return folder
