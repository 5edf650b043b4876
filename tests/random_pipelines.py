"""Tiny random pipelines of the classes FLUX.2 klein, Z-Image and Qwen-Image, saved in diffusers' layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
WORDS = ("a", "mossy", "stone", "golem", "pixel", "art", "game", "sprite", "of", "red", "dragon", "floor", "texture")


def tokenizer() -> Any:
    """A byte-level Qwen2 tokenizer with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast  # pyright: ignore[reportAttributeAccessIssue]

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    vocab = {letter: i for i, letter in enumerate((*special, *letters))}
    made = Tokenizer(models.BPE(vocab, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    wrapped = Qwen2TokenizerFast(
        tokenizer_object=made, vocab=vocab, merges=[], eos_token=special[0], pad_token=special[0], unk_token=special[0]
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def qwen3(layers: int) -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 1024,
    }  # fmt: skip


def scheduler() -> Any:
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


def klein() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
    from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
    from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=256, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        sample_size=32, in_channels=3, out_channels=3, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), layers_per_block=1, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    encoder = Qwen3ForCausalLM(Qwen3Config(**qwen3(28)))  # layers 9, 18 and 27 are read
    return Flux2KleinPipeline(scheduler(), vae, encoder, tokenizer(), transformer, is_distilled=True)


def z_image() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
    from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 8),
    }  # fmt: skip
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, layers_per_block=1, latent_channels=4, norm_num_groups=4,
        scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False, **blocks,
    )  # fmt: skip
    return ZImagePipeline(scheduler(), vae, Qwen3Model(Qwen3Config(**qwen3(2))), tokenizer(), transformer)


def qwen_image() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
    from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
    from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3,
        joint_attention_dim=16, guidance_embeds=False, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=24, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    config: dict[str, Any] = {
        "text_config": {
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default"},
            "rope_theta": 1000000.0, "vocab_size": 512, "max_position_embeddings": 2048,
        },
        "vision_config": {
            "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
        },
        "hidden_size": 16, "vocab_size": 512, "vision_end_token_id": 1, "vision_start_token_id": 2,
    }  # fmt: skip
    encoder = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config))
    return QwenImagePipeline(scheduler(), vae, encoder, tokenizer(), transformer)


BUILD = {"flux2-klein": klein, "z-image": z_image, "qwen-image": qwen_image}


def save(kind: str, folder: Path) -> Path:
    """Writes a pipeline of that kind and returns its folder."""
    BUILD[kind]().save_pretrained(folder, safe_serialization=True)
    return folder
