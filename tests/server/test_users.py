"""The file of tokens."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from server.cli.app import main
from server.errors import ServerError
from server.storage import parse_size
from server.users import FILE, Users


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["token", *words])
    assert not ended.value.code


def test_a_token_is_kept_as_a_hash_that_only_the_owner_may_read(tmp_path: Path) -> None:
    token = Users(tmp_path).add("ann")
    file = tmp_path / FILE
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = Users(tmp_path).find(token)
    assert found is not None
    assert found.name == "ann"
    assert Users(tmp_path).find(token[:-1] + "x") is None


def test_another_process_sees_a_change(tmp_path: Path) -> None:
    server, command = Users(tmp_path), Users(tmp_path)
    token = command.add("ann")
    assert server.find(token)
    command.remove("ann")
    assert server.find(token) is None


@pytest.mark.parametrize("name", ["", "Ann", "a b", "../ann", "a" * 33, "ann\n"])
def test_names_that_cannot_be_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServerError, match="name"):
        Users(tmp_path).add(name)


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    users = Users(tmp_path)
    users.add("ann")
    with pytest.raises(ServerError, match="already"):
        users.add("ann")


def test_a_game_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="not a folder"):
        Users(tmp_path).add("ann", [tmp_path / "nothing"])


def test_a_broken_file_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('[{"name": "ann"}]')
    with pytest.raises(ServerError, match="broken"):
        Users(tmp_path).find("anything")


def test_the_command_adds_lists_and_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DGX_PIXELS_DATA_DIR", str(tmp_path))
    run("add", "ann", "--share", "2")
    token = capsys.readouterr().out.strip()
    found = Users(tmp_path).find(token)
    assert found is not None
    assert found.share == 2
    run("list")
    assert "ann" in capsys.readouterr().out
    run("remove", "ann")
    assert Users(tmp_path).all() == ()


@pytest.mark.parametrize(
    ("text", "size"), [("", 0), ("0", 0), ("500", 500), ("500MB", 500_000_000), ("1.5 gb", 1_500_000_000), ("2K", 2000)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["much", "-1", "5 parsecs", "1e9", "MB"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ServerError, match="500MB"):
        parse_size(text)


def test_the_list_of_tokens_shows_limit_and_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DGX_PIXELS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    run("add", "ann", "--storage", "500MB")
    (tmp_path / "users/ann").mkdir(parents=True)
    (tmp_path / "users/ann/picture.png").write_bytes(bytes(1_500_000))
    run("list")
    assert "1.5 MB of 500 MB" in capsys.readouterr().out
