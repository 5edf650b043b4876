"""The engine's queue, progress, cancel, leases and second try, over the fake backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipelines.engine.backend import OnStep
from pipelines.engine.engine import HEARTBEAT, Engine
from pipelines.engine.losses import to_blame
from pipelines.engine.parting import part
from pipelines.errors import BackendLost, Cancelled, DrawingError, ModelError, OutOfMemory
from pipelines.records import Drawing, DrawRequest, LoraWeight, Region
from tests.fakes import FakeBackend

LIMIT = 10
"""Seconds that a condition is waited for."""


class GaveUp(Exception):
    """What a caller's OnProgress raises to cancel."""


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def engine(backend: FakeBackend) -> Iterator[Engine]:
    engine = Engine(backend)
    yield engine
    backend.gate = None
    engine.close()


def request(*seeds: int, model: str = "embedded") -> DrawRequest:
    return DrawRequest(model, ("red dragon",) * len(seeds), seeds, 32, 32)


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, "the condition did not come"
        threading.Event().wait(0.005)


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """The running thread, and what it returned or raised once it has ended."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_every_step_is_reported_in_the_thread_that_asked(engine: Engine):
    told: list[tuple[int, int]] = []
    threads: set[int] = set()

    def on_progress(done: int, total: int, message: str) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    drawing = engine.draw(request(1, 2), on_progress)
    assert len(drawing.images) == 2
    assert list(dict.fromkeys(told))[-4:] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert threads == {threading.get_ident()}


def test_a_caller_hears_something_while_nothing_happens(engine: Engine, backend: FakeBackend):
    backend.gate = threading.Semaphore(0)
    beats: list[tuple[int, int]] = []

    def on_progress(done: int, total: int, message: str) -> None:
        beats.append((done, total))
        if len(beats) == 8:
            raise GaveUp

    with pytest.raises(GaveUp):
        engine.draw(request(1), on_progress)
    backend.gate.release(10)
    assert beats == [(0, 1)] * 8
    assert HEARTBEAT <= 0.1


def test_requests_are_drawn_in_the_order_in_which_they_came(engine: Engine, backend: FakeBackend):
    backend.gate = threading.Semaphore(0)
    threads = []
    for seed in (1, 2, 3):
        threads.append(in_thread(lambda seed=seed: engine.draw(request(seed)))[0])
        until(lambda seed=seed: bool(engine.status()["running"]) and len(engine.status()["queued"]) == seed - 1)
    backend.gate.release(12)
    for thread in threads:
        thread.join(LIMIT)
    assert [r.seeds for r in backend.requests] == [(1,), (2,), (3,)]


def test_waiting_requests_learn_what_they_wait_for(engine: Engine, backend: FakeBackend):
    backend.gate = threading.Semaphore(0)
    first, _ = in_thread(lambda: engine.draw(request(1)))
    until(lambda: len(backend.requests) == 1)
    words: list[str] = []

    def on_progress(done: int, total: int, message: str) -> None:
        words.append(message)
        raise GaveUp

    with pytest.raises(GaveUp):
        engine.draw(request(2), on_progress)
    assert words == ["waiting behind 'drawing with embedded'"]
    backend.gate.release(4)
    first.join(LIMIT)
    assert [r.seeds for r in backend.requests] == [(1,)], "a cancelled request was drawn"
    assert engine.status()["queued"] == []


def test_a_cancel_frees_the_engine_within_one_step(engine: Engine, backend: FakeBackend):
    backend.gate = threading.Semaphore(0)

    def on_progress(done: int, total: int, message: str) -> None:
        if backend.requests:
            raise GaveUp

    with pytest.raises(GaveUp):
        engine.draw(request(1), on_progress)
    assert engine.status()["state"] == "busy"
    backend.gate.release(1)
    until(lambda: engine.status()["state"] == "idle")
    assert engine.status()["cancelled"] == 1
    backend.gate = None
    assert engine.draw(request(2)).images


def test_an_error_reaches_its_caller_and_the_engine_continues(engine: Engine):
    with pytest.raises(ModelError, match="no model 'imaginary'"):
        engine.draw(request(1, model="imaginary"))
    assert "imaginary" in engine.status()["last_error"]
    assert engine.draw(request(1)).images


def test_a_preload_is_not_waited_for_and_its_failure_is_shown(engine: Engine, backend: FakeBackend):
    engine.preload("embedded")
    until(lambda: backend.resident == ["embedded"])

    def broken(model: str) -> None:
        raise ModelError("The file is broken.")

    backend.load = broken
    engine.preload("embedded")
    until(lambda: "broken" in engine.status()["last_error"])


def test_a_lease_holds_back_drawings_until_it_is_given_back(engine: Engine, backend: FakeBackend):
    with engine.lease("training moss") as held:
        assert held is backend
        assert engine.status()["running"] == "training moss"
        thread, outcome = in_thread(lambda: engine.draw(request(1)))
        until(lambda: len(engine.status()["queued"]) == 1)
        assert backend.requests == []
    thread.join(LIMIT)
    assert isinstance(outcome[0], Drawing)


def test_a_lease_that_is_not_waited_for_leaves_the_queue(engine: Engine, backend: FakeBackend):
    backend.gate = threading.Semaphore(0)
    thread, _ = in_thread(lambda: engine.draw(request(1)))
    until(lambda: len(backend.requests) == 1)

    def on_progress(done: int, total: int, message: str) -> None:
        raise GaveUp

    with pytest.raises(GaveUp), engine.lease("training moss", on_progress):
        pytest.fail("the lease was granted")
    assert engine.status()["queued"] == []
    backend.gate.release(4)
    thread.join(LIMIT)


def test_closing_cancels_what_runs_and_what_waits(backend: FakeBackend):
    engine = Engine(backend)
    backend.gate = threading.Semaphore(0)
    calls = [in_thread(lambda seed=seed: engine.draw(request(seed))) for seed in (1, 2)]
    until(lambda: len(engine.status()["queued"]) == 1)
    closing, _ = in_thread(engine.close)
    backend.gate.release(4)
    for thread, outcome in (*calls, (closing, [Cancelled()])):
        thread.join(LIMIT)
        assert isinstance(outcome[0], Cancelled)
    with pytest.raises(Cancelled, match="closed"):
        engine.draw(request(3))


class Small(FakeBackend):
    """A backend with room for so many pictures."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        if len(request.prompts) > self.room:
            raise OutOfMemory(f"No room for {len(request.prompts)} pictures.")
        return super().draw(request, on_step)


