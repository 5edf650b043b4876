"""A game that speaks the protocol but has no dev plugin: proved on its screen where it has one, else not."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.deploy.deploy import deploy
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.running import VERSION, Game, asset, copy_game, free_port, picture
from tests.bevy_game.toolchain import example
from tests.fakes import FakeBackend

BINARY = f"examples/{example(VERSION)}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_game(tmp_path / "game")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_port()
    monkeypatch.setenv("BRP_EXTRAS_PORT", str(port))
    return port


@pytest.fixture
def studio(root: Path, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(Settings(project=root, data_dir=tmp_path / "data"), FakeBackend())
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


def test_a_game_without_a_screen_is_unverified_soon(root: Path, port: int, studio: Studio) -> None:
    game = Game(root, port, BINARY, draws=False)
    try:
        game.start()
        started = time.monotonic()
        done = deploy(studio, asset(studio, picture()), "sprites/hero.png", overwrite=True)
        assert done.verification.state == "deployed_unverified"
        assert "dgx-pixels init-game" in done.verification.note
        assert time.monotonic() - started < 5
    finally:
        game.stop()


def test_a_picture_that_appears_in_its_window_is_proof(root: Path, port: int, studio: Studio, display: str) -> None:
    game = Game(root, port, BINARY, headless=False)
    try:
        game.start(DISPLAY=display)
        done = deploy(studio, asset(studio, picture()), "sprites/hero.png", overwrite=True)
        assert done.verification.state == "reloaded", done.verification.note
        assert "exact to the pixel" in done.verification.note
    finally:
        game.stop()
