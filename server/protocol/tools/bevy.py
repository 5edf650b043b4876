"""The tool check_project: the findings of `server.deploy.bevy.doctor` for an assistant."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.protocol.tools.common import OnProgress, ProjectArgument, in_thread, reads, result, schema
from server.studio import Studio


class FindingItem(BaseModel):
    """The result of one check."""

    topic: str
    state: str = Field(description="fine, advice (could be better) or broken (a deployed picture will not show)")
    what: str
    change: str = Field(default="", description="What to do; empty where it is fine")
    lines: str = Field(default="", description="The exact lines to put there")


class ProjectCheck(BaseModel):
    """What check_project answers."""

    project: str
    assets: str
    style_file: str = Field(description="The game's dgx-pixels.toml; empty where it has none")
    ready: bool = Field(description="Whether nothing is broken")
    findings: list[FindingItem] = Field(description="In the order to repair them")
    next_step: str


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds check_project."""

    @mcp.tool(title="Check project", output_schema=schema(ProjectCheck), annotations=reads(), tags={"deploy"})
    async def check_project(ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when a deployed picture does not show in the game, or before the first deploy into it.
        Reads the Bevy project and asks the running game; says in order what to change, with the exact lines.
        Example: check_project()"""

        def work(_: OnProgress) -> ToolResult:
            return result(check(studio, project))

        return await in_thread(ctx, work)


def check(studio: Studio, project: str = "") -> ProjectCheck:
    """Returns the findings for a game.

    Raises:
        ProjectError, DeployError: as `check_game`.
    """
    from server.features.checking import check_game

    checked = check_game(studio, project or None)
    game, findings = checked.game, checked.findings
    open_ones = [finding for finding in findings if finding.state != "fine"]
    return ProjectCheck(
        project=game.title,
        assets=game.shown(),
        style_file=checked.style_file,
        ready=all(finding.state != "broken" for finding in findings),
        findings=[
            FindingItem(topic=f.topic, state=f.state, what=f.what, change=f.change, lines=f.lines) for f in findings
        ],
        next_step=f"{open_ones[0].topic}: {open_ones[0].change}" if open_ones else "All is well: deploy_asset.",
    )
