"""The embedded model's light loader gives the same bits as diffusers' and transformers' own, without importing them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipelines.embedded.architecture import CHECKPOINT, load_embedded
from pipelines.embedded.text import WordTokenizer
from pipelines.models.catalog import embedded_model
from pipelines.models.presets import PRESETS
from pipelines.sdxl.loading import load_model, make_scheduler

PROMPTS = ("", "red dragon", "Crème brûlée, 2 potions!", "a very long prompt of green goblins " * 4, "xyzzy")


@torch.inference_mode()
def test_prompts_and_steps_have_the_bits_of_the_stock_components() -> None:
    stock, light = load_embedded(), load_model(embedded_model(), torch.device("cpu"))
    tokenizers = (WordTokenizer(CHECKPOINT / "tokenizer"), WordTokenizer(CHECKPOINT / "tokenizer_2"))
    for prompt in PROMPTS:
        hidden, pooled = [], torch.empty(0)
        for tokenizer, mine, theirs, encoder, other in zip(
            (stock.tokenizer, stock.tokenizer_2),
            tokenizers,
            tokenizers,
            (stock.text_encoder, stock.text_encoder_2),
            (light.text_encoder, light.text_encoder_2),
            strict=True,
        ):
            ids = tokenizer(
                prompt,
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            assert torch.equal(ids, mine(prompt).input_ids)
            assert theirs.model_max_length == tokenizer.model_max_length
            expected, found = encoder(ids, output_hidden_states=True), other(ids)
            assert torch.equal(expected.hidden_states[-2], found.hidden_states[-2])
            assert torch.equal(expected[0], found.first)
            hidden.append(found.hidden_states[-2])
            pooled = found.first
        latents = torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
        asked = {
            "encoder_hidden_states": torch.cat(hidden, -1),
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.tensor([[32, 32, 0, 0, 32, 32.0]])},
            "return_dict": False,
        }
        assert torch.equal(stock.unet(latents, 500, **asked)[0], light.unet(latents, 500, **asked)[0])


def test_the_light_components_have_the_names_that_loras_are_written_for() -> None:
    stock, light = load_embedded(), load_model(embedded_model(), torch.device("cpu"))
    for name in ("unet", "text_encoder", "text_encoder_2"):
        expected, found = getattr(stock, name).state_dict(), getattr(light, name).state_dict()
        assert {k: v.shape for k, v in expected.items()} == {k: v.shape for k, v in found.items()}


@pytest.mark.parametrize("name", sorted({p.scheduler for p in PRESETS.values() if p.scheduler} | {"DDIMScheduler"}))
@pytest.mark.parametrize("source", ["DDIMScheduler", "EulerDiscreteScheduler"])
def test_a_scheduler_is_configured_as_diffusers_does_it(name: str, source: str) -> None:
    import diffusers

    config = {
        **json.loads((CHECKPOINT / "scheduler" / "scheduler_config.json").read_text()),
        "_class_name": source,
        "interpolation_type": "linear",
        "steps_offset": 1,
    }
    expected, found = getattr(diffusers, name).from_config(config), make_scheduler(name, config)
    ignored = ("_class_name", "_diffusers_version")
    assert {k: v for k, v in expected.config.items() if k not in ignored} == dict(found.config)


@pytest.mark.slow
def test_drawing_imports_nothing_that_it_does_not_call_and_everything_is_real_afterwards() -> None:
    code = """
import sys
from pipelines.engine.engine import Engine
from pipelines.records import Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites
backend = DiffusersBackend("cpu")
engine = Engine(backend)
recipe = Recipe(kind="sprite", prompt="red dragon", model="embedded", seed=1, width=32, height=32, candidates=4)
draw_sprites(engine, recipe)
unwanted = ("transformers", "peft", "accelerate", "requests", "scipy.stats", "scipy.integrate", "torch._dynamo",
            "diffusers.hooks", "diffusers.models.transformers", "huggingface_hub.hf_api")
print([name for name in unwanted if name in sys.modules])
import scipy, torch._dynamo, transformers, peft, accelerate, requests, importlib.metadata, diffusers
from pipelines.embedded.architecture import load_embedded
from diffusers.models.transformers import FluxTransformer2DModel
from diffusers.models.autoencoders import AutoencoderKL
load_embedded().unet.set_adapters
is_module = issubclass(transformers.CLIPTextModel, torch.nn.Module)
assert scipy.integrate.quad(lambda x: x, 0, 2)[0] == 2 and issubclass(requests.Timeout, OSError)
assert issubclass(accelerate.hooks.AlignDevicesHook, accelerate.hooks.ModelHook)
from diffusers.utils.dynamic_modules_utils import get_class_from_dynamic_module
assert get_class_from_dynamic_module.__name__ == "get_class_from_dynamic_module"
assert "torch" in importlib.metadata.packages_distributions()
print(callable(torch._dynamo.explain), scipy.stats.norm.cdf(0.0), is_module)
"""
    if torch.cuda.is_available():
        pytest.skip("a CUDA machine imports torch._dynamo")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "True 0.5 True"]
