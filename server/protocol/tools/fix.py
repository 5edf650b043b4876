"""The tool fix_pixel_art: give any picture its real pixels back."""

from __future__ import annotations

from typing import Annotated

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.features.pixel_fix import FixedAsset, fix_pixel_art
from server.protocol.tools.common import OnProgress, ProjectArgument, in_thread, link, makes, result, schema
from server.studio import Studio


class FixAnswer(BaseModel):
    """The answer of fix_pixel_art: a new asset; the picture that it was made of stays."""

    asset_id: str
    uri: str
    paths: list[str]
    width: int
    height: int
    frame_count: int = 1
    pitch: float
    palette: list[str] = []
    passed: bool
    gates: dict[str, bool] = {}
    scores: dict[str, float] = {}
    warnings: list[str] = []
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Add fix_pixel_art."""

    @mcp.tool(
        name="fix_pixel_art",
        title="Fix pixel art",
        output_schema=schema(FixAnswer),
        annotations=makes(idempotent=True),
        tags={"edit"},
    )
    async def fix_pixel_art_tool(
        picture: Annotated[
            str, Field(description="Path of a PNG, JPEG, GIF, WebP, BMP or Aseprite file, or an asset_id.")
        ],
        ctx: Context,
        width: Annotated[
            int | None,
            Field(description="Finished width; none: as many pixels as it has, or by the height and its shape."),
        ] = None,
        height: Annotated[int | None, Field(description="Finished height; the same.")] = None,
        pitch: Annotated[
            float | None, Field(description="Pixels of the file for each real pixel; none: it is found.")
        ] = None,
        colors: Annotated[
            int | None, Field(description="The most colours; none: all that can be read exactly, else 32.")
        ] = None,
        palette: Annotated[
            str, Field(description='A palette file, RRGGBB words, "none" for its own colours; empty: the game\'s.')
        ] = "",
        ground: Annotated[
            str,
            Field(
                description='"keep", "clear" (the flat background round the drawing becomes transparent), or the '
                "background's RRGGBB (holes in the drawing too)."
            ),
        ] = "keep",
        outline: Annotated[str, Field(description="none, outer, inner or selective.")] = "none",
        soft: Annotated[
            str, Field(description="Half-transparent pixels (glows, shadows): keep, dither, solid or drop.")
        ] = "keep",
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when there is a picture that should be pixel art and is not quite: an AI render, a screenshot, a smeared
        JPEG, an enlarged sprite. Finds the grid and proves it against the picture, reads one clean colour a cell, locks
        the palette. A finished picture stays as it is, and so does one whose grid cannot be proved: `warnings` say so,
        and which of `pitch`, `width` and `height` to give. An animation (GIF, APNG, WebP) is finished frame by frame
        with one grid and palette, and becomes a sheet and an animation file. No model and no GPU: it takes a moment.
        The answer shows before and after; the result is a new asset, and the file stays as it is."""

        def work(on_progress: OnProgress) -> ToolResult:
            done = fix_pixel_art(
                studio,
                picture,
                width=width,
                height=height,
                pitch=pitch,
                colors=colors,
                palette=palette,
                ground=ground.strip() or "keep",
                outline=outline.strip() or "none",
                soft=soft.strip() or "keep",
                project=project or None,
            )
            return _answer(done)

        return await in_thread(ctx, work)


def _answer(done: FixedAsset) -> ToolResult:
    from server.features.preview import fitted, preview_png

    asset = done.asset
    warnings = list(done.warnings)
    if not asset.report["gates"].get("not_empty", True):
        warnings.append("Nothing is left of the picture. Try ground='keep', or another pitch.")
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
    preview = preview_png([fitted(done.before, 250), fitted(done.after, 250)])
    return result(answer, preview=preview, links=[link(asset.uri, done.library.path(asset))])
