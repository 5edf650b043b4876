"""The tools train_lora, get_job and cancel_job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult
from pydantic import BaseModel, Field

from server.features.requests import TrainRequest
from server.features.training import make_room, start_training
from server.protocol.tools.common import OnProgress, ProjectArgument, in_thread, makes, reads, result, schema
from server.protocol.tools.flat import flat
from server.studio import Studio

if TYPE_CHECKING:
    from loras.jobs import Job

JobId = Annotated[str, Field(description="From train_lora.")]


class JobItem(BaseModel):
    """One training job."""

    job_id: str
    name: str = Field(description="The LoRA's name: what to give in a style's or variant's stack")
    status: str = Field(
        description="queued, preparing, training, exporting; ended: done, failed, cancelled, interrupted"
    )
    done: int = Field(description="Steps")
    total: int
    loss: float = 0.0
    steps_per_second: float = 0.0
    eta_seconds: float | None = Field(default=None, description="Until the last step; none: not known yet")
    message: str = ""
    error: str = ""
    lora: str = Field(default="", description="The finished file: ComfyUI and A1111 load it too")
    samples: list[str] = Field(default=[], description="Pictures of the same prompts and seeds, over time")
    loss_plot: str = ""
    page: str = Field(default="", description="An HTML file with the loss and all samples")
    folder: str = ""
    uri: str = ""


class TrainAnswer(BaseModel):
    """What train_lora answers."""

    job: JobItem
    taken: int = Field(default=0, description="Pictures that are learned from")
    refused: int = 0
    refused_files: list[dict[str, str]] = Field(default=[], description="The first ones: file, why")
    notes: list[str] = []
    next_step: str = ""


class JobAnswer(BaseModel):
    """What get_job and cancel_job answer: one job, or all of them."""

    jobs: list[JobItem]
    dataset: dict[str, Any] = Field(default={}, description="Files taken and refused, of a single job")
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds train_lora, get_job, cancel_job and job://."""

    @mcp.tool(title="Train LoRA", output_schema=schema(TrainAnswer), annotations=makes(), tags={"train"})
    @flat
    async def train_lora(
        request: TrainRequest,
        ctx: Context,
        resume: Annotated[str, Field(description="job_id of a stopped job.")] = "",
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when new pictures should look like a game's own art (20 to 50 sprites): trains a LoRA on it.
        Returns the job_id of a job that outlives this session. Captions: metadata.jsonl, a
        .txt beside a picture, or file names.
        Example: train_lora(dataset="assets/sprites", name="mygame")"""

        def work(on_progress: OnProgress) -> ToolResult:
            from loras.preview import contact_sheet

            if resume:
                job = studio.jobs.get(resume)
                make_room(studio, job.model)
                answer = TrainAnswer(job=_item(studio.jobs.resume(resume)), next_step=_follow(resume))
                return result(answer)
            on_progress(0, 1, "reading the pictures")
            job, pictures = start_training(studio, request, project=project or None)
            report = pictures.report()
            answer = TrainAnswer(
                job=_item(job),
                taken=report["taken"],
                refused=report["refused"],
                refused_files=report["refused_files"][:20],
                notes=report["notes"],
                next_step=_follow(job.id),
            )
            shown = [(example.image, example.caption) for example in pictures.examples]
            return result(answer, preview=contact_sheet(shown, most=32))

        return await in_thread(ctx, work)

    @mcp.tool(title="Get job", output_schema=schema(JobAnswer), annotations=reads(), tags={"train"})
    async def get_job(
        ctx: Context,
        job_id: Annotated[str, Field(description="Empty: all jobs.")] = "",
        wait_seconds: Annotated[float, Field(description="0 to 45.", ge=0, le=45)] = 0,
    ) -> ToolResult:
        """Use when a training job runs, or to find one again: steps, loss, time left, last samples, the finished LoRA.
        With wait_seconds it answers when the job ends or the time is over.
        Example: get_job(job_id="0123456789abcdef")"""

        def work(on_progress: OnProgress) -> ToolResult:
            if not job_id:
                items = [_item(job) for job in studio.jobs.list()]
                step = "" if items else "There is no job yet: train_lora starts one."
                return result(JobAnswer(jobs=items, next_step=step))
            job = studio.jobs.wait(job_id, wait_seconds, lambda j: on_progress(j.done, max(j.total, 1), j.message))
            return _answer(job)

        return await in_thread(ctx, work)

    @mcp.tool(
        title="Cancel job",
        output_schema=schema(JobAnswer),
        annotations=makes(),
        tags={"train"},
    )
    async def cancel_job(job_id: JobId, ctx: Context) -> ToolResult:
        """Use when a training job should stop: it keeps a checkpoint; train_lora(resume=job_id) continues it.
        Example: cancel_job(job_id="0123456789abcdef")"""

        def work(on_progress: OnProgress) -> ToolResult:
            on_progress(0, 1, "asking the job to stop")
            return _answer(studio.jobs.cancel(job_id, 30))

        return await in_thread(ctx, work)

    @mcp.resource("job://{job_id}", name="job", title="A training job", mime_type="application/json")
    def job(job_id: str) -> str:
        """A job as get_job shows it, as JSON."""
        from loras.errors import LoraError

        try:
            return _item(studio.jobs.get(job_id)).model_dump_json()
        except LoraError as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error


def _answer(job: Job) -> ToolResult:
    answer = JobAnswer(jobs=[_item(job)], dataset=job.report, next_step=_next_step(job))
    preview = Path(job.samples[-1]).read_bytes() if job.samples else b""
    return result(answer, preview=preview)


def ended(job: Job) -> dict[str, Any]:
    """Returns what train_lora would have answered had it waited for the job's end, as a CallToolResult on the wire."""
    report = job.report
    answer = TrainAnswer(
        job=_item(job),
        taken=report.get("taken", 0),
        refused=report.get("refused", 0),
        refused_files=report.get("refused_files", [])[:20],
        notes=report.get("notes", []),
        next_step=_next_step(job),
    )
    said = result(answer, preview=Path(job.samples[-1]).read_bytes() if job.samples else b"")
    wire = CallToolResult(
        content=said.content, structured_content=said.structured_content, is_error=job.status != "done"
    )
    return wire.model_dump(mode="json", by_alias=True, exclude_none=True)


def _item(job: Job) -> JobItem:
    plot, page = job.folder / "loss.png", job.folder / "page.html"
    return JobItem(
        job_id=job.id,
        name=job.name,
        status=job.status,
        done=job.done,
        total=job.total,
        loss=round(job.loss, 5),
        steps_per_second=round(job.steps_per_second, 3),
        eta_seconds=None if job.eta_seconds is None else round(job.eta_seconds),
        message=job.message,
        error=job.error,
        lora=job.result,
        samples=list(job.samples[-8:]),
        loss_plot=str(plot) if plot.exists() else "",
        page=str(page) if page.exists() else "",
        folder=str(job.folder),
        uri=f"job://{job.id}",
    )


def _follow(job_id: str) -> str:
    return f"get_job(job_id='{job_id}', wait_seconds=45) follows it. The job continues without this session."


def _next_step(job: Job) -> str:
    if job.active:
        return _follow(job.id)
    if job.status == "done":
        return (
            f"compare_models(variants=['', '+ {job.name}']) shows it beside the base; record_preference with "
            "adopt=true makes the better one the game's style."
        )
    return f"train_lora(resume='{job.id}') continues from its last checkpoint."