def test_without_room_the_batch_is_halved_once_and_the_pictures_are_the_same():
    small, large = Engine(Small(2)), Engine(FakeBackend())
    told: list[tuple[int, int]] = []
    halved = small.draw(request(1, 2, 3), lambda done, total, message: told.append((done, total)))
    whole = large.draw(request(1, 2, 3))
    assert all(np.array_equal(a, b) for a, b in zip(halved.images, whole.images, strict=True))
    assert told[-1] == (8, 8)
    with pytest.raises(OutOfMemory, match=r"No room for 3 pictures\. Ask for fewer"):
        small.draw(request(1, 2, 3, 4, 5))
    with pytest.raises(OutOfMemory, match="Ask for fewer"):
        Engine(Small(0)).draw(request(1))
    small.close()
    large.close()


def test_pictures_that_are_tied_together_are_not_parted():
    tied = replace(request(1, 2), couple=lambda latents, index, total: latents)
    assert part(tied, 2) == [tied]
    weight = np.arange(2, dtype=np.float32).reshape(2, 1, 1) * np.ones((2, 32, 32), np.float32)
    first, second = part(replace(request(1, 2), region=Region("lava", weight)), 2)
    assert first.region is not None
    assert second.region is not None
    assert (first.region.weight.mean(), second.region.weight.mean()) == (0, 1)


def test_two_backends_draw_two_requests_at_the_same_time() -> None:
    first, second = FakeBackend(), FakeBackend()
    first.gate = second.gate = threading.Semaphore(0)
    engine = Engine(first, second)
    drawings = [in_thread(lambda seed=seed: engine.draw(request(seed))) for seed in (1, 2)]
    until(lambda: len(first.requests) == len(second.requests) == 1)
    assert [lane["running"] for lane in engine.status()["lanes"]] == ["drawing with embedded"] * 2
    first.gate.release(8)
    for thread, outcome in drawings:
        thread.join(LIMIT)
        assert isinstance(outcome[0], Drawing)
    engine.close()


