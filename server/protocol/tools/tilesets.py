"""generate_tileset: two terrains to a set of tiles that fit; tileset:// gives an atlas."""

from __future__ import annotations

from typing import Annotated

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import BaseModel, Field

from server.errors import ServerError
from server.features.bases import base_warnings
from server.features.tilesets import DrawnTileset, bevy_snippet, generate_tileset
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


class TilesetAnswer(BaseModel):
    """What generate_tileset answers."""

    asset_id: str
    uri: str
    paths: list[str] = Field(
        description="Atlas, sheet.json (mask -> tile), Tiled .tsx and .tmx, vertical strip, preview"
    )
    layout: str
    upper: str
    lower: str = ""
    tile_size: int
    tiles: int
    columns: int
    width: int
    height: int
    seed: int
    model: str
    palette: list[str] = Field(description="Its colours as RRGGBB")
    passed: bool = Field(description="Whether every gate holds")
    gates: dict[str, bool] = {}
    scores: dict[str, float] = {}
    unknown_words: list[str] = []
    warnings: list[str] = []
    seconds: float
    bevy: str = Field(default="", description="Rust that shows the set, for the game's Bevy")
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds generate_tileset and tileset://."""

    @mcp.tool(
        name="generate_tileset",
        title="Generate tileset",
        output_schema=schema(TilesetAnswer),
        annotations=makes(),
        tags={"generate"},
    )
    async def generate_tileset_tool(
        upper: Annotated[
            str,
            Field(
                description="The terrain on top, in words ('grass'), or an earlier set's asset_id: its lower terrain."
            ),
        ],
        ctx: Context,
        lower: Annotated[
            str,
            Field(
                description="The terrain beside and below ('water'), or an earlier set's asset_id: its upper terrain. "
                "Empty: nothing (tiles with clear ground), and for seamless and variations."
            ),
        ] = "",
        tile_size: Annotated[
            int | None, Field(description="Pixels: 8, 16, 24, 32, 40, 48, 56 or 64; none: the game's (else 16).")
        ] = None,
        layout: Annotated[
            str,
            Field(
                description="wang16 (corners, dual grid), blob47 (a cell knows its neighbours), edge16 (paths), "
                "platformer (side view), seamless (one tile) or variations (of one terrain)."
            ),
        ] = "wang16",
        border: Annotated[str, Field(description="auto (by the words), grassy, soft or crisp.")] = "auto",
        method: Annotated[
            str,
            Field(description="composite: painted borders, clean. joint (wang16): drawn by the model, softer."),
        ] = "composite",
        axes: Annotated[str, Field(description="For seamless: both, x or y.")] = "both",
        variants: Annotated[int, Field(description="For variations: how many tiles, 2 to 12.")] = 4,
        seed: Seed = None,
        model: Annotated[str, Field(description="A model of list_models; empty: the game's.")] = "",
        negative: Annotated[str, Field(description="What must not be in it.")] = "",
        palette: Annotated[
            str, Field(description="As in generate_sprite; 'none': free colours; empty: the game's palette.")
        ] = "",
        colors: Annotated[int | None, Field(description="The most colours, 4 to 64, where no palette rules.")] = None,
        candidates: Annotated[int | None, Field(description="Textures to choose from for each terrain.")] = None,
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when a game needs ground: terrain that tiles, shores, paths, platforms. Makes a whole set in one palette
        in which every legal neighbour fits to the pixel, with a table from mask to tile, a Tiled tileset and a sample
        map; the answer shows that map. Name terrains plainly ('grass', 'water', 'sand', 'gray stone', 'lava'). To chain
        terrains give an earlier set's asset_id: sand on water first, then upper='grass', lower=<its asset_id> lays
        grass on the same sand. deploy_asset puts the set into the game."""
        upper, lower = check_prompt(upper), " ".join(lower.split())

        def work(on_progress: OnProgress) -> ToolResult:
            done = generate_tileset(
                studio,
                upper,
                lower,
                on_progress,
                project=project or None,
                tile_size=tile_size,
                candidates=candidates,
                layout=layout,
                border=border,
                method=method,
                axes=axes,
                variants=variants,
                seed=seed,
                model=model,
                negative=negative,
                palette=palette,
                colors=colors,
            )
            return _answer(done)

        return await in_thread(ctx, work, LOADING)

    @mcp.resource("tileset://{asset_id}", name="tileset", title="A tileset's atlas", mime_type="image/png")
    def tileset(asset_id: str) -> bytes:
        """The atlas PNG of a tileset, by its asset_id."""
        try:
            library, asset = studio.find_asset(asset_id, studio.project())
            return library.read(asset)
        except ServerError as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error


def _answer(done: DrawnTileset) -> ToolResult:
    from server.deploy.bevy.detect import detect
    from server.deploy.deploy import default_path
    from server.features.preview import preview_png

    asset, tileset = done.asset, done.tileset
    recipe, size = asset.recipe, asset.recipe.width
    warnings = base_warnings(recipe)
    if tileset.unknown_words:
        warnings.append(f"The model does not know: {', '.join(tileset.unknown_words)}. Use plainer words for these.")
    if failed := [name for name, held in tileset.report.gates.items() if not held]:
        warnings.append(f"{', '.join(failed)} does not hold. Draw again with another seed.")
    snippet, step = "", "No game was found: give project='/path/to/game' to deploy_asset."
    if done.project is not None:
        path = default_path(asset, done.project)
        snippet = bevy_snippet(tileset, path, detect(done.project).minor)
        step = f"deploy_asset(asset_id='{asset.id}') puts it into {done.project.name} as {path}."
        if tileset.layout.two:
            step += f" generate_tileset(upper=..., lower='{asset.id}') lays another terrain on its upper one."
    answer = TilesetAnswer(
        asset_id=asset.id,
        uri=asset.uri,
        paths=[str(done.library.path(asset, file.name)) for file in asset.files],
        layout=tileset.layout.name,
        upper=str(recipe.options["upper"]),
        lower=str(recipe.options["lower"]),
        tile_size=size,
        tiles=len(tileset.tiles),
        columns=tileset.layout.columns,
        width=tileset.atlas.shape[1],
        height=tileset.atlas.shape[0],
        seed=recipe.seed,
        model=recipe.model,
        palette=list(tileset.palette.words),
        passed=tileset.report.passed,
        gates=tileset.report.gates,
        scores={name: round(value, 4) for name, value in tileset.report.scores.items()},
        unknown_words=list(tileset.unknown_words),
        warnings=warnings,
        seconds=round(done.seconds, 3),
        bevy=snippet,
        next_step=step,
    )
    links = [link(asset.uri, done.library.path(asset))]
    return result(answer, preview=preview_png([tileset.preview]), links=links)
