"""The connection to the agent of one game: its session, and the requests that wait for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from server.agent.wire import POLL_SECONDS, Answer, AnyRequest, Order, new_id
from server.errors import DeployError, ServerError

GONE = 3 * POLL_SECONDS
"""Seconds without a poll after which an agent counts as not connected."""
MOST_WAITING = 8
"""Requests that wait for one agent: each of them holds a thread of the server."""
_MOST_SESSIONS = 4


class Unknown(ServerError):
    """The session of a message is not known, as after a new start of the server. The agent says hello again."""


class Replaced(ServerError):
    """Another agent speaks for this game now."""


class Busy(DeployError):
    """Too many requests wait for one agent."""


@dataclass(eq=False, slots=True)
class _Ticket:
    """A request on its way to an agent."""

    id: str
    body: bytes
    done: threading.Event = field(default_factory=threading.Event)
    answer: Answer | None = None


class Line:
    """One session at a time; requests first in, first out. Tools call `ask` in threads, the routes the rest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offered: deque[str] = deque(maxlen=_MOST_SESSIONS)
        self._left: deque[str] = deque(maxlen=_MOST_SESSIONS)
        self._session = ""
        self._sequence = 0
        self._seen = float("-inf")
        self._tickets: deque[_Ticket] = deque()
        self._wake: Callable[[], object] = lambda: None

    @property
    def connected(self) -> bool:
        """Whether an agent has polled lately."""
        return time.monotonic() - self._seen < GONE

    @property
    def waiting(self) -> int:
        """How many requests are not answered."""
        return len(self._tickets)

    def offer(self) -> str:
        """Returns a new session. It takes the place of the old one with its first poll: a repeated hello does nothing.

        Returns:
            32 hex digits.
        """
        session = new_id()
        with self._lock:
            self._offered.append(session)
        return session

    def knows(self, session: str) -> bool:
        """Returns whether the session was offered by this line and is not forgotten."""
        with self._lock:
            return session == self._session or session in self._offered or session in self._left

    def accept(self, session: str, sequence: int) -> None:
        """Takes note of a poll whose signature is right.

        Raises:
            Replaced: another agent has taken over since.
            Unknown: the sequence number was used before.
        """
        with self._lock:
            if session in self._left:
                raise Replaced("Another agent speaks for this game now. Only one can.")
            if session != self._session:
                if self._session:
                    self._left.append(self._session)
                self._session, self._sequence = session, 0
                self._offered.clear()
            if sequence <= self._sequence:
                raise Unknown("This message was received before.")
            self._sequence = sequence
            self._seen = time.monotonic()

    def take(self, answer: Answer) -> None:
        """Passes an answer to the tool that waits for it; one that nobody waits for any more is dropped."""
        with self._lock:
            ticket = next((t for t in self._tickets if t.id == answer.id), None)
            if ticket is not None:
                self._tickets.remove(ticket)
                ticket.answer = answer
                ticket.done.set()

    async def next(self, seconds: float) -> bytes | None:
        """Returns the oldest open request, also where it was sent before; None where there is none for so long."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if self._tickets:
                return self._tickets[0].body
            self._wake = lambda: loop.call_soon_threadsafe(event.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
        with self._lock:
            return self._tickets[0].body if self._tickets else None

    def ask(self, request: AnyRequest, patience: float) -> Answer | None:
        """Sends a request and returns the answer; None where there is none in `patience` seconds. Blocks the thread.

        Raises:
            Busy: MOST_WAITING requests wait already.
        """
        ticket = _Ticket(request.id, Order(request=request).model_dump_json().encode())
        with self._lock:
            if len(self._tickets) >= MOST_WAITING:
                raise Busy(f"{MOST_WAITING} requests wait for this game's agent already. Ask again in a minute.")
            self._tickets.append(ticket)
            with suppress(RuntimeError):  # the event loop of the last poll has ended
                self._wake()
        if not ticket.done.wait(patience):
            with self._lock, suppress(ValueError):  # answered in between
                self._tickets.remove(ticket)
        return ticket.answer
