"""The tool generate_sprite."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.features.lora_bases import base_warnings
from server.features.requests import Count, SpriteRequest
from server.features.sprites import DrawnSprites, generate_sprites
from server.protocol.tools.common import LOADING, OnProgress, ProjectArgument, in_thread, makes, result, schema
from server.protocol.tools.flat import flat
from server.studio import Studio


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
    doubtful: bool = Field(False, description="A judge does not see the noun: look, or try other_seeds")
    other_seeds: list[int] = Field([], description="With candidates=1 they draw the others, the next best first")


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
    @flat
    async def generate_sprite(
        request: SpriteRequest,
        ctx: Context,
        count: Count = 1,
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when a game needs a picture: draws a sprite, icon, image, texture, character, item, building or tile.
        Returns the picture as pixel art (exact size, one palette, transparent background) and its asset_id;
        deploy_asset puts it into the game. Not good? Another seed, plainer words, or count=4 to choose. Name the thing
        and its colour, not an art style.
        Example: generate_sprite(prompt="red dragon", size=32, count=4)"""

        def work(on_progress: OnProgress) -> ToolResult:
            done = generate_sprites(studio, request, on_progress, project=project or None, count=count)
            return _answer(done, request.prompt)

        return await in_thread(ctx, work, LOADING)


def _answer(done: DrawnSprites, prompt: str) -> ToolResult:
    from pipelines.sprites.candidates import is_doubtful
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
            doubtful=is_doubtful(sprite.asset.report["scores"]),
            other_seeds=list(sprite.other_seeds),
        )
        for sprite in done.sprites
    ]
    warnings = [*done.notes, *base_warnings(*(sprite.asset.recipe for sprite in done.sprites))]
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
    return result(answer, preview=preview_png([sprite.image for sprite in done.sprites], numbered=True))


def _next_step(done: DrawnSprites, items: list[SpriteItem]) -> str:
    from server.deploy.bevy.detect import detect
    from server.deploy.bevy.snippets import sprite_line
    from server.deploy.deploy import default_path

    if done.project is None:
        return "No game was found: give project='/path/to/game' to deploy_asset."
    which = "" if len(items) == 1 else "Choose one. "
    line = sprite_line(default_path(done.sprites[0].asset, done.project), detect(done.project).minor)
    return f"{which}deploy_asset(asset_id='{items[0].asset_id}') puts it into {done.project.name}. Its code: {line}"
