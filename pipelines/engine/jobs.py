"""What the engine works on, and with what: jobs, and a lane for each backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pipelines import tracing
from pipelines.engine.backend import Backend
from pipelines.engine.turns import OWNER
from pipelines.errors import Cancelled
from pipelines.records import LoraWeight


class Job:
    """Something for a worker to do. Guarded by the engine's condition."""

    def __init__(
        self, what: str, work: Callable[[Job, Lane], Any], model: str = "", loras: tuple[LoraWeight, ...] = ()
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
        self.again = False  # a lost backend had it
        self.losses = 0  # backends that were lost while they drew it
        self.before: tuple[int, int] = (0, 0)  # losses and drawings of the engine when the first was
        self.result: Any = None
        self.error: BaseException | None = None
        self.trace = tracing.here()
        self.asked = time.time_ns()
        self.changed: threading.Condition | None = None  # who waits for this job alone

    def step(self, done: int, total: int) -> None:
        """Notes the step, and stops where the caller has gone (the worker's OnStep). Steps drawn again are not told."""
        if self.cancelled:
            raise Cancelled("The drawing was cancelled.")
        if not self.steps or total != self.steps[-1][1] or done > self.steps[-1][0]:
            self.steps.append((done, total))


class Lane:
    """A backend, its worker thread, and what they do. Guarded by the engine's condition."""

    def __init__(self, backend: Backend, number: int) -> None:
        self.backend = backend
        self.number = number  # for traces
        self.running: Job | None = None
        self.loaded: set[str] = set()
        self.loras: tuple[LoraWeight, ...] = ()  # what the last drawing left merged
        self.lost = False  # it has to come back before it draws
        self.retired = False  # it ends after what it does now
        self.worker: threading.Thread | None = None

    @property
    def free(self) -> bool:
        """Whether it could begin something now."""
        return self.running is None and not self.lost and not self.retired

    def suits(self, job: Job) -> int:
        """Returns how little this backend has to load for the job: 2 nothing, 1 LoRAs, 0 the model."""
        return 0 if job.model not in self.loaded else 2 if job.loras == self.loras else 1
