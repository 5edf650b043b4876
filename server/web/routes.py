"""The addresses of the studio in a browser, all below /studio.

GET reads, POST changes. Progress is a stream of server-sent events with the complete state of each run that changed.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import resources
from typing import Any

import anyio
import anyio.to_thread
from pydantic import TypeAdapter
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pipelines.errors import Cancelled, report, sentence
from pipelines.records import OnProgress
from server.studio import Studio
from server.web import work
from server.web.asks import AnimationAsk, CompareAsk, DeployAsk, LoginAsk, Nothing, RunAsk, SpriteAsk, UndoAsk, VoteAsk
from server.web.guard import HEADERS, KEY, Admit, Person, Refused, check_own, read
from server.web.runs import Runs
from server.web.sessions import LASTS, Session, Sessions

BASE = "/studio"
PAGES = {
    "": "text/html; charset=utf-8",
    "studio.css": "text/css; charset=utf-8",
    "icon.png": "image/png",
} | dict.fromkeys(
    ("studio.js", "api.js", "elements.js", "pictures.js", "cards.js", "forms.js", "contests.js"),
    "text/javascript; charset=utf-8",
)
"""The files of the page and their types; the empty name is index.html."""
MOST_STREAMS = 32
"""Open pages of one user."""
LOG_IN = "Log in again: the server was started again, or the session is over. Finished pictures are in the library."
LOOK_AGAIN = 15.0
"""Seconds after which a silent stream checks whether its token is still good."""
_EVENT = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")
_RUN: TypeAdapter[SpriteAsk | AnimationAsk | CompareAsk] = TypeAdapter(RunAsk)
Answer = Callable[[Request, Person, Session], Awaitable[Response]]


def web_routes(studio: Studio, admit: Admit, version: str) -> list[Route]:
    """Returns the routes of the page.

    Args:
        admit: says whose a token is; asked again with every request.
        version: shown on the page.
    """
    web = _Web(studio, admit, version)
    routes = [Route("/", web.to_the_page, methods=["GET"]), Route(BASE, web.to_the_page, methods=["GET"])]
    for method, path, answer in (
        ("GET", "home", web.home),
        ("GET", "library", web.library),
        ("GET", "contests", web.contests),
        ("GET", "events", web.events),
        ("POST", "logout", web.logout),
        ("POST", "runs", web.start),
        ("POST", "runs/{run}/cancel", web.cancel),
        ("POST", "runs/{run}/forget", web.forget),
        ("POST", "vote", web.vote),
        ("POST", "deploy", web.deploy),
        ("POST", "undo", web.undo),
    ):
        routes.append(Route(f"{BASE}/api/{path}", web.guarded(answer, writes=method == "POST"), methods=[method]))
    routes.append(Route(f"{BASE}/api/login", web.login, methods=["POST"]))
    routes.append(Route(f"{BASE}/{{name:path}}", web.page, methods=["GET"]))
    return routes


class _Web:
    """What the routes share."""

    def __init__(self, studio: Studio, admit: Admit, version: str) -> None:
        self._studio = studio
        self._admit = admit
        self._version = version
        self._sessions = Sessions()
        self._runs = Runs()
        self._warmed = False

    async def to_the_page(self, _: Request) -> Response:
        return RedirectResponse(f"{BASE}/", 307, HEADERS)

    async def page(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in PAGES:
            return _refusal(Refused(404, "There is no such page. The studio is at /studio/."))
        return Response(_file(name or "index.html"), headers=HEADERS | {"Content-Type": PAGES[name]})

    async def login(self, request: Request) -> Response:
        try:
            check_own(request)
            token = (await read(request, LoginAsk)).token.strip()
            person = await self._admit(token)
            if person is None:
                raise Refused(401, "The server knows no such token. `dgx-pixels token add NAME` makes one.", "login")
        except Refused as refused:
            return _refusal(refused)
        except Exception as error:  # the file of tokens is broken
            return _refusal(Refused(500, report(error)))
        session = self._sessions.open(token)
        answer = JSONResponse({"key": session.key, "user": person.name}, headers=HEADERS)
        answer.set_cookie(
            _cookie(request),
            session.cookie,
            max_age=int(LASTS),
            path=BASE,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    def guarded(self, answer: Answer, *, writes: bool) -> Callable[[Request], Awaitable[Response]]:
        """Lets a route be reached by those who have logged in, and writes its errors as sentences."""

        async def endpoint(request: Request) -> Response:
            try:
                if writes:
                    check_own(request)
                session = self._sessions.find(request.cookies.get(_cookie(request), ""), request.headers.get(KEY, ""))
                person = await self._admit(session.token) if session else None
                if session is None or person is None:
                    raise Refused(401, LOG_IN, "login")
                return await answer(request, person, session)
            except Refused as refused:
                return _refusal(refused)
            except Exception as error:  # the edge: the page shows it as a sentence
                text = sentence(error)
                code = "overwrite" if work.may_overwrite(error) else ""
                return _refusal(Refused(409 if text else 500, text or report(error), code))

        return endpoint

    # reading

    async def home(self, request: Request, person: Person, _: Session) -> Response:
        project = request.query_params.get("project", "")
        found = await self._ask(person, partial(work.home, self._studio, project, person.games))
        if not self._warmed:
            self._warmed = True
            work.warm(self._studio)
        return JSONResponse(found | {"user": person.name, "version": self._version}, headers=HEADERS)

    async def library(self, request: Request, person: Person, _: Session) -> Response:
        asked = request.query_params
        offset = asked.get("offset", "0")
        if not re.fullmatch(r"[0-9]{1,9}", offset):
            raise Refused(400, "The library's offset is a number. Load the page again.")
        look = partial(
            work.find, self._studio, asked.get("project", ""), asked.get("text", ""), asked.get("kind", ""), int(offset)
        )
        return JSONResponse(await self._ask(person, look), headers=HEADERS)

    async def contests(self, request: Request, person: Person, _: Session) -> Response:
        look = partial(work.contests, self._studio, request.query_params.get("project", ""))
        return JSONResponse(await self._ask(person, look), headers=HEADERS)

    async def events(self, request: Request, person: Person, session: Session) -> Response:
        if self._runs.listeners(person.name) >= MOST_STREAMS:
            raise Refused(429, f"{MOST_STREAMS} of your pages are open, the most allowed. Close one.")
        closing = anyio.Event()  # set when the server ends: the stream ends in order
        stream = self._stream(person, session, request.headers.get("last-event-id", ""), closing)
        return EventSourceResponse(
            stream, headers=HEADERS, ping=int(LOOK_AGAIN), shutdown_event=closing, shutdown_grace_period=1
        )

    async def _stream(
        self, person: Person, session: Session, last: str, closing: anyio.Event
    ) -> AsyncIterator[ServerSentEvent]:
        """Yields what has changed since the last event that the page knows, then each change."""
        asked = _EVENT.fullmatch(last)
        known = asked is not None and asked[1] == self._runs.boot
        number = int(asked[2]) if asked and known else 0
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        end = loop.create_task(closing.wait())
        end.add_done_callback(lambda _: changed.set())
        with self._runs.listening(person.name, lambda: _wake(loop, changed)), _cancelling(end):
            hello = {"restarted": bool(last) and not known, "runs": self._runs.ids(person.name)}
            yield ServerSentEvent(json.dumps(hello), event="hello", id=f"{self._runs.boot}-{number}")
            while not closing.is_set() and await self._still_good(session):
                changed.clear()
                for latest, run in self._runs.since(person.name, number):
                    number = latest
                    yield ServerSentEvent(json.dumps(run), event="run", id=f"{self._runs.boot}-{number}")
                try:
                    await asyncio.wait_for(changed.wait(), LOOK_AGAIN)
                except TimeoutError:
                    continue

    async def _still_good(self, session: Session) -> bool:
        if self._sessions.find(session.cookie, session.key) is None:
            return False
        try:
            return await self._admit(session.token) is not None
        except Exception as error:  # the user was removed, or the file of tokens is broken
            report(error)
            return False

    # changing

    async def logout(self, request: Request, _: Person, session: Session) -> Response:
        self._sessions.close(session)
        answer = JSONResponse({}, headers=HEADERS)
        answer.delete_cookie(_cookie(request), path=BASE, httponly=True, samesite="strict")
        return answer

    async def start(self, request: Request, person: Person, _: Session) -> Response:
        ask = await read(request, _RUN)
        asked = ask.model_dump(mode="json", exclude={"id", "project", "kind"})
        self._runs.start(ask.id, person.name, ask.kind, ask.project, asked, partial(self._do, person, ask))
        return JSONResponse({"id": ask.id}, 202, HEADERS)

    def _do(
        self, person: Person, ask: SpriteAsk | AnimationAsk | CompareAsk, on_progress: OnProgress
    ) -> dict[str, Any]:
        """Does a run in its thread, and notes it in the audit file."""
        outcome, assets = "error", ""
        try:
            with person.working():
                if isinstance(ask, SpriteAsk):
                    result = work.draw(self._studio, ask, on_progress)
                elif isinstance(ask, AnimationAsk):
                    result = work.animate(self._studio, ask, on_progress)
                else:
                    result = work.compare(self._studio, ask, on_progress)
            outcome, assets = "ok", " ".join(entry["id"] for entry in result.get("assets", ()))
            return result
        except Cancelled:
            outcome = "cancelled"
            raise
        finally:
            person.note(f"web: {ask.kind}", outcome, project=ask.project[:200], asset=assets)

    async def cancel(self, request: Request, person: Person, _: Session) -> Response:
        await read(request, Nothing)
        if not self._runs.cancel(person.name, request.path_params["run"]):
            raise Refused(404, "This request is over already.")
        return JSONResponse({}, headers=HEADERS)

    async def forget(self, request: Request, person: Person, _: Session) -> Response:
        await read(request, Nothing)
        self._runs.forget(person.name, request.path_params["run"])
        return JSONResponse({}, headers=HEADERS)

    async def vote(self, request: Request, person: Person, _: Session) -> Response:
        ask = await read(request, VoteAsk)
        return await self._change(person, "vote", ask.project, partial(work.vote, self._studio, ask))

    async def deploy(self, request: Request, person: Person, _: Session) -> Response:
        ask = await read(request, DeployAsk)
        done = partial(work.deploy, self._studio, ask)
        return await self._change(person, "deploy", ask.project, done, asset=ask.asset_id, path=ask.path[:200])

    async def undo(self, request: Request, person: Person, _: Session) -> Response:
        ask = await read(request, UndoAsk)
        return await self._change(
            person, "undo", ask.project, partial(work.undo, self._studio, ask), path=ask.path[:200]
        )

    async def _change(
        self, person: Person, what: str, project: str, do: Callable[[], dict[str, Any]], **more: str
    ) -> Response:
        outcome = "error"
        try:
            done = await self._ask(person, do)
            outcome = "ok"
            more |= {name: str(done[name]) for name in ("asset_id", "path") if name in done}
            return JSONResponse(done, headers=HEADERS)
        finally:
            more["asset"] = more.pop("asset_id", more.get("asset", ""))
            person.note(f"web: {what}", outcome, project=project[:200], **more)

    @staticmethod
    async def _ask(person: Person, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Does it in a thread, confined to the person."""

        def within() -> dict[str, Any]:
            with person.working():
                return do()

        return await anyio.to_thread.run_sync(within)


@contextmanager
def _cancelling(task: asyncio.Task[None]) -> Iterator[None]:
    try:
        yield
    finally:
        task.cancel()


def _wake(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(changed.set)


@cache
def _file(name: str) -> bytes:
    return resources.files("server.web").joinpath("page", name).read_bytes()


def _cookie(request: Request) -> str:
    """Returns the cookie's name: cookies do not know ports, so each server of a host has a name of its own."""
    return f"dgx-pixels-{request.url.port or 0}"


def _refusal(refused: Refused) -> Response:
    return JSONResponse({"error": str(refused), "code": refused.code}, refused.status, HEADERS)
