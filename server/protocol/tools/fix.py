"""The tool fix_pixel_art."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult

from server.features.pixel_fix import FixedAsset, fix_pixel_art
from server.features.requests import FixRequest
from server.protocol.tools.common import AssetAnswer, OnProgress, ProjectArgument, in_thread, makes, result, schema
from server.protocol.tools.flat import flat
from server.studio import Studio


class FixAnswer(AssetAnswer):
    """The answer of fix_pixel_art: a new asset; the picture that it was made of stays."""

    width: int
    height: int
    frame_count: int = 1
    pitch: float


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds fix_pixel_art."""

    @mcp.tool(
        name="fix_pixel_art",
        title="Fix pixel art",
        output_schema=schema(FixAnswer),
        annotations=makes(idempotent=True),
        tags={"edit"},
    )
    @flat
    async def fix_pixel_art_tool(request: FixRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when an image should be pixel art: an AI render, a screenshot, a JPEG, an enlarged sprite.
        Proves the pixel grid, reads one colour per cell, locks the palette, clears the background; needs no model.
        Without a provable grid nothing changes: `warnings` say what to give. Animations become a sheet.
        Example: fix_pixel_art(picture="art/knight.png", background="clear")"""

        def work(on_progress: OnProgress) -> ToolResult:
            return _answer(fix_pixel_art(studio, request, project=project or None))

        return await in_thread(ctx, work)


def _answer(done: FixedAsset) -> ToolResult:
    from server.features.preview import fitted, preview_png

    asset = done.asset
    warnings = list(done.warnings)
    if not asset.report["gates"].get("not_empty", True):
        warnings.append("Nothing is left of the picture. Try background='keep', or another pitch.")
    answer = FixAnswer(
        asset_id=asset.id,
        uri=asset.uri,
        paths=[str(done.library.path(asset, file.name)) for file in asset.files],
        width=asset.recipe.width,
        height=asset.recipe.height,
        frame_count=done.frames,
        pitch=round(done.pitch, 2),
        palette=asset.details["palette"],
        passed=asset.report["passed"],
        gates=asset.report["gates"],
        scores=asset.report["scores"],
        warnings=warnings,
        next_step=f"deploy_asset(asset_id='{asset.id}') puts it into the game.",
    )
    preview = preview_png([fitted(done.before, 250), fitted(done.after, 250)], numbered=True)
    return result(answer, preview=preview)
