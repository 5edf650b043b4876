"""The command `dgx-pixels studio` and what it asks of the terminal."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server.cli.app import main
from server.terminal.command import options_of
from server.terminal.probe import is_light


def test_without_a_terminal_a_sentence_says_what_to_use_instead(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["studio"])
    assert end.value.code == 1
    assert "needs a terminal" in capsys.readouterr().err


def test_the_first_screen_is_imported_without_what_draws() -> None:
    heavy = ("torch", "numpy", "PIL", "diffusers", "fastmcp", "cyclopts", "server.studio", "server.features")
    code = f"import sys, server.terminal.app; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("answer", "light"),
    [
        ("\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;4c", True),
        ("\x1b]11;rgb:1e1e/1e1e/2e2e\x07\x1b[?62c", False),
        ("\x1b]11;rgb:f0/f0/e0\x1b\\", True),
        ("\x1b[?62;4c", False),
        ("", False),
    ],
)
def test_the_theme_follows_the_terminals_background(answer: str, light: bool) -> None:
    assert is_light(answer) is light


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--project", "games/mine"], {"project": Path("games/mine")}),
        (
            ["--connect", "http://127.0.0.1:8765", "--pictures", "text"],
            {"connect": "http://127.0.0.1:8765", "pictures": "text"},
        ),
        (["--help"], None),
        (["--project"], None),
        (["--project=games/mine"], None),
        (["--project", "--connect"], None),
        (["--project", "a", "--project", "b"], None),
        (["--pictures", "oil"], None),
        (["games/mine", "x"], None),
    ],
)
def test_plain_options_are_read_without_the_parser(words: list[str], options: dict[str, object] | None) -> None:
    assert options_of(words) == options


def test_a_server_that_is_not_there_is_told_before_the_screen_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    master, slave = pty.openpty()
    run = subprocess.run(
        [sys.executable, "-m", "server", "studio", "--connect", f"127.0.0.1:{port}"],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DGX_PIXELS_DATA_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    os.close(slave)
    os.close(master)
    assert run.returncode == 1
    assert f"serve --http --port {port}" in " ".join(run.stderr.split())
