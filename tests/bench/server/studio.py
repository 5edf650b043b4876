"""The studio in a pseudo-terminal: start to first screen, key to screen while a sprite is drawn, frames of a sheet.

    python -m tests.bench.server.studio

The real program with the embedded model, 80x24. A key is a letter that was never on the screen before; its latency is
the time from writing it into the terminal to reading it from the screen. The frames of the sheet have one colour each,
so that those that reach the terminal can be counted.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipelines.pixels.png import encode_png
from pipelines.records import Recipe
from server.library.store import Library

STARTS, KEYS, BETWEEN = 5, 120, 0.04
FPS, SECONDS = 60, 5.0
LETTERS = [chr(code) for code in (*range(0x100, 0x17F), *range(0x400, 0x44F))]
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


class Terminal:
    """A program in a pseudo-terminal of 80 columns and 24 rows."""

    def __init__(self, game: Path, data: Path) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "DGX_PIXELS_DATA_DIR": str(data),
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        }
        self.begun = time.perf_counter()
        self.closed = False
        atexit.register(lambda: self.closed or self.close())  # the program has a session of its own
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "studio"],
            cwd=game,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.master = master
        self.output = b""
        self.times: list[tuple[float, int]] = []
        """(when, bytes read until then)."""

    def read(self, seconds: float) -> bool:
        """Read what comes within the time; false where nothing came."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        piece = os.read(self.master, 1 << 16)
        if b"\x1b[c" in piece:  # what a terminal answers to "who are you"
            os.write(self.master, b"\x1b[?62;22c")
        self.output += piece
        self.times.append((time.perf_counter(), len(self.output)))
        return True

    def wait(self, text: str, start: int = 0, seconds: float = 300) -> float:
        """The moment at which `text` came, in output behind `start`."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            if text.encode() in ESCAPE.sub(b"", self.output[start:]):
                return self.times[-1][0]
            self.read(0.5)
        raise SystemExit(f"'{text}' did not come:\n{ESCAPE.sub(b'', self.output[-3000:]).decode(errors='replace')}")

    def rest(self, seconds: float) -> None:
        """Read for so long."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.read(left)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    def close(self) -> None:
        """End the program."""
        self.closed = True
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


def start_seconds(game: Path, data: Path) -> list[float]:
    """Start of the process to the first screen, several times."""
    seconds = []
    for _ in range(STARTS):
        terminal = Terminal(game, data)
        seconds.append(terminal.wait("What do you want to see?") - terminal.begun)
        terminal.close()
    return seconds


def key_seconds(game: Path, data: Path) -> tuple[list[float], list[float]]:
    """Key to screen, while nothing happens and while sixteen sprites are drawn."""
    terminal = Terminal(game, data)
    terminal.wait("red dragon")
    terminal.type("cat\r")  # the model is loaded by this
    terminal.wait("puts it into the game, k keeps")
    terminal.rest(1.0)
    terminal.type("p")
    idle = _type(terminal, LETTERS[:KEYS:2])
    terminal.type("\x15")  # an empty prompt draws the example
    terminal.type("\t\t\x1b[D\x1b[Z\x1b[Z")  # count: one step back is 16
    terminal.rest(0.5)
    terminal.type("\r")
    terminal.wait("×16")
    terminal.type("p")
    busy = _type(terminal, LETTERS[1 : 2 * KEYS : 2], until=b"k keeps its seed")
    terminal.close()
    return idle, busy


def _type(terminal: Terminal, letters: list[str], until: bytes = b"") -> list[float]:
    terminal.rest(0.2)
    begin = len(terminal.output)
    seconds = []
    for letter in letters:
        start = len(terminal.output)
        pressed = time.perf_counter()
        terminal.type(letter)
        seconds.append(terminal.wait(letter, start) - pressed)
        if until and until in ESCAPE.sub(b"", terminal.output[begin:]):
            break
        terminal.rest(BETWEEN)
    return seconds


def frames_per_second(game: Path, data: Path) -> float:
    """Frames of a sheet of `FPS` frames a second that reach the terminal."""
    side, count = 16, 60
    sheet = np.full((side, side * count, 4), 255, np.uint8)
    for index in range(count):
        sheet[:, index * side : (index + 1) * side, :3] = (index * 4, 17, 203)
    clips = {"idle": {"first": 0, "last": count - 1, "fps": FPS, "loop": True}}
    layout = {"tile_size": [side, side], "columns": count, "rows": 1, "animations": clips}
    recipe = Recipe("sheet", "colours", side * count, side, seed=1)
    library = Library(game / ".dgx-pixels")
    library.add("sheet", {"sheet.png": encode_png(sheet)}, recipe, details={"sheet": layout})
    library.close()
    terminal = Terminal(game, data)
    terminal.wait("red dragon")
    terminal.rest(2.0)
    terminal.type("\x1bOR")  # F3
    terminal.wait("60 frames")
    terminal.rest(1.0)
    start, begun = len(terminal.output), time.perf_counter()
    terminal.rest(SECONDS)
    shown = re.findall(rb"38;2;(\d+);17;203", terminal.output[start:])
    seconds = time.perf_counter() - begun
    terminal.close()
    return (1 + sum(a != b for a, b in pairwise(shown))) / seconds if shown else 0.0


def main() -> None:
    """Print the figures as JSON."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        game, data = Path(folder, "game"), Path(folder, "data")
        (game / "assets").mkdir(parents=True)
        (game / "Cargo.toml").write_text('[package]\nname = "bench"\n\n[dependencies]\nbevy = "0.20"\n')
        starts = start_seconds(game, data)
        idle, busy = key_seconds(game, data)
        figures = {
            "start_s": {"median": float(np.median(starts)), "least": min(starts), "most": max(starts)},
            "key_idle_ms": _milliseconds(idle),
            "key_drawing_ms": _milliseconds(busy),
            "frames_per_second": frames_per_second(game, data),
            "load": os.getloadavg()[0],
        }
    print(json.dumps(figures, indent=2))


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    points = np.percentile(np.array(seconds) * 1000, [50, 95, 100])
    return {"median": points[0], "p95": points[1], "most": points[2], "keys": len(seconds)}


if __name__ == "__main__":
    main()
