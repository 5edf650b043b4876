"""generate_animation: words, or a sprite, to an animated sheet."""

from __future__ import annotations

from typing import Annotated

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from server.features.animations import DrawnAnimation, generate_animation, motions_of
from server.features.bases import base_warnings
from server.protocol.tools.common import (
    LOADING,
    OnProgress,
    ProjectArgument,
    Seed,
    check_prompt,
    in_thread,
    link,
    makes,
    result,
    schema,
)
from server.studio import Studio


class ClipItem(BaseModel):
    """One animation of the sheet: tiles first..last, from 0, row by row."""

    first: int
    last: int
    fps: float
    loop: bool


class AnimationAnswer(BaseModel):
    """What generate_animation answers."""

    asset_id: str
    uri: str
    paths: list[str] = Field(description="Sheet, its layouts and its moving preview, absolute")
    sprite_id: str = Field(description="The asset_id of the sprite that was animated")
    tile_width: int
    tile_height: int
    columns: int
    rows: int
    clips: dict[str, ClipItem]
    seed: int
    palette: list[str] = []
    passed: bool
    gates: dict[str, bool] = {}
    scores: dict[str, float] = {}
    unknown_words: list[str] = []
    warnings: list[str] = []
    next_step: str = ""


Motions = Annotated[
    tuple[str, ...],
    AfterValidator(motions_of),
    BeforeValidator(lambda said: motions_of(said) if isinstance(said, str) else said),
    Field(description="Of idle, walk, attack, hurt, die."),
]


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds generate_animation."""

    @mcp.tool(
        name="generate_animation",
        title="Generate animation",
        output_schema=schema(AnimationAnswer),
        annotations=makes(),
        tags={"generate"},
    )
    async def generate_animation_tool(
        ctx: Context,
        prompt: Annotated[str, Field(description="What to draw and animate; leave empty with asset_id.")] = "",
        asset_id: Annotated[str, Field(description="A sprite of the library to animate as it is.")] = "",
        motions: Motions = ("idle", "walk"),
        frames: Annotated[int, Field(description="Frames of each clip, 2 to 8.")] = 4,
        directions: Annotated[int, Field(description="1, 2 (right, left) or 4 (down, up, right, left).")] = 1,
        fps: Annotated[float, Field(description="Frames a second, 1 to 60.")] = 8.0,
        faces: Annotated[str, Field(description="Which way the sprite looks: right or left.")] = "right",
        size: Annotated[int | None, Field(description="Pixels of a frame, 8 to 64; none: as the game's style.")] = None,
        seed: Seed = None,
        model: Annotated[str, Field(description="A model of list_models; empty: the game's.")] = "",
        palette: Annotated[str, Field(description="As in generate_sprite.")] = "",
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when a character, monster or item of a game should move: makes a sprite sheet with a row for each motion
        and direction, the same character in every frame, one palette, feet on one line; the answer shows it moving.
        Draw the sprite first with generate_sprite, choose one, and give its asset_id; or give a prompt to do both.
        deploy_asset then writes the sheet with its layout (name.sheet.json for the Bevy loader, name.json in Aseprite's
        form). Motions are made by moving the sprite's own pixels: whole bodies with legs below look best."""
        words = check_prompt(prompt) if prompt.strip() or not asset_id else ""

        def work(on_progress: OnProgress) -> ToolResult:
            done = generate_animation(
                studio,
                on_progress,
                prompt=words,
                asset_id=asset_id,
                motions=motions,
                frames=frames,
                directions=directions,
                fps=fps,
                faces=faces,
                project=project or None,
                size=size,
                seed=seed,
                model=model,
                palette=palette,
            )
            return _answer(done)

        return await in_thread(ctx, work, LOADING)


def _answer(done: DrawnAnimation) -> ToolResult:
    from server.features.preview import preview_png

    asset, sheet = done.asset, done.sheet
    warnings = base_warnings(asset.recipe)
    if done.unknown_words:
        warnings.append(f"The model does not know: {', '.join(done.unknown_words)}. Use plainer words for these.")
    if failed := [name for name, held in asset.report["gates"].items() if not held]:
        warnings.append(f"{', '.join(failed)} does not hold. Take a sprite with clear legs, or fewer frames.")
    answer = AnimationAnswer(
        asset_id=asset.id,
        uri=asset.uri,
        paths=[str(done.library.path(asset, file.name)) for file in asset.files],
        sprite_id=done.key.id,
        tile_width=sheet.tile_width,
        tile_height=sheet.tile_height,
        columns=sheet.columns,
        rows=sheet.rows,
        clips={name: ClipItem(first=c.first, last=c.last, fps=c.fps, loop=c.loop) for name, c in sheet.clips.items()},
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
    links = [link(asset.uri, done.library.path(asset))]
    return result(answer, preview=preview_png([sheet.image]), links=links)
