"""generate_sprite: words to finished sprites."""

from __future__ import annotations

from typing import Annotated

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.features.bases import base_warnings
from server.features.sprites import DrawnSprites, generate_sprites
from server.protocol.tools.common import (
    LOADING,
    OnProgress,
    ProjectArgument,
    Prompt,
    Seed,
    check_prompt,
    in_thread,
    link,
    makes,
    result,
    schema,
)
from server.studio import Studio

Side = Annotated[int | None, Field(description="Pixels, 8 to 64; none: as the game's style says (else 32).")]


class SpriteItem(BaseModel):
    """One sprite."""

    asset_id: str
    uri: str
    path: str = Field(description="The PNG in the library, absolute")
    width: int
    height: int
    seed: int
    palette: list[str] = Field(description="Its colours as RRGGBB")
    passed: bool = Field(description="Whether every gate holds")
    gates: dict[str, bool] = {}
    scores: dict[str, float] = {}


class SpriteAnswer(BaseModel):
    """What generate_sprite answers. `asset_id` is the first sprite's; all are in `sprites`."""

    asset_id: str
    paths: list[str]
    sprites: list[SpriteItem]
    prompt: str
    model: str
    unknown_words: list[str] = []
    warnings: list[str] = []
    seconds: float
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds generate_sprite."""

    @mcp.tool(title="Generate sprite", output_schema=schema(SpriteAnswer), annotations=makes(), tags={"generate"})
    async def generate_sprite(
        prompt: Prompt,
        ctx: Context,
        size: Side = None,
        width: Side = None,
        height: Side = None,
        seed: Seed = None,
        count: Annotated[int, Field(description="How many, 1 to 16, with seeds one after another.")] = 1,
        model: Annotated[str, Field(description="A model of list_models; empty: the game's.")] = "",
        preset: Annotated[
            str, Field(description="Quick or careful (embedded: turbo, guided; sdxl: quality, fast, draft).")
        ] = "",
        negative: Annotated[str, Field(description="What must not be in it.")] = "",
        palette: Annotated[
            str,
            Field(
                description="A palette file in the game (.hex, .gpl, .pal, .png strip) or RRGGBB words; "
                "'none': free colours; empty: the game's palette."
            ),
        ] = "",
        colors: Annotated[int | None, Field(description="The most colours, 2 to 64, where no palette rules.")] = None,
        outline: Annotated[str, Field(description="none, outer, inner or selective; empty: the game's.")] = "",
        candidates: Annotated[int, Field(description="Draw this many for each sprite, keep the best.")] = 1,
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when a game needs a sprite or a tile: a character, monster, item, plant, building, floor or wall. Draws
        it from words as finished pixel art - exact size, one palette, hard edges, transparent ground - and keeps it in
        the library; the answer shows it enlarged. Look at it: another seed or plainer words give another picture,
        count=4 gives a choice. Nothing is in the game until deploy_asset. Say what it is and its colour ("red dragon",
        "stone floor"); style words are not needed. A small model lists the words it does not know: rephrase those."""
        words = check_prompt(prompt)

        def work(on_progress: OnProgress) -> ToolResult:
            done = generate_sprites(
                studio,
                words,
                on_progress,
                project=project or None,
                count=count,
                size=size,
                width=width,
                height=height,
                seed=seed,
                model=model,
                preset=preset,
                negative=negative,
                palette=palette,
                colors=colors,
                outline=outline,
                candidates=candidates,
            )
            return _answer(done, words)

        return await in_thread(ctx, work, LOADING)


def _answer(done: DrawnSprites, prompt: str) -> ToolResult:
    from server.features.preview import preview_png

    items = [
        SpriteItem(
            asset_id=sprite.asset.id,
            uri=sprite.asset.uri,
            path=str(done.library.path(sprite.asset)),
            width=sprite.asset.recipe.width,
            height=sprite.asset.recipe.height,
            seed=sprite.asset.recipe.seed,
            palette=sprite.asset.details["palette"],
            passed=sprite.asset.report["passed"],
            gates=sprite.asset.report["gates"],
            scores=sprite.asset.report["scores"],
        )
        for sprite in done.sprites
    ]
    warnings = base_warnings(*(sprite.asset.recipe for sprite in done.sprites))
    if done.unknown_words:
        warnings.append(f"The model does not know: {', '.join(done.unknown_words)}. Use plainer words for these.")
    for item in items:
        if failed := [name for name, held in item.gates.items() if not held]:
            warnings.append(f"{item.asset_id}: {', '.join(failed)} does not hold. Draw again with another seed.")
    answer = SpriteAnswer(
        asset_id=items[0].asset_id,
        paths=[item.path for item in items],
        sprites=items,
        prompt=prompt,
        model=done.sprites[0].asset.recipe.model,
        unknown_words=list(done.unknown_words),
        warnings=warnings,
        seconds=round(done.seconds, 3),
        next_step=_next_step(done, items),
    )
    links = [link(sprite.asset.uri, done.library.path(sprite.asset)) for sprite in done.sprites]
    return result(answer, preview=preview_png([sprite.image for sprite in done.sprites], numbered=True), links=links)


def _next_step(done: DrawnSprites, items: list[SpriteItem]) -> str:
    if done.project is None:
        return "No game was found: give project='/path/to/game' to deploy_asset."
    which = "" if len(items) == 1 else "Choose one. "
    return f"{which}deploy_asset(asset_id='{items[0].asset_id}') puts it into {done.project.name}."
