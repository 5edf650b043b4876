"""What else may lie in a cloned game's `.dgx-pixels/`: kept palettes, records of runs, huge files, pipes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import encode_png
from pipelines.records import Recipe, no_progress
from server.cli.app import main
from server.deploy.deploy import deploy, undo
from server.errors import DeployError, LibraryError, ServerError
from server.features import palettes
from server.features.watch import Watch
from server.features.workflow_runs import run
from server.library.store import Library, sha256
from server.studio import Studio
from tests.security.test_files import soon
from tests.server.deploy.crash import make_game, open_studio
from workflows.errors import WorkflowError

EVIL = b"#!/bin/sh\n"
PNG = encode_png(np.full((16, 16, 4), 255, np.uint8))


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A game with a picture, and beside it files that it may neither read nor change."""
    root = tmp_path / "game"
    make_game(root)
    monkeypatch.setenv("DGX_PIXELS_DATA_DIR", str(tmp_path / "data"))
    (root / "assets/a.png").write_bytes(PNG)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.sh").write_text("mine")
    (tmp_path / "outside/a.png").write_bytes(PNG)
    monkeypatch.chdir(root)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return root


@pytest.fixture
def studio(game: Path) -> Iterator[Studio]:
    with open_studio(game) as studio:
        yield studio


def outside(game: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((game.parent / "outside").iterdir())}


