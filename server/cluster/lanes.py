"""Implement `Backend` by an actor of a Ray cluster.

An actor whose process or machine is lost is started again by Ray. The engine gives its request to another actor
meanwhile: same request, same pixels. API: Ray 2.60, "Actors", "Fault tolerance".
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipelines import errors, tracing
from pipelines.engine.backend import Backend, OnStep
from pipelines.errors import BackendLost, Cancelled, DrawingError, PipelineError
from pipelines.models.catalog import find_model
from pipelines.records import Drawing, DrawRequest, ModelInfo
from server.cluster.wire import Message, pack_request, unpack_drawing
from server.settings import Settings

logger = logging.getLogger(__name__)

POLL = 0.02
"""Seconds between two looks at an actor's progress."""
RESTART_SECONDS = 120.0
"""How long a lost actor may take to come back before another is started in its place."""
RESTART_POLL = 0.1
"""Seconds between two questions whether it is back."""
REAL = "server.backends:actor_backend"
"""What an actor makes its Backend with, as module:function (the function takes `Settings`)."""


class RayLane:
    """A Backend whose drawing is done by one actor. Its calls come from one worker thread of the engine."""

    def __init__(self, settings: Settings, catalog: Backend, options: dict[str, Any], backend: str = REAL) -> None:
        """Starts the actor. `catalog` answers `models`, which needs no device; `options` are Ray's resources."""
        import ray  # pyright: ignore[reportMissingImports] (an extra)

        self._ray: Any = ray
        self._catalog = catalog
        self._options = options
        self._arguments = (settings.model_dump_json(include={"data_dir", "model", "precision"}), backend)
        self._described: dict[str, Any] = {"device": "starting"}
        self._actor = self._start()

    def _start(self) -> Any:
        from server.cluster.painter import Painter

        actor = self._ray.remote(max_restarts=-1, max_task_retries=0, concurrency_groups={"watch": 2}, **self._options)
        return actor(Painter).remote(*self._arguments)

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        """See `Backend.draw`.

        Raises:
            BackendLost: the actor was lost.
        """
        message, number = pack_request(request, tracing.to_send()), secrets.token_hex(8)
        try:
            self._ray.get(self._watch("state", number))
        except self._ray.exceptions.RayError as error:
            raise BackendLost(f"The process that draws is gone: {_cause(error)}", begun=False) from error
        return unpack_drawing(
            self._get(lambda: self._follow(number, self._actor.draw.remote(number, message), on_step))
        )

    def parts(self, request: DrawRequest, free: int) -> int:
        """Returns into how many requests this one is parted, with so many actors free.

        The number must not change the pictures. On a CPU they do not depend on the batch, from two pictures on
        (`pipelines.sdxl.rows`); on a GPU a batch of it takes hardly longer than a picture, and stays whole. A picture
        of a large model is a request of its own, free actors or not: its rounding depends on the batch, its time does
        not.
        """
        try:
            draws_pixels = find_model(request.model).draws_pixels
        except PipelineError:  # the actor says it
            return 1
        if draws_pixels:
            return 1 if "num_gpus" in self._options else min(free, len(request.prompts) // 2)
        return len(request.prompts)

    def load(self, model: str) -> None:
        """See `Backend.load`."""
        self._get(lambda: self._ray.get(self._actor.load.remote(model)))

    def unload(self, model: str) -> None:
        """See `Backend.unload`."""
        self._get(lambda: self._ray.get(self._actor.unload.remote(model)))

    def warm(self, should_stop: Callable[[], bool]) -> bool:
        """Captures one shape that the actor drew, as `DiffusersBackend.warm`; `should_stop` interrupts it."""
        if should_stop():
            return False
        number = secrets.token_hex(8)
        asked, stopped = self._actor.warm.remote(number), False
        while not self._ray.wait([asked], timeout=POLL)[0]:
            if not stopped and should_stop():
                stopped = True
                self._watch("cancel", number)
        with suppress(self._ray.exceptions.RayError):  # a lost actor has nothing to warm
            return self._ray.get(asked)
        return False

    def recover(self, should_stop: Callable[[], bool]) -> bool:
        """Waits until the actor answers again. False where `should_stop` ended the wait.

        Raises:
            BackendLost: it did not come back in time, so another was started in its place: ask again.
        """
        limit = time.monotonic() + RESTART_SECONDS
        while not should_stop():
            asked = self._watch("state", "")
            while not (there := self._ray.wait([asked], timeout=RESTART_POLL)[0]) and not should_stop():
                if time.monotonic() > limit:
                    break
            try:
                if there:
                    self._ray.get(asked)
                    return True
            except self._ray.exceptions.RayError as error:
                cause = _cause(error)
                time.sleep(RESTART_POLL)  # a call fails immediately while Ray restarts the actor
            else:
                cause = "it waits for a machine"
            if time.monotonic() > limit:
                self.close()
                self._actor = self._start()
                raise BackendLost(
                    f"The process that draws did not come back ({cause}). `ray status` shows the cluster."
                )
        return False

    def alive(self) -> bool:
        """Whether the actor answers now."""
        try:
            self._ray.get(self._watch("state", ""), timeout=1)
        except self._ray.exceptions.RayError:
            return False
        return True

    def close(self) -> None:
        """Ends the actor."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)

    def models(self) -> tuple[ModelInfo, ...]:
        """See `Backend.models`."""
        return self._catalog.models()

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`; what the actor said last, where it does not answer immediately."""
        with suppress(self._ray.exceptions.RayError):
            self._described = json.loads(self._ray.get(self._watch("describe"), timeout=1))
        return self._described

    def _watch(self, method: str, *arguments: str) -> Any:
        """Calls the actor on a thread of its own, also while it draws."""
        return getattr(self._actor, method).options(concurrency_group="watch").remote(*arguments)

    def _follow(self, number: str, drawing: Any, on_step: OnStep) -> Message:
        """Waits for the drawing, reports its steps, and stops it where `on_step` raises."""
        told, stopped = 0, None
        while not self._ray.wait([drawing], timeout=POLL)[0]:
            if stopped is not None:
                continue
            done, total = self._ray.get(self._watch("state", number))
            try:
                for step in range(told + 1, done + 1):
                    on_step(step, total)
                told = done
            except Cancelled as error:
                stopped = error
                self._watch("cancel", number)
        answer = self._ray.get(drawing)
        if stopped is not None:
            raise stopped
        return answer

    def _get(self, call: Callable[[], Message]) -> Message:
        """Returns the answer of an actor, or raises the error that it names."""
        try:
            message = call()
        except self._ray.exceptions.RayTaskError as error:  # an actor answers with its errors as a rule
            raise DrawingError(f"The process that draws failed: {_cause(error)}") from error
        except self._ray.exceptions.RayError as error:
            raise BackendLost(f"The process that draws was lost: {_cause(error)}") from error
        values = json.loads(message[0])
        if isinstance(values, dict) and "error" in values:
            kind = getattr(errors, values["error"], DrawingError)
            wanted = isinstance(kind, type) and issubclass(kind, PipelineError)
            raise (kind if wanted else DrawingError)(values["message"])
        return message


def _cause(error: Exception) -> str:
    """Returns what Ray says, in one line: of an error in the actor the last, which names it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no details'}"[:300]
