"""The tool generate_ui."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import Field

from server.features.requests import UiRequest
from server.features.ui import MadeUi, generate_ui, ui_snippet
from server.protocol.tools.common import (
    LOADING,
    AssetAnswer,
    OnProgress,
    ProjectArgument,
    in_thread,
    makes,
    result,
    schema,
)
from server.protocol.tools.flat import flat
from server.studio import Studio


class UiAnswer(AssetAnswer):
    """What generate_ui answers."""

    pieces: list[str] = Field(description="Regions of the sheet, described in ui.json")
    seed: int
    unknown_words: list[str] = Field(default=[])
    seconds: float
    rust: str = Field(default="", description="A module: ImageNodes of the pieces")


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds generate_ui."""

    @mcp.tool(
        name="generate_ui",
        title="Generate user interface",
        output_schema=schema(UiAnswer),
        annotations=makes(),
        tags={"generate"},
    )
    @flat
    async def generate_ui_tool(request: UiRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when a game needs menus or a HUD: makes a UI kit in one look.
        Panel, frame, slot, button states, bars, cursors, a pixel font (BMFont) and icons, with nine-patch insets.
        Example: generate_ui(prompt="wood", icons=["sword", "red potion"])"""

        def work(on_progress: OnProgress) -> ToolResult:
            return _answer(generate_ui(studio, request, on_progress, project=project or None))

        return await in_thread(ctx, work, LOADING)


def _answer(done: MadeUi) -> ToolResult:
    from server.deploy.deploy import default_path
    from server.deploy.paths import suggest_path
    from server.features.preview import preview_png

    asset = done.asset
    path = default_path(asset, done.project) if done.project else suggest_path(asset.recipe.prompt)
    warnings = list(done.warnings)
    if done.unknown_words:
        warnings.append(f"The model does not know: {', '.join(done.unknown_words)}. Use plainer words for these.")
    answer = UiAnswer(
        asset_id=asset.id,
        uri=asset.uri,
        paths=[str(done.library.path(asset, file.name)) for file in asset.files],
        pieces=list(done.kit.regions),
        seed=asset.recipe.seed,
        palette=asset.details["palette"],
        passed=asset.report["passed"],
        gates=asset.report["gates"],
        scores=asset.report["scores"],
        unknown_words=list(done.unknown_words),
        warnings=warnings,
        seconds=round(done.seconds, 3),
        rust=ui_snippet(done.kit, path),
        next_step=f"deploy_asset(asset_id='{asset.id}') puts sheet, ui.json and font into {done.project.name}."
        if done.project
        else "No game was found: give project='/path/to/game' to deploy_asset.",
    )
    return result(answer, preview=preview_png([done.kit.preview]))
