"""A library of any earlier version opens with all that it holds; a newer or foreign one is refused."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.records import Recipe
from server.errors import LibraryError
from server.features.comparisons.compare import Comparisons
from server.gallery.build import gallery_page
from server.library.migrations import MIGRATIONS
from server.library.store import Library

OLD = Path(__file__).parents[2] / "data" / "before" / "mygame" / ".dgx-pixels"
"""Made before there were versions: 25 assets, six deployments, a comparison with a vote and an open one."""
RECIPE = Recipe("sprite", "red key", 16, 16, seed=3)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(OLD, tmp_path / "old")


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "library.sqlite")) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_a_library_from_before_versions_opens_with_all_that_it_holds(old: Path) -> None:
    assert version(old) == 0
    library = Library(old)
    assets, total = library.find(limit=100)
    assert total == len(assets) == 25
    assert all(library.read(asset).startswith(b"\x89PNG") for asset in assets)
    assert len(library.deployments()) == 6
    assert version(old) == len(MIGRATIONS)
    library.add("sprite", {"a.png": b"x"}, RECIPE)
    assert library.find()[1] == 26


def test_its_comparisons_and_votes_move_into_the_library(old: Path) -> None:
    kept = Comparisons(Library(old))
    newest, voted = kept.latest()
    assert (newest.prompts, newest.seeds, newest.votes) == (("red dragon",), (2,), {})
    assert (voted.prompts, voted.votes) == (("red dragon", "gold key"), {0: 0})
    assert kept.veiled() == {asset_id for rows in newest.cells for row in rows for asset_id in row}
    assert kept.ranking()[0].key == voted.variants[0].key
    (old / "comparisons.sqlite").unlink()
    assert len(Comparisons(Library(old)).latest()) == 2


def test_comparisons_that_cannot_be_read_do_not_stop_the_library(old: Path) -> None:
    (old / "comparisons.sqlite").write_bytes(b"not a database " * 100)
    assert Library(old).find()[1] == 25
    assert Comparisons(Library(old)).latest() == []


def test_old_comparisons_with_an_endless_view_are_left_out(old: Path) -> None:
    with closing(sqlite3.connect(old / "comparisons.sqlite")) as connection, connection:
        connection.execute("DROP TABLE votes")
        connection.execute(
            "CREATE VIEW votes AS WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) "
            "SELECT n, n, n, n FROM x"
        )
    assert Library(old).find()[1] == 25
    assert Comparisons(Library(old)).latest() == []


def test_many_openers_migrate_once(old: Path) -> None:
    totals: list[int] = []
    threads = [threading.Thread(target=lambda: totals.append(Library(old).find()[1])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [25] * 6
    assert len(Comparisons(Library(old)).latest()) == 2


def test_a_library_of_a_newer_version_says_to_update(tmp_path: Path) -> None:
    Library(tmp_path).add("sprite", {"a.png": b"x"}, RECIPE)
    with closing(sqlite3.connect(tmp_path / "library.sqlite")) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(LibraryError, match="Update dgx-pixels"):
        Library(tmp_path).find()


def test_an_old_library_that_may_not_be_written_is_still_listed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    monkeypatch.setattr("os.access", lambda path, mode: False)
    library = Library(old)
    assert library.find()[1] == 25
    assert len(Comparisons(library).latest()) == 2
    assert '"red dragon"' in gallery_page(library)
    with pytest.raises(LibraryError, match="may not be written"):
        library.set_verification(1, "reloaded")
    assert {path: path.read_bytes() for path in before} == before
