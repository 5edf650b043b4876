"""Decide which requests are the page's own, and how its answers are fenced in.

FastMCP checks Host and Origin before any route is reached. This is checked again here, and more strictly: a request
that changes something needs an Origin, JSON, the session's cookie (SameSite=Strict) and its key in a header.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request

KEY = "x-studio-key"
"""The header with the page's half of the session."""
LARGEST = 64 << 10
"""Bytes of a request that are read."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""Of every answer. Nothing inline, nothing from elsewhere, no frame around it, nothing kept on disk."""
M = TypeVar("M", bound=BaseModel)


class Note(Protocol):
    """Writes a line into the audit file, where one is kept."""

    def __call__(self, what: str, outcome: str, **more: str) -> None:
        """`what` was done; `outcome` is ok, error or cancelled; `more` names project, asset and path."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. An empty name is the person who runs the server and may do everything."""

    name: str
    games: tuple[str, ...]
    working: Callable[[], AbstractContextManager[None]]
    """Confines what a thread does to this person's games, files and turns."""
    note: Note


Admit = Callable[[str], Awaitable[Person | None]]
"""token -> whose it is, or None."""


class Refused(Exception):
    """A request that is not answered: its status, a sentence, and a word for the page's scripts."""

    def __init__(self, status: int, text: str, code: str = "") -> None:
        super().__init__(text)
        self.status, self.code = status, code


def check_own(request: Request) -> None:
    """Checks that a request which may change something comes from this server's own page.

    Raises:
        Refused: it comes from another page, or from a form.
    """
    origin = urlsplit(request.headers.get("origin", ""))
    site = request.headers.get("sec-fetch-site", "same-origin")
    if origin.scheme not in ("http", "https") or origin.netloc != request.headers.get("host") or site != "same-origin":
        raise Refused(403, "This request comes from another page. Open the studio at the server's own address.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "Send JSON, as the studio's page does.")


async def read(request: Request, form: type[M] | TypeAdapter[M]) -> M:
    """Reads the body as the model.

    Raises:
        Refused: it is too large, no JSON, or a field has another form.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise Refused(413, "The request is too long. Shorten the prompt.")
    try:
        values = json.loads(body)
        return form.validate_python(values) if isinstance(form, TypeAdapter) else form.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise Refused(400, f"Invalid values: {wrong}. Correct them and ask again.") from None
    except (ValueError, RecursionError):
        raise Refused(400, "The request is not JSON. Load the page again.") from None
