"""Work in threads: a task reports progress, can be cancelled, and hands its result to the screen's event loop.

The threads are daemons, so that the program ends without waiting for a model that is loading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from textual.message import Message

from server.desk.desk import OnProgress


@dataclass(eq=False)
class Task:
    """Something that runs. `state`: running, done, failed or cancelled."""

    label: str
    done: int = 0
    total: int = 0
    message: str = ""
    state: str = "running"
    quiet: bool = False
    """Not listed in the queue: looking things up."""
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Stops the work at its next report of progress."""
        self._cancelled.set()

    def report(self, done: int, total: int, message: str) -> None:
        """Reports the task's progress (an OnProgress).

        Raises:
            Cancelled: somebody cancelled the task.
        """
        if self._cancelled.is_set():
            from pipelines.errors import Cancelled

            raise Cancelled("The drawing was cancelled.")
        self.done, self.total, self.message = done, total, message


class Ended(Message):
    """A task has ended; the app calls `finish` with its result, or shows `error`."""

    def __init__(
        self, task: Task, result: Any, error: Exception | None, finish: Callable[[Any], None] | None, failed: Any
    ) -> None:
        super().__init__()
        self.task, self.result, self.error, self.finish, self.failed = task, result, error, finish, failed


def start(
    post: Callable[[Message], Any],
    task: Task,
    work: Callable[[OnProgress], Any],
    finish: Callable[[Any], None] | None = None,
    failed: Callable[[Exception], None] | None = None,
) -> None:
    """Runs `work` in a thread and posts `Ended` when it is over.

    Args:
        post: delivers a message to the app from any thread.
        finish: called on the event loop with the result.
        failed: called there with the error instead of showing it.
    """

    def run() -> None:
        result, error = None, None
        try:
            result = work(task.report)
        except Exception as raised:  # the edge: the app shows it as a sentence
            error = raised
        post(Ended(task, result, error, finish, failed))

    threading.Thread(target=run, name=f"dgx-pixels-studio: {task.label}", daemon=True).start()
