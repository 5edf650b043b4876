"""Schedule all drawing on one worker thread, which alone uses the device; other threads queue for it.

Requests run first in, first out, with progress and cancel after every step. A request that runs out of memory is tried
again with half the batch. `lease` reserves the device for one caller. The drawing itself is behind `Backend`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pipelines.engine.backend import Backend
from pipelines.errors import Cancelled, OutOfMemory, PipelineError
from pipelines.records import Drawing, DrawRequest, OnProgress, no_progress

logger = logging.getLogger(__name__)

LOADING = "loading the model"
"""The progress message until a model's first step."""

HEARTBEAT = 0.05
"""Seconds between two calls of a waiting caller's OnProgress, at most."""


class _Job:
    """Something for the worker to do. Guarded by the engine's condition."""

    def __init__(self, what: str, work: Callable[[_Job], Any]) -> None:
        self.what = what
        self.work = work
        self.model = ""  # the model that it loads or draws with
        self.loads = False  # whether it only loads it
        self.state = "queued"  # queued, running, finished
        self.steps: list[tuple[int, int]] = []  # every step that was taken
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None

    def step(self, done: int, total: int) -> None:
        """Notes the step, and stops where the caller has gone (the worker's OnStep)."""
        if self.cancelled:
            raise Cancelled("The drawing was cancelled.")
        self.steps.append((done, total))


