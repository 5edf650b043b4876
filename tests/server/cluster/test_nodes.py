"""Actors follow the nodes of a cluster: two raylets on loopback, one of which joins and leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.records import DrawRequest
from server.cluster import nodes
from server.cluster.nodes import Cluster
from server.errors import ServerError
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture
from tests.server.cluster.waiting import wait_for

pytestmark = pytest.mark.slow

SLOW = "tests.server.cluster.actors:make_slow"


def draw(engine: Engine, seed: int) -> np.ndarray:
    return engine.draw(DrawRequest("embedded", ("red dragon",), (seed,), 32, 32, steps=20)).images[0]


@pytest.mark.parametrize("graceful", [True, False])
def test_a_node_that_joins_gets_an_actor_and_one_that_leaves_loses_nothing(
    machines: Any, tmp_path: Path, graceful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "LOOK_SECONDS", 0.2)
    cluster = Cluster(Settings(data_dir=tmp_path, cluster=machines.address), FakeBackend(), SLOW)
    engine = cluster.engine()
    assert engine.size == 1
    joined = machines.add_node(num_cpus=1)
    wait_for(lambda: engine.size == 2)
    wait_for(lambda: all("process" in lane for lane in engine.status()["lanes"]))
    with ThreadPoolExecutor(4) as pool:
        drawings = [pool.submit(draw, engine, seed) for seed in range(24)]
        drawings[3].result(120)
        machines.remove_node(joined, allow_graceful=graceful)
        for seed, drawing in enumerate(drawings):
            assert np.array_equal(drawing.result(180), fake_picture("red dragon", seed, 32, 32))
    wait_for(lambda: engine.size == 1)
    assert np.array_equal(draw(engine, 99), fake_picture("red dragon", 99, 32, 32))
    engine.close()


def test_a_cluster_that_does_not_start_at_first_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ray: Any = pytest.importorskip("ray", reason="make test-cluster installs Ray", exc_type=ImportError)
    tries: list[int] = []

    def start(*_: object, **__: object) -> None:
        tries.append(1)
        if len(tries) < succeeds:
            raise Exception("The current node timed out during startup.")  # what Ray raises

    monkeypatch.setattr(ray, "init", start)
    succeeds = 2
    assert nodes.join("auto") is ray
    assert len(tries) == 2
    succeeds = 9
    with pytest.raises(ServerError, match="did not start on this machine: The current node timed out"):
        nodes.join("auto")


def test_an_address_without_a_cluster_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray: Any = pytest.importorskip("ray", reason="make test-cluster installs Ray", exc_type=ImportError)

    def refuse(**_: object) -> None:
        raise ConnectionError("no")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ServerError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        Cluster(Settings(data_dir=tmp_path, cluster="127.0.0.1:1"), FakeBackend())
