"""The own loop against StableDiffusionXLPipeline, on the same weights and seeds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.sdxl.denoise import (
    Conditioning,
    Conditionings,
    Keep,
    denoise,
    draw_noise,
    first_step,
    predict_guided,
    predict_with,
    start_latents,
)
from pipelines.sdxl.loading import make_scheduler
from pipelines.sdxl.text import PromptEncoder
from tests.random_sdxl import SIZES, build

PROMPTS = ["red dragon", "mossy stone golem"]
SEEDS = [3, 7]


@cache
def tiny() -> dict[str, Any]:
    return build(SIZES["tiny"], torch.device("cpu"), torch.float32)


@cache
def embedded() -> dict[str, Any]:
    from pipelines.embedded.architecture import load_embedded

    return dict(load_embedded().components)


def encoder(parts: dict[str, Any]) -> PromptEncoder:
    return PromptEncoder(
        [parts["tokenizer"], parts["tokenizer_2"]], [parts["text_encoder"], parts["text_encoder_2"]], True
    )


def stock(
    parts: dict[str, Any], scheduler: Any, steps: int, guidance: float, negative: str | None, side: int
) -> Tensor:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    names = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    pipeline = StableDiffusionXLPipeline(
        **{name: parts[name] for name in names}, scheduler=scheduler, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    made: Any = pipeline(
        PROMPTS,
        negative_prompt=None if negative is None else [negative] * len(PROMPTS),
        num_inference_steps=steps,
        guidance_scale=guidance,
        width=side,
        height=side,
        generator=[torch.Generator().manual_seed(s) for s in SEEDS],
        output_type="latent",
    )
    return made.images


def conditionings_for(parts: dict[str, Any], negative: str | None, side: int) -> Conditionings:
    prompts = encoder(parts)
    sizes = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32).expand(len(PROMPTS), -1)

    def conditioning(embeddings: list[Any]) -> Conditioning:
        return Conditioning(torch.cat([e.hidden for e in embeddings]), torch.cat([e.pooled for e in embeddings]), sizes)

    return Conditionings(
        conditioning([prompts.encode(p) for p in PROMPTS]),
        conditioning([prompts.encode_negative(negative or "")] * len(PROMPTS)),
    )


def ours(parts: dict[str, Any], scheduler: Any, steps: int, guidance: float, negative: str | None, side: int) -> Tensor:
    scheduler.set_timesteps(steps)
    conditionings = conditionings_for(parts, negative, side)
    generators = [torch.Generator().manual_seed(s) for s in SEEDS]
    cells = side // 2 ** (len(parts["vae"].config.block_out_channels) - 1)
    noise = draw_noise((parts["unet"].config.in_channels, cells, cells), generators, conditionings.positive.hidden)
    latents = start_latents(scheduler, noise, None, 0)
    return denoise(
        predict_with(parts["unet"]), scheduler, latents, conditionings, [guidance] * len(PROMPTS), generators
    )


def fresh(parts: dict[str, Any], name: str = "", **changes: Any) -> Any:
    scheduler = parts["scheduler"]
    return make_scheduler(name or type(scheduler).__name__, {**scheduler.config, **changes})


@pytest.mark.parametrize(
    ("guidance", "negative"),
    [
        (2.0, "green grass"),
        pytest.param(1.0, None, marks=pytest.mark.slow),
        pytest.param(1.5, None, marks=pytest.mark.slow),
    ],
)
def test_the_embedded_model_draws_what_the_stock_pipeline_draws(guidance: float, negative: str | None):
    parts = embedded()
    expected = stock(parts, fresh(parts), 4, guidance, negative, 32)
    torch.testing.assert_close(ours(parts, fresh(parts), 4, guidance, negative, 32), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("guidance", [5.0, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("scheduler", "changes"),
    [
        ("EulerDiscreteScheduler", {}),
        ("EulerAncestralDiscreteScheduler", {}),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("LCMScheduler", {}),
        ("TCDScheduler", {}),
        ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    ],
)
def test_an_sdxl_draws_what_the_stock_pipeline_draws(scheduler: str, changes: dict[str, Any], guidance: float):
    parts = tiny()
    expected = stock(parts, fresh(parts, scheduler, **changes), 5, guidance, "stone", 64)
    result = ours(parts, fresh(parts, scheduler, **changes), 5, guidance, "stone", 64)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_each_picture_has_its_own_guidance_and_an_unguided_one_costs_nothing():
    seen: list[int] = []

    def predict(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        seen.append(len(latents))
        return conditioning.pooled[:, :1, None, None].expand_as(latents)

    def conditioning(value: float) -> Conditioning:
        return Conditioning(torch.zeros(2, 3, 4), torch.full((2, 5), value), torch.zeros(2, 6))

    conditionings = Conditionings(conditioning(1.0), conditioning(0.25))
    latents = torch.zeros(2, 4, 2, 2)
    mixed = predict_guided(predict, latents, torch.tensor(1), conditionings, [3.0, 1.0])
    assert mixed[:, 0, 0, 0].tolist() == [0.25 + 3 * 0.75, 1.0]
    predict_guided(predict, latents, torch.tensor(1), conditionings, [1.0, 1.0])
    predict_guided(predict, latents, torch.tensor(1), conditionings, [2.0, 2.0])
    assert seen == [3, 2, 4]


def test_guidance_acts_only_in_its_part_of_the_steps():
    parts = embedded()
    calls: list[int] = []
    plain = predict_with(parts["unet"])

    def counting(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        calls.append(len(latents))
        return plain(latents, timestep, conditioning)

    scheduler = fresh(parts)
    scheduler.set_timesteps(4)
    generators = [torch.Generator().manual_seed(s) for s in SEEDS]
    noise = draw_noise((16, 16, 16), generators, torch.zeros(1))
    denoise(counting, scheduler, noise, conditionings_for(parts, None, 32), [1.5, 1.5], generators, guided=(0.25, 0.75))
    assert calls == [2, 4, 4, 2]


def test_a_region_of_weight_one_is_drawn_by_its_own_prompt():
    parts = embedded()
    conditionings = conditionings_for(parts, None, 32)
    swapped = conditionings.positive.rows([1, 0])

    def run(conditionings: Conditionings) -> Tensor:
        scheduler = fresh(parts)
        scheduler.set_timesteps(3)
        generators = [torch.Generator().manual_seed(s) for s in SEEDS]
        noise = draw_noise((16, 16, 16), generators, torch.zeros(1))
        return denoise(predict_with(parts["unet"]), scheduler, noise, conditionings, [1.5, 1.5], generators)

    everywhere = torch.ones(2, 1, 16, 16)
    by_region = run(Conditionings(conditionings.positive, conditionings.negative, swapped, everywhere))
    torch.testing.assert_close(by_region, run(Conditionings(swapped, conditionings.negative)), rtol=1e-4, atol=1e-4)
    nowhere = run(Conditionings(conditionings.positive, conditionings.negative, swapped, 0 * everywhere))
    torch.testing.assert_close(
        nowhere, run(Conditionings(conditionings.positive, conditionings.negative)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_what_is_masked_off_stays_what_it_was(scheduler: str):
    parts = tiny()
    made = fresh(parts, scheduler)
    made.set_timesteps(6)
    generators = [torch.Generator().manual_seed(s) for s in SEEDS]
    noise = draw_noise((4, 8, 8), generators, torch.zeros(1))
    init = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., 4:] = 1
    begin = first_step(6, 0.5)
    latents = denoise(
        predict_with(parts["unet"]),
        made,
        start_latents(made, noise, init, begin),
        conditionings_for(parts, None, 64),
        [1.0, 1.0],
        generators,
        begin=begin,
        keep=Keep(init, noise, mask),
    )
    assert torch.equal(latents[..., :4], init[..., :4])
    assert not torch.allclose(latents[..., 4:], init[..., 4:], atol=0.1)


def test_the_strength_says_how_many_steps_are_taken():
    assert [first_step(8, s) for s in (1.0, 0.5, 0.01)] == [0, 4, 7]
    taken: list[tuple[int, int]] = []
    parts = embedded()
    scheduler = fresh(parts)
    scheduler.set_timesteps(8)
    generators = [torch.Generator().manual_seed(s) for s in SEEDS]
    noise = draw_noise((16, 16, 16), generators, torch.zeros(1))
    latents = start_latents(scheduler, noise, torch.zeros_like(noise), 6)
    seen: list[tuple[int, int]] = []

    def couple(latents: Tensor, index: int, total: int) -> Tensor:
        seen.append((index, total))
        return latents.mean(0, keepdim=True).expand_as(latents)

    result = denoise(
        predict_with(parts["unet"]),
        scheduler,
        latents,
        conditionings_for(parts, None, 32),
        [1.0, 1.0],
        generators,
        begin=6,
        couple=couple,
        on_step=lambda done, total: taken.append((done, total)),
    )
    assert taken == [(1, 2), (2, 2)]
    assert seen == [(0, 2), (1, 2)]
    assert torch.equal(result[0], result[1])


def test_a_seed_gives_the_same_noise_in_any_batch():
    like = torch.zeros(1)
    alone = draw_noise((4, 3, 3), [torch.Generator().manual_seed(7)], like)
    batch = draw_noise((4, 3, 3), [torch.Generator().manual_seed(s) for s in (1, 7)], like)
    assert np.array_equal(batch[1:].numpy(), alone.numpy())
