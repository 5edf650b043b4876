"""Implement `Backend` by an actor of a Ray cluster, and start one for each GPU, or for each core without GPUs.

An actor whose process or machine is lost is started again by Ray, and its request is sent once more: same request, same
pixels. Ray's own usage reports and dashboard stay off. API: Ray 2.60, "Actors", "Fault tolerance".
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from contextlib import suppress
from typing import Any

from pipelines import errors, tracing
from pipelines.engine.backend import Backend, OnStep
from pipelines.errors import Cancelled, DrawingError, PipelineError
from pipelines.records import Drawing, DrawRequest, ModelInfo
from server.cluster.wire import Message, pack_request, unpack_drawing
from server.errors import ServerError
from server.settings import Settings

logger = logging.getLogger(__name__)

POLL = 0.02
"""Seconds between two looks at an actor's progress."""
TRIES = 2
"""How often a request is sent before a lost actor is an error."""
RESTART_SECONDS = 120.0
"""How long a lost actor may take to come back."""
RESTART_POLL = 0.1
"""Seconds between two questions whether it is back."""
REAL = "server.backends:actor_backend"
"""What an actor makes its Backend with, as module:function (the function takes `Settings`)."""


class RayLane:
    """A Backend whose drawing is done by one actor. Its calls come from one worker thread of the engine."""

    def __init__(self, settings: Settings, catalog: Backend, options: dict[str, Any], backend: str = REAL) -> None:
        """Starts the actor. `catalog` answers `models`, which needs no device; `options` are Ray's resources."""
        import ray  # pyright: ignore[reportMissingImports] (an extra)

        from server.cluster.painter import Painter

        self._ray: Any = ray
        self._catalog = catalog
        self._described: dict[str, Any] = {"device": "starting"}
        actor = self._ray.remote(max_restarts=-1, max_task_retries=0, concurrency_groups={"watch": 2}, **options)(
            Painter
        )
        self._actor = actor.remote(settings.model_dump_json(include={"data_dir", "model", "precision"}), backend)

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        """See `Backend.draw`.

        Raises:
            DrawingError: the actor was lost twice.
        """
        message = pack_request(request, tracing.to_send())
        for attempt in range(1, TRIES + 1):
            number = secrets.token_hex(8)
            try:
                return unpack_drawing(self._follow(number, self._actor.draw.remote(number, message), on_step))
            except self._ray.exceptions.RayActorError as error:
                logger.warning("an actor was lost (try %d of %d): %s", attempt, TRIES, type(error).__name__)
                self._wait_for_restart()
        raise DrawingError("The process that draws was lost twice. Look at its machine's memory, then draw again.")

    def load(self, model: str) -> None:
        """See `Backend.load`."""
        _checked(self._get(self._actor.load.remote(model)))

    def unload(self, model: str) -> None:
        """See `Backend.unload`."""
        _checked(self._get(self._actor.unload.remote(model)))

    def models(self) -> tuple[ModelInfo, ...]:
        """See `Backend.models`."""
        return self._catalog.models()

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`; what the actor said last, where it does not answer immediately."""
        asked = self._actor.describe.options(concurrency_group="watch").remote()
        with suppress(self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError):
            self._described = json.loads(self._ray.get(asked, timeout=1))
        return self._described

    def _follow(self, number: str, drawing: Any, on_step: OnStep) -> Message:
        """Waits for the drawing, reports its steps, and stops it where `on_step` raises."""
        told, stopped = 0, None
        while not self._ray.wait([drawing], timeout=POLL)[0]:
            if stopped is not None:
                continue
            state = self._actor.state.options(concurrency_group="watch").remote(number)
            done, total = self._ray.get(state)
            try:
                for step in range(told + 1, done + 1):
                    on_step(step, total)
                told = done
            except Cancelled as error:
                stopped = error
                self._actor.cancel.options(concurrency_group="watch").remote(number)
        answer = _checked(self._ray.get(drawing))
        if stopped is not None:
            raise stopped
        return answer

    def _get(self, asked: Any) -> Message:
        try:
            return self._ray.get(asked)
        except self._ray.exceptions.RayActorError as error:
            raise DrawingError("The process that draws was lost. Try again: it is started again.") from error

    def _wait_for_restart(self) -> None:
        """Asks until the new process answers: a call fails immediately while Ray restarts the actor."""
        limit = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < limit:
            with suppress(self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError):
                self._ray.get(self._actor.describe.remote(), timeout=limit - time.monotonic())
                return
            time.sleep(RESTART_POLL)
        raise DrawingError("The process that draws was lost and did not come back. `ray status` shows the cluster.")


def _checked(message: Message) -> Message:
    """Returns the answer of an actor, or raises the error that it names."""
    values = json.loads(message[0])
    if isinstance(values, dict) and "error" in values:
        kind = getattr(errors, values["error"], DrawingError)
        raise (kind if isinstance(kind, type) and issubclass(kind, PipelineError) else DrawingError)(values["message"])
    return message


def connect(address: str, settings: Settings, catalog: Backend, actors: int = 0, backend: str = REAL) -> list[RayLane]:
    """Joins a Ray cluster, or starts one on this machine for "auto", and starts the actors.

    Args:
        actors: how many; 0 means one for each GPU of the cluster, or for each core where there are none.

    Raises:
        ServerError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports] (an extra)
    except ImportError as error:
        raise ServerError("--cluster needs Ray: pip install 'dgx-pixels[cluster]'.") from error
    try:
        ray.init(
            address=None if address == "auto" else address,
            include_dashboard=False if address == "auto" else None,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ServerError(f"There is no Ray cluster at {address}. Start one with `ray start --head`.") from error
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    count = actors or gpus or max(1, int(resources.get("CPU", 1)))
    options = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1}
    return [RayLane(settings, catalog, options, backend) for _ in range(count)]
