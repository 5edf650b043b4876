"""Answer a desk's methods over HTTP: `POST /desk/METHOD` with the arguments as JSON.

An answer is a line of JSON for each report of progress, and a last line with the result or the error. While nothing
happens the last report is repeated, so that both ends notice when the other has left; work whose client has left is
cancelled at its next report.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pipelines import tracing
from server.desk.desk import Desk
from server.desk.wire import pack, unpack

logger = logging.getLogger(__name__)

METHODS = frozenset(name for name in vars(Desk) if not name.startswith("_")) - {"close"}
WITH_PROGRESS = frozenset({"draw", "edit", "compare"})
"""Methods that take `on_progress`."""
READS = frozenset({"home", "warm", "find", "show", "check", "status", "trainings", "samples"})
"""Methods that change nothing."""
Admit = Callable[[str, str], Awaitable[AbstractContextManager[None] | None]]
"""(token, method) -> what the method runs in, or None: the token is nobody's."""
BEAT = 0.25
"""Seconds after which a report is repeated."""
LARGEST = 1 << 20
"""Bytes of a request that are read."""


def desk_routes(desk_of: Callable[[str | None], Desk], admit: Admit, version: str) -> list[Route]:
    """Returns the routes of a desk.

    Args:
        desk_of: gives the desk of a game: the project that the client names, or None.
        admit: whom to let in.
        version: the package's version: the studio talks to its own version only.
    """

    async def about(request: Request) -> Response:
        if await admit(_token(request), "home") is None:
            return _refused()
        return JSONResponse({"version": version})

    async def answer(request: Request) -> Response:
        method = request.path_params["method"]
        within = await admit(_token(request), method)
        if within is None:
            return _refused()
        if method not in METHODS:
            return JSONResponse({"error": f"The desk has no {method}."}, 404)
        body = await _body(request)
        try:
            asked = unpack(json.loads(body))
            project: str | None = asked["project"] or None
            arguments: dict[str, Any] = asked["arguments"]
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": f"The request is not one of the studio's: {error}"}, 400)

        trace = tracing.received(request.headers.get("traceparent", ""))

        def work(report: Callable[[int, int, str], None]) -> object:
            with tracing.within(trace), within:
                return getattr(desk_of(project), method)(**arguments, **_with(method, report))

        return StreamingResponse(_lines(work), media_type="application/x-ndjson")

    return [Route("/desk", about, methods=["GET"]), Route("/desk/{method}", answer, methods=["POST"])]


def _with(method: str, report: Callable[[int, int, str], None]) -> dict[str, Any]:
    return {"on_progress": report} if method in WITH_PROGRESS else {}


def _token(request: Request) -> str:
    kind, _, sent = request.headers.get("authorization", "").partition(" ")
    return sent if kind.lower() == "bearer" else ""


def _refused() -> Response:
    return JSONResponse({"error": "Give the server's token."}, 401, {"WWW-Authenticate": "Bearer"})


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            return b""
    return body


async def _lines(work: Callable[[Callable[[int, int, str], None]], object]) -> AsyncIterator[str]:
    """Does the work in a thread and yields the lines of its answer."""
    from pipelines.errors import Cancelled, report

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
    left = threading.Event()

    def put(line: dict[str, Any], last: bool) -> None:
        text = json.dumps(line) + "\n"
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lines.put_nowait, (text, last))

    def on_progress(done: int, total: int, message: str) -> None:
        if left.is_set():
            raise Cancelled("The drawing was cancelled.")
        put({"progress": [done, total, message]}, False)

    def run() -> None:
        try:
            line = {"result": pack(work(on_progress))}
        except Cancelled as error:
            line = {"cancelled": str(error)}
        except Exception as error:  # the edge: the studio shows it as a sentence
            line = {"error": report(error)}
        put(line, True)

    threading.Thread(target=run, name="dgx-pixels-desk", daemon=True).start()
    line, last = json.dumps({"progress": [0, 0, ""]}) + "\n", False
    try:
        while not last:
            with suppress(TimeoutError):
                line, last = await asyncio.wait_for(lines.get(), BEAT)
            yield line
    finally:
        left.set()
