"""The tool pack_sheet."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult

from server.features.packing import Packed, pack_sheet
from server.features.requests import PackRequest
from server.protocol.tools.common import AssetAnswer, OnProgress, ProjectArgument, in_thread, makes, result, schema
from server.protocol.tools.flat import flat
from server.studio import Studio


class PackAnswer(AssetAnswer):
    """What pack_sheet answers."""

    frames: int
    rust: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds pack_sheet."""

    @mcp.tool(
        name="pack_sheet",
        title="Pack sheet",
        output_schema=schema(PackAnswer),
        annotations=makes(idempotent=True),
        tags={"generate"},
    )
    @flat
    async def pack_sheet_tool(request: PackRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when sprites and sheets should share one atlas, or need colliders, a normal map or team colours.
        Writes TexturePacker, Aseprite and Bevy layouts, pivots, hurt boxes; GIF, APNG.
        Example: pack_sheet(asset_ids=["3f2a9c01b7de"], teams=["red", "blue"])"""

        def work(on_progress: OnProgress) -> ToolResult:
            return _answer(pack_sheet(studio, request, on_progress, project=project or None))

        return await in_thread(ctx, work)


def _answer(done: Packed) -> ToolResult:
    from server.deploy.deploy import default_path
    from server.deploy.paths import suggest_path
    from server.features.preview import preview_png

    asset = done.asset
    path = default_path(asset, done.project) if done.project else suggest_path(asset.recipe.prompt)
    answer = PackAnswer(
        asset_id=asset.id,
        uri=asset.uri,
        paths=[str(done.library.path(asset, file.name)) for file in asset.files],
        frames=len(done.atlas.frames),
        palette=asset.details["palette"],
        passed=asset.report["passed"],
        gates=asset.report["gates"],
        scores=asset.report["scores"],
        rust=done.rust(path),
        warnings=list(done.warnings),
        next_step=f"deploy_asset(asset_id='{asset.id}') puts atlas, layouts and layers into {done.project.name}."
        if done.project
        else "No game was found: give project='/path/to/game' to deploy_asset.",
    )
    return result(answer, preview=preview_png([done.preview]))
