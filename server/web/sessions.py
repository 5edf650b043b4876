"""Keep who has logged in: a cookie that scripts cannot read, and a key that only the page's own scripts send.

Neither half is worth anything alone. Browsers send a cookie to every port of a host, so another program on 127.0.0.1
may see it; the key lies in the page's storage, which is kept by port, and travels in a header that no form can set.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LASTS = 12 * 3600.0
"""Seconds from a login to its end."""
MOST_SESSIONS = 1000
"""Sessions that are kept; the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class Session:
    """A login. `token` is checked again at each request, so that a removed token ends its sessions."""

    cookie: str
    key: str
    token: str
    until: float


class Sessions:
    """The sessions of a server, in memory alone: a server that is started again asks for the token again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, Session] = {}
        self._lock = threading.Lock()

    def open(self, token: str) -> Session:
        """Starts a session for a token that was verified."""
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), token, self._clock() + LASTS)
        with self._lock:
            while len(self._kept) >= MOST_SESSIONS:
                del self._kept[next(iter(self._kept))]
            self._kept[session.cookie] = session
        return session

    def find(self, cookie: str, key: str) -> Session | None:
        """Returns the session of both halves, or None."""
        with self._lock:
            session = self._kept.get(cookie)
            if session is not None and session.until <= self._clock():
                del self._kept[cookie]
                return None
        return session if session and hmac.compare_digest(session.key.encode(), key.encode()) else None

    def close(self, session: Session) -> None:
        """Ends a session."""
        with self._lock:
            self._kept.pop(session.cookie, None)
