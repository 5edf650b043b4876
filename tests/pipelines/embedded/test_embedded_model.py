"""The embedded model as diffusers sees it: a lossless autoencoder, and a checkpoint that the stock pipeline loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.embedded.architecture import (
    CHECKPOINT,
    SPECIAL,
    TOKENS,
    Architecture,
    build_text_encoders,
    build_tokenizer,
    build_unet,
    load_embedded,
    save_checkpoint,
)
from pipelines.embedded.autoencoder import PixelAutoencoder


def test_the_autoencoder_gives_every_pixel_back():
    pictures = torch.rand(2, 4, 32, 48) * 2 - 1
    latents = PixelAutoencoder().encode(pictures).latent_dist.sample()
    assert latents.shape == (2, 16, 16, 24)
    assert torch.equal(PixelAutoencoder().decode(latents).sample, pictures)


def test_the_tokenizer_reads_words_in_any_case_and_marks_the_unknown():
    tokenizer = build_tokenizer([*SPECIAL, "red", "dragon", "elf", "s"])
    ids = tokenizer("RED Dragon, élf's 2 gizmo", padding="max_length", max_length=TOKENS, truncation=True).input_ids
    assert ids == [2, 4, 5, 6, 7, 1, 1] + [3] * 9


def test_a_vocabulary_without_the_special_words_is_refused():
    with pytest.raises(ValueError, match="begins with"):
        build_tokenizer(["red"])


def test_a_saved_checkpoint_loads_into_the_stock_pipeline_and_draws_rgba(tmp_path: Path):
    tiny = Architecture(blocks=(32, 32, 32), text_width=32, text_layers=1, text_heads=2, size_embedding=8)
    words = [*SPECIAL, "red", "dragon"]
    encoders = build_text_encoders(tiny, len(words))
    save_checkpoint(tmp_path, build_unet(tiny), *encoders, words)
    pipeline = load_embedded(folder=tmp_path)
    images = pipeline("red dragon", num_inference_steps=2, guidance_scale=1.5, output_type="np").images
    assert images.shape == (1, 32, 32, 4)


def test_the_shipped_checkpoint_fits_its_budget_and_draws():
    assert sum(file.stat().st_size for file in CHECKPOINT.rglob("*") if file.is_file()) <= 50_000_000
    pipeline = load_embedded()
    generator = torch.Generator().manual_seed(0)
    image = pipeline(
        "red potion", num_inference_steps=4, guidance_scale=1.0, generator=generator, output_type="np"
    ).images[0]
    opaque = image[image[..., 3] > 0.5]
    assert 50 < len(opaque) < 900
    assert opaque[:, 0].mean() > opaque[:, 1].mean()
