"""One session in a real terminal: draw, compare, vote, deploy, undo, in tmux.

The program is the real one over a fake backend. `make test-studio` runs it, and installs tmux where it can.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("DGX_PIXELS_STUDIO" not in os.environ, reason="it needs tmux: run `make test-studio`"),
]
PROGRAM = Path(__file__).parent / "fake_studio.py"
PATIENCE = 240
_NUMBERS = itertools.count()


class Tmux:
    """A window of tmux that runs the studio and then says how it ended."""

    def __init__(self, folder: Path, size: tuple[int, int], environment: dict[str, str]) -> None:
        self._socket = str(folder / f"tmux{next(_NUMBERS)}")  # a server that was killed may not have ended yet
        given = " ".join(f"{name}={value}" for name, value in environment.items())
        program = f"env -u NO_COLOR {given} {sys.executable} {PROGRAM} {folder / 'data'}"
        command = f"{program}; echo ended=$?; stty -a; sleep 600"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), command)

    def _tmux(self, *words: str) -> str:
        run = subprocess.run(["tmux", "-S", self._socket, *words], capture_output=True, text=True, check=True)
        return run.stdout

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names; a text is typed letter by letter."""
        self._tmux("send-keys", *keys)

    def window(self) -> str:
        """What is on the screen, with single spaces."""
        return " ".join(self._tmux("capture-pane", "-p").split())

    def colors(self) -> str:
        """What is on the screen, with the escape sequences of its colours."""
        return self._tmux("capture-pane", "-p", "-e")

    def wait(self, text: str) -> str:
        """The window as soon as it shows a text."""
        return self.wait_for(re.escape(text))

    def wait_for(self, text: str) -> str:
        """The window as soon as a regular expression is found in it."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(text, shown := self.window()):
            assert time.monotonic() < deadline, f"'{text}' did not come:\n{self._tmux('capture-pane', '-p')}"
            time.sleep(0.05)
        return shown

    def modes(self) -> str:
        """The alternate screen, the mouse and a hidden cursor: 0 each where they are off."""
        flags = "#{alternate_on} #{mouse_any_flag} #{?cursor_flag,0,1}"
        return self._tmux("display-message", "-p", flags).strip()

    def signal(self, name: str) -> None:
        """Send the program a signal."""
        pid = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        child = subprocess.run(["pgrep", "-P", pid, "-f", "fake_studio"], capture_output=True, text=True, check=True)
        subprocess.run(["kill", f"-{name}", child.stdout.split()[0]], check=True)

    def resize(self, width: int, height: int) -> None:
        """Make the window larger or smaller."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def kill(self) -> None:
        """End tmux."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False)


class OpenTmux(Protocol):
    """Starts the studio in a window of tmux."""

    def __call__(self, size: tuple[int, int] = (80, 24), **environment: str) -> Tmux: ...


@pytest.fixture
def open_tmux(game: Path, tmp_path: Path) -> Iterator[OpenTmux]:
    opened: list[Tmux] = []

    def start(size: tuple[int, int] = (80, 24), **environment: str) -> Tmux:
        opened.append(Tmux(tmp_path, size, environment))
        return opened[-1]

    yield start
    for tmux in opened:
        tmux.kill()


def test_one_session_draws_compares_votes_deploys_and_takes_back(open_tmux: OpenTmux, game: Path) -> None:
    tmux = open_tmux((120, 40))
    tmux.wait("What do you want to see?")
    tmux.press("cat", "Enter")
    tmux.wait("k keeps its seed")
    tmux.wait("\u2580" * 16)
    tmux.press("d")
    tmux.wait("written: sprites/cat.png")
    assert (game / "assets/sprites/cat.png").exists()
    tmux.press("F4")
    tmux.wait("Column A")
    tmux.press("Tab", "Tab", "w")
    tmux.wait("A model and LoRAs")
    tmux.press("+ glow", "Enter")
    tmux.wait("+ glow")
    tmux.press("BTab", "BTab", "dog", "Enter")
    tmux.wait("Which column is best?")
    tmux.press("2")
    tmux.wait("won 1 of 1")
    tmux.press("u")  # not a key of this screen
    tmux.press("F3")
    tmux.wait("cat")
    tmux.press("u")
    tmux.wait("undone: sprites/cat.png")
    assert not (game / "assets/sprites/cat.png").exists()
    tmux.resize(200, 60)
    tmux.wait("cat")
    tmux.resize(80, 24)
    tmux.press("F2")
    tmux.wait("What do you want to see?")
    tmux.press("C-q")
    _is_sane(tmux, 0)


def _is_sane(tmux: Tmux, code: int) -> None:
    """The program has ended with this code, and the terminal shows what is typed, line by line, without the mouse."""
    said = tmux.wait("ended=")
    assert f"ended={code}" in said
    said = tmux.wait("speed")
    assert not re.search(r"-(echo|icanon|isig)\b", said)
    assert tmux.modes() == "0 0 0"


def test_a_kill_leaves_the_terminal_sane(open_tmux: OpenTmux) -> None:
    tmux = open_tmux()
    tmux.wait("What do you want to see?")
    tmux.press("cat", "Enter")
    tmux.signal("TERM")
    _is_sane(tmux, 143)


def test_a_fault_of_the_program_leaves_the_terminal_sane(open_tmux: OpenTmux) -> None:
    tmux = open_tmux(FAULT="1")
    assert "The studio ended by a fault" in tmux.wait("ended=")
    _is_sane(tmux, 1)


def test_without_colours_or_unicode_pixels_are_shades_of_text(open_tmux: OpenTmux) -> None:
    for number, given in enumerate(
        ({"NO_COLOR": "1"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    ):
        tmux = open_tmux((80, 24 + number), **given)
        tmux.wait("draws it")
        tmux.press("cat", "Enter")
        tmux.wait("puts it into the game, k")
        shown = tmux.wait_for(r"[.:=+*#%@-]{12}")
        assert "\u2580" not in shown
        tmux.kill()


def test_sixteen_colours_are_enough(open_tmux: OpenTmux) -> None:
    tmux = open_tmux(TERM="xterm-16color", COLORTERM="")
    tmux.wait("draws it")
    tmux.press("cat", "Enter")
    tmux.wait("puts it into the game, k")
    tmux.wait("\u2580" * 8)
    colors = tmux.colors()
    assert "38;2;" not in colors
    assert "38;5;" not in colors
    assert len(set(re.findall(r"\x1b\[[0-9;]*m(?=\u2580)", colors))) > 2
