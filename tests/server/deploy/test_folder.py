"""Files are changed inside the assets folder only, and a change of several files happens whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from server.deploy.folder import AssetsFolder
from server.deploy.journal import change, exclusive
from server.errors import DeployError
from server.library.store import Library


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "game" / "assets").mkdir(parents=True)
    return tmp_path / "game"


def put(root: Path, files: Mapping[str, bytes], *, overwrite: bool = False) -> None:
    state = root / ".dgx-pixels"
    assets, library = AssetsFolder(root, "assets", state), Library(state)
    with exclusive(assets, library):
        found = {path: (assets.read(path), data) for path, data in files.items()}
        change(assets, library, "0" * 12, next(iter(files)), found, overwrite=overwrite)


def leftovers(root: Path) -> list[Path]:
    return list((root / ".dgx-pixels/staging").glob("*"))


def deployments(root: Path) -> int:
    return len(Library(root / ".dgx-pixels").deployments())


def test_a_linked_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "assets" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(DeployError, match="symbolic link"):
        put(root, {"link/hero.png": b"new"})
    assert not list((tmp_path / "outside").iterdir())


def test_a_linked_file_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "assets" / "hero.png").symlink_to(tmp_path / "secret")
    with pytest.raises(DeployError, match="symbolic link"):
        put(root, {"hero.png": b"new"}, overwrite=True)
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_linked_assets_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "game").mkdir()
    (tmp_path / "game" / "assets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeployError, match="symbolic link"):
        put(tmp_path / "game", {"hero.png": b"new"})
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_pipe_in_the_way_is_refused(root: Path) -> None:
    os.mkfifo(root / "assets" / "hero.png")
    with pytest.raises(DeployError, match="not a regular file"):
        put(root, {"hero.png": b"new"}, overwrite=True)


def test_a_file_where_a_folder_is_needed_is_refused(root: Path) -> None:
    (root / "assets" / "sprites").write_bytes(b"file")
    with pytest.raises(DeployError, match="a file where a folder is needed"):
        put(root, {"sprites/hero.png": b"new"})


def test_new_folders_are_made_and_nothing_stays_staged(root: Path) -> None:
    put(root, {"a/b/hero.png": b"new"})
    assert (root / "assets/a/b/hero.png").read_bytes() == b"new"
    assert not leftovers(root)


def test_a_missing_assets_folder_is_made(root: Path) -> None:
    (root / "assets").rmdir()
    put(root, {"hero.png": b"new"})
    assert (root / "assets/hero.png").read_bytes() == b"new"


def test_a_file_that_appears_in_between_is_not_overwritten(root: Path) -> None:
    state = root / ".dgx-pixels"
    assets, library = AssetsFolder(root, "assets", state), Library(state)
    with exclusive(assets, library):
        (root / "assets/b.png").write_bytes(b"somebody else's")
        files: dict[str, tuple[bytes | None, bytes | None]] = {"a.png": (None, b"a"), "b.png": (None, b"b")}
        with pytest.raises(DeployError, match="exists already"):
            change(assets, library, "0" * 12, "a.png", files, overwrite=False)
    assert (root / "assets/b.png").read_bytes() == b"somebody else's"
    assert not (root / "assets/a.png").exists()
    assert (leftovers(root), deployments(root)) == ([], 0)


def test_a_change_that_fails_half_way_is_taken_back(root: Path) -> None:
    (root / "assets/a.png").write_bytes(b"old a")
    state = root / ".dgx-pixels"
    assets, library = AssetsFolder(root, "assets", state), Library(state)
    with exclusive(assets, library):
        (root / "assets/d/c.png").mkdir(parents=True)
        files: dict[str, tuple[bytes | None, bytes | None]] = {
            "a.png": (b"old a", b"new a"),
            "new/b.png": (None, b"new b"),
            "d/c.png": (None, b"new c"),
        }
        with pytest.raises(DeployError):
            change(assets, library, "0" * 12, "a.png", files, overwrite=True)
    assert (root / "assets/a.png").read_bytes() == b"old a"
    assert not (root / "assets/new").exists()
    assert (leftovers(root), deployments(root)) == ([], 0)
