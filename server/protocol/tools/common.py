"""Shared by all tools: work in a thread with progress and cancel, results with a preview, errors for the user.

def register(mcp: FastMCP, studio: Studio) -> None:
    @mcp.tool(title="Draw", output_schema=schema(Drawn), annotations=makes())
    @flat
    async def draw(request: DrawRequest, ctx: Context) -> ToolResult:
        def work(on_progress: OnProgress) -> ToolResult: ...
        return await in_thread(ctx, work)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastmcp import Context
from fastmcp.exceptions import FastMCPError, NotFoundError, ToolError, ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import ToolResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, ContentBlock, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel
from pydantic import ValidationError as InvalidFields

from pipelines.errors import Cancelled, report, sentence
from pipelines.invalid import explain_invalid
from pipelines.visible import clipped, visible

T = TypeVar("T")
OnProgress = Callable[[int, int, str], None]
"""The same contract as `pipelines.records.OnProgress`."""

LOADING = "loading the model"
"""What a tool that draws says until the engine reports progress."""
MOST_LEVELS = 32
"""Levels of nested lists and objects in a tool's arguments."""
PROGRESS_INTERVAL = 0.25
"""Seconds between two progress notifications."""

MOST_CALLS = 1000
"""Tool calls that work or wait at the same time."""
_LIMITER: RunVar[CapacityLimiter] = RunVar("threads of tool calls")

ProjectArgument = str
"""The root folder of the request's game. The server's instructions describe it, once for all tools."""


def reads() -> ToolAnnotations:
    """Annotates a tool that changes nothing."""
    return ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def makes(*, idempotent: bool = False) -> ToolAnnotations:
    """Annotates a tool that adds something and destroys nothing."""
    return ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=idempotent, open_world_hint=False
    )


def changes() -> ToolAnnotations:
    """Annotates a tool that may replace a file of the user's (kept for undo)."""
    return ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)


class AssetAnswer(BaseModel):
    """The part that the answers of all tools that make one asset have in common."""

    asset_id: str
    uri: str
    paths: list[str]
    palette: list[str] = []
    passed: bool
    gates: dict[str, bool] = {}
    scores: dict[str, float] = {}
    warnings: list[str] = []
    next_step: str = ""


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Returns the output schema of a tool that answers with this model: what has a default may be missing."""
    return _untitled(model.model_json_schema(mode="validation"))


def _untitled(schema: Any) -> Any:
    """Returns the schema without the titles that pydantic makes of the names."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: _untitled(entry) for key, entry in value.items()} if name == "properties" else _untitled(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
    }


async def in_thread(ctx: Context | None, work: Callable[[OnProgress], T], waiting: str = "") -> T:
    """Runs `work` in a thread, sends its progress to the client, and stops it when the client cancels.

    `work` gets an OnProgress. When the client has cancelled, the next call of it raises the event loop's cancelled
    exception (a BaseException: let it pass). `waiting` is said immediately and every second until `work` reports
    progress of its own.

    Raises:
        ToolError: in place of any error that `pipelines.errors.sentence` expects.
    """
    progress = _Progress(ctx)
    failure: Exception | None = None

    def call() -> T:
        try:
            return work(progress.report)
        except Cancelled:
            anyio.from_thread.check_cancelled()
            raise

    async with anyio.create_task_group() as tasks:
        if waiting and ctx is not None:
            tasks.start_soon(progress.repeat, waiting)
        try:
            return await anyio.to_thread.run_sync(call, limiter=_threads())
        except Exception as error:
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    assert failure is not None
    # outside of the task group, which would put it into an ExceptionGroup
    if message := sentence(failure):
        raise ToolError(message) from failure
    raise failure


def _threads() -> CapacityLimiter:
    """Returns the places for tool calls of this event loop.

    A call that waits for its turn holds a thread. In anyio's default of 40 for everything, the 41st caller would wait
    outside of the engine's queue, where no share counts, and nothing could be asked meanwhile.
    """
    try:
        return _LIMITER.get()
    except LookupError:
        limiter = CapacityLimiter(MOST_CALLS)
        _LIMITER.set(limiter)
        return limiter


