"""Share a device fairly between owners: each owner's turn comes in proportion to a share, whatever was asked first.

The method is start-time fair queueing (Goyal, Vin, Cheng 1996), a request in place of a packet: an owner's account
grows by cost / share with every request that starts, and of those who wait the one with the smallest account is next.
An owner who comes back after a pause starts at the account of the others, so that nobody saves turns up. A pause is
longer than one start of somebody else after the own request ended: who asks for one thing at a time has no pause.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pipelines.errors import InvalidRequest

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asks: a name, a share of the device (twice the share: twice the turns), and limits, where 0 means none.

    `waiting`: requests that may wait. `pixels_per_minute`: canvas pixels that may be asked for in any 60 seconds.
    `room` is called before a drawing waits for its turn, and raises where the owner may keep nothing more.
    """

    name: str = ""
    share: float = 1.0
    waiting: int = 0
    pixels_per_minute: int = 0
    room: Callable[[], None] = field(default=lambda: None, compare=False)


OWNER: ContextVar[Owner] = ContextVar("owner", default=Owner())  # noqa: B039 (frozen)
"""Whose request this thread or task works for. Threads that anyio starts inherit it."""


class Turn(Protocol):
    """What waits for the device: an owner, and what it costs (any unit, the same for all)."""

    @property
    def owner(self) -> Owner:
        """Who asked."""
        ...

    @property
    def cost(self) -> float:
        """Pixels, as a rule."""
        ...


T = TypeVar("T", bound=Turn)


class Turns:
    """The accounts of all owners. Not safe for threads by itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts: dict[str, float] = {}
        self._now = 0.0  # the largest account at which a request has started
        self._starts = 0
        self._returning: dict[str, int] = {}  # owner -> starts up to which its account is kept though nothing waits
        self._clock = clock
        self._asked: dict[str, deque[tuple[float, float]]] = {}  # owner -> (when, cost) of the last minute

    def admit(self, job: Turn, queue: Iterable[Turn]) -> None:
        """Refuses a request beyond its owner's limits.

        Raises:
            InvalidRequest: says which limit, and when to ask again.
        """
        owner = job.owner
        waiting = sum(other.owner.name == owner.name for other in queue)
        if 0 < owner.waiting <= waiting:
            raise InvalidRequest(f"{waiting} of your requests wait already, the most allowed. Wait for one of them.")
        if owner.pixels_per_minute:
            now, asked = self._clock(), self._asked.setdefault(owner.name, deque())
            while asked and asked[0][0] <= now - MINUTE:
                asked.popleft()
            if asked and sum(cost for _, cost in asked) + job.cost > owner.pixels_per_minute:
                seconds = max(1, round(asked[0][0] + MINUTE - now))
                raise InvalidRequest(
                    f"You have asked for your {owner.pixels_per_minute} pixels of this minute. "
                    f"Ask again in {seconds} seconds, or for fewer or smaller pictures."
                )
            asked.append((now, job.cost))

    def order(self, queue: Sequence[T]) -> Iterator[T]:
        """Yields what waits in the order of turns: by account, then first in, first out."""
        if len({job.owner.name for job in queue}) < 2:
            yield from queue
            return
        ahead: dict[str, float] = {}
        keyed = []
        for position, job in enumerate(queue):
            name = job.owner.name
            start = ahead.get(name, self._account(name))
            keyed.append((start, position, job))
            ahead[name] = start + job.cost / job.owner.share
        yield from (job for _, _, job in sorted(keyed, key=lambda entry: entry[:2]))

    def start(self, job: Turn) -> None:
        """Charges the owner of a request that starts."""
        account = self._account(job.owner.name)
        self._now = max(self._now, account)
        self._accounts[job.owner.name] = account + job.cost / job.owner.share
        self._starts += 1
        self._returning = {name: until for name, until in self._returning.items() if until >= self._starts}

    def finish(self, job: Turn) -> None:
        """Keeps the account of a request's owner for one more start, in which the owner may ask again."""
        self._returning[job.owner.name] = self._starts + 1

    def _account(self, name: str) -> float:
        account = self._accounts.get(name, self._now)
        return account if name in self._returning else max(account, self._now)
