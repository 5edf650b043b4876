"""A terminal that goes away without a signal, as with a lost line or a session of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.terminal.command import HANG_UP

PROGRAM = Path(__file__).parent / "fake_studio.py"


def read_until(master: int, text: bytes) -> None:
    """Read what the program shows until a text has come."""
    shown, deadline = b"", time.monotonic() + 240
    while text not in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown):
        assert time.monotonic() < deadline, shown
        if select.select([master], [], [], 1)[0]:
            shown += os.read(master, 1 << 16)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it needs pseudo-terminals as Linux has them")
def test_the_studio_ends_with_its_terminal(game: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    program = subprocess.Popen(
        (sys.executable, PROGRAM, tmp_path / "data"), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    read_until(master, b"see?")
    os.close(master)
    assert program.wait(240) == HANG_UP
