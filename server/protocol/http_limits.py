"""Limit the time of requests over HTTP; uvicorn itself waits forever for a client that connects and sends nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0
"""How long a client may take to send a whole request, from the connection or the last response on."""


class LimitedProtocol(H11Protocol):
    """One connection; it is closed where a request does not arrive in time. An answer may take as long as it likes."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_limit()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_limit()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.more_body:  # the request is here
            self._end_limit()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._start_limit()

    def _start_limit(self) -> None:
        self._end_limit()
        self._limit = self.loop.call_later(REQUEST_SECONDS, self._close)

    def _end_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
