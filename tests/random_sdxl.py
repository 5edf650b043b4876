"""Build SDXL from its configuration with random weights, on which speed does not depend.

There are the shapes of SDXL base 1.0 and of smaller models with the same layout; nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

WORDS = ("a", "mossy", "stone", "golem", "pixel", "art", "sprite", "of", "red", "dragon")


@dataclass(frozen=True)
class Size:
    """The numbers in which one SDXL-like model differs from another. Lists run from the outermost block inwards."""

    widths: tuple[int, int, int]
    heads: tuple[int, int, int]
    depths: tuple[int, int, int]
    groups: int
    text: tuple[int, int]
    """Widths of the two text encoders; their sum is the width of the cross attention."""
    text_layers: tuple[int, int]
    text_heads: tuple[int, int]
    time: int
    """Width of each of the six size-conditioning embeddings."""
    vae: tuple[int, ...]
    canvas: int
    """Pixels a side of the picture that the model is made for."""


SIZES = {
    # stabilityai/stable-diffusion-xl-base-1.0
    "full": Size(
        (320, 640, 1280), (5, 10, 20), (1, 2, 10), 32, (768, 1280), (12, 32), (12, 20), 256, (128, 256, 512, 512), 1024
    ),
    # an eighth of its parameters, at full depth
    "eighth": Size((112, 224, 448), (2, 4, 7), (1, 2, 10), 16, (256, 448), (4, 8), (4, 7), 96, (32, 64, 128, 128), 256),
    "tiny": Size((16, 32, 32), (2, 4, 4), (1, 1, 2), 8, (16, 32), (2, 2), (2, 4), 8, (8, 8, 8, 8), 64),
}


def unet_config(size: Size) -> dict[str, Any]:
    """Keyword arguments of UNet2DConditionModel."""
    return {
        "sample_size": size.canvas // 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": size.widths,
        "layers_per_block": 2,
        "transformer_layers_per_block": size.depths,
        "attention_head_dim": size.heads,
        "norm_num_groups": size.groups,
        "cross_attention_dim": sum(size.text),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": size.time,
        "projection_class_embeddings_input_dim": size.text[1] + 6 * size.time,
    }


def vae_config(size: Size) -> dict[str, Any]:
    """Keyword arguments of AutoencoderKL, with SDXL's scaling."""
    blocks = len(size.vae)
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ("DownEncoderBlock2D",) * blocks,
        "up_block_types": ("UpDecoderBlock2D",) * blocks,
        "block_out_channels": size.vae,
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": min(32, size.vae[0] // 2),
        "sample_size": size.canvas,
        "scaling_factor": 0.13025,
        "force_upcast": True,
    }


def build(size: Size, device: torch.device, dtype: torch.dtype, seed: int = 0) -> dict[str, Any]:
    """The components of a StableDiffusionXLPipeline by name, in eval mode, randomly initialised on `device`."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def text_config(which: int) -> CLIPTextConfig:
        width = size.text[which]
        return CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=size.text_layers[which],
            num_attention_heads=size.text_heads[which],
            hidden_act=("quick_gelu", "gelu")[which],
            bos_token_id=49406,
            eos_token_id=49407,
        )

    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            parts = {
                "unet": UNet2DConditionModel(**unet_config(size)),
                "vae": AutoencoderKL(**vae_config(size)),
                "text_encoder": CLIPTextModel(text_config(0)),
                "text_encoder_2": CLIPTextModelWithProjection(text_config(1)),
            }
    finally:
        torch.set_default_dtype(before)
    for part in parts.values():
        part.eval().requires_grad_(False)
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )
    return {**parts, "tokenizer": tokenizer(), "tokenizer_2": tokenizer(), "scheduler": scheduler}


def tokenizer() -> Any:
    """A word-level tokenizer with CLIP's length and special tokens: the embedding costs the same for all prompts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    start, end = ("<|startoftext|>", 49406), ("<|endoftext|>", 49407)
    vocab = {"<unk>": 0, **{word: i + 1 for i, word in enumerate(WORDS)}, start[0]: start[1], end[0]: end[1]}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment] (the stub has no setter)
    words.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{start[0]} $A {end[0]}", special_tokens=[start, end]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=77,
        bos_token=start[0],
        eos_token=end[0],
        pad_token=end[0],
        unk_token="<unk>",
    )


def random_adapter(
    unet: torch.nn.Module, path: Any, rank: int = 32, seed: int = 0, attention_only: bool = False
) -> None:
    """Writes a LoRA file with random factors on every linear layer of the transformer blocks, in PEFT's names."""
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in unet.named_modules():
        if not isinstance(layer, torch.nn.Linear) or "transformer_blocks" not in name:
            continue
        if attention_only and ".attn" not in name:
            continue
        down = torch.randn(rank, layer.in_features, generator=draw) / layer.in_features**0.5
        up = torch.randn(layer.out_features, rank, generator=draw) * 0.02
        tensors[f"unet.{name}.lora_A.weight"] = down.half()
        tensors[f"unet.{name}.lora_B.weight"] = up.half()
    save_file(tensors, path)