class _Progress:
    """Progress notifications of one call: growing values, a few a second."""

    def __init__(self, ctx: Context | None) -> None:
        self._ctx = ctx
        self._value = -1.0
        self._sent = 0.0
        self._message = ""
        self._reported = False

    def report(self, done: int, total: int, message: str) -> None:
        """Passes the progress on from the thread that works (an OnProgress).

        Raises:
            BaseException: the event loop's cancelled exception where the client has cancelled.
        """
        self._reported = True
        anyio.from_thread.check_cancelled()
        now = time.monotonic()
        final = total > 0 and done >= total and done > self._value
        if self._ctx is None or (now - self._sent < PROGRESS_INTERVAL and not final):
            return
        if done <= self._value and message == self._message and now - self._sent < 1:
            return
        anyio.from_thread.run(self._send, float(done), float(total), message)

    async def repeat(self, message: str) -> None:
        """Says `message` every second until `report` is called."""
        while not self._reported:
            await self._send(0.0, 0.0, message)
            await anyio.sleep(1)

    async def _send(self, done: float, total: float, message: str) -> None:
        # Values must grow, also while the work stands in a queue and only the message changes.
        self._value = done if done > self._value else round(self._value + 0.001, 3)
        self._sent, self._message = time.monotonic(), message
        if self._ctx is not None:
            await self._ctx.report_progress(self._value, total or None, message)


def result(answer: BaseModel, *, preview: bytes = b"", preview_type: str = "image/png") -> ToolResult:
    """Returns a tool's answer: the preview, and the same values as text and as structured content.

    The answer is complete without the preview, and never holds base64. `server.protocol.results` shapes it for the
    client.
    """
    import base64
    import json

    content: list[ContentBlock] = []
    if preview:
        data = base64.b64encode(preview).decode()
        content.append(ImageContent(type="image", data=data, mime_type=preview_type))
    values = answer.model_dump(mode="json", exclude_defaults=True)
    content.append(TextContent(type="text", text=json.dumps(values, ensure_ascii=False)))
    return ToolResult(content=content, structured_content=values)


class FriendlyErrors(Middleware):
    """Turns every error of a tool, resource or prompt into a message for the user (see `pipelines.errors`)."""

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        try:
            check_arguments(context.message.arguments)
            return await call_next(context)
        except ValidationError as error:
            raise ToolError(arguments_in_words(error)) from None
        except (NotFoundError, MCPError):
            raise
        except Exception as error:
            raise ToolError(_message(error)) from error

    async def on_read_resource(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await _or_invalid_params(context, call_next)

    async def on_get_prompt(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await _or_invalid_params(context, call_next)


async def _or_invalid_params(context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
    try:
        return await call_next(context)
    except (NotFoundError, MCPError):
        raise
    except Exception as error:
        raise MCPError(code=INVALID_PARAMS, message=_message(error)) from error


def _message(error: Exception) -> str:
    """Returns the cause's message: it tells more than fastmcp's wrapper, unless the tool raised that on purpose."""
    if isinstance(error, FastMCPError):
        cause = error.__cause__
        return report(cause) if cause is not None else clipped(visible(str(error)))
    return report(error)


def check_arguments(arguments: Any, depth: int = 0) -> None:
    """Refuses arguments that no tool can use: nested deeper than MOST_LEVELS, or texts that no file name may hold.

    Raises:
        ToolError: says what to leave out.
    """
    if depth > MOST_LEVELS:
        raise ToolError(f"The arguments are nested deeper than {MOST_LEVELS} levels. Give them with fewer levels.")
    if isinstance(arguments, str):
        if "\0" in arguments:
            raise ToolError(f"An argument contains a NUL character: '{clipped(visible(arguments), 80)}'. Remove it.")
        if any("\ud800" <= character <= "\udfff" for character in arguments):
            raise ToolError(f"An argument is not valid Unicode: '{clipped(visible(arguments), 80)}'. Correct it.")
    elif isinstance(arguments, Mapping):
        for key, value in arguments.items():
            check_arguments(key, depth + 1)
            check_arguments(value, depth + 1)
    elif isinstance(arguments, list):
        for value in arguments:
            check_arguments(value, depth + 1)


def arguments_in_words(error: ValidationError) -> str:
    """Returns the wrong arguments, and what is wrong with each."""
    cause = error.__cause__
    wrong = explain_invalid(cause) if isinstance(cause, InvalidFields) else str(error)
    return clipped(visible(f"Invalid arguments: {wrong}. Correct them and call the tool again."))
