"""Simulate servers of pictures by discrete events: who waits for which device, for how long.

Requests wait in one queue. Whose turn it is comes from `pipelines.engine.turns.Turns`, the class that the engine
itself uses; which device takes a request follows the engine's rule (a free device that has its model and LoRAs in
memory, else one that has the model, else any). A device holds as many models as fit, the least recently used leaves
first. Times are in seconds; the same seed gives the same run.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.engine.turns import Owner, Turns

Sample = Callable[[np.random.Generator], float]
"""Draws seconds."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request: what it needs resident, and how long a device works for it."""

    name: str
    seconds: Sample
    model: str = "model"
    loras: int = 1
    """How many different stacks of LoRAs its users have; a user has one of them."""
    gigabytes: float = 0.0
    """Of the model."""
    load: float = 0.0
    """Seconds until the model is resident."""
    merge: float = 0.0
    """Seconds of a change of stack."""
    cost: float = 1.0
    """What a request counts for in the owners' turns (pixels, as a rule)."""


@dataclass(frozen=True, slots=True)
class Source:
    """Users of one sort. With `think` each waits so long between an answer and the next request (a closed model, one
    request at a time); without, requests arrive as a Poisson process of `rate` a second for all of them together.
    """

    kinds: tuple[tuple[float, Kind], ...]
    users: int = 1
    share: float = 1.0
    rate: float = 0.0
    think: Sample | None = None
    outside: Sample | None = None
    """Seconds of a call in which it neither waits for a device nor uses one (a closed model only)."""


@dataclass(slots=True, eq=False)
class _Request:
    owner: Owner
    cost: float
    kind: Kind
    stack: int
    source: Source
    arrived: float
    outside: float = 0.0


@dataclass(slots=True, eq=False)
class _Device:
    room: float
    models: OrderedDict[str, float] = field(default_factory=OrderedDict)
    stacks: dict[str, int] = field(default_factory=dict)

    def suits(self, request: _Request) -> int:
        """As `Lane.suits` of the engine: 2 nothing has to be loaded, 1 LoRAs, 0 the model."""
        if request.kind.model not in self.models:
            return 0
        return 2 if self.stacks.get(request.kind.model, 0) == request.stack else 1

    def prepare(self, request: _Request) -> float:
        """Makes model and stack resident; returns the seconds that it takes."""
        kind, seconds = request.kind, 0.0
        if kind.model not in self.models:
            seconds += kind.load
            while self.models and sum(self.models.values()) + kind.gigabytes > self.room:
                gone, _ = self.models.popitem(last=False)
                self.stacks.pop(gone, None)
            self.models[kind.model] = kind.gigabytes
        self.models.move_to_end(kind.model)
        if self.stacks.get(kind.model, 0) != request.stack:
            seconds += kind.merge
            self.stacks[kind.model] = request.stack
        return seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured after the warm-up: an entry for each request that was answered, in that order."""

    seconds: float
    waits: np.ndarray
    answers: np.ndarray
    """Seconds from asking to the answer."""
    owners: tuple[str, ...]
    busy: float
    """Share of the devices' time in which they work, loading included."""
    loads: int
    merges: int

    @property
    def pace(self) -> float:
        """Answers a second."""
        return len(self.answers) / self.seconds

    def percentile(self, q: float) -> float:
        """Seconds to the answer that q % of the requests stay below."""
        return float(np.percentile(self.answers, q)) if len(self.answers) else 0.0

    def by_owner(self) -> dict[str, int]:
        """Returns answers for each user."""
        counts: dict[str, int] = defaultdict(int)
        for owner in self.owners:
            counts[owner] += 1
        return dict(counts)


