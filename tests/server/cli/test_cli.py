"""The commands, as somebody types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from server.cli import commands, sheets
from server.cli.app import COMMANDS, main
from server.cli.terminal import picture_text
from server.features.preview import preview_png
from server.studio import Studio
from tests.fakes import FakeBackend, fake_picture


@pytest.fixture(autouse=True)
def fake(game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "Studio", lambda: Studio(backend=FakeBackend()))
    monkeypatch.setenv("DGX_PIXELS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)


def test_draw_deploy_and_undo(game: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "red dragon", "--size", "16", "--seed", "4", "--out", str(tmp_path / "d.png")) == 0
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    asset_id = next((game / ".dgx-pixels/assets").iterdir()).name
    assert asset_id in capsys.readouterr().out
    assert run("deploy", asset_id, "dragon.png") == 0
    assert (game / "assets/dragon.png").read_bytes() == (tmp_path / "d.png").read_bytes()
    assert run("status") == 0
    assert "dragon.png" in capsys.readouterr().out
    assert run("undo") == 0
    assert not (game / "assets/dragon.png").exists()


def test_a_mistake_is_a_sentence_and_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deploy", "nonsense") == 1
    error = capsys.readouterr().err
    assert "not an asset id" in error
    assert "Traceback" not in error


def test_an_empty_prompt_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", " ") == 1
    assert "prompt is empty" in capsys.readouterr().err


def test_a_wrong_option_is_named_with_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "imp", "--outline", "dotted") == 1
    assert "outline=dotted: input should be" in capsys.readouterr().err
    assert run("generate", "imp", "--count", "17") == 1
    assert "count=17: give 1 to 16." in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed",
    [
        ("generate", "red", "dragon"),
        ("generate", "red", "dragon", "--size", "16"),
        ("fix", "render.png", "32"),
        ("slice", "sheet.png", "animation"),
        ("deploy", "0123456789ab", "a.png", "true"),
    ],
)
def test_words_left_over_are_refused_and_nothing_is_done(
    typed: tuple[str, ...], game: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*typed) == 1
    error = " ".join(capsys.readouterr().err.split())
    left_over = {"generate": "dragon", "fix": "32", "slice": "animation", "deploy": "true"}[typed[0]]
    assert f"These arguments are left over: {left_over}." in error
    assert "in quotation marks" in error
    assert not (game / ".dgx-pixels").exists()


def test_an_unknown_action_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "fetch") == 1
    assert 'Choose from: "list", "pull"' in capsys.readouterr().err


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    assert "embedded (default)" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert "Usage" in capsys.readouterr().out


def test_a_picture_keeps_its_size_in_the_terminal() -> None:
    picture = fake_picture("imp", 1, 20, 13)
    color = Console(force_terminal=True, color_system="truecolor", width=80)
    plain = Console(color_system=None, width=80)
    for console in (color, plain):
        lines = picture_text(picture, console).plain.split("\n")
        assert len(lines) == 7
        assert {len(line) for line in lines} == {20}


def test_half_blocks_carry_both_pixels() -> None:
    picture = np.zeros((2, 2, 4), np.uint8)  # one pixel is clear: it shows the ground
    picture[0, 0] = (255, 0, 0, 255)
    picture[:, 1] = [(0, 255, 0, 255), (0, 0, 255, 255)]
    text = picture_text(picture, Console(force_terminal=True, color_system="truecolor"))
    assert text.plain == "\u2580\u2580"
    assert [str(span.style) for span in text.spans] == ["#ff0000 on #808080", "#00ff00 on #0000ff"]


@pytest.mark.parametrize(("count", "side"), [(1, 8), (4, 32), (16, 64), (1, 64), (1, 700)])
def test_a_preview_is_never_larger_than_a_client_takes(count: int, side: int) -> None:
    from pipelines.pixels.png import read_picture

    png = preview_png([fake_picture("imp", n, side, side) for n in range(count)])
    assert max(read_picture(png).shape[:2]) <= 512
    assert len(png) < 700_000


def test_animate_draws_effects_and_writes_their_files(
    game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sheets, "Studio", lambda: Studio(backend=FakeBackend()))
    folder = tmp_path / "fx"
    assert run("animate", "--effects", "hit", "--effects", "heal", "--seed", "2", "--out", str(folder)) == 0
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert next((game / ".dgx-pixels/assets").iterdir()).name in capsys.readouterr().out


def test_tileset_draws_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "Studio", lambda: Studio(backend=FakeBackend()))
    assert run("tileset", "grass", "--layout", "seamless", "--seed", "2", "--out", str(tmp_path / "t")) == 0
    assert (tmp_path / "t/tiles.png").exists()


def test_ui_makes_a_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "Studio", lambda: Studio(backend=FakeBackend()))
    assert run("ui", "stone", "--icons", "key", "--seed", "2", "--out", str(tmp_path / "ui")) == 0
    assert (tmp_path / "ui/font.fnt").exists()


def test_pack_makes_an_atlas(game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "Studio", lambda: Studio(backend=FakeBackend()))
    assert run("animate", "--effects", "hit", "--seed", "2") == 0
    asset_id = next((game / ".dgx-pixels/assets").iterdir()).name
    assert run("pack", asset_id, "--layers", "shadow", "--out", str(tmp_path / "atlas")) == 0
    assert (tmp_path / "atlas/shadow.png").exists()


@pytest.mark.parametrize(
    ("name", "token", "message"),
    [("keep", "0123456789abcdef", "ann/keep"), ("ann/keep", "", "DGX_PIXELS_HTTP_TOKEN")],
    ids=["no user in the name", "no token"],
)
def test_an_agent_that_cannot_begin_says_what_is_missing(
    game: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    token: str,
    message: str,
) -> None:
    monkeypatch.setenv("DGX_PIXELS_HTTP_TOKEN", token)
    with pytest.raises(SystemExit) as ended:
        main(["agent", name, "--connect", "http://127.0.0.1:1"])
    assert ended.value.code == 1
    assert message in capsys.readouterr().err
