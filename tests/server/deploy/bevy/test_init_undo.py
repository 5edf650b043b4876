"""`init-game --undo` on the foreign games: every byte comes back, later edits stay, and it is all or nothing."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from server.cli.games import init_game
from server.deploy.bevy.changes import write_all
from server.deploy.bevy.diff import take_back_lines
from server.errors import ProjectError
from tests.server.deploy.bevy.foreign_games import GAMES, SPRITE, ForeignGame
from tests.server.deploy.bevy.test_foreign_games import everything, written


@pytest.fixture(params=GAMES)
def foreign(request: pytest.FixtureRequest) -> ForeignGame:
    return GAMES[request.param]


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A game that init-game has changed; nothing else lies beside it."""
    root = written(SPRITE, tmp_path / "beside")
    init_game(root, yes=True)
    return root


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_undo_restores_every_byte_and_folder(foreign: ForeignGame, tmp_path: Path) -> None:
    root = written(foreign, tmp_path)
    before = everything(tmp_path)
    init_game(root, yes=True)
    assert everything(tmp_path) != before
    init_game(root, undo=True, yes=True)
    assert everything(tmp_path) == before


def test_edits_made_since_stay(foreign: ForeignGame, tmp_path: Path) -> None:
    root = written(foreign, tmp_path)
    before = everything(tmp_path)
    init_game(root, yes=True)
    end = "\r\n" if foreign.newline else "\n"
    edits = {
        name: f"{end}{end}{text}{end}".encode()
        for name in foreign.files
        if (text := {".rs": "// mine", ".toml": "[badges]"}.get(Path(name).suffix))
    }
    for name, text in edits.items():
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + text)
    init_game(root, undo=True, yes=True)
    assert everything(tmp_path) == {
        name: data + edits[name] if data is not None and name in edits else data for name, data in before.items()
    }


def test_the_printed_diff_does_what_undo_does(
    foreign: ForeignGame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = written(foreign, tmp_path)
    before = everything(tmp_path)
    init_game(root, yes=True)
    capsys.readouterr()
    init_game(root, undo=True)
    printed = capsys.readouterr().out
    assert "--yes" in printed
    diff = printed[: printed.index("Give --yes")]
    subprocess.run(["git", "apply", "-"], cwd=root, input=diff.encode(), check=True)
    files = {name: data for name, data in everything(tmp_path).items() if ".dgx-pixels" not in name}
    assert {name: data for name, data in files.items() if data is not None} == {
        name: data for name, data in before.items() if data is not None
    }


@pytest.mark.parametrize("name", ["src/dgx_pixels.rs", "dgx-pixels.toml"])
def test_nothing_changes_where_a_file_that_was_made_holds_edits(changed: Path, name: str) -> None:
    add(changed / name, "# mine\n")
    before = everything(changed)
    with pytest.raises(ProjectError, match=name):
        init_game(changed, undo=True, yes=True)
    assert everything(changed) == before
    (changed / name).unlink()
    init_game(changed, undo=True, yes=True)
    assert not (changed / "src/dgx_pixels_dev.rs").exists()


def test_nothing_changes_where_the_same_lines_were_edited(changed: Path) -> None:
    main = changed / "src/main.rs"
    main.write_text(main.read_text().replace("DgxPixelsPlugin)", "DgxPixelsPlugin) // mine"))
    before = everything(changed)
    with pytest.raises(ProjectError, match=r"src/main\.rs"):
        init_game(changed, undo=True, yes=True)
    assert everything(changed) == before


def test_art_and_library_stay(changed: Path) -> None:
    (changed / "assets/hero.png").write_bytes(b"art")
    (changed / ".dgx-pixels/library.db").write_bytes(b"made")
    init_game(changed, undo=True, yes=True)
    assert (changed / "assets/hero.png").read_bytes() == b"art"
    assert not (changed / "assets/.gitkeep").exists()
    assert (changed / ".dgx-pixels/library.db").exists()
    assert (changed / ".gitignore").read_text() == "/target"  # the library keeps itself out of git


def test_each_run_is_taken_back_by_itself(changed: Path) -> None:
    first = everything(changed)
    (changed / "src/dgx_pixels.rs").write_text("// an older plugin\n")
    init_game(changed, yes=True)
    init_game(changed, undo=True, yes=True)
    assert (changed / "src/dgx_pixels.rs").read_text() == "// an older plugin\n"
    (changed / "src/dgx_pixels.rs").write_bytes(first["src/dgx_pixels.rs"] or b"")
    init_game(changed, undo=True, yes=True)
    assert not (changed / "src/dgx_pixels.rs").exists()
    with pytest.raises(ProjectError, match="not taken back already"):
        init_game(changed, undo=True, yes=True)


@pytest.mark.parametrize("name", ["../outside.rs", ".git/config", "/etc/hosts.rs", "src/.hidden.rs", "data.bin", ""])
def test_a_record_of_a_cloned_game_names_no_file_but_those_of_init_game(changed: Path, name: str) -> None:
    record = changed / ".dgx-pixels/init-game/0001.json"
    data = json.loads(record.read_text())
    data["files"][0] |= {"path": name, "before": base64.b64encode(b"taken").decode()}
    record.write_text(json.dumps(data))
    before = everything(changed.parent)
    with pytest.raises(ProjectError, match="Remove the record"):
        init_game(changed, undo=True, yes=True)
    assert everything(changed.parent) == before


def test_what_is_not_a_record_is_named(changed: Path) -> None:
    (changed / ".dgx-pixels/init-game/0002.json").write_text('{"files": 1}')
    with pytest.raises(ProjectError, match=r"0002\.json is not a record"):
        init_game(changed, undo=True, yes=True)


def test_files_that_were_written_come_back_where_a_later_one_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "a.rs").write_bytes(b"a")
    (tmp_path / "b.rs").write_bytes(b"b")
    before = everything(tmp_path)
    with pytest.raises(OSError, match=r"b\.rs"):
        write_all({tmp_path / "a.rs": None, tmp_path / "new/c.rs": b"c", tmp_path / "b.rs/d.rs": b"d"})
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("before", "after", "current", "expected"),
    [
        (b"/target", b"/target\n.dgx-pixels/\n", b"/target\n.dgx-pixels/\nmine\n", b"/target\nmine\n"),
        (b"a\nb\nc\n", b"a\nc\n", b"a\nmine\nc\n", b"a\nb\nmine\nc\n"),
        (b"", b"added\n", b"mine\nadded\nmine\n", b"mine\nmine\n"),
        (b"a\n", b"a\nadded\nadded\n", b"a\nadded\nmine\nadded\n", None),
    ],
    ids=["no newline at the end", "a line was removed", "edits beside it", "an edit in it"],
)
def test_lines_that_were_changed_are_taken_back(
    before: bytes, after: bytes, current: bytes, expected: bytes | None
) -> None:
    assert take_back_lines(current, after, before) == expected
