"""A library that comes with a cloned game: its rows reach nothing outside assets/, and its form is checked."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipelines.records import Recipe
from server.deploy.deploy import deploy, undo
from server.errors import DeployError, LibraryError, ServerError
from server.features.comparisons.compare import Comparisons
from server.features.comparisons.view import all_entries
from server.features.status import status
from server.gallery.build import gallery_page, write_gallery
from server.library.store import Library, sha256
from server.studio import Studio
from tests.server.deploy.crash import add_bundles, make_game, open_studio

EVIL = b"#!/bin/sh\n"


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """A game whose library holds two assets, one of them deployed to hero.png."""
    root = tmp_path / "game"
    make_game(root)
    (root / "build.rs").write_text("fn main() {}")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.sh").write_text("mine")
    studio = open_studio(root)
    library = studio.library(studio.project())
    asset = library.add("sprite", {"sprite.png": b"one"}, Recipe("sprite", "red key", 16, 16, 1))
    library.add("sprite", {"sprite.png": b"two"}, Recipe("sprite", "blue key", 16, 16, 2))
    library.keep(EVIL)
    deploy(studio, asset.id, "hero.png", verify=False)
    studio.close()
    return root


@pytest.fixture
def studio(game: Path) -> Iterator[Studio]:
    studio = open_studio(game)
    yield studio
    studio.close()


def change(game: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(game / ".dgx-pixels/library.sqlite")) as connection, connection:
        connection.execute(statement, values)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".dgx-pixels" not in path.parts
    }


PATHS = [
    "../outside/x.sh",
    "../build.rs",
    "../.cargo/config.toml",
    "/etc/passwd",
    "a//hero.png",
    "./hero.png",
    "a/../../build.rs",
    "",
    ".hidden.png",
    "Hero.png",
    "hero.png\0",
    "hero.rs",
    "con.png",
    7,
    None,
    ["hero.png"],
]


@pytest.mark.parametrize("path", PATHS)
def test_a_row_whose_path_breaks_a_rule_is_named_and_ignored(game: Path, studio: Studio, path: Any) -> None:
    files = json.dumps([[path, sha256(b"mine"), sha256(EVIL)]])
    change(game, "UPDATE deployments SET files = ?", files)
    before = everything(game.parent)
    with pytest.raises(DeployError, match=r"left to undo.*deployment 1: "):
        undo(studio, overwrite=True, verify=False)
    assert everything(game.parent) == before


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("files", "[]"),
        ("files", "{}"),
        ("files", "[[[[["),
        ("files", "[" * 100_000),
        ("files", '[["hero.png", "../../outside/x.sh", ""]]'),
        ("files", '[["hero.png", "' + "A" * 64 + '", ""]]'),
        ("files", '[["hero.png", "' + "a" * 64 + '", "../../../outside/x.sh"]]'),
        ("files", '[["hero.png", 1, 2]]'),
        ("files", b"\xff\xfe"),
        ("path", "../hero.png"),
        ("path", 5.5),
        ("asset_id", "../../x"),
        ("asset_id", b"\x00"),
        ("created", "yesterday"),
        ("verification", "<script>"),
        ("verification", 3),
    ],
)
def test_a_deployment_with_an_odd_value_is_ignored(game: Path, studio: Studio, column: str, value: Any) -> None:
    change(game, f"UPDATE deployments SET {column} = ?", value)
    library = studio.library(studio.project())
    assert library.deployments() == []
    assert list(library.ignored) == ["deployment 1"]
    assert (game / "assets/hero.png").read_bytes() == b"one"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "../../../../etc"),
        ("id", "0123456789AB"),
        ("kind", "program"),
        ("files", '[["../../../outside/x.sh", "' + "a" * 64 + '", 4]]'),
        ("files", '[["a.png", "zz", 4]]'),
        ("files", '[["a.png", "' + "a" * 64 + '", -1]]'),
        ("recipe", "{}"),
        ("recipe", "[" * 100_000),
        ("recipe", '{"kind": 1, "prompt": [], "width": "x", "height": null, "seed": 1.5}'),
        ("recipe", '{"kind": "sprite", "prompt": "a", "width": 1, "height": 1, "seed": 1, "guidance": NaN}'),
        ("recipe", '{"kind": "sprite", "prompt": "a", "width": 1, "height": 1, "seed": 1, "version": "9"}'),
        ("recipe", '{"kind": "sprite", "prompt": "a", "width": 1, "height": 1, "seed": 1, "options": {"warnings": 7}}'),
        (
            "recipe",
            '{"kind": "sprite", "prompt": "a", "width": 1, "height": 1, "seed": 1, "options": {"lora_bases": [1]}}',
        ),
        ("report", "[]"),
        ("details", "7"),
        ("details", b"\xff"),
        ("created", b"now"),
        ("created", 9e999),
        ("created", 9e99),
    ],
)
def test_an_asset_with_an_odd_value_is_left_out_and_the_rest_is_listed(
    game: Path, studio: Studio, column: str, value: Any
) -> None:
    change(game, f"UPDATE assets SET {column} = ? WHERE prompt = 'red key'", value)
    library = studio.library(studio.project())
    assert [asset.recipe.prompt for asset in library.find()[0]] == ["blue key"]
    assert len(library.ignored) == 1
    write_gallery(library)


def test_the_status_names_what_is_ignored(game: Path, studio: Studio) -> None:
    assert "ignored" not in status(studio)["library"]
    change(game, "UPDATE deployments SET path = '../hero.png'")
    (ignored,) = status(studio)["library"]["ignored"]
    assert ignored.startswith("deployment 1: '../hero.png' breaks the rules")


def test_kept_bytes_that_were_exchanged_are_not_written(game: Path, studio: Studio) -> None:
    library = studio.library(studio.project())
    kept = library.keep(b"drawn by hand")
    change(game, "UPDATE deployments SET files = ?", json.dumps([["hero.png", sha256(b"one"), kept]]))
    (game / ".dgx-pixels/history" / kept).write_bytes(EVIL)
    with pytest.raises(LibraryError, match="was changed"):
        undo(studio, verify=False)
    assert (game / "assets/hero.png").read_bytes() == b"one"


def journal(game: Path, path: str, before: str, after: str, staged: str = "", folders: str = "[]") -> None:
    changes = json.dumps([[path, before, after, staged]])
    values = (0, "0" * 12, "hero.png", changes, folders, 1.0)
    change(game, "INSERT INTO deploy_journal VALUES (NULL, ?, ?, ?, ?, ?, ?, '')", *values)


@pytest.mark.parametrize("path", [path for path in PATHS if isinstance(path, str)])
def test_a_journal_row_whose_path_breaks_a_rule_is_named_and_removed(game: Path, path: str) -> None:
    journal(game, path, sha256(EVIL), sha256(b"mine"))
    journal(game, "hero.png", sha256(EVIL), sha256(b"one"), "../../../outside/x.sh")
    journal(game, "hero.png", "", "", folders='["../outside"]')
    before = everything(game.parent)
    studio = open_studio(game)
    library = studio.library(studio.project())
    assert len(library.ignored) == 3
    assert everything(game.parent) == before
    studio.close()
    again = open_studio(game)
    assert not again.library(again.project()).ignored
    again.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON deployments BEGIN UPDATE deployments SET files = 'x'; END",
        "CREATE VIEW more AS SELECT * FROM assets",
        "CREATE TABLE more (a)",
        "CREATE INDEX more ON assets (lower(prompt))",
        "CREATE VIRTUAL TABLE more USING fts5(a)",
        "ALTER TABLE assets ADD COLUMN more TEXT GENERATED ALWAYS AS (upper(prompt))",
        "DROP TABLE deployments",
    ],
)
def test_a_database_of_another_form_is_refused_by_name(game: Path, studio: Studio, statement: str) -> None:
    change(game, statement)
    library = studio.library(studio.project())
    for use in (library.find, library.deployments, Comparisons(library).veiled, lambda: gallery_page(library)):
        with pytest.raises(LibraryError, match="did not make in this form"):
            use()


def test_a_view_in_the_place_of_a_table_is_refused(game: Path, studio: Studio) -> None:
    change(game, "ALTER TABLE deployments RENAME TO hidden")
    change(game, "CREATE VIEW deployments AS SELECT * FROM hidden")
    with pytest.raises(LibraryError, match="did not make in this form"):
        studio.library(studio.project()).deployments()


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 4096, b"no database at all " * 500])
def test_a_file_that_is_not_a_database_is_named_or_made_new(game: Path, content: bytes) -> None:
    for path in (game / ".dgx-pixels").glob("library.sqlite*"):
        path.unlink()
    (game / ".dgx-pixels/library.sqlite").write_bytes(content)
    library = Library(game / ".dgx-pixels")
    if content:
        with pytest.raises(LibraryError, match="a new one is made"):
            library.find()
    else:
        assert library.find() == ([], 0)


@pytest.mark.parametrize("writable", [True, False])
def test_a_journal_that_makes_sqlite_delete_a_file_is_refused(
    game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    victim = tmp_path / "outside/x.sh"
    pages = (game / ".dgx-pixels/library.sqlite").stat().st_size // 4096
    magic = bytes.fromhex("d9d505f920a163d7")
    name = str(victim).encode()
    head = magic + struct.pack(">IIIII", 0, 1, pages, 512, 4096)
    tail = struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    (game / ".dgx-pixels/library.sqlite-journal").write_bytes(head.ljust(512, b"\0") + tail)
    if not writable:
        monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(LibraryError, match="names another file"):
        Library(game / ".dgx-pixels").find()
    assert victim.exists()


@pytest.mark.parametrize("table", ["comparisons", "comparison_cells", "comparison_votes"])
def test_odd_comparisons_are_left_out(game: Path, studio: Studio, table: str) -> None:
    for number in range(3):
        values = [f"{number:012x}", '[["a", []], ["b", []]]', '["p"]', "[1]", 0, 1.0]
        change(game, "INSERT INTO comparisons VALUES (?, ?, ?, ?, ?, ?)", *values)
        for variant in (0, 1):
            cell = [f"{number:012x}", variant, 0, 0, "0" * 12]
            change(game, "INSERT INTO comparison_cells VALUES (?, ?, ?, ?, ?)", *cell)
    odd = {"comparisons": "variants = '[[]]'", "comparison_cells": "asset_id = '../../x'", "comparison_votes": ""}[
        table
    ]
    if odd:
        change(game, f"UPDATE {table} SET {odd} WHERE {'id' if table == 'comparisons' else 'comparison'} = ?", "0" * 12)
    else:
        change(game, "INSERT INTO comparison_votes VALUES (?, 5, 99, 1.0)", "0" * 12)
    kept = Comparisons(studio.library(studio.project()))
    assert len(kept.latest()) == 2
    kept.ranking()
    assert all_entries(kept.library) == []  # their pictures are missing


@pytest.mark.parametrize("name", ["", "library.sqlite", "assets", "history", "staging", "gallery.html", "deploy.lock"])
def test_a_symbolic_link_in_the_library_s_folder_is_refused(game: Path, tmp_path: Path, name: str) -> None:
    state = game / ".dgx-pixels"
    target = tmp_path / "elsewhere"
    entry = state / name if name else state
    if entry.exists():
        entry.rename(target)
    else:
        target.mkdir()
    entry.symlink_to(target)
    before = everything(tmp_path)
    studio = open_studio(game)
    with pytest.raises(ServerError, match="symbolic link"):
        undo(studio, verify=False)
    recipe = Recipe("sprite", "three", 16, 16, 3)
    with pytest.raises(ServerError, match="symbolic link"):
        studio.library(studio.project()).add("sprite", {"sprite.png": b"three"}, recipe)
    assert everything(tmp_path) == before
    studio.close()


def test_a_linked_folder_or_file_of_an_asset_is_not_read(game: Path, studio: Studio, tmp_path: Path) -> None:
    library = studio.library(studio.project())
    (asset, *_) = library.find("red key")[0]
    (tmp_path / "outside/sprite.png").write_bytes(b"one")
    path = library.path(asset)
    path.unlink()
    path.symlink_to(tmp_path / "outside/sprite.png")
    with pytest.raises(LibraryError, match="symbolic link"):
        library.read(asset)
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path / "outside")
    with pytest.raises(LibraryError, match="symbolic link"):
        library.read(asset)


def test_bundles_of_a_good_library_are_untouched_by_the_checks(game: Path, studio: Studio) -> None:
    (bundle,) = add_bundles(studio, 1)
    deploy(studio, bundle, "units/hero.png", verify=False)
    undo(studio, verify=False)
    assert everything(game / "assets") == {"hero.png": b"one"}
