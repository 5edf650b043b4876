"""What a run was like, step by step: `log.jsonl`, and TensorBoard event files where the writer is installed.

    {"step": 7, "loss": 0.0412, "rate": 0.0001}
    {"step": 250, "validation": 0.0398}

A worker may be killed at any moment and resume at an earlier step: what was written after that step is taken back.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from loras.files import synced

logger = logging.getLogger(__name__)

LOG, EVENTS = "log.jsonl", "tensorboard"
"""The file and the folder in the job's folder."""


class RunLog:
    """The log of one run, from step `done` on; leaving the `with` block closes it."""

    def __init__(self, folder: Path, done: int) -> None:
        path = folder / LOG
        kept = [line for line in read_log(path) if line["step"] <= done]
        with synced(path) as file:
            file.write("".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")
        self._events = _event_writer(folder / EVENTS, done)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()

    def write(self, step: int, **values: float) -> None:
        """Adds a line; `values` are scalars by name (loss, rate, validation)."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Hands everything to the operating system: readers see it."""
        self._file.flush()
        if self._events is not None:
            self._events.flush()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a log; a last line that was cut off by a kill is left out. Empty where there is no file."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def _event_writer(folder: Path, done: int) -> Any:
    """Opens TensorBoard's writer, None without tensorboardX. Steps after `done` are marked as taken back."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        logger.info("No TensorBoard files are written: pip install 'dgx-pixels[train]' brings the writer.")
        return None
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None, flush_secs=600)
