"""Schedule all drawing in one queue. A worker thread for each backend alone uses that backend's device.

There is one backend as a rule; a cluster has one for each actor. Owners take turns (see `turns`); requests of one
owner run first in, first out, each on a free backend that has its model and LoRAs in memory, else on any free one, with
progress and cancel after every step. A request that runs out of memory is tried again with half the batch. `lease`
reserves a device for one caller.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipelines import tracing
from pipelines.engine.backend import Backend, OnStep
from pipelines.engine.seconds import Seconds
from pipelines.engine.turns import OWNER, Turns
from pipelines.errors import Cancelled, OutOfMemory, PipelineError
from pipelines.records import Drawing, DrawRequest, LoraWeight, OnProgress, no_progress

logger = logging.getLogger(__name__)

LOADING = "loading the model"
"""The progress message until a model's first step."""

HEARTBEAT = 0.05
"""Seconds between two calls of a waiting caller's OnProgress, at most, in a queue of up to CALM requests."""

CALM = 16
"""In a longer queue a caller is called less often in proportion: all of them together cost the same."""


class _Job:
    """Something for a worker to do. Guarded by the engine's condition."""

    def __init__(
        self, what: str, work: Callable[[_Job, _Lane], Any], model: str = "", loras: tuple[LoraWeight, ...] = ()
    ) -> None:
        self.what = what
        self.work = work
        self.model = model  # the model that it loads or draws with
        self.loras = loras
        self.owner = OWNER.get()
        self.cost = 0.0  # pixels to draw, for the owners' turns
        self.loads = False  # whether it only loads it
        self.state = "queued"  # queued, running, finished
        self.steps: list[tuple[int, int]] = []  # every step that was taken
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.trace = tracing.here()
        self.asked = time.time_ns()
        self.changed: threading.Condition | None = None  # who waits for this job alone

    def step(self, done: int, total: int) -> None:
        """Notes the step, and stops where the caller has gone (the worker's OnStep)."""
        if self.cancelled:
            raise Cancelled("The drawing was cancelled.")
        self.steps.append((done, total))


class _Lane:
    """A backend, its worker thread, and what they do. Guarded by the engine's condition."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.running: _Job | None = None
        self.loaded: set[str] = set()
        self.loras: tuple[LoraWeight, ...] = ()  # what the last drawing left merged
        self.worker: threading.Thread | None = None

    def suits(self, job: _Job) -> int:
        """Returns how little this backend has to load for the job: 2 nothing, 1 LoRAs, 0 the model."""
        return 0 if job.model not in self.loaded else 2 if job.loras == self.loras else 1


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts since the engine began, of drawings that succeeded: seconds by model, of waiting and of a device's work.

    `found`: how many drawings began on a device that had nothing, the model, or model and LoRAs in memory.
    """

    waits: dict[str, Seconds]
    works: dict[str, Seconds]
    found: dict[str, int]
    devices: int
    busy: int


