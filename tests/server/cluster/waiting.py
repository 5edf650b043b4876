"""Wait for a condition, without a limit that a slow machine would break."""

from __future__ import annotations

import threading
from collections.abc import Callable


def wait_for(condition: Callable[[], bool]) -> None:
    """Asks until it is so; a test that hangs is ended by the run's own limit."""
    for _ in range(1200):
        if condition():
            return
        threading.Event().wait(0.1)
    raise AssertionError("the condition did not come in two minutes")
