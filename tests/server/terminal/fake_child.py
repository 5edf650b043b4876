"""The process that draws for `fake_studio.py`, with the fake backend."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

if TYPE_CHECKING:
    from server.studio import Studio


def make() -> Studio:
    """Return a studio that draws nothing real."""
    from server.studio import Studio
    from tests.fakes import FakeBackend

    return Studio(backend=FakeBackend())


if __name__ == "__main__":
    from server.desk.child import main

    main(make)
