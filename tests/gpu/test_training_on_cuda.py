"""LoRA training on a CUDA device: replayed steps learn what plain ones learn, and a run can be taken up again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loras.cache import build_cache
from loras.dataset import Dataset, Example
from loras.options import TrainOptions
from loras.trainer import Trainer, load_state, save_state
from pipelines.sdxl.fast import FastModel
from tests.loras.pictures import sprite
from tests.loras.rig import tiny_resident

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),
]

OPTIONS = TrainOptions(steps=8, batch=2, rank=4, rate=1e-2, resolution=64, average=0.9)


def trainer(replays: bool = True, options: TrainOptions = OPTIONS) -> Trainer:
    """As a job makes it: the model as drawing wants it, then in bfloat16."""
    resident = tiny_resident()
    resident.device = torch.device("cuda")
    for module in resident.modules.values():
        module.to("cuda")
    FastModel(resident.unet, resident.vae, resident.prompts, compiles=True)
    for module in resident.modules.values():
        module.to(torch.bfloat16)
    resident.dtype = torch.bfloat16
    pictures = Dataset(tuple(Example(sprite(i), f"sprite {i}", f"{i}.png") for i in range(4)), ())
    run = Trainer(resident, build_cache(resident, pictures, options), options)
    if not replays:
        run.replayed.failed = "not wanted"
    return run


def test_replayed_steps_learn_what_plain_ones_learn_and_a_run_is_taken_up(tmp_path: Path):
    plain, quick = trainer(replays=False), trainer()
    expected = [plain.step() for _ in range(8)]
    losses = [quick.step() for _ in range(4)]
    assert not quick.replayed.failed
    assert len(quick.replayed.graphs) == 1
    save_state(tmp_path / "checkpoint.pt", quick.state())
    later = trainer()
    later.restore(load_state(tmp_path / "checkpoint.pt"))
    losses += [later.step() for _ in range(4)]
    print(expected, losses)
    assert losses == pytest.approx(expected, rel=0.02)
    for name, weight in plain.weights.items():
        change = (weight - later.weights[name]).norm() / weight.norm()
        assert change < 0.1, name
    assert any(not torch.equal(a, b) for a, b in zip(quick.averages, quick.weights.values(), strict=True))


@pytest.mark.parametrize("changes", [{"dropout": 0.3}, {"optimizer": "prodigy", "rate": 1.0}])
def test_dropout_and_prodigy_learn_the_same_in_replayed_and_in_plain_steps(changes: dict[str, Any]):
    if "optimizer" in changes:
        pytest.importorskip("prodigyopt")
    options = replace(OPTIONS, **changes)
    plain, quick = trainer(replays=False, options=options), trainer(options=options)
    expected, losses = ([run.step() for _ in range(8)] for run in (plain, quick))
    assert not quick.replayed.failed
    assert len(quick.replayed.graphs) == 1
    print(expected, losses)
    assert losses == pytest.approx(expected, rel=0.02)
