"""The agent: asks a server over HTTP what to do in the game of this machine, does it, and answers.

It opens no port. A connection that breaks is made again, for as long as the agent runs; a request that was done and not
yet answered is answered then. A server's message is read up to a limit, never unpacked, and believed only where it is
signed by the user's token.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from threading import Event

from pydantic import BaseModel, ValidationError

from pipelines.invalid import explain_invalid
from pipelines.visible import clipped, visible
from server.agent.wire import (
    HELLO,
    MAC,
    MOST_ANSWER,
    MOST_REQUEST,
    POLL,
    POLL_SECONDS,
    PROTOCOL,
    SEQUENCE,
    SESSION,
    USER,
    Answer,
    AnyRequest,
    Facts,
    Failed,
    Hello,
    Kind,
    Order,
    Placed,
    Poll,
    Put,
    Undo,
    Welcome,
    is_signed,
    key_of,
    new_id,
    sign,
)
from server.agent.work import LocalGame
from server.desk.remote import Address
from server.errors import ProjectError, ServerError

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to reach a server; they begin with one and double."""
_SILENCE = POLL_SECONDS + 20.0
_ANSWERS = 16
_BREATH = 0.2
"""Seconds before hello is said again."""


class Refused(ServerError):
    """The server does not want this agent: it ends."""


class Lost(ServerError):
    """The connection is broken, or what answers is not the server: it is tried again."""


class Forgotten(ServerError):
    """The server does not know the session any more: the agent says hello again."""


