"""A deploy or undo that is killed at any change of a file leaves all of its files or none, and a whole undo chain."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.server.deploy import crash


def killed_at(root: Path, action: str, step: int, *, placed: bool = False) -> bool:
    """Does the action in a child that is killed at its `step`-th change of a file; False where it ended before."""

    def work() -> None:
        studio = crash.open_studio(root)
        crash.kill_at(step, placed=placed)
        crash.act(studio, action)

    child, _ = crash.in_a_child(work)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0, f"the child failed with {status}"
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_server_that_runs_already_repairs_what_another_one_left(tmp_path: Path) -> None:
    root = tmp_path / "game"
    crash.make_game(root)
    with crash.open_studio(root) as running:
        one, two = crash.add_bundles(running, 2)
        crash.act(running, f"deploy:{one}")
        assert killed_at(root, f"deploy:{two}", 3, placed=True)
        assert crash.is_cut_off(root)
        assert len({path.read_text()[-1] for path in (root / "assets").rglob("*") if path.is_file()}) == 2
        running.library(running.project())
        assert crash.deployed(root) == 0
        assert not crash.is_cut_off(root)
        crash.act(running, "undo")
        assert crash.deployed(root) is None


def test_a_file_that_was_changed_after_the_kill_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "game"
    crash.make_game(root)
    with crash.open_studio(root) as running:
        one, two = crash.add_bundles(running, 2)
        crash.act(running, f"deploy:{one}")
        assert killed_at(root, f"deploy:{two}", 3, placed=True)
        (root / "assets" / crash.PLACE).write_text("drawn by hand")
        running.library(running.project())
        assert (root / "assets" / crash.PLACE).read_text() == "drawn by hand"
        others = [path for path in (root / "assets").rglob("*.*") if path.name != "hero.png"]
        assert {path.read_text()[-1] for path in others} == {"0"}
        assert not crash.is_cut_off(root)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["first", "replace", "undo to earlier", "undo to none"])
def test_a_kill_at_any_step_leaves_all_or_nothing(tmp_path: Path, stage: str) -> None:
    step = 0
    while True:
        step += 1
        root = tmp_path / f"game{step}"
        crash.make_game(root)
        studio = crash.open_studio(root)
        one, two = crash.add_bundles(studio, 2)
        before: list[int] = []
        if stage != "first":
            crash.act(studio, f"deploy:{one}")
            before = [0]
        if stage == "undo to earlier":
            crash.act(studio, f"deploy:{two}")
            before = [0, 1]
        studio.close()
        action = "undo" if stage.startswith("undo") else f"deploy:{one if stage == 'first' else two}"
        after = before[:-1] if action == "undo" else [*before, 0 if stage == "first" else 1]
        cut_off = killed_at(root, action, step)
        crash.check_undo(root, crash.check(root, before, after))
        if not cut_off:
            break
    assert step > 10, "the steps were not met"