def huge(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(60 << 30)


def kept_place(game: Path, folder: str = "assets") -> Path:
    name = hashlib.sha256(str((game / folder).resolve()).encode()).hexdigest()[:16]
    return game / ".dgx-pixels/palette_undo" / name


def keep(game: Path, content: Any) -> Path:
    """Puts a list of kept pictures into the game, as one that comes with a clone."""
    place = kept_place(game)
    place.mkdir(parents=True, exist_ok=True)
    (place / sha256(EVIL)).write_bytes(EVIL)
    (place / "files.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return place


@pytest.mark.parametrize(
    "name",
    [
        "../../outside/x.sh",
        "../../outside/new.png",
        "{up}/outside/new.png",
        "link/a.png",
        "x.rs",
        "a\0.png",
        "b\\..\\c.png",
    ],
)
def test_kept_pictures_of_a_cloned_game_are_put_back_only_below_the_folder(game: Path, name: str) -> None:
    (game / "assets/link").symlink_to(game.parent / "outside")
    before = outside(game)
    for after in ("", sha256(b"mine"), sha256(PNG)):
        row = {"before": sha256(EVIL), "after": after}
        keep(game, {"files": {name.format(up=game.parent): row}})
        count, left = palettes.undo(game / "assets")
        assert (count, len(left)) == (0, 1)
    assert outside(game) == before
    assert not (game / "assets/x.rs").exists()


@pytest.mark.parametrize(
    "row",
    [7, [], {}, {"before": "../../../Cargo.toml", "after": sha256(PNG)}, {"before": "0" * 64, "after": sha256(PNG)}],
)
def test_a_row_of_kept_pictures_with_odd_values_changes_nothing(game: Path, row: Any) -> None:
    keep(game, {"files": {"a.png": row}})
    count, left = palettes.undo(game / "assets")
    assert count == 0
    assert len(left) == 1
    assert (game / "assets/a.png").read_bytes() == PNG


def test_kept_bytes_that_were_exchanged_are_not_put_back(game: Path) -> None:
    place = keep(game, {"files": {"a.png": {"before": "1" * 64, "after": sha256(PNG)}}})
    (place / ("1" * 64)).write_bytes(EVIL)
    assert palettes.undo(game / "assets") == (0, ("a.png: its kept bytes were changed. It is left as it is.",))
    assert (game / "assets/a.png").read_bytes() == PNG


@pytest.mark.parametrize(
    "content", ["", "7", "[]", '{"files": []}', "{", "[" * 100_000, '{"files": ' + "9" * 5000 + "}"]
)
def test_a_list_of_kept_pictures_of_another_form_is_a_sentence(game: Path, content: str) -> None:
    keep(game, content)
    with pytest.raises(UserError, match=r"files\.json"):
        palettes.undo(game / "assets")


@pytest.mark.parametrize("link", ["palette_undo", "place", "files.json", ".dgx-pixels"])
def test_kept_pictures_are_neither_read_nor_written_through_a_link(game: Path, link: str) -> None:
    place = keep(game, {"files": {"a.png": {"before": sha256(EVIL), "after": sha256(PNG)}}})
    entry = {"palette_undo": place.parent, "place": place, "files.json": place / "files.json"}.get(
        link, game / ".dgx-pixels"
    )
    entry.rename(game.parent / "moved")
    entry.symlink_to(game.parent / "moved")
    before = {path: path.read_bytes() for path in (game.parent / "moved").rglob("*") if path.is_file()}
    with pytest.raises(ServerError):
        palettes.undo(game / "assets")
    assert (game / "assets/a.png").read_bytes() == PNG
    if link != "files.json":
        with suppress(ServerError):
            palettes.apply(game / "assets", Palette.from_hex(("112233",)), write=True)
    assert {path: path.read_bytes() for path in (game.parent / "moved").rglob("*") if path.is_file()} == before


def test_a_name_in_a_list_of_kept_pictures_sends_no_control_character(
    game: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("\x1b[2J.png", "\x1b]0;owned\x07.png", "\u202egnp.exe.png", "a\nb.png", "../\x9b2J.png", "[red]x[/].png")
    keep(game, {"files": {name: {"before": sha256(EVIL), "after": sha256(PNG)} for name in names}})
    with suppress(SystemExit):
        main(["palette", "undo", "assets"])
    said = capsys.readouterr().out
    assert "owned" in said
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)


def start_run(studio: Studio, game: Path) -> Path:
    """The folder of an unfinished run."""
    steps = [
        {"name": "files", "do": "list_files", "with": {"folder": "assets", "pattern": "a.png"}},
        {
            "name": "fixed",
            "do": "fix_pixel_art",
            "for_each": "${steps.files.files}",
            "with": {"picture": "${item.path}"},
        },
    ]
    (game / "list.json").write_text(json.dumps({"name": "list", "description": "lists", "steps": steps}))
    run(studio, "list.json", {}, no_progress)
    (folder,) = (game / ".dgx-pixels/runs").iterdir()
    (folder / "finished").unlink()
    return folder


@pytest.mark.parametrize("kind", ["pipe", "huge", "folder"])
@pytest.mark.parametrize("name", ["done.jsonl", "run.json"])
def test_a_record_of_a_run_that_is_not_a_usual_file_is_refused(
    studio: Studio, game: Path, name: str, kind: str
) -> None:
    entry = start_run(studio, game) / name
    entry.unlink()
    {"pipe": os.mkfifo, "huge": huge, "folder": Path.mkdir}[kind](entry)
    error = soon(lambda: run(studio, "list.json", {}, no_progress))
    assert isinstance(error, WorkflowError), error
    assert "Delete the folder" in str(error) or "delete the folder" in str(error)
    entry.rmdir() if kind == "folder" else entry.unlink()
    again = run(studio, "list.json", {}, no_progress).result  # the lock was given back
    assert again.done + again.resumed == 2


def test_a_recorded_result_that_leads_out_of_the_game_opens_nothing(studio: Studio, game: Path) -> None:
    record = start_run(studio, game) / "done.jsonl"
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    first = next(line for line in lines if line["step"] == "files")
    text = json.dumps(first)
    assert "a.png" in text
    for there in ("../outside/a.png", str(game.parent / "outside/a.png")):
        record.write_text(text.replace("assets/a.png", there).replace(str(game / "assets/a.png"), there) + "\n")
        with pytest.raises(WorkflowError, match=r"leads out|outside"):
            run(studio, "list.json", {}, no_progress)


def test_the_watch_writes_nothing_through_a_linked_folder(studio: Studio, game: Path) -> None:
    (game / "palette.hex").write_text("ff0000\n00ff00\n")
    state = game / ".dgx-pixels"
    if state.exists():
        state.rename(game.parent / "moved")
    state.symlink_to(game.parent / "outside")
    before = outside(game)
    lines: list[str] = []
    with suppress(UserError):
        Watch(studio, studio.require_project(), lines.append).handle(game / "palette.hex")
    assert outside(game) == before


def library_with(game: Path) -> tuple[Library, str]:
    with open_studio(game) as studio:
        library = studio.library(studio.project())
        asset = library.add("sprite", {"sprite.png": PNG}, Recipe("sprite", "red key", 16, 16, 1))
        return library, asset.id


def test_a_file_of_sixty_gigabytes_in_the_library_or_in_the_way_is_not_read(studio: Studio, game: Path) -> None:
    library, asset = library_with(game)
    deploy(studio, asset, "hero.png", verify=False)
    huge(game / "assets/hero.png")
    with pytest.raises(DeployError, match="larger than 256 MiB"):
        deploy(studio, asset, "hero.png", verify=False, overwrite=True)
    with pytest.raises(DeployError, match="larger than 256 MiB"):
        undo(studio, "hero.png", verify=False)
    huge(library.path(library.get(asset)))
    with pytest.raises(LibraryError, match="larger than 256 MiB"):
        deploy(studio, asset, "other.png", verify=False)
    digest = "ab" * 32
    huge(library.folder / "history" / digest)
    with pytest.raises(LibraryError, match="larger than 256 MiB"):
        library.kept(digest)


@pytest.mark.parametrize("table", ["deployments", "deploy_journal", "sqlite_sequence"])
def test_a_database_without_numbers_for_the_next_row_is_named(game: Path, table: str) -> None:
    library, _ = library_with(game)
    last = 2**63 - 1
    rows = {
        "deployments": ("INSERT INTO deployments VALUES (?, '', '', '', 0.0, '', 1)", (last,)),
        "deploy_journal": ("INSERT INTO deploy_journal VALUES (?, 0, '', '', '', '', 0.0, '')", (last,)),
        "sqlite_sequence": ("INSERT INTO sqlite_sequence VALUES ('deployments', ?)", (last,)),
    }
    with closing(sqlite3.connect(library.folder / "library.sqlite")) as connection, connection:
        connection.execute(*rows[table])
    with pytest.raises(LibraryError, match="numbered up to the end"):
        Library(library.folder).find()


def test_a_row_of_a_hundred_megabytes_is_not_read(game: Path) -> None:
    library, asset = library_with(game)
    with closing(sqlite3.connect(library.folder / "library.sqlite")) as connection, connection:
        connection.execute("UPDATE assets SET details = ? WHERE id = ?", ("[" * (100 << 20), asset))
    with pytest.raises(LibraryError, match="too big"):
        Library(library.folder).find()


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
@pytest.mark.parametrize("name", ["library.sqlite", "library.sqlite-wal", "library.sqlite-journal", "library.lock"])
def test_a_database_that_is_not_a_file_hangs_nothing(
    game: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], None], writable: bool
) -> None:
    library, _ = library_with(game)
    library.close()
    (library.folder / name).unlink(missing_ok=True)
    make(library.folder / name)
    if not writable:
        monkeypatch.setattr("os.access", lambda path, mode: False)
    error = soon(lambda: Library(library.folder).find())
    assert error is None or isinstance(error, LibraryError), error
