"""Text encoders that learn with the UNet: their names in files, the way back through the loader, resume, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loras.errors import TrainingError
from loras.export import About, export
from loras.options import options_for, parse_options
from loras.trainer import Trainer, load_state, save_state
from pipelines.adapters.stack import WeightStack
from pipelines.models.catalog import Model, embedded_model
from tests.loras.rig import tiny_resident
from tests.loras.test_trainer import OPTIONS, trainer

TEXT = replace(OPTIONS, text_rate=5e-3, average=0.0)
NAME = "text_model_encoder_layers_0_self_attn_q_proj"


def words(resident: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([x.flatten() for x in resident.prompts.run(*resident.prompts.tokenize("red dragon"))])


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def written(run: Trainer, folder: Path) -> tuple[Path, Path]:
    said = About("mygame", "tiny", "abc", "none", TEXT.rank, TEXT.targets, "", "123", 3, 3)
    export(run.factors(), said, folder / "mygame.safetensors", folder / "diffusers")
    return folder / "mygame.safetensors", folder / "diffusers"


@pytest.fixture(scope="module")
def learned() -> Trainer:
    run = trainer(TEXT)
    for _ in range(3):
        run.step()
    return run


def test_both_encoders_learn_with_a_rate_of_their_own(learned: Trainer) -> None:
    assert off(words(learned.resident), words(tiny_resident())) > 1e-3
    rates = [group["lr"] for group in learned.optimizer.param_groups]
    assert rates[1] == pytest.approx(rates[0] * TEXT.text_rate / TEXT.rate)
    for model in ("text_encoder", "text_encoder_2"):
        names = [n for n in learned.weights if n.startswith(f"{model}.") and ".lora_B." in n]
        assert any(learned.weights[name].abs().max() > 0 for name in names)


def test_files_have_the_names_of_kohya_and_our_loader_gives_what_was_learned(learned: Trainer, tmp_path: Path) -> None:
    kohya, diffusers = written(learned, tmp_path)
    keys = load_file(kohya)
    for prefix in ("lora_te1", "lora_te2"):
        assert {
            f"{prefix}_{NAME}.lora_down.weight",
            f"{prefix}_{NAME}.lora_up.weight",
            f"{prefix}_{NAME}.alpha",
        } <= set(keys)
    for path in (kohya, diffusers):
        other = tiny_resident()
        before = words(other)
        parts = {name: part for name, part in other.modules.items() if name != "vae"}
        stack = WeightStack(parts)
        stack.apply([(path, 1.0)])
        assert off(words(other), words(learned.resident)) < 0.02 * off(before, words(learned.resident))
        stack.restore()
        assert torch.equal(words(other), before)


@pytest.mark.slow
def test_diffusers_loads_the_file_of_kohyas_names(learned: Trainer, tmp_path: Path) -> None:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    other = tiny_resident()
    absent: dict[str, Any] = {"tokenizer": None, "tokenizer_2": None}
    modules = {name: other.modules[name] for name in ("unet", "vae", "text_encoder", "text_encoder_2")}
    pipe: Any = StableDiffusionXLPipeline(**modules, **absent, scheduler=other.scheduler, add_watermarker=False)
    kohya, _ = written(learned, tmp_path)
    before = words(other)
    pipe.load_lora_weights(str(kohya.parent), weight_name=kohya.name)
    assert off(words(other), words(learned.resident)) < 0.05 * off(before, words(learned.resident))


def test_no_caption_is_zeros_as_in_drawing() -> None:
    run = trainer(replace(TEXT, caption_dropout=1.0))
    run.step()
    assert all((w == 0).all() for n, w in run.weights.items() if n.startswith("text_") and ".lora_B." in n)
    assert any((w != 0).any() for n, w in run.weights.items() if n.startswith("down_") and ".lora_B." in n)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"dropout": 0.3}, {"validation": 0.4}])
def test_a_resumed_run_is_the_same_to_the_last_bit(more: dict[str, Any], tmp_path: Path) -> None:
    options = replace(TEXT, average=0.9, **more)
    whole, first, second = (trainer(options, count=5) for _ in range(3))
    for run in (whole, first):
        run.step()
        run.validate()
    save_state(tmp_path / "checkpoint.pt", first.state())
    second.restore(load_state(tmp_path / "checkpoint.pt"))
    for _ in range(2):
        assert whole.step() == second.step()
    assert all(torch.equal(a, b) for a, b in zip(whole.factors().values(), second.factors().values(), strict=True))


def test_the_option_is_read_and_the_embedded_model_refuses_it() -> None:
    assert options_for(Model("x", "x", "x", Path()), **parse_options("text_rate=5e-5")).text_rate == 5e-5
    with pytest.raises(TrainingError, match="Leave text_rate out"):
        options_for(embedded_model(), text_rate=5e-5)
    with pytest.raises(TrainingError, match=r"text_rate=1\.0 is out of range"):
        options_for(Model("x", "x", "x", Path()), text_rate=1.0)
