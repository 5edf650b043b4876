"""A Ray cluster on this machine, started once for a module of tests. Without Ray they are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Four places for actors, whatever the machine has."""
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # as the product does: it is read when ray is imported
    ray = pytest.importorskip("ray", reason="make test-cluster installs Ray", exc_type=ImportError)
    root = str(Path(__file__).parents[3])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="warning")
    yield
    ray.shutdown()