class Engine:
    """Draws with a Backend, one request at a time. Every method may be called from any thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._changed = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._running: _Job | None = None
        self._closed = False
        self._loaded: set[str] = set()
        self._counts = {"drawn": 0, "steps": 0, "cancelled": 0, "failed": 0}
        self._last_error = ""
        self._worker = threading.Thread(target=self._work, name="dgx-pixels-engine", daemon=True)
        self._worker.start()

    def draw(self, request: DrawRequest, on_progress: OnProgress = no_progress) -> Drawing:
        """Draws the batch when its turn comes; `on_progress` is called as `OnProgress` says.

        Raises:
            PipelineError: what the backend raised.
            Cancelled: the engine was closed.
        """
        job = _Job(f"drawing with {request.model}", lambda job: self._draw(request, job))
        job.model = request.model
        return self._run(job, on_progress)

    def preload(self, model: str) -> None:
        """Loads a model in the background; what goes wrong is logged and shown by `status`."""
        job = _Job(f"loading {model}", lambda job: self._load(model))
        job.model, job.loads = model, True
        self._submit(job)

    @contextmanager
    def lease(self, owner: str, on_progress: OnProgress = no_progress) -> Iterator[Backend]:
        """Gives the device to the caller's own thread, when its turn comes: training takes it so.

        Nothing else is drawn during the lease: the holder draws through the backend that it is given, never through the
        engine.
        """
        granted, returned = threading.Event(), threading.Event()

        def work(job: _Job) -> None:
            granted.set()
            with self._changed:
                self._changed.notify_all()
            while not (returned.wait(HEARTBEAT) or job.cancelled):
                pass

        job = _Job(owner, work)
        self._submit(job)
        try:
            self._wait(job, on_progress, granted.is_set)
            if not granted.is_set():
                raise job.error or Cancelled("The engine is closed. Start the server again.")
            yield self._backend
        finally:
            returned.set()

    def status(self) -> dict[str, Any]:
        """Returns what the engine does now, how long its queue is, and the backend's own words: JSON values."""
        with self._changed:
            running = self._running
            state = {
                "state": "closed" if self._closed else "busy" if running else "idle",
                "running": running.what if running else "",
                "progress": list(running.steps[-1]) if running and running.steps else [],
                "queued": [job.what for job in self._queue],
                "last_error": self._last_error,
                **self._counts,
            }
        return state | self._backend.describe()

    @property
    def backend(self) -> Backend:
        """What draws. Only `models` and `describe` may be called without a lease."""
        return self._backend

    def close(self, wait_seconds: float = 10) -> None:
        """End the worker: what runs stops at its next step and is waited for so long; what waits is cancelled."""
        with self._changed:
            self._closed = True
            for job in [*self._queue, *([self._running] if self._running else [])]:
                job.cancelled = True
            while self._queue:
                self._finish(self._queue.popleft(), error=Cancelled("The server is closing."))
            self._changed.notify_all()
        self._worker.join(timeout=wait_seconds)

    # the caller's side

    def _run(self, job: _Job, on_progress: OnProgress) -> Any:
        self._submit(job)
        self._wait(job, on_progress, lambda: False)
        if job.error is not None:
            raise job.error
        return job.result

    def _submit(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise Cancelled("The engine is closed. Start the server again.")
            self._queue.append(job)
            self._changed.notify_all()

    def _wait(self, job: _Job, on_progress: OnProgress, enough: Callable[[], bool]) -> None:
        """Waits until the job is finished, or `enough`. An error of `on_progress` removes the job from the queue."""
        told = 0
        last = (0, 1)
        try:
            while True:
                with self._changed:
                    if job.state != "finished" and not enough() and len(job.steps) == told:
                        self._changed.wait(HEARTBEAT)
                    steps = job.steps[told:]
                    over = job.state == "finished" or enough()
                    message = self._message(job)
                for step in steps or (() if over else (last,)):
                    on_progress(*step, message)
                    last = step
                told += len(steps)
                if over:
                    return
        except BaseException:
            with self._changed:
                job.cancelled = True
                if job in self._queue:
                    self._queue.remove(job)
                    self._finish(job, error=Cancelled("The drawing was cancelled while it waited."))
            raise

    def _message(self, job: _Job) -> str:
        if job.model and job.model not in self._loaded and not job.steps:
            running = self._running
            if running is job or (running and running.loads and running.model == job.model):
                return LOADING
        if job.state != "queued":
            return job.what
        ahead = list(self._queue).index(job) if job in self._queue else 0
        running = f" behind '{self._running.what}'" if self._running else ""
        return f"waiting{running}" + (f" and {ahead} more" if ahead else "")

    # the worker's side

    def _work(self) -> None:
        while True:
            self._warm()
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._running = self._queue.popleft()
                job.state = "running"
                self._changed.notify_all()
            result, error = None, None
            try:
                result = job.work(job)
            except BaseException as raised:  # it is raised again in the thread that asked
                error = raised
                if not isinstance(raised, PipelineError):
                    logger.exception("%s failed", job.what)
            with self._changed:
                self._running = None
                self._finish(job, result, error)

    def _warm(self) -> None:
        """Lets the backend make itself faster (graphs, compiled code) for as long as nobody waits."""
        warm = getattr(self._backend, "warm", None)  # a backend may have nothing to warm
        try:
            while warm is not None and warm(self._wanted):
                pass
        except Exception:
            logger.exception("warming failed; drawing continues without it")

    def _wanted(self) -> bool:
        with self._changed:
            return bool(self._queue) or self._closed

    def _finish(self, job: _Job, result: Any = None, error: BaseException | None = None) -> None:
        job.state, job.result, job.error = "finished", result, error
        if isinstance(error, Cancelled):
            self._counts["cancelled"] += 1
        elif error is not None:
            self._counts["failed"] += 1
            self._last_error = f"{job.what}: {error}"
        self._changed.notify_all()

    def _load(self, model: str) -> None:
        self._backend.load(model)
        self._loaded.add(model)

    def _draw(self, request: DrawRequest, job: _Job) -> Drawing:
        def on_step(done: int, total: int) -> None:
            job.step(done, total)
            with self._changed:
                self._counts["steps"] += 1
                self._changed.notify_all()

        if job.cancelled:
            raise Cancelled("The drawing was cancelled.")
        try:
            drawing = self._backend.draw(request, on_step)
        except OutOfMemory as error:
            halves = halve(request)
            if not halves:
                raise OutOfMemory(f"{error} {_SMALLER}") from error
            logger.warning("out of memory, trying half the batch: %s", error)
            drawing = self._draw_halves(halves, on_step)
        self._loaded.add(request.model)
        self._counts["drawn"] += len(drawing.images)
        return drawing

    def _draw_halves(self, halves: tuple[DrawRequest, DrawRequest], on_step: Callable[[int, int], None]) -> Drawing:
        begun = time.perf_counter()
        drawings: list[Drawing] = []
        try:
            for index, half in enumerate(halves):
                drawings.append(
                    self._backend.draw(half, lambda done, total, at=index: on_step(at * total + done, 2 * total))
                )
        except OutOfMemory as error:
            raise OutOfMemory(f"{error} {_SMALLER}") from error
        first, second = drawings
        return replace(
            first,
            images=first.images + second.images,
            seconds=time.perf_counter() - begun,
            unknown_words=tuple(dict.fromkeys(first.unknown_words + second.unknown_words)),
        )


_SMALLER = "Ask for fewer pictures or a smaller size, or close what else uses the device's memory."


def halve(request: DrawRequest) -> tuple[DrawRequest, DrawRequest] | tuple[()]:
    """Returns the request as two, or nothing where it is one picture or its pictures are tied together."""
    batch = len(request.prompts)
    if batch < 2 or request.couple is not None:
        return ()
    halves = []
    for part in (slice(0, (batch + 1) // 2), slice((batch + 1) // 2, batch)):
        region = request.region and replace(request.region, weight=request.region.weight[part])
        halves.append(
            replace(
                request,
                prompts=request.prompts[part],
                seeds=request.seeds[part],
                init=request.init[part],
                mask=request.mask[part],
                region=region,
            )
        )
    return halves[0], halves[1]
