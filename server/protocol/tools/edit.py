"""The tool edit_sprite."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import Field

from server.features.edits import Edited, edit_sprite
from server.features.lora_bases import base_warnings
from server.features.requests import EditRequest
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


class EditAnswer(AssetAnswer):
    """What edit_sprite answers: a new asset; the one it was made of stays."""

    edited_from: str
    width: int
    height: int
    seed: int
    changed_pixels: int
    notes: list[str] = Field([])
    unknown_words: list[str] = Field([])


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds edit_sprite."""

    @mcp.tool(
        name="edit_sprite",
        title="Edit sprite",
        output_schema=schema(EditAnswer),
        annotations=makes(),
        tags={"generate"},
    )
    @flat
    async def edit_sprite_tool(request: EditRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when a sprite or sheet is nearly right: draws over a part (prompt, place) or all of it.
        Or recolors, repaints, flips, rotates, trims, pads, resizes: one change per call; the rest stays. Of a sheet,
        one frame's change is carried to all.
        Example: edit_sprite(asset_id="3f2a9c01b7de", recolor="red", place="neck")"""

        def work(on_progress: OnProgress) -> ToolResult:
            return _answer(edit_sprite(studio, request, on_progress, project=project or None), request.asset_id)

        return await in_thread(ctx, work, LOADING)


def _answer(done: Edited, edited_from: str) -> ToolResult:
    from server.features.preview import preview_png

    asset = done.asset
    warnings = base_warnings(asset.recipe)
    if done.unknown_words:
        warnings.append(f"The model does not know: {', '.join(done.unknown_words)}. Use plainer words for these.")
    if not done.changed:
        warnings.append("Nothing changed. Give more strength, or another seed.")
    answer = EditAnswer(
        asset_id=asset.id,
        uri=asset.uri,
        paths=[str(done.library.path(asset, file.name)) for file in asset.files],
        edited_from=edited_from,
        width=asset.recipe.width,
        height=asset.recipe.height,
        seed=asset.recipe.seed,
        changed_pixels=done.changed,
        notes=list(done.notes),
        palette=asset.details["palette"],
        passed=asset.report["passed"],
        gates=asset.report["gates"],
        scores=asset.report["scores"],
        unknown_words=list(done.unknown_words),
        warnings=warnings,
        next_step=f"deploy_asset(asset_id='{asset.id}') puts it into the game.",
    )
    preview = preview_png([done.before, done.after], numbered=True)
    return result(answer, preview=preview)