def test_a_request_goes_to_the_free_backend_that_has_its_loras() -> None:
    first, second = FakeBackend(), FakeBackend()
    engine = Engine(first, second)
    styled = replace(request(1), loras=(LoraWeight("mygame"),))
    engine.draw(styled)
    (prepared,) = [backend for backend in (first, second) if backend.requests]
    for seed in range(2, 8):
        engine.draw(replace(styled, seeds=(seed,)))
    assert len(prepared.requests) == 7
    engine.close()


def test_closing_ends_the_drawings_of_all_backends() -> None:
    backends = [FakeBackend(steps=1000) for _ in range(3)]
    gate = threading.Semaphore(0)
    for backend in backends:
        backend.gate = gate
    engine = Engine(*backends)
    drawings = [in_thread(lambda seed=seed: engine.draw(request(seed))) for seed in range(5)]
    until(lambda: sum(len(backend.requests) for backend in backends) == 3)
    gate.release(10)
    engine.close()
    gate.release(10)
    for thread, outcome in drawings:
        thread.join(LIMIT)
        assert isinstance(outcome[0], Cancelled)


def test_waiting_and_working_are_counted_by_model_and_failures_are_not(engine: Engine, backend: FakeBackend) -> None:
    backend.gate = threading.Semaphore(0)
    first, _ = in_thread(lambda: engine.draw(request(1)))
    until(lambda: engine.status()["state"] == "busy")
    second, _ = in_thread(lambda: engine.draw(request(2)))
    until(lambda: len(engine.status()["queued"]) == 1)
    backend.gate.release(8)
    first.join(LIMIT)
    second.join(LIMIT)
    backend.gate = None
    with pytest.raises(ModelError):
        engine.draw(request(3, model="nothing"))
    seen = engine.figures()
    assert (sum(seen.waits["embedded"].counts), sum(seen.works["embedded"].counts)) == (2, 2)
    assert seen.waits["embedded"].total > 0
    assert seen.works["embedded"].total > 0
    assert list(seen.waits) == list(seen.works) == ["embedded"]
    assert seen.found == {"nothing": 2, "model": 0, "model and LoRAs": 1}  # the failed one looked for its model too


class Parting(FakeBackend):
    """Wants its requests parted between free backends."""

    def parts(self, request: DrawRequest, free: int) -> int:
        return free


def test_a_batch_is_parted_between_free_backends_and_comes_back_in_order() -> None:
    backends = [Parting(), Parting(), Parting()]
    for backend in backends:
        backend.gate = threading.Semaphore(0)
    engine = Engine(*backends)
    told: list[tuple[int, int]] = []
    thread, outcome = in_thread(
        lambda: engine.draw(request(*range(8)), lambda done, total, message: told.append((done, total)))
    )
    until(lambda: all(backend.requests for backend in backends))
    for backend in backends:
        assert backend.gate is not None
        backend.gate.release(4)
    thread.join(LIMIT)
    (drawing,) = outcome
    assert isinstance(drawing, Drawing)
    whole = FakeBackend().draw(request(*range(8)), lambda done, total: None)
    assert all(np.array_equal(a, b) for a, b in zip(drawing.images, whole.images, strict=True))
    assert sorted(len(backend.requests[0].seeds) for backend in backends) == [2, 3, 3]
    assert list(dict.fromkeys(told))[-4:] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    engine.close()


def test_a_cancel_ends_all_parts() -> None:
    engine = Engine(Parting(steps=5_000_000), Parting(steps=5_000_000))

    def on_progress(done: int, total: int, message: str) -> None:
        if done:
            raise GaveUp

    with pytest.raises(GaveUp):
        engine.draw(request(1, 2), on_progress)
    until(lambda: engine.status()["state"] == "idle")
    assert engine.status()["cancelled"] == 2
    engine.close()


