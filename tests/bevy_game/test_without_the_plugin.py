"""A game that speaks the protocol but has no dev plugin: proved on its screen where it has one, else not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.deploy.deploy import deploy
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.running import VERSION, Game, asset, copy_game, free_port, picture, wait_for
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


def test_a_game_without_a_screen_is_unverified(root: Path, port: int, studio: Studio) -> None:
    game = Game(root, port, BINARY, draws=False)
    try:
        game.start()
        done = deploy(studio, asset(studio, picture()), "sprites/hero.png", overwrite=True)
        assert done.verification.state == "deployed_unverified"
        assert "dgx-pixels init-game" in done.verification.note
    finally:
        game.stop()


def test_a_picture_that_appears_in_its_window_is_proof(root: Path, port: int, studio: Studio, display: str) -> None:
    game = Game(root, port, BINARY, headless=False)
    try:
        game.start(DISPLAY=display)

        def proof() -> str:
            """The note of a deploy that was proved: on busy cores a screenshot may come too late for it."""
            done = deploy(studio, asset(studio, picture()), "sprites/hero.png", overwrite=True)
            return done.verification.note if done.verification.state == "reloaded" else ""

        assert "exact to the pixel" in wait_for("the proof", proof, limit=60)
    finally:
        game.stop()
