"""A LoRA of the embedded model on a CUDA device: graphs learn what plain steps learn, and a job runs with them.

Prints both step rates. `make test-gpu`
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loras.cache import Cache, build_cache
from loras.dataset import read_dataset
from loras.files import read_json, write_json
from loras.jobs import Jobs, JobSpec
from loras.options import TrainOptions, options_for
from loras.replay import Replayed
from loras.trainer import Trainer, load_state, save_state
from loras.worker import work
from pipelines.models.catalog import embedded_model
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sdxl.loading import Resident

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),
]

SPRITES = Path(__file__).parents[2] / "bevy_example" / "assets" / "sprites"
STEPS = 60
OPTIONS = options_for(embedded_model(), steps=STEPS, batch=8)


def ready(options: TrainOptions = OPTIONS) -> tuple[Resident, Cache]:
    """The shipped model as a job loads it, and the game's sprites."""
    resident = DiffusersBackend("cuda").resident(embedded_model())
    resident.model = replace(resident.model, style=None)
    return resident, build_cache(resident, read_dataset(SPRITES), options)


def trainer(replays: bool = True, options: TrainOptions = OPTIONS) -> Trainer:
    run = Trainer(*ready(options), options)
    if not replays:
        run.replayed.failed = "not wanted here"
    return run


def rate(run: Trainer, warmup: int = 10) -> float:
    """Steps a second after `warmup`; the run is then at its end."""
    for _ in range(warmup):
        run.step()
    torch.cuda.synchronize()
    begun, first = time.perf_counter(), run.done
    while run.done < STEPS:
        run.step()
    torch.cuda.synchronize()
    return (run.done - first) / (time.perf_counter() - begun)


def test_a_replayed_run_learns_what_a_plain_one_learns_only_faster() -> None:
    plain, quick = trainer(replays=False), trainer()
    slow, fast = rate(plain), rate(quick)
    print(f"\nembedded, rank {OPTIONS.rank}, batch {OPTIONS.batch}: {slow:.1f} steps/s plain, {fast:.1f} as a graph")
    print("largest difference of a loss:", max(abs(a / b - 1) for a, b in zip(quick.losses, plain.losses, strict=True)))
    assert not quick.replayed.failed
    assert quick.losses == pytest.approx(plain.losses, rel=0.05)
    far = [
        float((a - b).norm() / b.norm())
        for a, b in zip(quick.factors().values(), plain.factors().values(), strict=True)
    ]
    print("largest difference of a weight matrix:", max(far))
    assert sum(far) / len(far) < 0.1
    assert fast > 1.5 * slow


def test_a_run_is_taken_up_from_its_checkpoint(tmp_path: Path) -> None:
    whole, first = trainer(), trainer()
    for _ in range(12):
        whole.step()
    for _ in range(6):
        first.step()
    save_state(tmp_path / "checkpoint.pt", first.state())
    second = trainer()
    second.step()  # its graph writes to an optimizer state that is replaced now
    second.restore(load_state(tmp_path / "checkpoint.pt"))
    for _ in range(6):
        second.step()
    assert not second.replayed.failed
    assert second.losses == pytest.approx(whole.losses, rel=0.02)


def test_a_step_that_cannot_be_recorded_is_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, run = trainer(replays=False), trainer()

    def refuse(graph: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(run.replayed, "capture", refuse)
    losses = [run.step() for _ in range(4)]
    assert "not permitted" in run.replayed.failed
    assert losses == pytest.approx([expected.step() for _ in range(4)], rel=0.02)


def test_a_run_begun_on_a_cpu_continues_with_graphs(tmp_path: Path) -> None:
    options = replace(OPTIONS, batch=2)
    resident = DiffusersBackend("cpu").resident(embedded_model())
    first = Trainer(resident, build_cache(resident, read_dataset(SPRITES), options), options)
    first.step()
    save_state(tmp_path / "checkpoint.pt", first.state())
    second = trainer(options=options)
    second.restore(load_state(tmp_path / "checkpoint.pt"))
    expected = first.step()
    assert second.step() == pytest.approx(expected, rel=0.05)
    second.step()
    assert not second.replayed.failed


def test_a_job_without_graphs_notes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Replayed, graph: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing.")

    monkeypatch.setattr(Replayed, "capture", refuse)
    options = options_for(embedded_model(), steps=3)
    spec = JobSpec("game", str(SPRITES), "embedded", str(tmp_path / "loras"), options, prompts=("red dragon",))
    (tmp_path / "job").mkdir()
    write_json(tmp_path / "job" / "spec.json", {**asdict(spec), "created": 0.0})
    assert work(tmp_path / "job") == "done"
    assert "not permitted when stream is capturing." in read_json(tmp_path / "job" / "state.json")["message"]


def test_a_job_trains_with_graphs_without_a_note(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    options = options_for(embedded_model(), steps=200, sample_every=100)
    spec = JobSpec("game", str(SPRITES), "embedded", str(tmp_path / "loras"), options, prompts=("red dragon",))
    job = jobs.wait(jobs.start(spec).id, 120)
    log = (job.folder / "log.txt").read_text()
    assert job.status == "done", job.error + log[-2000:]
    print(f"\na job of {job.total} steps with samples: {job.seconds:.1f} s, {job.steps_per_second:.1f} steps/s")
    assert "CUDA graph" not in job.message, log
    assert read_json(job.folder / "state.json")["loss"] < 1
    assert sorted(Path(p).name for p in job.samples) == [f"step-{n:06d}.png" for n in (0, 100, 200)]
