"""A folder of sprites, as a user has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loras.pictures import save, sprite


@pytest.fixture
def sprites(tmp_path: Path) -> Path:
    """A folder of three sprites with captions."""
    folder = tmp_path / "sprites"
    for i, name in enumerate(("red_dragon", "blue_potion", "gray_sword")):
        save(folder / f"{name}.png", sprite(i))
    return folder
