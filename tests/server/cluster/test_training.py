"""Training as a task of a Ray cluster, beside the actors that draw."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loras.files import read_json
from loras.jobs import Jobs, JobSpec
from loras.options import options_for
from pipelines.engine.engine import Engine
from pipelines.models.catalog import embedded_model
from pipelines.records import DrawRequest
from server.cluster import nodes
from server.cluster.nodes import Cluster
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture
from tests.loras.pictures import save, sprite
from tests.server.cluster.waiting import wait_for

pytestmark = pytest.mark.slow

FAKE = "tests.server.cluster.actors:make_fake"


def spec(tmp_path: Path, steps: int) -> JobSpec:
    for i, name in enumerate(("red_dragon", "blue_potion", "gray_sword")):
        save(tmp_path / "sprites" / f"{name}.png", sprite(i))
    options = options_for(embedded_model(), batch=1, rank=2, steps=steps, save_every=1, sample_every=10_000)
    return JobSpec(
        "mygame", str(tmp_path / "sprites"), "embedded", str(tmp_path / "loras"), options, prompts=("red dragon",)
    )


def draws(engine: Engine) -> bool:
    drawing = engine.draw(DrawRequest("embedded", ("red dragon",), (1,), 32, 32))
    return np.array_equal(drawing.images[0], fake_picture("red dragon", 1, 32, 32))


def test_a_training_has_a_place_of_its_own_and_resumes_after_a_kill(
    machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "LOOK_SECONDS", 0.2)
    machines.add_node(num_cpus=1)
    cluster = Cluster(Settings(data_dir=tmp_path, cluster=machines.address), FakeBackend(), FAKE)
    engine = cluster.engine()
    jobs = Jobs(tmp_path / "jobs", start_worker=cluster.start_training)
    wait_for(lambda: engine.size == 2)
    job = jobs.start(spec(tmp_path, 100_000))
    assert job.status == "queued"
    wait_for(lambda: engine.size == 1)
    wait_for(lambda: jobs.get(job.id).done >= 2)
    assert draws(engine), "the training stopped the sprites"
    os.kill(read_json(job.folder / "state.json")["worker"]["pid"], signal.SIGKILL)
    wait_for(lambda: jobs.get(job.id).status == "interrupted")
    done = jobs.get(job.id).done
    wait_for(lambda: engine.size == 2)
    assert draws(engine)
    jobs.resume(job.id)
    wait_for(lambda: jobs.get(job.id).done > done)
    assert jobs.cancel(job.id, 60).status == "cancelled"
    assert jobs.get(job.id).done > done, "it began again"
    wait_for(lambda: engine.size == 2)
    engine.close()


def test_on_a_single_place_a_training_runs_beside_the_server(
    machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[Path] = []
    monkeypatch.setattr(nodes, "start_here", here.append)
    cluster = Cluster(Settings(data_dir=tmp_path, cluster=machines.address), FakeBackend(), FAKE)
    cluster.start_training(tmp_path / "jobs" / "0123456789abcdef")
    assert here == [tmp_path / "jobs" / "0123456789abcdef"]
    assert cluster.actors == 1
