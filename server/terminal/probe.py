"""What the terminal is like, asked before Textual reads its input: the background's colour, Unicode.

The question is OSC 11 (xterm's control sequences, "Change VT100 text background color"), followed by DA1, which every
terminal answers: no waiting for terminals that do not know the first.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time

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


def light_background() -> bool:
    """Returns whether the terminal's background is light."""
    return is_light(_ask("\x1b]11;?\x1b\\\x1b[c"))


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
