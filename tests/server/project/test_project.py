"""Which game a request is about, and what its style file may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import ProjectError
from server.project.game import find_project
from server.project.style import Style, read_style

GAME = '[package]\nname = "{name}"\n[dependencies]\nbevy = "0.19"\n'


def make(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Cargo.toml").write_text(text)
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path / "nowhere")
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return tmp_path


def test_a_game_is_found_from_a_folder_inside_it(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = make(nowhere / "game", GAME.format(name="g"))
    (game / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(game / "src" / "deep")
    project = find_project(None, None)
    assert project
    assert (project.root, project.assets, project.name) == (game, game / "assets", "g")


def test_the_argument_goes_before_the_setting_and_that_before_the_rest(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    games = [make(nowhere / name, GAME.format(name=name)) for name in ("a", "b", "c", "d")]
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(games[2]))
    monkeypatch.chdir(games[3])
    found = [find_project(games[0], games[1]), find_project(None, games[1]), find_project("", None)]
    monkeypatch.delenv("CLAUDE_PROJECT_DIR")
    found.append(find_project(None, None))
    assert [project and project.name for project in found] == ["a", "b", "c", "d"]


def test_nothing_named_and_nothing_there_finds_no_game(nowhere: Path) -> None:
    assert find_project(None, None) is None


@pytest.mark.parametrize("text", ["[package]\nname = 'x'\n", "[dependencies]\nserde = '1'\n"])
def test_a_crate_without_bevy_is_not_a_game(nowhere: Path, text: str) -> None:
    with pytest.raises(ProjectError, match="not a Bevy game"):
        find_project(make(nowhere / "tool", text), None)


@pytest.mark.parametrize(
    "text",
    [
        "[dependencies]\nbevy_asset = '0.19'\n",
        "[dependencies]\nbevy.workspace = true\n",
        "[target.'cfg(unix)'.dependencies]\nbevy = { version = '0.18' }\n",
    ],
)
def test_bevy_is_seen_in_every_form(nowhere: Path, text: str) -> None:
    assert find_project(make(nowhere / "game", text), None)


def test_a_workspace_with_one_game_is_that_game_and_with_two_a_question(nowhere: Path) -> None:
    workspace = make(nowhere / "ws", "[workspace]\nmembers = ['crates/*']\n")
    game = make(workspace / "crates" / "game", GAME.format(name="game"))
    make(workspace / "crates" / "tool", "[package]\nname = 'tool'\n")
    project = find_project(workspace, None)
    assert project
    assert project.root == game
    make(workspace / "crates" / "other", GAME.format(name="other"))
    with pytest.raises(ProjectError, match="several Bevy crates"):
        find_project(workspace, None)


def test_a_style_file_alone_makes_a_folder_a_game(nowhere: Path) -> None:
    (nowhere / "godot").mkdir()
    (nowhere / "godot" / "dgx-pixels.toml").write_text("[folders]\nassets = 'art'\n")
    project = find_project(nowhere / "godot", None)
    assert project
    assert project.assets == nowhere / "godot" / "art"


def test_an_assets_folder_outside_the_game_is_refused(nowhere: Path) -> None:
    game = make(nowhere / "game", GAME.format(name="g"))
    (game / "dgx-pixels.toml").write_text("[folders]\nassets = '../other'\n")
    with pytest.raises(ProjectError, match="leads out"):
        find_project(game, None)


def test_a_broken_cargo_toml_is_named(nowhere: Path) -> None:
    game = make(nowhere / "game", "[package\n")
    with pytest.raises(ProjectError, match=r"Cargo\.toml is not TOML"):
        find_project(game, None)


def test_a_whole_style_is_read(tmp_path: Path) -> None:
    file = tmp_path / "dgx-pixels.toml"
    file.write_text(
        'palette = "p.hex"\ncolors = 8\nsize = 16\noutline = "outer"\n'
        'loras = [{ name = "mine", weight = 0.8 }]\n[folders]\nsprites = "gfx"\n'
    )
    style = read_style(file)
    assert (style.palette, style.colors, style.size, style.loras[0].weight) == ("p.hex", 8, 16, 0.8)
    assert style.folders.sprites == "gfx"
    assert style.folders.assets == "assets"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_bom_are_read(nowhere: Path, encoding: str) -> None:
    game = make(nowhere / "game", "")
    (game / "Cargo.toml").write_text(GAME.format(name="g"), encoding=encoding)
    (game / "dgx-pixels.toml").write_text("# Größe\nsize = 16\n", encoding=encoding)
    project = find_project(game, None)
    assert project
    assert (project.name, project.style.size) == ("g", 16)


def test_a_style_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "dgx-pixels.toml").write_bytes("size = 16\n# Größe\n".encode("latin-1"))
    with pytest.raises(ProjectError, match=r"dgx-pixels\.toml, line 2: .*UTF-8"):
        read_style(tmp_path / "dgx-pixels.toml")


def test_no_style_file_is_the_default_style(tmp_path: Path) -> None:
    assert read_style(tmp_path / "none.toml") == Style()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size = 257", "size"),
        ("colour = 8", "colour"),
        ("loras = [{ weight = 1 }]", r"loras\.0"),
        ("size = ", "is not TOML"),
        ("[folders]\nart = 'x'", r"folders\.art"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "dgx-pixels.toml"
    file.write_text(text)
    with pytest.raises(ProjectError, match=words):
        read_style(file)


def test_a_colon_in_the_name_of_a_folder_is_not_a_port(game: Path) -> None:
    odd = game.with_name("game:15703")
    game.rename(odd)
    found = find_project(odd, None)
    assert found
    assert (found.root, found.port) == (odd.resolve(), 0)


def test_a_port_that_cannot_be_one_is_refused(game: Path) -> None:
    with pytest.raises(ProjectError, match="70000"):
        find_project(f"{game}:70000", None)
