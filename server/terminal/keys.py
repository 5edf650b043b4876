"""Keys in the order in which they were pressed.

Textual sends a key to what has the focus at that moment. It then goes up from widget to widget, and only a binding
that it meets there moves the focus: a second key that has come by then (over a slow line, or while the loop was held)
goes to the wrong place and is lost. So a key that comes close behind another waits until that one has been everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.events import Key

if TYPE_CHECKING:
    from textual.app import App
    from textual.message_pump import MessagePump

CLOSE = 0.02
"""Seconds of a free loop within which a key has been everywhere."""
TURNS = 5
"""Turns of the loop after which it counts as free: nothing that was ready before holds it any more."""
ROUNDS = 2
"""A key may post a message (the prompt was submitted), which takes the same way once more."""
MOST_ROUNDS = 50
"""A dialog that has no focus by then gets the key all the same."""


class KeyOrder:
    """Sends an app's keys one after the other."""

    def __init__(self, app: App[None], send: Callable[[Key], Awaitable[None]]) -> None:
        """Takes `send`, which delivers a key to what has the focus."""
        self._app = app
        self._send = send
        self._held: deque[Key] = deque()
        self._free = 0.0
        """When the loop was free after the last key."""
        self._nodes: deque[MessagePump] = deque()
        """Where those that wait have still to pass through."""
        self._rounds = 0

    async def take(self, key: Key) -> None:
        """Sends the key, immediately or when the one before has been handled."""
        if not self._held and time.monotonic() > self._free + CLOSE:
            await self._go(key)
            return
        self._held.append(key)
        if len(self._held) == 1:
            self._app.call_later(self._follow)

    async def _go(self, key: Key) -> None:
        self._rounds = 0
        self._free = float("inf")
        await self._send(key)
        asyncio.get_running_loop().call_soon(self._turn, TURNS)

    def _turn(self, left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(self._turn, left - 1)
        else:
            self._free = time.monotonic()

    async def _follow(self) -> None:
        """Passes through the queues that the key before passes through, behind it; then send the next."""
        while self._nodes:
            if self._nodes.popleft().call_later(self._follow):
                return
        mounted = getattr(self._app.screen, "takes_keys", True)
        if self._rounds < (ROUNDS if mounted else MOST_ROUNDS):
            self._rounds += 1
            self._nodes.extend((self._app.focused or self._app.screen).ancestors_with_self)
            self._app.call_later(self._follow)
            return
        await self._go(self._held.popleft())
        if self._held:
            self._app.call_later(self._follow)
