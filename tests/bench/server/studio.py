"""The studio in a pseudo-terminal: start to first screen, key to screen while a sprite is drawn, frames of a sheet.

    python -m tests.bench.server.studio

The real program with the embedded model, 80x24. A key is a letter that was never on the screen before; its latency is
the time from writing it into the terminal to reading it from the screen. The frames of the sheet have one colour each,
so that those that reach the terminal can be counted. Processor time is that of the process that answers keys (another
one draws): unlike the others it says something beside other work too.
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
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from pipelines.pixels.png import encode_png
from pipelines.records import Recipe
from server.library.store import Library

STARTS, KEYS, BETWEEN = 5, 120, 0.04
FPS, SECONDS = 60, 5.0
LETTERS = [chr(code) for code in (*range(0x100, 0x17F), *range(0x400, 0x44F))]
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;?]*|\][^\x07\x1b]*\x1b?)?$")


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
        self.text = b""
        """The output without escape sequences."""
        self._begun_sequence = b""
        self.last = self.begun
        """When something was read last."""

    def read(self, seconds: float) -> bool:
        """Read what comes within the time; false where nothing came."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        piece = os.read(self.master, 1 << 16)
        if b"\x1b[c" in piece:  # what a terminal answers to "who are you"
            os.write(self.master, b"\x1b[?62;22c")
        self.last = time.perf_counter()
        self.output += piece
        piece = self._begun_sequence + piece
        end = UNFINISHED.search(piece)
        cut = end.start() if end else len(piece)
        self.text += ESCAPE.sub(b"", piece[:cut])
        self._begun_sequence = piece[cut:]
        return True

    def wait(self, text: str, start: int = 0, seconds: float = 100) -> float:
        """The moment at which `text` came, in text behind `start`."""
        deadline = time.perf_counter() + seconds
        while text.encode() not in self.text[start:]:
            if time.perf_counter() > deadline:
                raise SystemExit(f"'{text}' did not come:\n{self.text[-3000:].decode(errors='replace')}")
            self.read(0.5)
        return self.last

    def rest(self, seconds: float) -> None:
        """Read for so long."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.read(left)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    def processor_seconds(self) -> float:
        """What the process that answers keys has taken."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End the program."""
        self.closed = True
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


@dataclass
class Series:
    """Seconds of what was measured, and the processor seconds of one."""

    seconds: list[float]
    processor: float

    def figures(self) -> dict[str, float]:
        """Milliseconds."""
        points = np.percentile(np.array(self.seconds) * 1000, [50, 95, 100])
        named = {"median": points[0], "p95": points[1], "most": points[2], "processor": self.processor * 1000}
        return {**{name: round(float(value), 1) for name, value in named.items()}, "count": len(self.seconds)}


def start_up(game: Path, data: Path) -> Series:
    """Start of the process to the first screen, several times."""
    seconds, processor = [], 0.0
    for _ in range(STARTS):
        terminal = Terminal(game, data)
        seconds.append(terminal.wait("What do you want to see?") - terminal.begun)
        processor += terminal.processor_seconds() / STARTS
        terminal.close()
    return Series(seconds, processor)


def keys(game: Path, data: Path) -> tuple[Series, Series]:
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
    start = len(terminal.text)
    terminal.type("\r")
    terminal.wait("red dragon ×16", start)
    terminal.type("p")
    busy = _type(terminal, LETTERS[1 : 2 * KEYS : 2], until="Drawn in")
    terminal.close()
    return idle, busy


def _type(terminal: Terminal, letters: list[str], until: str = "") -> Series:
    """Type letters one after the other, each when the one before is on the screen, until a text comes."""
    terminal.rest(0.2)
    begin, before = len(terminal.text), terminal.processor_seconds()
    seconds = []
    for letter in letters:
        start = len(terminal.text)
        pressed = time.perf_counter()
        terminal.type(letter)
        seconds.append(terminal.wait(letter, start) - pressed)
        if until and until.encode() in terminal.text[begin:]:
            break
        terminal.rest(BETWEEN)
    return Series(seconds, (terminal.processor_seconds() - before) / len(seconds))


def frames(game: Path, data: Path) -> dict[str, float]:
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
    terminal.wait("bench")  # the game is known
    terminal.type("\x1bOR")  # F3
    while b";17;203" not in terminal.output:
        terminal.read(0.5)
    terminal.rest(5.0)  # by then the model is loaded
    start, begun, before = len(terminal.output), time.perf_counter(), terminal.processor_seconds()
    terminal.rest(SECONDS)
    shown = re.findall(rb"38;2;(\d+);17;203", terminal.output[start:])
    seconds, processor = time.perf_counter() - begun, terminal.processor_seconds() - before
    terminal.close()
    number = 1 + sum(a != b for a, b in pairwise(shown)) if shown else 0
    return {"a_second": round(number / seconds, 1), "processor_ms": round(processor * 1000 / max(number, 1), 1)}


def main() -> None:
    """Print the figures, each as soon as it is measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        game, data = Path(folder, "game"), Path(folder, "data")
        (game / "assets").mkdir(parents=True)
        (game / "Cargo.toml").write_text('[package]\nname = "bench"\n\n[dependencies]\nbevy = "0.20"\n')
        _show("start_ms", start_up(game, data).figures())
        idle, busy = keys(game, data)
        _show("key_idle_ms", idle.figures())
        _show("key_drawing_ms", busy.figures())
        _show("frames", frames(game, data))
    _show("load", os.getloadavg()[0])


def _show(name: str, figures: object) -> None:
    print(f"{name}: {json.dumps(figures)}", flush=True)


if __name__ == "__main__":
    main()
