"""Distillation: one step of the student against two guided steps of the teacher."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pipelines.adapters.stack import WeightStack
from pipelines.embedded.architecture import Architecture, build_scheduler, load_embedded, save_checkpoint
from pipelines.embedded.training import distill
from pipelines.embedded.training.data import read_sprites
from pipelines.embedded.training.distill import STEPS, Distillation
from pipelines.embedded.training.objective import DRAWS, Objective
from pipelines.embedded.training.train import Trainer, build, prepare

TINY = Architecture(blocks=(32, 32, 32), text_width=32, text_layers=2, text_heads=2, size_embedding=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for i, (color, rgb) in enumerate({"red": (220, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 220)}.items()):
        image = np.zeros((16, 16, 4), np.uint8)
        image[4 : 12 + i, 3:13] = (*rgb, 255)
        Image.fromarray(image).save(folder / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "text": f"{color} box"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def checkpoint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words, _, _ = prepare(read_sprites([data]), 2)
    folder = tmp_path_factory.mktemp("teacher") / "checkpoint"
    save_checkpoint(folder, *build(words, None, TINY, 0.0), words)
    return folder


def distillation(data: Path, checkpoint: Path) -> Distillation:
    teacher = load_embedded(folder=checkpoint)
    words = sorted(teacher.tokenizer.get_vocab(), key=teacher.tokenizer.get_vocab().get)
    _, packed, _ = prepare(read_sprites([data], 16), 2, words)
    return Distillation(Objective(teacher.unet, teacher.text_encoder, teacher.text_encoder_2, packed, words))


def test_the_teachers_step_is_the_schedulers(data: Path, checkpoint: Path):
    model = distillation(data, checkpoint)
    scheduler = build_scheduler()
    scheduler.set_timesteps(2 * STEPS)
    draws = torch.Generator().manual_seed(0)
    x, v = (torch.randn(2, 16, 16, 16, generator=draws) for _ in range(2))
    ends = [*scheduler.alphas_cumprod[scheduler.timesteps[1:]], torch.tensor(1.0)]
    for time, end in zip(scheduler.timesteps, ends, strict=True):
        theirs = scheduler.step(v, int(time), x, return_dict=False)[0]
        torch.testing.assert_close(model.ddim_step(x, v, scheduler.alphas_cumprod[time], end), theirs)


def test_a_student_that_lands_where_its_teacher_lands_has_no_loss(data: Path, checkpoint: Path):
    """The student's v that the loss wants, put through one step of the scheduler, is the teacher's second landing."""
    model = distillation(data, checkpoint)
    uniform, noise = torch.rand(STEPS, DRAWS), torch.randn(STEPS, 16, 16, 16)
    asked: list[torch.Tensor] = []

    def answers(
        unet: object, weights: object, arguments: tuple[torch.Tensor, ...], named: object
    ) -> list[torch.Tensor]:
        asked.extend(arguments)
        return [torch.zeros_like(arguments[0])]

    landings: list[torch.Tensor] = []
    step = model.ddim_step
    model.ddim_step = lambda *a: landings.append(step(*a)) or landings[-1]  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill, "functional_call", answers)
        loss = model(uniform, noise)  # of v = 0: the mean square of the wanted v
        a, b = (alpha.view(-1, 1, 1, 1) for alpha in (model.alpha_start, model.alpha_end))
        noised = asked[0]
        wanted = (landings[1] - (b * a).sqrt() * noised - ((1 - b) * (1 - a)).sqrt() * noised) / (
            ((1 - b) * a).sqrt() - (b * (1 - a)).sqrt()
        )
        assert float(loss) == pytest.approx(float(wanted.square().mean()), rel=1e-5)
        landed = b.sqrt() * (a.sqrt() * noised - (1 - a).sqrt() * wanted) + (1 - b).sqrt() * (
            a.sqrt() * wanted + (1 - a).sqrt() * noised
        )
        torch.testing.assert_close(landed, landings[1], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_the_adapter_learns_where_the_teacher_lands(data: Path, checkpoint: Path):
    model = distillation(data, checkpoint)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    draws = torch.Generator().manual_seed(0)
    uniform, noise = torch.rand(8, DRAWS, generator=draws), torch.randn(8, 16, 16, 16, generator=draws)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(uniform, noise)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_distilling_writes_an_adapter_that_a_weight_stack_merges(data: Path, checkpoint: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert distill.main([
        str(data), "--out", str(out), "--teacher", str(checkpoint), "--steps", "4", "--batch", "4", "--variants", "2",
        "--device", "cpu",
    ]) == 0  # fmt: skip
    pipeline = load_embedded(folder=checkpoint)
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    stack = WeightStack({"unet": pipeline.unet})
    stack.apply([(out / "turbo.safetensors", 1.0)])
    changed = {n for n, value in pipeline.unet.state_dict().items() if not torch.equal(value, before[n])}
    assert {"conv_in.weight", "conv_out.weight"} <= changed
    assert len(changed) > 100


@pytest.mark.slow
def test_a_resumed_run_ends_where_an_unbroken_one_ends(data: Path, checkpoint: Path, tmp_path: Path):
    def command(out: str, *more: str) -> int:
        return distill.main([
            str(data), "--out", str(tmp_path / out), "--teacher", str(checkpoint), "--steps", "4", "--batch", "4",
            "--variants", "2", "--device", "cpu", "--save", "2", *more,
        ])  # fmt: skip

    assert command("whole") == 0
    with pytest.MonkeyPatch.context() as patch:
        step = Trainer.step
        patch.setattr(Trainer, "step", lambda self: step(self) if self.done < 2 else sys.exit("killed"))
        with pytest.raises(SystemExit):
            command("broken")
    assert command("broken") == 1
    assert command("broken", "--resume") == 0
    whole, broken = (load_file(tmp_path / name / "turbo.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_a_folder_that_holds_an_adapter_is_not_overwritten(data: Path, checkpoint: Path, tmp_path: Path):
    (tmp_path / "turbo.safetensors").write_bytes(b"mine")
    assert distill.main([str(data), "--out", str(tmp_path), "--teacher", str(checkpoint)]) == 1
    assert (tmp_path / "turbo.safetensors").read_bytes() == b"mine"
