"""What the terminal is like, asked before Textual reads its input: background, graphics, the size of a cell, Unicode.

The questions are OSC 11 (xterm's control sequences, "Change VT100 text background color"), Kitty's query of graphics
and CSI 16 t (the size of a cell). DA1 comes last: every terminal answers it, so that there is no waiting for those that
do not know the others. The 4 in its answer is Sixel.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time

from server.terminal.graphics import Graphics

PATIENCE = 0.2
"""Seconds that an answer may take; over a slow line the dark theme is taken."""


def speaks_unicode() -> bool:
    """Returns whether the locale's encoding has the block characters."""
    encoding = os.environ.get("PYTHONIOENCODING", "").split(":")[0] or sys.stdout.encoding or ""
    try:
        "▀".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return os.environ.get("TERM") != "linux"


def ask() -> str:
    """Returns the terminal's answers; empty where it gives none."""
    multiplexer = "TMUX" in os.environ or os.environ.get("TERM", "").startswith(("screen", "tmux", "linux", "dumb"))
    kitty = "" if multiplexer else "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
    return _ask(f"\x1b]11;?\x1b\\{kitty}\x1b[16t\x1b[c")


def graphics_of(answer: str, wanted: str = "auto") -> Graphics | None:
    """Returns the graphics that answers to `ask` tell of, of the kind that is wanted; None: cells.

    Sixel comes first: some terminals know Kitty's protocol without its placeholders, and all of them know Sixel.
    """
    attributes = re.search(r"\x1b\[\?([0-9;]*)c", answer)
    size = re.search(r"\x1b\[6;(\d+);(\d+)t", answer)
    cell = (int(size[2]), int(size[1])) if size else _cell()
    if not all(cell):
        return None
    if wanted == "sixel" or (wanted == "auto" and attributes and "4" in attributes[1].split(";")):
        return Graphics("sixel", cell)
    if wanted == "kitty" or (wanted == "auto" and "_Gi=31;OK" in answer and os.environ.get("COLORTERM")):
        return Graphics("kitty", cell)
    return None


def _cell() -> tuple[int, int]:
    """Returns the pixels of a cell as the system knows them; zeros where it does not."""
    try:
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(sys.__stdout__.fileno(), termios.TIOCGWINSZ, b"\0" * 8)  # type: ignore[union-attr]
        rows, columns, width, height = struct.unpack("HHHH", answer)
    except (ImportError, OSError, ValueError, AttributeError):
        return 0, 0
    return width // max(columns, 1), height // max(rows, 1)


def is_light(answer: str) -> bool:
    """Returns whether the colour in an answer to OSC 11 is light; dark where there is none."""
    found = re.search(r"\]11;rgb:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)", answer)
    if not found:
        return False
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.5


def _ask(question: str) -> str:
    """Reads the terminal's answer up to that of DA1; empty where it does not answer in time."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return ""
    try:
        descriptor = sys.__stdin__.fileno()  # type: ignore[union-attr]
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, AttributeError, termios.error):
        return ""
    answer = b""
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        os.write(sys.__stdout__.fileno(), question.encode())  # type: ignore[union-attr]
        deadline = time.monotonic() + PATIENCE
        while not re.search(rb"\x1b\[\?[0-9;]*c", answer) and (left := deadline - time.monotonic()) > 0:
            if select.select([descriptor], [], [], left)[0]:
                answer += os.read(descriptor, 256)
    except OSError:
        return ""
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
    return answer.decode("latin-1")
