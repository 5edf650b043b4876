"""The example game, built and running without a window. Collected only with DGX_PIXELS_BEVY (`make test-bevy`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.running import Game, copy_game, free_port
from tests.fakes import FakeBackend

if not os.environ.get("DGX_PIXELS_BEVY"):
    collect_ignore_glob = ["*test_*.py"]
else:  # builds of many minutes: collected only where their folder is named (make test-bevy-crates, test-brp-mcp)
    collect_ignore = ["crates", "brp_mcp"]

_figures: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.bevy)


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """Lines to print after the tests."""
    return _figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _figures:
        terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    """One running game a test file."""
    running = Game(copy_game(tmp_path_factory.mktemp("games") / "game"), free_port())
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def at_port(game: Game, monkeypatch: pytest.MonkeyPatch) -> Game:
    """The running game, with the port set where the server looks for it."""
    monkeypatch.setenv("BRP_EXTRAS_PORT", str(game.port))
    game.revive()
    return game


@pytest.fixture
def studio(at_port: Game, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(Settings(project=at_port.root, data_dir=tmp_path / "data"), FakeBackend())
    yield studio
    studio.close()


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """A display of its own in memory."""
    if not shutil.which("Xvfb"):
        pytest.skip("there is no Xvfb here (Debian: xvfb libxkbcommon-x11-0 libxcursor1 libxi6 libxrandr2 libx11-xcb1)")
    reader = tmp_path / "display"
    with reader.open("wb") as out:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"],
            stdout=out,
            stderr=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + 10
        while not reader.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f":{reader.read_text().strip()}"
    finally:
        server.kill()
        server.wait(timeout=10)