class Fragile(FakeBackend):
    """Is lost at every request with one of its seeds, and comes back when asked."""

    def __init__(self, *fatal: int, begun: bool = True) -> None:
        super().__init__()
        self.fatal, self.begun, self.recovered, self.back = fatal, begun, 0, True
        self.returns = threading.Event()
        self.returns.set()

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        if request.seeds[0] in self.fatal:
            on_step(1, 4)
            raise BackendLost("The process was killed.", begun=self.begun)
        return super().draw(request, on_step)

    def recover(self, should_stop: Callable[[], bool]) -> bool:
        if not self.back:
            raise BackendLost("It did not come back.")
        while not self.returns.wait(0.005):
            if should_stop():
                return False
        self.recovered += 1
        return True


def test_the_request_of_a_lost_backend_is_next_on_another() -> None:
    lost, healthy = Fragile(1), FakeBackend()
    lost.returns.clear()
    engine = Engine(lost)
    told: list[tuple[int, int]] = []
    first, outcome = in_thread(lambda: engine.draw(request(1), lambda done, total, _: told.append((done, total))))
    until(lambda: engine.status()["lost"] == 1)
    waiting = [in_thread(lambda seed=seed: engine.draw(request(seed)))[0] for seed in (2, 3)]
    until(lambda: len(engine.status()["queued"]) == 3)
    engine.add(healthy)
    for thread in (first, *waiting):
        thread.join(LIMIT)
    assert isinstance(outcome[0], Drawing)
    assert healthy.requests[0].seeds == (1,), "the request of the lost backend was not the next"
    assert [step for step in dict.fromkeys(told) if step[0]] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    engine.close()


def test_a_request_that_ends_every_backend_is_given_up_once_others_are_drawn_between() -> None:
    backend = Fragile(13)
    engine = Engine(backend)
    fatal, outcome = in_thread(lambda: engine.draw(request(13)))
    fatal.join(LIMIT)
    assert isinstance(outcome[0], DrawingError)
    assert "8 times" in str(outcome[0])
    assert backend.recovered >= 7
    assert engine.draw(request(1)).images
    assert engine.status()["lost"] == 8
    engine.close()


@pytest.mark.parametrize(
    ("own", "others", "drawn", "blamed"),
    [(2, 0, 1000, False), (3, 0, 20, True), (3, 1, 1000, False), (3, 0, 19, False), (7, 9, 0, False), (8, 99, 0, True)],
)
def test_a_request_is_blamed_where_chance_does_not_explain_its_losses(
    own: int, others: int, drawn: int, blamed: bool
) -> None:
    assert to_blame(own, others, drawn) is blamed


def test_backends_that_are_found_dead_are_no_loss_of_the_request() -> None:
    dead = [Fragile(1, begun=False) for _ in range(9)]
    engine = Engine(*dead)
    drawing, outcome = in_thread(lambda: engine.draw(request(1)))
    until(lambda: sum(backend.recovered for backend in dead) > 9)
    for backend in dead:
        backend.fatal = ()
    drawing.join(LIMIT)
    assert isinstance(outcome[0], Drawing)
    assert engine.status()["lost"] == 0
    engine.close()


def test_what_waits_fails_where_no_backend_comes_back() -> None:
    backend = Fragile(1)
    backend.back = False
    engine = Engine(backend)
    with pytest.raises(BackendLost, match="did not come back"):
        engine.draw(request(1))
    backend.back = True
    until(lambda: backend.recovered > 0)
    assert engine.draw(request(2)).images
    engine.close()


def test_a_retired_backend_ends_its_drawing_and_is_closed() -> None:
    closed = threading.Event()
    going = FakeBackend()
    going.close = closed.set  # pyright: ignore[reportAttributeAccessIssue] (backends may have it)
    going.gate = threading.Semaphore(0)
    engine = Engine(going)
    drawing, outcome = in_thread(lambda: engine.draw(request(1)))
    until(lambda: bool(going.requests))
    engine.add(FakeBackend())
    engine.retire(1, lambda backend: backend is going)
    assert engine.size == 1
    assert engine.draw(request(2)).images
    assert not closed.is_set()
    going.gate.release(4)
    drawing.join(LIMIT)
    assert isinstance(outcome[0], Drawing)
    assert closed.wait(LIMIT)
    engine.retire(1)
    assert engine.size == 1, "the last backend was retired"
    engine.close()
