"""Drawing by actors of a real Ray cluster on this machine."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine import losses
from pipelines.engine.engine import Engine
from pipelines.errors import Cancelled, DrawingError, ModelError, OutOfMemory
from pipelines.records import DrawRequest, Pixels
from server.cluster.lanes import REAL, RayLane
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture
from tests.server.cluster.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]

FAKE = "tests.server.cluster.actors:make_fake"
SLOW = "tests.server.cluster.actors:make_slow"
SMALL = "tests.server.cluster.actors:make_small"
FATAL = "tests.server.cluster.actors:make_fatal"
WARM = "tests.server.cluster.actors:make_warm"


def lanes(tmp_path: Path, count: int, backend: str = FAKE) -> list[RayLane]:
    """Actors that have started."""
    settings = Settings(data_dir=tmp_path)
    made = [RayLane(settings, FakeBackend(), {"num_cpus": 1}, backend) for _ in range(count)]
    assert all(lane.recover(lambda: False) for lane in made)
    return made


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
    wait_for(lambda: sum(drawn(two)) == 16)
    assert min(drawn(two)) > 0


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
    process = process_of(lane)
    assert np.array_equal(kill_while_drawing(engine, process, 3), fake_picture("red dragon", 3, 32, 32))
    wait_for(lambda: process_of(lane) != process)
    assert engine.status()["lost"] == 1
    engine.close()


def test_the_request_of_a_killed_actor_is_drawn_by_another_meanwhile(tmp_path: Path) -> None:
    first, second = lanes(tmp_path, 2, SLOW)
    engine = Engine(first)
    engine.draw(request(1, steps=1))
    engine.add(second)
    process = process_of(first)
    assert np.array_equal(kill_while_drawing(engine, process, 3), fake_picture("red dragon", 3, 32, 32))
    wait_for(lambda: second.describe()["device"] == "1")  # the other actor has drawn it
    engine.close()


def process_of(lane: RayLane) -> int:
    """The actor's process; it answers within a second unless the machine is busy."""
    wait_for(lambda: "process" in lane.describe())
    return lane.describe()["process"]


def drawn(engine: Engine) -> list[int]:
    """How many requests each actor has drawn; 0 for one that has not answered yet."""
    told = [str(lane["device"]) for lane in engine.status()["lanes"]]
    return [int(device) if device.isdigit() else 0 for device in told]


def kill_while_drawing(engine: Engine, process: int, seed: int) -> Pixels:
    """Ends the process after the first step of a drawing, and returns its picture."""
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(engine.draw, request(seed, steps=60), lambda done, *_: begun.set() if done else None)
        assert begun.wait(60)
        os.kill(process, signal.SIGKILL)
        return drawing.result(120).images[0]


def test_a_request_that_ends_every_process_ends_in_an_error_and_costs_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "MOST", 2)
    engine = Engine(*lanes(tmp_path, 2, FATAL))
    with ThreadPoolExecutor(4) as pool:
        fatal = pool.submit(engine.draw, request(13))
        others = [pool.submit(engine.draw, request(seed)) for seed in range(6)]
        for seed, other in enumerate(others):
            assert np.array_equal(other.result(120).images[0], fake_picture("red dragon", seed, 32, 32))
        with pytest.raises(DrawingError, match="ended 2 times while it drew this"):
            fatal.result(120)
    engine.close()


def test_candidates_are_drawn_by_all_free_actors_and_come_back_in_order(two: Engine) -> None:
    seeds = tuple(range(8))
    drawing = two.draw(DrawRequest("embedded", ("red dragon",) * 8, seeds, 32, 32))
    for seed, image in zip(seeds, drawing.images, strict=True):
        assert np.array_equal(image, fake_picture("red dragon", seed, 32, 32))
    wait_for(lambda: sum(drawn(two)) == 2)  # two parts

    def both_drew() -> bool:
        """An actor may be done before the other one's thread wakes and takes the second part as well."""
        two.draw(DrawRequest("embedded", ("red dragon",) * 8, seeds, 32, 32))
        return min(drawn(two)) > 0

    wait_for(both_drew)


def test_a_batch_of_the_embedded_model_is_the_same_parted_and_whole(tmp_path: Path) -> None:
    first, second = lanes(tmp_path, 2, REAL)
    engine = Engine(first, second)
    batch = DrawRequest("embedded", ("red dragon",) * 8, tuple(range(8)), 32, 32, steps=3, guidance=3.0)
    parted = engine.draw(batch)
    engine.close()
    whole = first.draw(batch, lambda done, total: None)
    assert all(np.array_equal(a, b) for a, b in zip(parted.images, whole.images, strict=True))


def test_without_room_an_actor_draws_half_the_batch_twice(tmp_path: Path) -> None:
    engine = Engine(*lanes(tmp_path, 1, SMALL))
    drawing = engine.draw(DrawRequest("embedded", ("red dragon",) * 4, (1, 2, 3, 4), 32, 32))
    assert all(
        np.array_equal(image, fake_picture("red dragon", seed, 32, 32)) for seed, image in enumerate(drawing.images, 1)
    )
    with pytest.raises(OutOfMemory, match="Ask for fewer"):
        engine.draw(DrawRequest("embedded", ("red dragon",) * 6, tuple(range(6)), 32, 32))
    engine.close()


def test_an_idle_actor_captures_its_graphs_and_a_request_interrupts_that(tmp_path: Path) -> None:
    (lane,) = lanes(tmp_path, 1, WARM)
    engine = Engine(lane)
    assert engine.draw(request(1)).steps == 4
    wait_for(lambda: lane.describe()["device"] == "warming")
    assert engine.draw(request(2)).steps == 7, "the actor was not warmed"
    engine.close()


def test_a_large_model_draws_each_picture_as_a_request_of_its_own(tmp_path: Path) -> None:
    for name, values in (
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline", "unet": [], "text_encoder_2": []}),
        ("unet/config.json", {"addition_embed_type": "text_time", "sample_size": 128}),
        ("vae/config.json", {"out_channels": 3, "block_out_channels": [8, 8, 8, 8]}),
    ):
        file = tmp_path / "large" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    lane = RayLane(Settings(data_dir=tmp_path), FakeBackend(), {"num_cpus": 1}, FAKE)
    batch = DrawRequest(str(tmp_path / "large"), ("red dragon",) * 4, (1, 2, 3, 4), 1024, 1024)
    assert [lane.parts(batch, free) for free in (0, 1, 8)] == [4, 4, 4]
    small = replace(batch, model="embedded")
    assert [lane.parts(small, free) for free in (0, 1, 2, 8)] == [0, 1, 2, 2], "a part of one picture"
    lane.close()
