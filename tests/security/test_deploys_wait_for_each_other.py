"""Deploys and undos of several servers and threads in one game: the undo chain stays whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.deploy.journal import assets_of, exclusive
from server.errors import DeployError
from tests.faults.races import race
from tests.server.deploy import crash


def test_two_servers_with_threads_keep_one_chain(tmp_path: Path) -> None:
    counts = race(tmp_path, servers=2, threads=3, calls=12)
    wrong = ("was changed", "deployed again", "has not ended", "other error", "servers_failed", "chain_broken")
    assert {name: counts[name] for name in wrong if counts[name]} == {}
    assert sum(counts[name] for name in ("written", "replaced", "identical", "undone", "left to undo")) == 72


def test_a_deploy_that_waits_too_long_says_so(tmp_path: Path) -> None:
    root = tmp_path / "game"
    crash.make_game(root)
    with crash.open_studio(root) as first, crash.open_studio(root) as second:
        project = first.require_project()
        assets = assets_of(project)
        with (
            exclusive(assets, first.library(project)),
            pytest.raises(DeployError, match="has not ended"),
            exclusive(assets, second.library(project), timeout=0.05),
        ):
            raise AssertionError("two deploys at the same time")
        with exclusive(assets, second.library(project), timeout=0.05):
            pass
