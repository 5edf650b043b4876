"""edit_sprite: a sprite drawn over, recoloured or resized."""

from __future__ import annotations

from typing import Annotated

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.features.bases import base_warnings
from server.features.edits import Edited, edit_sprite, parse_recolor
from server.protocol.tools.common import (
    LOADING,
    AssetId,
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


class EditAnswer(BaseModel):
    """What edit_sprite answers: a new asset; the one it was made of stays."""

    asset_id: str
    uri: str
    paths: list[str]
    edited_from: str
    width: int
    height: int
    seed: int
    changed_pixels: int
    palette: list[str] = []
    passed: bool
    gates: dict[str, bool] = {}
    scores: dict[str, float] = {}
    unknown_words: list[str] = []
    warnings: list[str] = []
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds edit_sprite."""

    @mcp.tool(
        name="edit_sprite",
        title="Edit sprite",
        output_schema=schema(EditAnswer),
        annotations=makes(),
        tags={"generate"},
    )
    async def edit_sprite_tool(
        asset_id: AssetId,
        ctx: Context,
        prompt: Annotated[str, Field(description="Draw it over by these words; empty: a variation of itself.")] = "",
        strength: Annotated[float, Field(description="How much may change: 0.3 a little, 0.5, 0.8 nearly all.")] = 0.5,
        place: Annotated[
            str, Field(description='Only there: "hat", "head", "body", "legs", "boots", "top", "left", "middle".')
        ] = "",
        recolor: Annotated[str, Field(description="Swap colours, old:new: 'ff0000:3f6fd0, 8c1f2b:2b4f8c'.")] = "",
        palette: Annotated[str, Field(description="Repaint in this palette (file or RRGGBB words).")] = "",
        width: Annotated[int | None, Field(description="Resize to this many pixels.")] = None,
        height: Annotated[int | None, Field(description="Resize to this many pixels.")] = None,
        seed: Seed = None,
        model: Annotated[str, Field(description="A model of list_models; empty: the one that drew it.")] = "",
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when a sprite is nearly right: draw it over in part ("a blue hat", place="hat") or whole (strength says
        how much), make a variation, swap colours, repaint it in a palette, or resize it. One change a call; edit the
        result again for the next. Pixels outside `place` stay exactly as they are. The answer shows before and after;
        the edited sprite is a new asset, and the old one stays. deploy_asset puts it into the game."""
        words = check_prompt(prompt) if prompt.strip() else ""

        def work(on_progress: OnProgress) -> ToolResult:
            done = edit_sprite(
                studio,
                asset_id,
                on_progress,
                prompt=words,
                strength=strength,
                place=place.strip(),
                recolor=parse_recolor(recolor) if recolor.strip() else None,
                palette=palette.strip(),
                width=width,
                height=height,
                seed=seed,
                model=model,
                project=project or None,
            )
            return _answer(done, asset_id)

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
        paths=[str(done.library.path(asset))],
        edited_from=edited_from,
        width=asset.recipe.width,
        height=asset.recipe.height,
        seed=asset.recipe.seed,
        changed_pixels=done.changed,
        palette=asset.details["palette"],
        passed=asset.report["passed"],
        gates=asset.report["gates"],
        scores=asset.report["scores"],
        unknown_words=list(done.unknown_words),
        warnings=warnings,
        next_step=f"deploy_asset(asset_id='{asset.id}') puts it into the game.",
    )
    preview = preview_png([done.before, done.after])
    return result(answer, preview=preview, links=[link(asset.uri, done.library.path(asset))])
