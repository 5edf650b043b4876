"""Build, save and load the embedded model, a small SDXL, and its scheduler.

The checkpoint folder has the diffusers layout: model_index.json, unet/, text_encoder/, text_encoder_2/, tokenizer/,
tokenizer_2/, vae/, scheduler/.
Sources: SDXL (Podell et al. 2023) for the two encoders and the size conditioning; zero terminal SNR (Lin et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerFast

from pipelines.embedded.autoencoder import PixelAutoencoder
from pipelines.embedded.canvas import SIZE

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The folder of the weights that ship in the package."""

PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL = (PAD, UNKNOWN, START, END)
"""Token ids 0 to 3. `</s>` also fills up to the full length, as in CLIP; `<pad>` is not used."""

TOKENS = 16
"""Length of a tokenized prompt, start and end included."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of the model; the defaults are the shipped one's (21.5 million parameters)."""

    blocks: tuple[int, int, int] = (128, 192, 224)
    layers: int = 1
    head_size: int = 32
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 4
    size_embedding: int = 32


def build_unet(architecture: Architecture) -> UNet2DConditionModel:
    """Returns the UNet: latents (batch, 16, h/2, w/2), v-prediction, text embeddings 2 x text_width wide."""
    a = architecture
    heads: Any = tuple(width // a.head_size for width in a.blocks)  # diffusers calls it a head's size
    return UNet2DConditionModel(
        sample_size=SIZE // 2,
        in_channels=16,
        out_channels=16,
        block_out_channels=a.blocks,
        layers_per_block=a.layers,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=heads,
        use_linear_projection=True,
        cross_attention_dim=2 * a.text_width,
        addition_embed_type="text_time",
        addition_time_embed_dim=a.size_embedding,
        projection_class_embeddings_input_dim=a.text_width + 6 * a.size_embedding,
    )


def build_text_encoders(
    architecture: Architecture, vocabulary: int
) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Builds two CLIP text encoders for a vocabulary of so many tokens; the second has the pooled output."""
    a = architecture
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=a.text_width,
        intermediate_size=4 * a.text_width,
        projection_dim=a.text_width,
        num_hidden_layers=a.text_layers,
        num_attention_heads=a.text_heads,
        max_position_embeddings=TOKENS,
        pad_token_id=SPECIAL.index(PAD),
        bos_token_id=SPECIAL.index(START),
        eos_token_id=SPECIAL.index(END),
    )
    encoders = CLIPTextModel(config), CLIPTextModelWithProjection(config)
    for module in (m for encoder in encoders for m in encoder.modules()):
        # CLIP's 0.02 would leave the words silent: SDXL reads the last layer but one, which is not normalized.
        if isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.5)
    return encoders


def build_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """Returns a word-level tokenizer: lower case, runs of letters and runs of digits; `words` begin with SPECIAL."""
    if tuple(words[: len(SPECIAL)]) != SPECIAL:
        raise ValueError(f"A vocabulary begins with {', '.join(SPECIAL)}.")
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Split(Regex("[a-z]+|[0-9]+"), "removed", invert=True)
    core.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(START, SPECIAL.index(START)), (END, SPECIAL.index(END))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=TOKENS,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )


def build_scheduler() -> DDIMScheduler:
    """Builds DDIM with zero terminal SNR and trailing spacing: 8 steps look like 30."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
        clip_sample=True,
        clip_sample_range=1.2,
    )


def save_checkpoint(
    folder: Path,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    text_encoder_2: CLIPTextModelWithProjection,
    words: list[str],
) -> None:
    """Writes a complete diffusers checkpoint, weights as fp16 safetensors."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    tokenizer = build_tokenizer(words)
    parts: dict[str, Any] = {
        "vae": PixelAutoencoder(),
        "text_encoder": text_encoder,
        "text_encoder_2": text_encoder_2,
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer,
        "unet": unet,
        "scheduler": build_scheduler(),
    }
    pipeline = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def load_embedded(
    dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu", folder: Path = CHECKPOINT
) -> Any:
    """Returns the model as a stock diffusers StableDiffusionXLPipeline; nothing is looked up in the network.

    The only thing the stock `from_pretrained` needs is that `pipelines.embedded.autoencoder` was imported, which this
    module does: diffusers takes a class outside its own libraries from modules that are loaded already.

    Args:
        dtype: of all weights. On a CPU take float32 (or bfloat16 where it has AMX); float16 is slow there.
        folder: a checkpoint that `save_checkpoint` wrote.
    """
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(
        folder, dtype=dtype, local_files_only=True, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