class Agent:
    """Works for one game of one user. `run` blocks; `stop` may be called from any thread."""

    def __init__(self, where: Address, name: str, game: LocalGame, say: Callable[[str], None]) -> None:
        """Takes the server's address with the user's token, the game's name (`ann/keep`), and who is told the news."""
        self._where = where
        self._user, _, self._game = name.partition("/")
        self._key = key_of(where.token)
        self._local = game
        self._say = say
        self._stopped = Event()
        self._connection: HTTPConnection | None = None
        self._trouble = ""
        """Why the game's files cannot be used now; it is said once."""
        self._answers: dict[str, Answer] = {}
        """The last ones by request: one that comes again in this run is not done again."""

    def stop(self) -> None:
        """Ends `run`; a request that is being done is done to its end."""
        self._stopped.set()
        if (connection := self._connection) and connection.sock:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Asks and answers until it is stopped.

        Raises:
            Refused: the token is not valid, another agent has taken over, or the server is of another version.
            ProjectError: the game is not there at the start, or its style cannot be used.
        """
        self._local.facts()
        pause, lost = 1.0, False
        while not self._stopped.is_set():
            try:
                for _ in self._session():
                    if lost:
                        self._say("The server is there again.")
                    pause, lost = 1.0, False
                    if self._stopped.is_set():
                        return
            except Forgotten as error:
                logger.info("%s", error)
                self._stopped.wait(_BREATH)
            except Lost as error:
                if self._stopped.is_set():
                    return
                if not lost:
                    self._say(f"{error} It is tried again.")
                lost = True
                self._stopped.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _session(self) -> Iterator[None]:
        """Says hello, polls and does what is asked; yields after each poll that was answered.

        Raises:
            Lost, Forgotten, Refused: see there.
        """
        welcome = self._ask(HELLO, "hello", "welcome", new_id(), 0, Hello(protocol=PROTOCOL, game=self._game))
        try:
            session = Welcome.model_validate_json(welcome).session
        except ValidationError as error:
            raise Refused(f"{self._where} greets in another way. Install the same dgx-pixels on both.") from error
        answer: Answer | None = None
        told: Facts | None = None
        for sequence in itertools.count(1):
            facts = self._facts(told)
            news = Poll(answer=answer, facts=facts if facts != told else None)
            content = self._ask(POLL, "poll", "order", session, sequence, news)
            told = facts
            yield
            request = _request(content)
            answer = request if request is None or isinstance(request, Failed) else self._do(request)

    def _facts(self, before: Facts | None) -> Facts | None:
        """Returns the game's facts; those of before where its files cannot be used now (somebody is editing them)."""
        try:
            found = self._local.facts()
        except ProjectError as error:
            if str(error) != self._trouble:
                self._say(str(error))
            self._trouble = str(error)
            return before
        self._trouble = ""
        return found

    def _do(self, request: AnyRequest) -> Answer:
        if known := self._answers.get(request.id):
            return known
        answer = self._local.answer(request)
        if isinstance(answer, Placed):
            self._say(f"{answer.state}: {answer.paths[0]} ({answer.verification})")
        elif isinstance(answer, Failed) and isinstance(request, (Put, Undo)):
            self._say(f"refused: {answer.error}")
        self._answers[request.id] = answer
        if len(self._answers) > _ANSWERS:
            del self._answers[next(iter(self._answers))]
        return answer

    def _ask(self, path: str, kind: Kind, reply: Kind, session: str, sequence: int, message: BaseModel) -> bytes:
        """Sends a message and returns the server's answer, if its signature is right.

        Raises:
            Lost, Forgotten, Refused: see there.
        """
        body = _body(message)
        headers = {
            USER: self._user,
            SESSION: session,
            SEQUENCE: str(sequence),
            MAC: sign(self._key, kind, session, sequence, body),
            "Content-Type": "application/json",
        }
        self._connection = self._where.connect(_SILENCE)
        try:
            self._connection.request("POST", path, body, headers)
            answer = self._connection.getresponse()
            content = answer.read(MOST_REQUEST + 1)
        except (OSError, HTTPException) as error:
            raise Lost(f"No server answers at {self._where} ({str(error) or type(error).__name__}).") from error
        finally:
            self._connection.close()
        if answer.status != 200:
            raise self._refusal(answer.status, content)
        if len(content) > MOST_REQUEST:
            raise Lost(f"{self._where} sends more than {MOST_REQUEST >> 20} MB.")
        if not is_signed(self._key, reply, session, sequence, content, answer.headers.get(MAC, "")):
            raise Lost(f"What answers at {self._where} does not know the token.")
        return content

    def _refusal(self, status: int, content: bytes) -> ServerError:
        """Returns the error for an answer that is not 200. It is not signed: all that it can do is end the agent."""
        try:
            said = clipped(visible(str(json.loads(content[: 1 << 16])["error"])), 300)
        except (ValueError, KeyError, TypeError, RecursionError):
            said = f"It answers with the status {status}."
        if status == 409:
            return Forgotten(said)
        if status == 401:
            return Refused(f"{self._where} refuses: {said} Set DGX_PIXELS_HTTP_TOKEN to the token of {self._user}.")
        if status == 404:
            return Refused(f"The server at {self._where} takes no agents: it is older than this dgx-pixels.")
        if status in (403, 421):
            return Refused(
                f"{self._where} answers to its own address alone: a proxy in front of it must set Host to 127.0.0.1 "
                "with the server's port."
            )
        if status in (400, 410, 426):
            return Refused(f"{self._where} refuses: {said}")
        return Lost(f"{self._where}: {said}")


def _body(message: BaseModel) -> bytes:
    body = message.model_dump_json().encode()
    if len(body) > MOST_ANSWER and isinstance(message, Poll) and message.answer is not None:
        error = "The answer is too large to send. Ask for less, for example with a smaller limit."
        return Poll(answer=Failed(id=message.answer.id, error=error), facts=message.facts).model_dump_json().encode()
    return body


def _request(content: bytes) -> AnyRequest | Failed | None:
    """Reads what a poll was answered with. A request that breaks a rule is refused by its id: somebody waits for it.

    Raises:
        Lost: it has not even an id.
    """
    try:
        return Order.model_validate_json(content).request
    except ValidationError as error:
        why = clipped(visible(explain_invalid(error)), 500)
        found = re.search(rb'"id"\s*:\s*"([0-9a-f]{32})"', content)
        if found is None:
            raise Lost(f"The server sends a request that breaks a rule: {why}.") from error
        return Failed(id=found[1].decode(), error=f"The agent refuses the request: {why}.")
