"""The tool slice_sheet."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel

from server.features.requests import SliceRequest
from server.features.slices import SlicedSheet, slice_sheet
from server.protocol.tools.common import OnProgress, ProjectArgument, in_thread, makes, result, schema
from server.protocol.tools.flat import flat
from server.studio import Studio

MOST_LISTED = 64
"""Sprites whose names and paths stand in an answer."""


class Piece(BaseModel):
    """One sprite that was cut out, or the animation."""

    asset_id: str
    name: str
    path: str
    width: int
    height: int


class SliceAnswer(BaseModel):
    """The answer of slice_sheet: new assets; the sheet stays."""

    asset_ids: list[str]
    pieces: list[Piece]
    count: int
    clips: list[str] = []
    how: str
    warnings: list[str] = []
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds slice_sheet."""

    @mcp.tool(
        name="slice_sheet",
        title="Slice sheet",
        output_schema=schema(SliceAnswer),
        annotations=makes(idempotent=True),
        tags={"edit"},
    )
    @flat
    async def slice_sheet_tool(request: SliceRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when a spritesheet, tileset image or .aseprite file should become single sprites, or one animation.
        Cuts by the layout file beside it (Aseprite or TexturePacker JSON), else by a grid that the gutters prove; else
        the error says what to give. The picture shows the cuts.
        Example: slice_sheet(picture="art/icons.png", width=16)"""

        def work(on_progress: OnProgress) -> ToolResult:
            return _answer(slice_sheet(studio, request, project=project or None))

        return await in_thread(ctx, work)


def _answer(done: SlicedSheet) -> ToolResult:
    from server.features.preview import preview_png

    first = done.assets[0]
    animated = first.kind == "sheet"
    listed = done.assets[:MOST_LISTED]
    warnings = list(done.warnings)
    if len(listed) < len(done.assets):
        warnings.append(f"The first {len(listed)} of {len(done.assets)} sprites are listed; asset_ids has all.")
    answer = SliceAnswer(
        asset_ids=[asset.id for asset in done.assets],
        pieces=[
            Piece(
                asset_id=asset.id,
                name=asset.recipe.prompt,
                path=str(done.library.path(asset)),
                width=asset.recipe.width,
                height=asset.recipe.height,
            )
            for asset in listed
        ],
        count=len(done.assets),
        clips=list(done.names) if animated else [],
        how=done.how,
        warnings=warnings,
        next_step=f"Look at the cuts. deploy_asset(asset_id='{first.id}') puts "
        f"{'the animation' if animated else 'the first sprite'} into the game.",
    )
    return result(answer, preview=preview_png([done.preview]))
