"""`dgx-pixels studio` over the fake backend, for tests in a real terminal: `fake_studio.py DATA_FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
os.environ["DGX_PIXELS_DATA_DIR"] = sys.argv[1]
os.environ["DGX_PIXELS_PRELOAD"] = "none"


if __name__ == "__main__":
    from server.terminal import command

    command.CHILD = (sys.executable, str(Path(__file__).with_name("fake_child.py")))
    if os.environ.get("FAULT"):
        from server.terminal.create import CreateScreen

        def look(self: CreateScreen) -> None:
            raise RuntimeError("a fault on purpose")

        CreateScreen.look = look
    command.studio()
