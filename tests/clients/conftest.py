"""A game on disk for the clients."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """The root of a Bevy game with an empty assets folder."""
    root = tmp_path / "mygame"
    (root / "assets").mkdir(parents=True)
    (root / "Cargo.toml").write_text('[package]\nname = "mygame"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.20"\n')
    return root
