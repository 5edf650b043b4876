"""Training jobs as tasks of MCP's tasks extension (SEP-2663), for clients that ask for it; others use the job tools.

A client that declares `io.modelcontextprotocol/tasks` gets a task for train_lora and polls it: the task is the job, its
id the job's, so it outlives server and client. It keeps no state besides the job's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import anyio
from fastmcp.server.extensions import MethodBinding, ServerExtension, ToolCallContinuation, ToolCallOutcome
from fastmcp.tools import ToolResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, RequestParams
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import UserError
from server.studio import Studio

if TYPE_CHECKING:
    from fastmcp import Context

    from loras.jobs import Job
    from server.users import Users

EXTENSION = "io.modelcontextprotocol/tasks"
TOOL = "train_lora"
_POLL_MS = 5_000
_KEPT_MS = 365 * 24 * 3_600_000
"""A job's folder is never removed; "for ever" would be null, which the result's dump leaves out."""


class TaskParams(RequestParams):
    """Of tasks/get, tasks/cancel and tasks/update (no task here ever asks for input)."""

    model_config = ConfigDict(populate_by_name=True)

    task_id: str = Field(alias="taskId")


class Task(BaseModel):
    """A task on the wire; `resultType` is "task" as the answer to tools/call, else "complete"."""

    resultType: Literal["task", "complete"]
    taskId: str
    status: Literal["working", "completed", "cancelled"]
    statusMessage: str
    createdAt: str
    lastUpdatedAt: str
    ttlMs: int = _KEPT_MS
    pollIntervalMs: int = _POLL_MS
    result: dict[str, Any] | None = None


class JobTasks(ServerExtension):
    """The extension over one studio's jobs."""

    identifier = EXTENSION

    def __init__(self, studio: Studio, users: Users | None = None) -> None:
        self.studio = studio
        self._users = users

    def methods(self) -> Sequence[MethodBinding]:
        """Returns tasks/get, tasks/cancel and tasks/update."""
        modern = frozenset(MODERN_PROTOCOL_VERSIONS)
        served = {"tasks/get": self._get, "tasks/cancel": self._cancel, "tasks/update": self._update}
        return [MethodBinding(method, TaskParams, handler, modern) for method, handler in served.items()]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, context: Context, call_next: ToolCallContinuation
    ) -> ToolCallOutcome:
        """Starts the job as ever; the answer is a task where the client can have one.

        A resumed job gives no second task: its task has ended, and an ended task does not start again.
        """
        outcome = await call_next()
        request = context.request_context
        modern = request is not None and request.protocol_version in MODERN_PROTOCOL_VERSIONS
        if (
            params.name != TOOL
            or (params.arguments or {}).get("resume")
            or not modern
            or context.client_extension_settings(EXTENSION) is None
            or not isinstance(outcome, ToolResult)
            or outcome.is_error
        ):
            return outcome
        started: dict[str, Any] = outcome.structured_content or {}
        said = f"Learning from {started.get('taken', 0)} pictures; {started.get('refused', 0)} files were left out."
        job = await self._job(started["job"]["job_id"])
        return _task(job, "task").model_copy(update={"statusMessage": said})

    async def _get(self, request: Any, params: TaskParams) -> Task:
        self._check(request)
        with self._for_caller():
            return _task(await self._job(params.task_id), "complete")

    async def _cancel(self, request: Any, params: TaskParams) -> dict[str, Any]:
        self._check(request)
        with self._for_caller():
            job = await self._job(params.task_id)
            if job.active or job.status == "interrupted":
                await anyio.to_thread.run_sync(partial(self.studio.jobs.cancel, job.id, 0))
        return {"resultType": "complete"}

    async def _update(self, request: Any, params: TaskParams) -> dict[str, Any]:
        self._check(request)
        with self._for_caller():
            await self._job(params.task_id)
        return {"resultType": "complete"}

    def _for_caller(self) -> AbstractContextManager[object]:
        """Works for the user who asks: the middleware of tools does not see these methods."""
        if self._users is None:
            return nullcontext()
        from server.protocol.users import for_caller

        return for_caller(self._users, self.studio.settings.data_dir)

    async def _job(self, task_id: str) -> Job:
        try:
            return await anyio.to_thread.run_sync(self.studio.jobs.get, task_id)
        except UserError as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error

    def _check(self, request: Any) -> None:
        if self.client_settings(request) is None:
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message=f"This method is for clients that declare {EXTENSION}. get_job and cancel_job are for all.",
                data={"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
            )


def _task(job: Job, kind: Literal["task", "complete"]) -> Task:
    """Shows a job as a task. One that failed or was interrupted is a completed call whose result is a tool's error."""
    from server.protocol.tools.training import ended

    changed = max((job.folder / name).stat().st_mtime for name in ("spec.json", "state.json"))
    status = "working" if job.active else "cancelled" if job.status == "cancelled" else "completed"
    return Task(
        resultType=kind,
        taskId=job.id,
        status=status,
        statusMessage=" ".join(text for text in (job.message, job.error) if text),
        createdAt=_time(job.created),
        lastUpdatedAt=_time(max(changed, job.created)),
        result=ended(job) if status == "completed" else None,
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