class Simulation:
    """Devices, their queue, and what arrives."""

    def __init__(
        self,
        sources: Sequence[Source],
        devices: int = 1,
        room: float = float("inf"),
        seed: int = 0,
        preloaded: Sequence[Kind] = (),
        patience: float = 0.0,
    ) -> None:
        """
        Args:
            room: gigabytes of models on each device.
            preloaded: kinds whose models the devices hold at the start, as many as have room; each begins with another.
            patience: seconds that a request leaves a free device without its model alone, for one that has it.
        """
        self._rng = np.random.default_rng(seed)
        self._clock = 0.0
        self._turns = Turns(lambda: self._clock)
        self._queue: deque[_Request] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._devices = [_Device(room) for _ in range(devices)]
        for number, device in enumerate(self._devices):
            first = number % max(1, len(preloaded))
            for kind in (*preloaded[first:], *preloaded[:first]):
                if sum(device.models.values()) + kind.gigabytes <= room:
                    device.models[kind.model] = kind.gigabytes
        self._free = dict.fromkeys(self._devices)  # ordered
        self._patience = patience
        self._begin = 0.0
        self._waits: list[float] = []
        self._answers: list[float] = []
        self._owners: list[str] = []
        self._busy = 0.0
        self._loads = self._merges = 0
        for number, source in enumerate(sources):
            self._open(number, source)

    def run(self, seconds: float, warm_up: float = 0.0) -> Outcome:
        """Lets the time pass; what is answered after `warm_up` counts."""
        self._begin = warm_up
        while self._events and self._events[0][0] <= warm_up + seconds:
            self._clock, _, act = heapq.heappop(self._events)
            act()
        return Outcome(
            seconds,
            np.array(self._waits),
            np.array(self._answers),
            tuple(self._owners),
            self._busy / (seconds * len(self._devices)),
            self._loads,
            self._merges,
        )

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._clock + seconds, next(self._order), act))

    # what arrives

    def _open(self, number: int, source: Source) -> None:
        owners = [Owner(f"{number}.{user}", source.share) for user in range(source.users)]
        if source.think is not None:
            for owner in owners:
                self._at(source.think(self._rng), lambda owner=owner: self._ask(owner, source))
        elif source.rate:
            self._at(self._rng.exponential(1 / source.rate), lambda: self._arrive(owners, source))

    def _arrive(self, owners: list[Owner], source: Source) -> None:
        self._ask(owners[int(self._rng.integers(len(owners)))], source)
        self._at(self._rng.exponential(1 / source.rate), lambda: self._arrive(owners, source))

    def _ask(self, owner: Owner, source: Source) -> None:
        weights = [weight for weight, _ in source.kinds]
        chosen = 0 if len(weights) == 1 else int(self._rng.choice(len(weights), p=np.array(weights) / sum(weights)))
        kind = source.kinds[chosen][1]
        stack = 0 if kind.loras < 2 else hash_of(owner.name) % kind.loras
        request = _Request(owner, kind.cost, kind, stack, source, self._clock)
        request.outside = source.outside(self._rng) if source.outside else 0.0
        self._queue.append(request)
        self._serve()
        if self._patience and request in self._queue:
            self._at(self._patience, self._serve)

    # the devices

    def _serve(self) -> None:
        while self._free and self._queue:
            found = next(self._matches(), None)
            if found is None:
                return
            request, device = found
            self._queue.remove(request)
            self._turns.start(request)
            del self._free[device]
            self._start(request, device)

    def _matches(self) -> Iterator[tuple[_Request, _Device]]:
        ordered = self._turns.order(self._queue) if len(self._queue) > 1 else self._queue
        for request in ordered:
            device = max(self._free, key=lambda one: one.suits(request))
            if device.suits(request) or self._clock - request.arrived >= self._patience - 1e-9:
                yield request, device

    def _start(self, request: _Request, device: _Device) -> None:
        before = device.suits(request)
        seconds = device.prepare(request) + request.kind.seconds(self._rng)
        if self._clock >= self._begin:
            self._loads += before == 0
            self._merges += before == 1
            self._busy += seconds
        waited = self._clock - request.arrived
        self._at(seconds, lambda: self._end(request, device, waited))

    def _end(self, request: _Request, device: _Device, waited: float) -> None:
        if self._clock >= self._begin:
            self._waits.append(waited)
            self._answers.append(self._clock - request.arrived + request.outside)
            self._owners.append(request.owner.name)
        self._free[device] = None
        self._turns.finish(request)
        if (think := request.source.think) is not None:
            self._at(request.outside + think(self._rng), lambda: self._ask(request.owner, request.source))
        self._serve()


def hash_of(text: str) -> int:
    """Returns the same number in every process."""
    return sum(byte * 31**place for place, byte in enumerate(text.encode()))


def constant(seconds: float) -> Sample:
    """Returns the same seconds each time."""
    return lambda _: seconds


def exponential(mean: float) -> Sample:
    """Returns seconds without memory."""
    return lambda rng: float(rng.exponential(mean))


def measured(samples: Sequence[float]) -> Sample:
    """Returns one of the seconds that were measured."""
    values = np.array(samples, float)
    return lambda rng: float(values[int(rng.integers(len(values)))])
