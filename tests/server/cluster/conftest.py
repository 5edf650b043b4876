"""A Ray cluster on this machine, started once for a module of tests. Without Ray they are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Four places for actors, whatever the machine has."""
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # as the product does: it is read when ray is imported
    ray = pytest.importorskip("ray", reason="make test-cluster installs Ray", exc_type=ImportError)
    root = str(Path(__file__).parents[3])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from server.cluster.nodes import join

    join("auto", num_cpus=4)
    yield
    ray.shutdown()


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one node with one place."""
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")  # as the product does: it is read when ray is imported
    pytest.importorskip("ray", reason="make test-cluster installs Ray", exc_type=ImportError)
    import ray  # pyright: ignore[reportMissingImports] (an extra)
    from ray.cluster_utils import Cluster as Machines  # pyright: ignore[reportMissingImports]

    root = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    started = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield started
    ray.shutdown()
    started.shutdown()
