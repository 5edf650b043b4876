"""A game on a read-only disk can be looked at: nothing is written to list what is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import LibraryError
from server.features.status import status
from server.settings import Settings
from server.studio import Studio
from tests.fakes import FakeBackend
from tests.server.conftest import CARGO


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, so that it can be made read-only for root too."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_assets_and_status_of_a_read_only_game_are_listed_and_writing_says_why_not(disk: Path, tmp_path: Path) -> None:
    from pipelines.records import no_progress
    from server.features.requests import SpriteRequest
    from server.features.sprites import generate_sprites

    (disk / "Cargo.toml").write_text(CARGO)
    (disk / "assets").mkdir()
    settings = Settings(data_dir=tmp_path / "data")
    with Studio(settings, FakeBackend()) as studio:
        drawn = generate_sprites(
            studio, SpriteRequest(prompt="red dragon", seed=1, size=16), no_progress, project=str(disk)
        )
        asset_id = drawn.sprites[0].asset.id
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    before = sorted(os.walk(disk))
    with Studio(settings, FakeBackend()) as studio:
        library = studio.library(studio.project(disk))
        found, total = library.find()
        assert ([asset.id for asset in found], total) == ([asset_id], 1)
        assert library.read(found[0]).startswith(b"\x89PNG")
        assert status(studio, str(disk))["library"]["assets"] == 1
        with pytest.raises(LibraryError, match="read-only file system"):
            generate_sprites(
                studio, SpriteRequest(prompt="blue dragon", seed=1, size=16), no_progress, project=str(disk)
            )
    assert sorted(os.walk(disk)) == before
