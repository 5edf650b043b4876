"""Traces that cross into actors of a real Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from pipelines import tracing
from pipelines.engine.engine import Engine
from pipelines.records import DrawRequest
from server.cluster.lanes import RayLane
from server.settings import Settings
from tests.fakes import FakeBackend
from tests.server.collector import Collector, collecting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    """A collector that the processes of a cluster send to: they inherit the environment."""
    with collecting() as collector:
        before = dict(os.environ)
        os.environ.update(collector.environment)
        request.getfixturevalue("cluster")
        yield collector
        os.environ.clear()
        os.environ.update(before)


def test_an_actor_sends_its_spans_below_the_servers(tmp_path: Path, collector: Collector) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    tracing.start(provider.get_tracer("tests"))
    lane = RayLane(Settings(data_dir=tmp_path), FakeBackend(), {"num_cpus": 1}, "tests.server.cluster.actors:make_fake")
    engine = Engine(lane)
    try:
        with tracing.span("call"):
            sent = tracing.to_send()
            engine.draw(DrawRequest("embedded", ("red dragon",), (1,), 32, 32, steps=3))
        (actor,) = collector.wait_for("actor", "dgx-pixels-actor")
    finally:
        engine.close()
        tracing.start(None)
    assert sent.split("-")[1] == actor.trace
    assert actor.events == ("step",) * 3
