"""A game on disk, and a studio for it on a fake backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.records import Recipe
from server.library.records import Asset
from server.settings import Settings
from server.studio import Studio
from server.users import Users
from tests.fakes import FakeBackend

CARGO = '[package]\nname = "mygame"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.19"\n'


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a Bevy game with an assets folder; it is the working directory."""
    root = tmp_path / "mygame"
    (root / "assets").mkdir(parents=True)
    (root / "Cargo.toml").write_text(CARGO)
    monkeypatch.chdir(root)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return root


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The root of a second game, of somebody else."""
    root = tmp_path / "theirs"
    (root / "assets").mkdir(parents=True)
    (root / "Cargo.toml").write_text(CARGO.replace("mygame", "theirs"))
    return root


@pytest.fixture
def users(settings: Settings) -> Users:
    """The users of a shared server: none yet."""
    return Users(settings.data_dir)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def studio(game: Path, settings: Settings, backend: FakeBackend) -> Iterator[Studio]:
    studio = Studio(settings, backend)
    yield studio
    studio.close()


@pytest.fixture
def golem(studio: Studio) -> Asset:
    """A sprite in the game's library (its bytes are not a picture: deploying does not read them)."""
    recipe = Recipe("sprite", "mossy stone golem", 32, 32, seed=1)
    return studio.library(studio.project()).add("sprite", {"sprite.png": b"golem"}, recipe)
