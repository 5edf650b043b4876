"""The tool run_workflow."""

from __future__ import annotations

from typing import Annotated, Any

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.protocol.tools.common import OnProgress, ProjectArgument, changes, in_thread, result, schema
from server.studio import Studio


class FailedItem(BaseModel):
    """One item that could not be made."""

    step: str
    index: int
    error: str
    arguments: dict[str, Any] = {}


class RunAnswer(BaseModel):
    """What run_workflow answers."""

    workflow: str
    run: str = Field(description="The run's name; the same call resumes an unfinished run")
    outputs: dict[str, Any]
    done: int = Field(description="Steps and items done now")
    resumed: int = Field(description="Steps and items that an earlier, unfinished run had done")
    failed: list[FailedItem] = []
    shown: list[str] = Field([], description="The asset_ids of the picture, in the order of its numbers")
    page: str = Field(description="A page of the whole library, to open in a browser")
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds run_workflow."""

    @mcp.tool(title="Run workflow", output_schema=schema(RunAnswer), annotations=changes(), tags={"generate"})
    async def run_workflow(
        workflow: Annotated[
            str,
            Field(
                description="sprite, batch, item_set, character, animation, tileset, game_kit, fix_folder, or a file."
            ),
        ],
        ctx: Context,
        inputs: Annotated[dict[str, Any] | None, Field(description="The workflow's inputs by name.")] = None,
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when a job has many parts: a list of art assets, a character with its spritesheet, a folder of pictures.
        A failing item stops no other; the same call resumes a run. A wrong input's error says what is needed.
        Example: run_workflow(workflow="batch", inputs={"subjects": ["red potion", "gold key"]})"""

        def work(on_progress: OnProgress) -> ToolResult:
            from server.features.preview import preview_png
            from server.features.workflow_runs import pictures, run

            ran = run(studio, workflow, inputs or {}, on_progress, project or None)
            done = ran.result
            shown = pictures(studio, ran)
            again = f"{len(done.failed)} failed: the same call tries those again." if done.failed else ""
            answer = RunAnswer(
                workflow=ran.workflow.name,
                run=done.run,
                outputs=done.outputs,
                done=done.done,
                resumed=done.resumed,
                failed=[FailedItem(**item) for item in done.failed],
                shown=list(shown),
                page=ran.page,
                next_step=again,
            )
            return result(answer, preview=preview_png(list(shown.values()), numbered=True) if shown else b"")

        return await in_thread(ctx, work)
