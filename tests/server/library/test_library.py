"""The library: the same content is the same asset, and what was changed behind its back is noticed."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from pipelines.records import LoraWeight, Recipe
from server.errors import LibraryError
from server.library.store import Library

RECIPE = Recipe("sprite", "100% red_dragon", 32, 16, seed=3, loras=(LoraWeight("mine", 0.5),), palette=("ff0000",))


def test_an_asset_comes_back_as_it_was_added(tmp_path: Path) -> None:
    added = Library(tmp_path).add("sheet", {"sprite.png": b"png", "a.json": b"{}"}, RECIPE, {"passed": True}, {"f": 4})
    library = Library(tmp_path)
    got = library.get(added.id)
    assert got == added
    assert library.read(got) == b"png"
    assert library.read(got, "a.json") == b"{}"


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    library = Library(tmp_path / "new")
    assert library.find() == ([], 0)
    assert library.deployments() == []
    with pytest.raises(LibraryError, match="list_assets"):
        library.get("0123456789ab")
    assert not (tmp_path / "new").exists()


def test_the_library_keeps_itself_out_of_git(tmp_path: Path) -> None:
    Library(tmp_path / "lib").add("sprite", {"a.png": b"x"}, RECIPE)
    assert (tmp_path / "lib" / ".gitignore").read_text() == "*\n"


def test_prompts_are_searched_literally(tmp_path: Path) -> None:
    library = Library(tmp_path)
    asset = library.add("sprite", {"a.png": b"x"}, RECIPE)
    assert library.find("100%")[1] == 1
    assert library.find("red_d")[1] == 1
    assert library.find("red%dragon")[1] == 0
    assert library.find(asset.id)[1] == 1
    assert library.find(kind="tileset")[1] == 0


def test_a_file_that_was_changed_by_hand_is_not_given_out(tmp_path: Path) -> None:
    library = Library(tmp_path)
    asset = library.add("sprite", {"a.png": b"x"}, RECIPE)
    library.path(asset).write_bytes(b"y")
    with pytest.raises(LibraryError, match="was changed"):
        library.read(asset)
    library.path(asset).unlink()
    with pytest.raises(LibraryError, match="does not exist"):
        library.read(asset)


@pytest.mark.parametrize("asset_id", ["", "x", "../../etc", "0123456789AB", "0123456789abc", "0123456789ab\n"])
def test_a_malformed_id_is_refused(tmp_path: Path, asset_id: str) -> None:
    with pytest.raises(LibraryError, match="not an asset id"):
        Library(tmp_path).get(asset_id)


def test_a_library_that_was_deleted_under_a_running_server_starts_empty(tmp_path: Path) -> None:
    library = Library(tmp_path / "lib")
    library.add("sprite", {"a.png": b"x"}, RECIPE)
    shutil.rmtree(tmp_path / "lib")
    assert library.find()[1] == 0
    library.add("sprite", {"a.png": b"x"}, RECIPE)
    assert library.find()[1] == 1


def test_many_threads_of_two_servers_lose_nothing(tmp_path: Path) -> None:
    libraries = [Library(tmp_path), Library(tmp_path)]

    def fill(number: int) -> None:
        for i in range(10):
            libraries[number % 2].add("sprite", {"a.png": f"{number} {i}".encode()}, RECIPE)

    threads = [threading.Thread(target=fill, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert libraries[0].find()[1] == libraries[1].find()[1] == 60


def test_a_broken_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "library.sqlite").write_bytes(b"no database at all " * 100)
    with pytest.raises(LibraryError, match="a new one is made"):
        Library(tmp_path).find()
