"""Owners take turns by their shares."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pipelines.engine.turns import Owner, Turns
from pipelines.errors import InvalidRequest

_numbers = itertools.count()


@dataclass(frozen=True)
class Request:
    owner: Owner
    cost: float = 1.0
    number: int = field(default_factory=lambda: next(_numbers))


def run(turns: Turns, queue: list[Request], count: int) -> list[str]:
    """Starts `count` requests one after another; the names in the order that they came."""
    names = []
    for _ in range(count):
        job = next(turns.order(queue))
        queue.remove(job)
        turns.start(job)
        names.append(job.owner.name)
    return names


def test_one_owner_is_served_first_in_first_out() -> None:
    queue = [Request(Owner("ann")) for _ in range(5)]
    assert list(Turns().order(queue)) == queue


def test_someone_who_asks_for_one_thing_does_not_wait_behind_someone_who_asked_for_a_hundred() -> None:
    queue = [Request(Owner("ann")) for _ in range(100)] + [Request(Owner("bob"))]
    assert "bob" in run(Turns(), queue, 2)


@pytest.mark.parametrize("shares", [(1, 1), (1, 3), (2, 1, 1)])
def test_owners_are_served_in_proportion_to_their_shares(shares: tuple[int, ...]) -> None:
    owners = [Owner(f"user{i}", share) for i, share in enumerate(shares)]
    queue = [Request(owner) for owner in owners for _ in range(200)]
    count = 40 * sum(shares)
    served = Counter(run(Turns(), queue, count))
    for owner in owners:
        assert served[owner.name] == pytest.approx(40 * owner.share, abs=2)


def one_at_a_time(owners: list[Owner], count: int, cost: float = 1.0) -> list[str]:
    """Starts `count` requests of owners who ask again after their request has ended, while the next one runs."""
    turns, names = Turns(), []
    queue, asking = [Request(owner, cost) for owner in owners], None
    for _ in range(count):
        job = next(turns.order(queue))
        queue.remove(job)
        turns.start(job)
        names.append(job.owner.name)
        if asking:
            queue.append(Request(asking, cost))
        turns.finish(job)
        asking = job.owner
    return names


@pytest.mark.parametrize("share", [1, 2, 3])
def test_who_asks_for_one_thing_at_a_time_has_the_share_too(share: int) -> None:
    owners = [Owner(f"user{i}") for i in range(5)] + [Owner("large", share)]
    served = Counter(one_at_a_time(owners, 40 * (5 + share)))
    assert served["large"] == pytest.approx(40 * share, rel=0.1)
    assert max(served[f"user{i}"] for i in range(5)) - min(served[f"user{i}"] for i in range(5)) <= 2


def test_two_starts_of_others_are_a_pause() -> None:
    turns, ann, bob = Turns(), Owner("ann", 4), Owner("bob")
    first = Request(ann)
    queue = [Request(bob) for _ in range(60)]
    run(turns, [first], 1)
    turns.finish(first)
    run(turns, queue, 20)
    names = run(turns, [*queue, *(Request(ann) for _ in range(40))], 10)
    assert Counter(names)["ann"] == pytest.approx(8, abs=1)


def test_large_requests_cost_more_turns() -> None:
    ann, bob = Owner("ann"), Owner("bob")
    queue = [Request(ann, 4.0) for _ in range(50)] + [Request(bob, 1.0) for _ in range(200)]
    served = Counter(run(Turns(), queue, 100))
    assert served["bob"] == pytest.approx(80, abs=3)


def test_a_pause_saves_no_turns_up() -> None:
    turns, ann, bob = Turns(), Owner("ann"), Owner("bob")
    run(turns, [Request(ann) for _ in range(50)], 50)
    queue = [Request(ann) for _ in range(50)] + [Request(bob) for _ in range(50)]
    assert Counter(run(turns, queue, 20))["bob"] == pytest.approx(10, abs=1)


def test_the_most_requests_that_may_wait_is_a_limit_for_each_owner() -> None:
    turns, ann, bob = Turns(), Owner("ann", waiting=2), Owner("bob", waiting=2)
    queue = [Request(ann), Request(ann)]
    turns.admit(Request(bob), queue)
    with pytest.raises(InvalidRequest, match="2 of your requests wait"):
        turns.admit(Request(ann), queue)


def test_pixels_are_counted_over_a_minute() -> None:
    now = [0.0]
    turns, ann = Turns(clock=lambda: now[0]), Owner("ann", pixels_per_minute=10)
    for _ in range(2):
        turns.admit(Request(ann, 5), [])
    now[0] = 59.0
    with pytest.raises(InvalidRequest, match="in 1 seconds"):
        turns.admit(Request(ann, 5), [])
    turns.admit(Request(Owner("bob", pixels_per_minute=10), 5), [])
    now[0] = 60.0
    turns.admit(Request(ann, 5), [])


def test_a_single_request_above_the_minutes_pixels_is_served_alone() -> None:
    turns, ann = Turns(clock=lambda: 0.0), Owner("ann", pixels_per_minute=10)
    turns.admit(Request(ann, 100), [])
    with pytest.raises(InvalidRequest):
        turns.admit(Request(ann, 1), [])
