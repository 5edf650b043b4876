"""Schedule all drawing in one queue. A worker thread for each backend alone uses that backend's device.

There is one backend as a rule; a cluster has one for each actor. Owners take turns (see `turns`); requests of one
owner run first in, first out, each on a free backend that has its model and LoRAs in memory, else on any free one, with
progress and cancel after every step. A batch is parted between backends that are free. A request that runs out of
memory is tried again with half the batch; one whose backend was lost is next on another. `lease` reserves a device for
one caller.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from pipelines import tracing
from pipelines.engine.backend import Backend, OnStep
from pipelines.engine.jobs import Job, Lane
from pipelines.engine.losses import to_blame
from pipelines.engine.parting import join, part
from pipelines.engine.seconds import Seconds
from pipelines.engine.turns import OWNER, Turns
from pipelines.errors import BackendLost, Cancelled, DrawingError, OutOfMemory, PipelineError
from pipelines.files import check_lora
from pipelines.records import Drawing, DrawRequest, OnProgress, no_progress

logger = logging.getLogger(__name__)

LOADING = "loading the model"
"""The progress message until a model's first step."""

HEARTBEAT = 0.05
"""Seconds between two calls of a waiting caller's OnProgress, at most, in a queue of up to CALM requests."""

CALM = 16
"""In a longer queue a caller is called less often in proportion: all of them together cost the same."""


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
        self._queue: deque[Job] = deque()
        self._ahead: dict[Job, int] | None = None  # how many come before each; None: count again
        self._turns = Turns()
        self._lanes: list[Lane] = []
        self._numbers = count()
        self._closed = False
        self._counts = {"drawn": 0, "steps": 0, "cancelled": 0, "failed": 0, "lost": 0}
        self._found = [0, 0, 0]  # drawings whose device had: nothing, the model, model and LoRAs
        self._waits: dict[str, Seconds] = {}
        self._works: dict[str, Seconds] = {}
        self._answered = 0  # requests that were drawn
        self._last_error = ""
        for backend in backends:
            self.add(backend)

    def add(self, backend: Backend) -> None:
        """Draws with this backend too from now on."""
        lane = Lane(backend, next(self._numbers))
        lane.worker = threading.Thread(target=self._work, args=(lane,), name="dgx-pixels-engine", daemon=True)
        with self._changed:
            self._lanes = [*self._lanes, lane]  # never changed in place: others walk through it
        lane.worker.start()

    def retire(self, number: int, first: Callable[[Any], bool] = lambda backend: False) -> None:
        """Draws with so many backends fewer; each ends what it does, then its `close` is called where it has one.

        Those that are lost go first, then those that `first` names, then free ones. One is always kept.
        """
        named = [lane for lane in self._lanes if lane.lost or first(lane.backend)]  # it may take a second
        with self._changed:
            order = sorted(self._lanes, key=lambda lane: (not lane.lost, lane not in named, not lane.free))
            for lane in order[: max(0, min(number, len(order) - 1))]:
                lane.retired = True
            self._lanes = [lane for lane in self._lanes if not lane.retired]
            self._changed.notify_all()

    @property
    def size(self) -> int:
        """How many backends there are, lost ones included; 0 once the engine is closed."""
        return 0 if self._closed else len(self._lanes)

    def draw(self, request: DrawRequest, on_progress: OnProgress = no_progress) -> Drawing:
        """Draws the batch when its turn comes; `on_progress` is called as `OnProgress` says.

        Raises:
            PipelineError: what the backend raised.
            Cancelled: the engine was closed.
            UserError: the owner may keep nothing more (`Owner.room`).
        """
        OWNER.get().room()
        for lora in request.loras:  # the worker that reads it has no user
            check_lora(lora.name)
        asked = {"model": request.model, "pictures": len(request.prompts)}
        with tracing.span("draw", **asked, width=request.width, height=request.height):
            begun = time.perf_counter()
            with self._changed:
                free = 1 if self._queue else sum(lane.free for lane in self._lanes)
            parts = getattr(self.backend, "parts", None)  # a backend that is alone has no say
            jobs = [self._drawing(one) for one in part(request, parts(request, free) if parts else 1)]
            changed = threading.Condition(self._lock)
            try:
                for job in jobs:
                    self._submit(job, changed)
                self._wait(jobs, on_progress, lambda: any(job.error for job in jobs))
            finally:
                self._give_up(jobs)
            for job in jobs:
                if job.error is not None:
                    raise job.error
            return join([job.result for job in jobs], time.perf_counter() - begun)

    def _drawing(self, request: DrawRequest) -> Job:
        job = Job(
            f"drawing with {request.model}",
            lambda job, lane: self._draw(request, job, lane),
            request.model,
            request.loras,
        )
        job.cost = float(len(request.prompts) * request.width * request.height)
        return job

    def preload(self, model: str) -> None:
        """Loads a model in the background; what goes wrong is logged and shown by `status`."""
        job = Job(f"loading {model}", lambda _, lane: self._load(model, lane), model)
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

        def work(job: Job, lane: Lane) -> None:
            leased.append(lane.backend)
            granted.set()
            self._tell(job)
            while not (returned.wait(HEARTBEAT) or job.cancelled):
                pass

        job = Job(owner, work)
        self._submit(job)
        try:
            self._wait([job], on_progress, granted.is_set)
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

    def _submit(self, job: Job, changed: threading.Condition | None = None) -> None:
        with self._changed:
            if self._closed:
                raise Cancelled("The engine is closed. Start the server again.")
            self._turns.admit(job, self._queue)
            job.changed = changed or threading.Condition(self._lock)
            self._queue.append(job)
            self._ahead = None
            self._changed.notify_all()

    def _wait(self, jobs: Sequence[Job], on_progress: OnProgress, enough: Callable[[], bool]) -> None:
        """Waits until the jobs are finished, or `enough`. An error of `on_progress` removes them from the queue.

        Of several, the one that is furthest behind is told.
        """
        told = 0
        last = (0, 1)
        try:
            while True:
                changed = jobs[0].changed
                assert changed is not None
                with changed:
                    over = enough() or all(job.state == "finished" for job in jobs)
                    behind = min(jobs, key=lambda job: len(job.steps))
                    if not over and len(behind.steps) == told:
                        changed.wait(HEARTBEAT * max(1.0, len(self._queue) / CALM))
                        over = enough() or all(job.state == "finished" for job in jobs)
                        behind = min(jobs, key=lambda job: len(job.steps))
                    steps = behind.steps[told:]
                    message = self._message(behind)
                for step in steps or (() if over else (last,)):
                    on_progress(*step, message)
                    last = step
                told += len(steps)
                if over:
                    return
        except BaseException:
            self._give_up(jobs)
            raise

    def _give_up(self, jobs: Sequence[Job]) -> None:
        """Cancels what is not finished."""
        with self._changed:
            for job in jobs:
                job.cancelled = True
                if job in self._queue:
                    self._queue.remove(job)
                    self._ahead = None
                    self._finish(job, error=Cancelled("The drawing was cancelled while it waited."))

    def _message(self, job: Job) -> str:
        working = [lane for lane in self._lanes if lane.running]
        if job.model and not job.steps:
            for lane in working:
                mine = lane.running is job or (lane.running and lane.running.loads and lane.running.model == job.model)
                if mine and job.model not in lane.loaded:
                    return LOADING
        if job.state != "queued":
            return job.what
        if self._ahead is None:
            self._ahead = {other: place for place, other in enumerate(self._order())}
        ahead = self._ahead.get(job, 0)
        running = f" behind '{working[0].running.what}'" if working and working[0].running else ""
        return f"waiting{running}" + (f" and {ahead} more" if ahead else "")

    # the worker's side

    def _work(self, lane: Lane) -> None:
        try:
            while self._serve(lane):
                pass
        finally:
            if lane.retired and (close := getattr(lane.backend, "close", None)):
                close()

    def _serve(self, lane: Lane) -> bool:
        """Does one job; False where the worker ends."""
        self._recover(lane)
        self._warm(lane)
        with self._changed:
            while (job := self._next(lane)) is None and not self._closed and not lane.retired:
                self._changed.wait()
            if self._closed or lane.retired or job is None:
                return False
            self._queue.remove(job)
            self._turns.start(job)
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
            if isinstance(error, BackendLost) and (error := self._lose(job, lane, error)) is None:
                return True
            if job.cost and error is None:  # a drawing, of a model that exists
                self._waits.setdefault(job.model, Seconds()).add(max(0, begun - job.asked) / 1e9)
                self._works.setdefault(job.model, Seconds()).add((time.time_ns() - begun) / 1e9)
            self._answered += error is None
            self._turns.finish(job)
            self._finish(job, result, error)
        return True

    def _next(self, lane: Lane) -> Job | None:
        """Returns the next job in turn that no other free backend is better prepared for."""
        if lane.lost:
            return None
        free = [other for other in self._lanes if other.free and other is not lane]
        for job in self._order():
            if all(other.suits(job) <= lane.suits(job) for other in free):
                return job
        return None

    def _order(self) -> Iterator[Job]:
        """Yields what waits: first what a lost backend had begun, then by turns."""
        yield from (job for job in self._queue if job.again)
        yield from self._turns.order([job for job in self._queue if not job.again])

    def _lose(self, job: Job, lane: Lane, error: BackendLost) -> BaseException | None:
        """Notes that the backend was lost. Returns the error that ends the job; None: it waits for another backend."""
        lane.lost, lane.loaded, lane.loras = True, set(), ()
        logger.warning("%s: %s", job.what, error)
        if error.begun:
            if job.losses == 0:
                job.before = (self._counts["lost"], self._answered)
            self._counts["lost"] += 1
            job.losses += 1
        others = self._counts["lost"] - job.before[0] - job.losses
        if job.cancelled or self._closed:
            return Cancelled("The drawing was cancelled.")
        if to_blame(job.losses, others, self._answered - job.before[1]):
            return DrawingError(
                f"The process that draws ended {job.losses} times while it drew this. Look at its machine's memory and "
                "at its log, and ask for fewer or smaller pictures."
            )
        job.state, job.cost, job.again = "queued", 0.0, True  # its owner has paid for it
        self._queue.appendleft(job)
        self._ahead = None
        self._changed.notify_all()
        return None

    def _recover(self, lane: Lane) -> None:
        """Waits until a lost backend is back. Where none is left and this one does not return, what waits fails."""
        recover = getattr(lane.backend, "recover", None)
        while lane.lost and not self._closed and not lane.retired:
            back, error = True, None
            try:
                back = recover is None or recover(lambda: self._closed or lane.retired)
            except PipelineError as raised:
                back, error = False, raised
            with self._changed:
                lane.lost = not back
                if error is not None and all(other.lost for other in self._lanes):
                    self._ahead = None
                    while self._queue:
                        self._finish(self._queue.popleft(), error=error)
                self._changed.notify_all()

    def _warm(self, lane: Lane) -> None:
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

    def _finish(self, job: Job, result: Any = None, error: BaseException | None = None) -> None:
        job.state, job.result, job.error = "finished", result, error
        if isinstance(error, Cancelled):
            self._counts["cancelled"] += 1
        elif error is not None:
            self._counts["failed"] += 1
            self._last_error = f"{job.what}: {error}"
        self._changed.notify_all()
        if job.changed is not None:
            job.changed.notify_all()

    def _tell(self, job: Job) -> None:
        """Wakes the caller of a job, and nobody else: a hundred others may wait."""
        assert job.changed is not None
        with job.changed:
            job.changed.notify_all()

    def _load(self, model: str, lane: Lane) -> None:
        lane.backend.load(model)
        lane.loaded.add(model)

    def _draw(self, request: DrawRequest, job: Job, lane: Lane) -> Drawing:
        def on_step(done: int, total: int) -> None:
            job.step(done, total)
            marks.event("step", done=done, total=total)
            with self._changed:
                self._counts["steps"] += 1
            self._tell(job)

        if job.cancelled:
            raise Cancelled("The drawing was cancelled.")
        with tracing.span("device", lane=lane.number) as marks:
            try:
                drawing = lane.backend.draw(request, on_step)
            except OutOfMemory as error:
                halves = part(request, 2)
                if len(halves) == 1:
                    raise OutOfMemory(f"{error} {_SMALLER}") from error
                logger.warning("out of memory, trying half the batch: %s", error)
                marks.event("out of memory")
                drawing = self._draw_halves(halves, on_step, lane.backend)
            marks.note(device=drawing.device, steps=drawing.steps, preset=drawing.preset)
        lane.loaded.add(request.model)
        lane.loras = request.loras
        self._counts["drawn"] += len(drawing.images)
        return drawing

    def _draw_halves(self, halves: Sequence[DrawRequest], on_step: OnStep, backend: Backend) -> Drawing:
        begun = time.perf_counter()
        drawings: list[Drawing] = []
        try:
            for index, half in enumerate(halves):
                drawings.append(backend.draw(half, lambda done, total, at=index: on_step(at * total + done, 2 * total)))
        except OutOfMemory as error:
            raise OutOfMemory(f"{error} {_SMALLER}") from error
        return join(drawings, time.perf_counter() - begun)


_SMALLER = "Ask for fewer pictures or a smaller size, or close what else uses the device's memory."
