"""The actor: a process of a Ray cluster that holds models on one device and draws what it is sent."""

from __future__ import annotations

import json
import os
import threading
from importlib import import_module
from typing import Any

from pipelines import tracing
from pipelines.errors import Cancelled, UserError, report
from server.cluster.wire import Message, pack_drawing, trace_of, unpack_request


class Painter:
    """Draws one request at a time. `state` and `cancel` are called while it draws, on threads of their own.

    Answers are messages (see `server.cluster.wire`); an error is one too, so that no exception is pickled.
    """

    def __init__(self, settings: str, backend: str) -> None:
        """Loads nothing. `settings` is JSON for `Settings`; `backend` names what makes the Backend ("module:name")."""
        from server.settings import Settings
        from server.tracing import start_tracing

        start_tracing("dgx-pixels-actor")
        module, _, name = backend.partition(":")
        self._backend = getattr(import_module(module), name)(Settings(**json.loads(settings)))
        self._lock = threading.Lock()
        self._drawing = ""
        self._step = (0, 0)
        self._cancelled = ""

    def draw(self, number: str, message: Message) -> Message:
        """Draws the request; `number` is what `cancel` and `state` call it."""

        def on_step(done: int, total: int) -> None:
            marks.event("step", done=done, total=total)
            with self._lock:
                self._step = (done, total)
                if number == self._cancelled:
                    raise Cancelled("The drawing was cancelled.")

        with self._lock:
            self._drawing, self._step = number, (0, 0)
        with tracing.within(tracing.received(trace_of(message))), tracing.span("actor", process=os.getpid()) as marks:
            return self._answer(lambda: pack_drawing(self._backend.draw(unpack_request(message), on_step)))

    def load(self, model: str) -> Message:
        """Makes the model resident."""
        return self._answer(lambda: ("null", self._backend.load(model) or []))

    def unload(self, model: str) -> Message:
        """Gives the model's memory back."""
        return self._answer(lambda: ("null", self._backend.unload(model) or []))

    def warm(self, number: str) -> bool:
        """Lets the backend make itself faster, until `cancel` is called with the number; whether it did a piece."""
        warm = getattr(self._backend, "warm", None)
        return bool(warm and warm(lambda: number == self._cancelled))

    def cancel(self, number: str) -> None:
        """Stops the drawing after its present step, or the warming before its next piece."""
        with self._lock:
            self._cancelled = number

    def state(self, number: str) -> tuple[int, int]:
        """Returns the step that the drawing has reached and how many it has; (0, 0) before the first."""
        with self._lock:
            return self._step if self._drawing == number else (0, 0)

    def describe(self) -> str:
        """Returns what the backend says about itself, as JSON."""
        return json.dumps(self._backend.describe() | {"process": os.getpid()})

    def _answer(self, work: Any) -> Message:
        try:
            return work()
        except Exception as error:
            kind = type(error).__name__ if isinstance(error, UserError) else "DrawingError"
            return json.dumps({"error": kind, "message": report(error)}), []