class Engine:
    """Draws with one backend or several, one request on each at a time. Methods may be called from any thread."""

    def __init__(self, *backends: Backend) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # the workers wait for it
        self._queue: deque[_Job] = deque()
        self._ahead: dict[_Job, int] | None = None  # how many come before each; None: count again
        self._turns = Turns()
        self._lanes = [_Lane(backend) for backend in backends]
        self._closed = False
        self._counts = {"drawn": 0, "steps": 0, "cancelled": 0, "failed": 0}
        self._found = [0, 0, 0]  # drawings whose device had: nothing, the model, model and LoRAs
        self._waits: dict[str, Seconds] = {}
        self._works: dict[str, Seconds] = {}
        self._last_error = ""
        for lane in self._lanes:
            lane.worker = threading.Thread(target=self._work, args=(lane,), name="dgx-pixels-engine", daemon=True)
            lane.worker.start()

    def draw(self, request: DrawRequest, on_progress: OnProgress = no_progress) -> Drawing:
        """Draws the batch when its turn comes; `on_progress` is called as `OnProgress` says.

        Raises:
            PipelineError: what the backend raised.
            Cancelled: the engine was closed.
            UserError: the owner may keep nothing more (`Owner.room`).
        """
        OWNER.get().room()
        asked = {"model": request.model, "pictures": len(request.prompts)}
        with tracing.span("draw", **asked, width=request.width, height=request.height):
            job = _Job(
                f"drawing with {request.model}",
                lambda job, lane: self._draw(request, job, lane),
                request.model,
                request.loras,
            )
            job.cost = float(len(request.prompts) * request.width * request.height)
            return self._run(job, on_progress)

    def preload(self, model: str) -> None:
        """Loads a model in the background; what goes wrong is logged and shown by `status`."""
        job = _Job(f"loading {model}", lambda _, lane: self._load(model, lane), model)
        job.loads = True
        self._submit(job)

    @contextmanager
    def lease(self, owner: str, on_progress: OnProgress = no_progress) -> Iterator[Backend]:
        """Gives a device to the caller's own thread, when its turn comes: training takes it so.

        Nothing else is drawn on it during the lease: the holder draws through the backend that it is given, never
        through the engine.
        """
        granted, returned = threading.Event(), threading.Event()
        leased: list[Backend] = []

        def work(job: _Job, lane: _Lane) -> None:
            leased.append(lane.backend)
            granted.set()
            self._tell(job)
            while not (returned.wait(HEARTBEAT) or job.cancelled):
                pass

        job = _Job(owner, work)
        self._submit(job)
        try:
            self._wait(job, on_progress, granted.is_set)
            if not granted.is_set():
                raise job.error or Cancelled("The engine is closed. Start the server again.")
            yield leased[0]
        finally:
            returned.set()

    def status(self) -> dict[str, Any]:
        """Returns what the engine does now, how long its queue is, and what the backend tells of itself: JSON values.

        With several backends `running` and `progress` are of one that works, and `lanes` has an entry for each.
        """
        with self._changed:
            running = next((lane.running for lane in self._lanes if lane.running), None)
            lanes = [lane.running.what if lane.running else "" for lane in self._lanes]
            state = {
                "state": "closed" if self._closed else "busy" if running else "idle",
                "running": running.what if running else "",
                "progress": list(running.steps[-1]) if running and running.steps else [],
                "queued": [job.what for job in self._queue],
                "last_error": self._last_error,
                **self._counts,
            }
        if len(lanes) == 1:
            return state | self.backend.describe()
        told = [lane.backend.describe() for lane in self._lanes]
        return state | told[0] | {"lanes": [{"running": what} | said for what, said in zip(lanes, told, strict=True)]}

    def figures(self) -> Figures:
        """Returns what monitoring wants to know besides `status`."""
        with self._changed:
            waits, works = ({name: one.copy() for name, one in kind.items()} for kind in (self._waits, self._works))
            nothing, model, loras = self._found
            busy = sum(lane.running is not None for lane in self._lanes)
        found = {"nothing": nothing, "model": model, "model and LoRAs": loras}
        return Figures(waits, works, found, len(self._lanes), busy)

    @property
    def backend(self) -> Backend:
        """What draws, the first where there are several. Only `models` and `describe` may be called without a lease."""
        return self._lanes[0].backend

    def close(self, wait_seconds: float = 10) -> None:
        """Ends the workers: what runs stops at its next step and is waited for so long; what waits is cancelled."""
        with self._changed:
            self._closed = True
            for job in [*self._queue, *(lane.running for lane in self._lanes if lane.running)]:
                job.cancelled = True
            self._ahead = None
            while self._queue:
                self._finish(self._queue.popleft(), error=Cancelled("The server is closing."))
            self._changed.notify_all()
        limit = time.monotonic() + wait_seconds
        for lane in self._lanes:
            if lane.worker is not None:
                lane.worker.join(timeout=max(0.0, limit - time.monotonic()))

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
            self._turns.admit(job, self._queue)
            job.changed = threading.Condition(self._lock)
            self._queue.append(job)
            self._ahead = None
            self._changed.notify_all()

    def _wait(self, job: _Job, on_progress: OnProgress, enough: Callable[[], bool]) -> None:
        """Waits until the job is finished, or `enough`. An error of `on_progress` removes the job from the queue."""
        told = 0
        last = (0, 1)
        try:
            while True:
                assert job.changed is not None
                with job.changed:
                    if job.state != "finished" and not enough() and len(job.steps) == told:
                        job.changed.wait(HEARTBEAT * max(1.0, len(self._queue) / CALM))
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
                    self._ahead = None
                    self._finish(job, error=Cancelled("The drawing was cancelled while it waited."))
            raise

    def _message(self, job: _Job) -> str:
        working = [lane for lane in self._lanes if lane.running]
        if job.model and not job.steps:
            for lane in working:
                mine = lane.running is job or (lane.running and lane.running.loads and lane.running.model == job.model)
                if mine and job.model not in lane.loaded:
                    return LOADING
        if job.state != "queued":
            return job.what
        if self._ahead is None:
            self._ahead = {other: place for place, other in enumerate(self._turns.order(self._queue))}
        ahead = self._ahead.get(job, 0)
        running = f" behind '{working[0].running.what}'" if working and working[0].running else ""
        return f"waiting{running}" + (f" and {ahead} more" if ahead else "")

    # the worker's side

    def _work(self, lane: _Lane) -> None:
        while True:
            self._warm(lane)
            with self._changed:
                while (job := self._next(lane)) is None and not self._closed:
                    self._changed.wait()
                if self._closed or job is None:
                    return
                self._queue.remove(job)
                self._turns.start(job, self._queue)
                self._ahead = None
                lane.running = job
                if job.cost:
                    self._found[lane.suits(job)] += 1
                job.state = "running"
                self._changed.notify_all()
            self._tell(job)
            result, error = None, None
            tracing.waited("queue", job.asked, job.trace)
            begun = time.time_ns()
            try:
                with tracing.within(job.trace):
                    result = job.work(job, lane)
            except BaseException as raised:  # it is raised again in the thread that asked
                error = raised
                if not isinstance(raised, PipelineError):
                    logger.exception("%s failed", job.what)
            with self._changed:
                lane.running = None
                if job.cost and error is None:  # a drawing, of a model that exists
                    self._waits.setdefault(job.model, Seconds()).add(max(0, begun - job.asked) / 1e9)
                    self._works.setdefault(job.model, Seconds()).add((time.time_ns() - begun) / 1e9)
                self._finish(job, result, error)

    def _next(self, lane: _Lane) -> _Job | None:
        """Returns the next job in turn that no other free backend is better prepared for."""
        free = [other for other in self._lanes if other.running is None and other is not lane]
        for job in self._turns.order(self._queue):
            if all(other.suits(job) <= lane.suits(job) for other in free):
                return job
        return None

    def _warm(self, lane: _Lane) -> None:
        """Lets the backend make itself faster (graphs, compiled code) for as long as nobody waits."""
        warm = getattr(lane.backend, "warm", None)  # a backend may have nothing to warm
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
        if job.changed is not None:
            job.changed.notify_all()

    def _tell(self, job: _Job) -> None:
        """Wakes the caller of a job, and nobody else: a hundred others may wait."""
        assert job.changed is not None
        with job.changed:
            job.changed.notify_all()

    def _load(self, model: str, lane: _Lane) -> None:
        lane.backend.load(model)
        lane.loaded.add(model)

    def _draw(self, request: DrawRequest, job: _Job, lane: _Lane) -> Drawing:
        def on_step(done: int, total: int) -> None:
            job.step(done, total)
            marks.event("step", done=done, total=total)
            with self._changed:
                self._counts["steps"] += 1
            self._tell(job)

        if job.cancelled:
            raise Cancelled("The drawing was cancelled.")
        with tracing.span("device", lane=self._lanes.index(lane)) as marks:
            try:
                drawing = lane.backend.draw(request, on_step)
            except OutOfMemory as error:
                halves = halve(request)
                if not halves:
                    raise OutOfMemory(f"{error} {_SMALLER}") from error
                logger.warning("out of memory, trying half the batch: %s", error)
                marks.event("out of memory")
                drawing = self._draw_halves(halves, on_step, lane.backend)
            marks.note(device=drawing.device, steps=drawing.steps, preset=drawing.preset)
        lane.loaded.add(request.model)
        lane.loras = request.loras
        self._counts["drawn"] += len(drawing.images)
        return drawing

    def _draw_halves(self, halves: tuple[DrawRequest, DrawRequest], on_step: OnStep, backend: Backend) -> Drawing:
        begun = time.perf_counter()
        drawings: list[Drawing] = []
        try:
            for index, half in enumerate(halves):
                drawings.append(backend.draw(half, lambda done, total, at=index: on_step(at * total + done, 2 * total)))
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
