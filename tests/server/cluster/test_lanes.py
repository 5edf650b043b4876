"""Drawing by actors of a real Ray cluster on this machine."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.errors import Cancelled, ModelError
from pipelines.records import DrawRequest
from server.cluster.lanes import RayLane, connect
from server.errors import ServerError
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]

FAKE = "tests.server.cluster.actors:make_fake"
SLOW = "tests.server.cluster.actors:make_slow"


def lanes(tmp_path: Path, count: int, backend: str = FAKE) -> list[RayLane]:
    settings = Settings(data_dir=tmp_path)
    return [RayLane(settings, FakeBackend(), {"num_cpus": 1}, backend) for _ in range(count)]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(*lanes(tmp_path, 2))
    yield engine
    engine.close()


def request(seed: int, steps: int | None = None, model: str = "embedded") -> DrawRequest:
    return DrawRequest(model, ("red dragon",), (seed,), 32, 32, steps=steps)


def test_actors_draw_what_one_process_draws_and_share_the_work(two: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        drawings = list(pool.map(lambda seed: two.draw(request(seed)), range(16)))
    for seed, drawing in enumerate(drawings):
        assert np.array_equal(drawing.images[0], fake_picture("red dragon", seed, 32, 32))
    drawn = [json.loads(str(lane["device"])) for lane in two.status()["lanes"]]
    assert sum(drawn) == 16
    assert min(drawn) > 0


def test_an_error_of_the_actor_arrives_as_it_was_raised(two: Engine) -> None:
    with pytest.raises(ModelError, match="There is no model 'nothing'"):
        two.draw(request(1, model="nothing"))


def test_a_cancelled_drawing_ends_at_its_next_step_and_frees_the_actor(tmp_path: Path) -> None:
    engine = Engine(*lanes(tmp_path, 1, SLOW))
    seen: list[int] = []

    def give_up(done: int, total: int, message: str) -> None:
        seen.append(done)
        if done >= 2:
            raise Cancelled("gave up")

    with pytest.raises(Cancelled):
        engine.draw(request(1, steps=10_000), give_up)
    assert engine.draw(request(2, steps=2)).steps == 2
    engine.close()


def test_a_killed_actor_is_started_again_and_draws_the_same(tmp_path: Path) -> None:
    (lane,) = lanes(tmp_path, 1, SLOW)
    engine = Engine(lane)
    engine.draw(request(1, steps=1))
    process = lane.describe()["process"]
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(engine.draw, request(3, steps=60), lambda done, *_: begun.set() if done else None)
        assert begun.wait(60)
        os.kill(process, signal.SIGKILL)
        assert np.array_equal(drawing.result(120).images[0], fake_picture("red dragon", 3, 32, 32))
    assert lane.describe()["process"] != process
    engine.close()


def test_an_address_without_a_cluster_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray  # pyright: ignore[reportMissingImports] (an extra)

    def refuse(**_: object) -> None:
        raise ConnectionError("no")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ServerError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        connect("127.0.0.1:1", Settings(data_dir=tmp_path), FakeBackend())
