"""The tool generate_animation."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.features.animations import DrawnAnimation, generate_animation
from server.features.lora_bases import base_warnings
from server.features.requests import AnimationRequest
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


class ClipItem(BaseModel):
    """One animation of the sheet: tiles first..last, from 0, row by row."""

    first: int
    last: int
    fps: float
    loop: bool


class AnimationAnswer(AssetAnswer):
    """What generate_animation answers."""

    paths: list[str] = Field(description="Sheet, its layouts and its moving preview, absolute")
    sprite_id: str = Field(default="", description="The asset_id of the sprite that was animated")
    tile_width: int
    tile_height: int
    columns: int
    rows: int
    clips: dict[str, ClipItem]
    made: dict[str, str] = Field(description="What was drawn and what was moved, by motion or clip")
    notes: list[str] = Field(default=[], description="How the frames were made, fallbacks, and what was guessed")
    rust: str = Field(default="", description="Plays the first clip with the plugin of init-game, once deployed")
    rust_without_plugin: str = Field(default="", description="A module that plays it with a TextureAtlas instead")
    seed: int
    unknown_words: list[str] = Field([])


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds generate_animation."""

    @mcp.tool(
        name="generate_animation",
        title="Generate animation",
        output_schema=schema(AnimationAnswer),
        annotations=makes(),
        tags={"generate"},
    )
    @flat
    async def generate_animation_tool(
        request: AnimationRequest, ctx: Context, project: ProjectArgument = ""
    ) -> ToolResult:
        """Use when a character, monster or item should move, or for effects: makes an animated spritesheet.
        A row for each motion and direction, one palette. Give the asset_id of a sprite that is good, or a prompt.
        deploy_asset writes layouts for Bevy and Aseprite.
        Example: generate_animation(asset_id="3f2a9c01b7de", motions=["idle", "walk"], directions=4)"""

        def work(on_progress: OnProgress) -> ToolResult:
            return _answer(generate_animation(studio, request, on_progress, project=project or None))

        return await in_thread(ctx, work, LOADING)


def _answer(done: DrawnAnimation) -> ToolResult:
    from server.deploy.bevy.snippets import sheet_line, sheet_without_plugin
    from server.deploy.deploy import default_path
    from server.deploy.paths import suggest_path
    from server.features.preview import preview_png

    asset, sheet = done.asset, done.sheet
    path = default_path(asset, done.project) if done.project else suggest_path(asset.recipe.prompt)
    warnings = base_warnings(asset.recipe)
    if done.unknown_words:
        warnings.append(f"The model does not know: {', '.join(done.unknown_words)}. Use plainer words for these.")
    failed = [name for name, held in asset.report["gates"].items() if not held]
    if failed and done.key is None:
        warnings.append(f"{', '.join(failed)} does not hold. Draw again with another seed.")
    elif failed:
        warnings.append(f"{', '.join(failed)} does not hold. Take a sprite with clear legs, or fewer frames.")
    answer = AnimationAnswer(
        asset_id=asset.id,
        uri=asset.uri,
        paths=[str(done.library.path(asset, file.name)) for file in asset.files],
        sprite_id=done.key.id if done.key else "",
        tile_width=sheet.tile_width,
        tile_height=sheet.tile_height,
        columns=sheet.columns,
        rows=sheet.rows,
        clips={name: ClipItem(first=c.first, last=c.last, fps=c.fps, loop=c.loop) for name, c in sheet.clips.items()},
        made=done.made,
        notes=list(done.notes),
        rust=sheet_line(path, next(iter(sheet.clips))),
        rust_without_plugin=sheet_without_plugin(path, sheet),
        seed=asset.recipe.seed,
        palette=asset.details["palette"],
        passed=asset.report["passed"],
        gates=asset.report["gates"],
        scores=asset.report["scores"],
        unknown_words=list(done.unknown_words),
        warnings=warnings,
        next_step=f"deploy_asset(asset_id='{asset.id}') puts sheet and layout into {done.project.name}."
        if done.project
        else "No game was found: give project='/path/to/game' to deploy_asset.",
    )
    return result(answer, preview=preview_png([sheet.image]))
