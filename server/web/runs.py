"""Hold what the pages have asked to be drawn, apart from any connection: a closed tab loses nothing.

A run is done in a thread of its own and waits for its turn in the engine. Every change of a run gets the next number,
and a page asks for what has changed since a number: it may have been away, and it skips what is out of date.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pipelines.errors import Cancelled, InvalidRequest, report
from pipelines.records import OnProgress

logger = logging.getLogger(__name__)

MOST_UNFINISHED = 32
"""Runs of one user that are not finished. A user's own limits (`dgx-pixels token add`) are often lower."""
MOST_FINISHED = 20
"""Finished runs of one user that are kept for pages that come back; what they drew is in the library."""
ID = re.compile(r"[0-9a-f]{16}")
"""A run's id, made by the page: a request that is sent twice is one run."""
State = Literal["waiting", "loading", "running", "done", "failed", "cancelled"]
FINISHED = ("done", "failed", "cancelled")
Work = Callable[[OnProgress], dict[str, Any]]
"""Draws, and returns the result as JSON values."""


@dataclass(slots=True, eq=False)
class _Run:
    """One request of a page. Guarded by the lock of `Runs`."""

    id: str
    owner: str
    kind: str
    project: str
    asked: dict[str, Any]
    number: int = 0
    state: State = "waiting"
    done: int = 0
    total: int = 0
    message: str = ""
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    begun: float = 0.0  # by the monotonic clock, when its turn came
    seconds: float = 0.0
    cancelled: bool = False

    def shown(self) -> dict[str, Any]:
        left_out = ("owner", "number", "begun", "cancelled")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}


class Runs:
    """The runs of all users. Methods may be called from any thread."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        """Another one after each start of the server: numbers of earlier ones mean nothing."""
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._number = 0
        self._listeners: dict[object, tuple[str, Callable[[], None]]] = {}

    def start(self, run_id: str, owner: str, kind: str, project: str, asked: dict[str, Any], work: Work) -> None:
        """Starts a run, unless this owner has one with this id already.

        Raises:
            InvalidRequest: the id has another form or is another user's, or too many runs of this user are unfinished.
        """
        if not ID.fullmatch(run_id):
            raise InvalidRequest("The id of a run has 16 hex digits. Load the page again.")
        with self._lock:
            if found := self._runs.get(run_id):
                if found.owner != owner:
                    raise InvalidRequest("This id of a run is taken. Ask again.")
                return
            mine = [run for run in self._runs.values() if run.owner == owner]
            unfinished = [run for run in mine if run.state not in FINISHED]
            if len(unfinished) >= MOST_UNFINISHED:
                raise InvalidRequest(
                    f"{len(unfinished)} of your requests are unfinished, the most allowed. Wait for one, or cancel it."
                )
            for old in [run for run in mine if run.state in FINISHED][: -(MOST_FINISHED - 1)]:
                del self._runs[old.id]
            run = self._runs[run_id] = _Run(run_id, owner, kind, project, asked)
            wake = self._changed(run)
        _call(wake)
        threading.Thread(target=self._do, args=(run, work), name="dgx-pixels-run", daemon=True).start()

    def cancel(self, owner: str, run_id: str) -> bool:
        """Asks a run to stop at its next step. Returns whether there is such an unfinished run of this owner."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or run.owner != owner or run.state in FINISHED:
                return False
            run.cancelled = True
            run.message = "stopping"
            wake = self._changed(run)
        _call(wake)
        return True

    def forget(self, owner: str, run_id: str) -> None:
        """Leaves a finished run out from now on."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None and run.owner == owner and run.state in FINISHED:
                del self._runs[run_id]

    def ids(self, owner: str) -> list[str]:
        """Returns the ids of the owner's runs that are kept."""
        with self._lock:
            return [run.id for run in self._runs.values() if run.owner == owner]

    def since(self, owner: str, number: int) -> list[tuple[int, dict[str, Any]]]:
        """Returns the owner's runs that have changed after this number, with their own numbers, in that order."""
        with self._lock:
            changed = [run for run in self._runs.values() if run.owner == owner and run.number > number]
            return [(run.number, run.shown()) for run in sorted(changed, key=lambda run: run.number)]

    @contextmanager
    def listening(self, owner: str, wake: Callable[[], None]) -> Iterator[None]:
        """Calls `wake` from any thread after each change of a run of this owner."""
        key = object()
        with self._lock:
            self._listeners[key] = (owner, wake)
        try:
            yield
        finally:
            with self._lock:
                del self._listeners[key]

    def listeners(self, owner: str) -> int:
        """Returns how many pages of this owner listen."""
        with self._lock:
            return sum(name == owner for name, _ in self._listeners.values())

    def _do(self, run: _Run, work: Work) -> None:
        from pipelines.engine.engine import LOADING  # loads what draws

        def on_progress(done: int, total: int, message: str) -> None:
            with self._lock:
                if run.cancelled:
                    raise Cancelled("It was cancelled.")
                state: State = "loading" if message == LOADING else "running"
                state = "waiting" if message.startswith("waiting") else state
                new = (state, done, total, message)
                if new == (run.state, run.done, run.total, run.message):
                    return
                run.state, run.done, run.total, run.message = new
                if state != "waiting":
                    run.begun = run.begun or time.monotonic()
                wake = self._changed(run)
            _call(wake)

        state: State = "done"
        error, result = "", {}
        try:
            result = work(on_progress)
        except Cancelled as cancelled:
            # the engine's own Cancelled: the server is closing
            state, error = "cancelled", "" if run.cancelled else str(cancelled)
        except Exception as failed:  # the edge: the page shows it as a sentence
            state, error = "failed", report(failed)
        with self._lock:
            run.state, run.error, run.result, run.message = state, error, result, ""
            run.seconds = round(time.monotonic() - run.begun, 1) if run.begun else 0.0
            wake = self._changed(run)
        _call(wake)

    def _changed(self, run: _Run) -> list[Callable[[], None]]:
        """Numbers the change and returns whom to tell, once the lock is free."""
        self._number += 1
        run.number = self._number
        return [wake for owner, wake in self._listeners.values() if owner == run.owner]


def _call(wake: list[Callable[[], None]]) -> None:
    for one in wake:
        one()
