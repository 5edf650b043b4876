"""The path rules, and the walk that leaves the folder under no circumstances."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.deploy.paths import Bundle, check_path, suggest_path
from server.errors import DeployError

BAD = [
    "",
    "hero",
    "hero.PNG",
    "Hero.png",
    "/hero.png",
    "../hero.png",
    "a/../hero.png",
    "a//hero.png",
    "./hero.png",
    ".hidden.png",
    "a/.png",
    "assets/hero.png",
    "c:/hero.png",
    "a\\hero.png",
    "hero.png\0",
    "hero.png\n",
    "con.png",
    "a/lpt1/hero.png",
    "hero.gif.png",
    "hero#1.png",
    "h\u00e9ro.png",
    "a" * 300 + ".png",
]


@pytest.mark.parametrize("path", BAD)
def test_a_bad_path_is_refused_with_one_that_would_do(path: str) -> None:
    with pytest.raises(DeployError) as error:
        check_path(path)
    suggestion = str(error.value).rsplit("'", 2)[1]
    assert check_path(suggestion) == suggestion


@pytest.mark.parametrize("path", ["hero.png", "sprites/hero_2.png", "a/b/c/d_e/f0.png"])
def test_a_good_path_is_taken_as_it_is(path: str) -> None:
    assert check_path(path) == path


def test_the_suggestion_keeps_what_it_can() -> None:
    assert suggest_path("assets/Sprites/Big Hero.PNG") == "sprites/big_hero.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "game" / "assets").mkdir(parents=True)
    return tmp_path / "game"


def put(root: Path, path: str, data: bytes, *, overwrite: bool = False) -> None:
    with Bundle(root, "assets", root / ".staging") as bundle:
        bundle.stage(path, data)
        bundle.publish(overwrite=overwrite)


def leftovers(root: Path) -> list[Path]:
    return list((root / ".staging").glob("*")) if (root / ".staging").exists() else []


def test_a_linked_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "assets" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(DeployError, match="symbolic link"):
        put(root, "link/hero.png", b"new")
    assert not list((tmp_path / "outside").iterdir())


def test_a_linked_file_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "assets" / "hero.png").symlink_to(tmp_path / "secret")
    with pytest.raises(DeployError, match="symbolic link"):
        put(root, "hero.png", b"new", overwrite=True)
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_linked_assets_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "game").mkdir()
    (tmp_path / "game" / "assets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeployError, match="symbolic link"):
        put(tmp_path / "game", "hero.png", b"new")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_pipe_in_the_way_is_refused_at_once(root: Path) -> None:
    os.mkfifo(root / "assets" / "hero.png")
    with pytest.raises(DeployError, match="not a plain file"):
        put(root, "hero.png", b"new", overwrite=True)


def test_a_file_where_a_folder_is_needed_is_refused(root: Path) -> None:
    (root / "assets" / "sprites").write_bytes(b"file")
    with pytest.raises(DeployError, match="a file where a folder is needed"):
        put(root, "sprites/hero.png", b"new")


def test_new_folders_are_made_and_nothing_stays_staged(root: Path) -> None:
    put(root, "a/b/hero.png", b"new")
    assert (root / "assets/a/b/hero.png").read_bytes() == b"new"
    assert not leftovers(root)


def test_a_file_that_appears_meanwhile_is_not_overwritten(root: Path) -> None:
    with Bundle(root, "assets", root / ".staging") as bundle:
        bundle.stage("hero.png", b"new")
        (root / "assets/hero.png").write_bytes(b"somebody else's")
        with pytest.raises(DeployError, match="exists already"):
            bundle.publish(overwrite=False)
    assert (root / "assets/hero.png").read_bytes() == b"somebody else's"
    assert not leftovers(root)


def test_a_bundle_that_fails_half_way_is_taken_back(root: Path) -> None:
    (root / "assets/a.png").write_bytes(b"old a")
    (root / "assets/c.png").mkdir()
    with Bundle(root, "assets", root / ".staging") as bundle:
        bundle.stage("a.png", b"new a")
        bundle.stage("new/b.png", b"new b")
        (root / "assets/d").mkdir()
        bundle.stage("d/c.png", b"new c")
        (root / "assets/d/c.png").mkdir()
        with pytest.raises(DeployError):
            bundle.publish(overwrite=True)
    assert (root / "assets/a.png").read_bytes() == b"old a"
    assert not (root / "assets/new").exists()
    assert not leftovers(root)
