"""The command `dgx-pixels studio` and what it asks of the terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest

from server.cli.app import main
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
