"""The routes that agents ask: `POST /agent/hello` once, then `POST /agent/poll` again and again.

A poll brings the answer to the last request and waits for the next one. A request is sent until it is answered, so
that nothing is lost where a connection breaks; the agent applies it once (`server.deploy.bundle`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio.to_thread
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipelines.errors import report
from server.agent.games import RemoteGames
from server.agent.line import Replaced, Unknown
from server.agent.wire import (
    HELLO,
    MAC,
    MOST_ANSWER,
    POLL,
    POLL_SECONDS,
    PROTOCOL,
    SEQUENCE,
    SESSION,
    USER,
    Hello,
    Kind,
    Order,
    Poll,
    Welcome,
    is_signed,
    sign,
)
from server.errors import ServerError
from server.users import User, Users

Registered = Callable[[User, str], None]
"""Called with the user and the name of a game that an agent registers."""
Handler = Callable[[Request], Awaitable[Response]]


class Forbidden(ServerError):
    """A message is not signed by a user's token, or too long."""


def agent_routes(games: Callable[[], RemoteGames], users: Users, registered: Registered) -> list[Route]:
    """Returns the routes for the agents of users; `registered` is told of each game whose facts come."""

    async def hello(request: Request) -> Response:
        user, body = await _signed(request, users, "hello")
        message = Hello.model_validate_json(body)
        if message.protocol != PROTOCOL:
            return _refused(426, f"This server speaks version {PROTOCOL} of agents. Install the same dgx-pixels.")
        session = games().line(f"{user.name}/{message.game}").offer()
        return _answer(user, "welcome", request, Welcome(session=session).model_dump_json().encode())

    async def poll(request: Request) -> Response:
        user, body = await _signed(request, users, "poll")
        session, sequence = request.headers[SESSION], int(request.headers[SEQUENCE])
        found = games().line_of(user.name, session)
        if found is None:
            raise Unknown("This session is not known.")
        name, line = found
        line.accept(session, sequence)
        message = Poll.model_validate_json(body)
        if message.facts is not None:
            game = name.partition("/")[2]
            await anyio.to_thread.run_sync(games().register, user.name, game, message.facts)
            registered(user, game)
        if message.answer is not None:
            line.take(message.answer)
        try:
            order = await line.next(POLL_SECONDS)
        except asyncio.CancelledError:  # the server ends; uvicorn would log it as a fault
            return _refused(503, "The server ends.")
        return _answer(user, "order", request, order or Order().model_dump_json().encode())

    return [Route(HELLO, _friendly(hello), methods=["POST"]), Route(POLL, _friendly(poll), methods=["POST"])]


async def _signed(request: Request, users: Users, kind: Kind) -> tuple[User, bytes]:
    """Returns the user who signed a message, and its body.

    Raises:
        Forbidden: nobody did, or it is too long.
    """
    sequence, session = request.headers.get(SEQUENCE, ""), request.headers.get(SESSION, "")
    user = users.named(request.headers.get(USER, ""))
    known = user is not None and sequence.isascii() and sequence.isdecimal() and len(sequence) < 16
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_ANSWER:
            raise Forbidden(f"A message of an agent has {MOST_ANSWER >> 20} MB at most.")
    mac = request.headers.get(MAC, "")
    if (
        not known
        or user is None
        or not is_signed(bytes.fromhex(user.sha256), kind, session, int(sequence), bytes(body), mac)
    ):
        raise Forbidden("The message is not signed by the token of a user of this server.")
    return user, bytes(body)


def _answer(user: User, kind: Kind, request: Request, body: bytes) -> Response:
    """Signs an answer for the session and number of its request: it fits no other."""
    session, sequence = request.headers[SESSION], int(request.headers[SEQUENCE])
    mac = sign(bytes.fromhex(user.sha256), kind, session, sequence, body)
    return Response(body, media_type="application/json", headers={MAC: mac})


def _friendly(route: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await route(request)
        except Forbidden as error:
            return _refused(401, str(error))
        except Unknown as error:
            return _refused(409, str(error))
        except Replaced as error:
            return _refused(410, str(error))
        except ClientDisconnect:  # nobody reads this answer
            return _refused(400, "The connection broke.")
        except ValidationError as error:
            return _refused(400, f"The message has {error.error_count()} faults. Install the server's dgx-pixels.")
        except Exception as error:  # the edge: the agent shows it as a sentence
            return _refused(400, report(error))

    return answer


def _refused(status: int, error: str) -> Response:
    return JSONResponse({"error": error}, status)
