"""The process that draws for a studio in a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.records import no_progress
from server.desk.child import Child
from server.desk.remote import RemoteDesk, Unreachable

PROGRAM = (sys.executable, str(Path(__file__).parents[1] / "terminal" / "fake_child.py"))
CAT = {"prompt": "cat", "size": 16, "candidates": 1}


@pytest.fixture
def child(game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setenv("DGX_PIXELS_DATA_DIR", str(tmp_path / "data"))
    child = Child(PROGRAM)
    yield child
    child.close()


def processes() -> list[psutil.Process]:
    """The running children of the tests that draw for a studio; other tests may have children of their own."""
    return [one for one in psutil.Process().children() if _draws(one)]


def _draws(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and PROGRAM[1] in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_it_draws_and_ends_with_the_studio(child: Child) -> None:
    desk = RemoteDesk(child.address, close=child.close)
    assert desk.draw(CAT, 1, no_progress).pieces[0].prompt == "cat"
    (process,) = processes()
    desk.close()
    process.wait(60)
    with pytest.raises(Unreachable, match="studio has ended"):
        desk.home()


def test_where_it_dies_the_request_says_so_and_the_next_starts_another(child: Child) -> None:
    desk = RemoteDesk(child.address)
    assert desk.home().game == "mygame"
    (process,) = processes()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    assert desk.home().game == "mygame"
    (other,) = processes()
    assert other.pid != process.pid


def test_a_program_that_does_not_start_is_an_error_that_says_where_to_look() -> None:
    child = Child((sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(Unreachable, match=r"studio\.log"):
        child.address()
    child.close()


def test_it_ends_when_the_studio_is_killed(game: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from server.desk.child import Child; "
        f"child = Child({PROGRAM!r}); child.address(); print(child._process.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "DGX_PIXELS_DATA_DIR": str(tmp_path)}
    with subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE, env=environment) as studio:
        assert studio.stdout is not None
        process = psutil.Process(int(studio.stdout.readline()))
        studio.kill()
        process.wait(60)
