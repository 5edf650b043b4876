"""Let named users in, and confine each call to its user: games, library, files, turns. Write a line for each change."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TypeVar

from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import ToolResult

import pipelines
from pipelines.engine.turns import OWNER, Owner
from pipelines.files import READABLE
from server.errors import ServerError
from server.protocol.http_token import OneToken
from server.protocol.results import answer_of
from server.settings import Settings
from server.storage import check_room
from server.users import USER, User, Users

T = TypeVar("T")
AUDIT, AUDIT_BYTES, AUDIT_FILES = "audit.jsonl", 10_000_000, 5
OPERATOR = "dgx-pixels"
"""The client id of the token from the settings; a user's is its name behind `user:`."""


class Tokens(TokenVerifier):
    """Accepts the token of the settings, where there is one, and those of the users."""

    def __init__(self, users: Users, token: str = "") -> None:
        super().__init__()
        self._users = users
        self._one = OneToken(token) if token else None

    async def verify_token(self, token: str) -> AccessToken | None:
        """Returns the caller's identity, or None for another token."""
        if self._one and (found := await self._one.verify_token(token)):
            return found
        user = self._users.find(token)
        return AccessToken(token=token, client_id=f"user:{user.name}", scopes=[]) if user else None


class Confine(Middleware):
    """Works for the user whose token a request carries, and keeps the audit file."""

    def __init__(self, settings: Settings, users: Users) -> None:
        self._users = users
        self._settings = settings
        self._audit = audit_log(settings.data_dir)

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`."""
        name, outcome, result = context.message.name, "cancelled", None
        with for_caller(self._users, self._settings.data_dir) as user:
            try:
                result = await call_next(context)
                outcome = "error" if type(result) is ToolResult and result.is_error else "ok"
                return result
            except Exception:
                outcome = "error"
                raise
            finally:
                if not await _only_reads(context):
                    self._write(user, name, context.message.arguments or {}, outcome, result)

    async def on_read_resource(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`."""
        with for_caller(self._users, self._settings.data_dir):
            return await call_next(context)

    async def on_get_prompt(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`."""
        with for_caller(self._users, self._settings.data_dir):
            return await call_next(context)

    def _write(self, user: User | None, tool: str, arguments: dict[str, Any], outcome: str, result: Any) -> None:
        answer = answer_of(result) if type(result) is ToolResult else {}
        write_line(
            self._audit,
            user,
            tool,
            outcome,
            project=str(arguments.get("project", ""))[:200],
            asset=str(answer.get("asset_id", "")),
            path=str(answer.get("path", ""))[:200],
        )


@contextmanager
def for_caller(users: Users | None, data_dir: Path) -> Iterator[User | None]:
    """Works for the user whose token the present request carries; yields the user.

    Raises:
        ServerError: as `caller`.
    """
    access = get_access_token()
    user = caller(users, access) if users and access else None
    with working_for(user, data_dir):
        yield user


def caller(users: Users, access: AccessToken) -> User | None:
    """Returns the user whose token was sent; None for the token of the settings, which may do everything.

    Raises:
        ServerError: the user was removed after the token was accepted.
    """
    if access.client_id == OPERATOR:
        return None
    if user := users.named(access.client_id.removeprefix("user:")):
        return user
    raise ServerError("This token was removed. Ask the person who runs the server for another.")


@contextmanager
def working_for(user: User | None, data_dir: Path) -> Iterator[None]:
    """Confines what this thread or task does to a user's games, library, files and turns; None confines nothing."""
    with ExitStack() as stack:
        if user is not None:
            stack.enter_context(_set(USER, user))
            room = partial(check_room, user, data_dir)
            owner = Owner(user.name, user.share, user.waiting, user.pixels_per_minute, room)
            stack.enter_context(_set(OWNER, owner))
            stack.enter_context(_set(READABLE, readable(user, data_dir)))
        yield


def readable(user: User, data_dir: Path) -> tuple[Path, ...]:
    """Returns the folders that a user's requests may read: own games and library, LoRAs, and this package."""
    package = Path(pipelines.__file__).parents[1]
    return (*user.projects, data_dir / "users" / user.name, data_dir / "loras", package)


def audit_log(data_dir: Path) -> logging.Logger:
    """Returns the logger of the audit file: JSON lines, the last 50 MB."""
    logger = logging.getLogger(f"dgx_pixels.audit.{data_dir}")
    if not logger.handlers:
        data_dir.mkdir(parents=True, exist_ok=True)
        logger.addHandler(
            RotatingFileHandler(
                data_dir / AUDIT, maxBytes=AUDIT_BYTES, backupCount=AUDIT_FILES, encoding="utf-8", delay=True
            )
        )
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger


def write_line(log: logging.Logger, user: User | None, tool: str, outcome: str, **more: str) -> None:
    """Writes what was done, by whom, into the audit file."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    log.info(json.dumps({"time": time, "user": user.name if user else "", "tool": tool, **more, "outcome": outcome}))


@contextmanager
def _set(variable: ContextVar[T], value: T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


async def _only_reads(context: MiddlewareContext[Any]) -> bool:
    """Returns whether the called tool says that it changes nothing; a tool that is not there changes nothing either."""
    if context.fastmcp_context is None:
        return False
    tool = await context.fastmcp_context.fastmcp.get_tool(context.message.name)
    return tool is None or bool(tool.annotations and tool.annotations.read_only_hint)
