"""The tool generate_tileset and the resource tileset://."""

from __future__ import annotations

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import Field

from server.errors import ServerError
from server.features.lora_bases import base_warnings
from server.features.requests import TilesetRequest
from server.features.tilesets import DrawnTileset, bevy_snippet, generate_tileset
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


class TilesetAnswer(AssetAnswer):
    """What generate_tileset answers."""

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
    unknown_words: list[str] = Field([])
    seconds: float
    bevy: str = Field(default="", description="Rust that shows the set, for the game's Bevy")


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds generate_tileset and tileset://."""

    @mcp.tool(
        name="generate_tileset",
        title="Generate tileset",
        output_schema=schema(TilesetAnswer),
        annotations=makes(),
        tags={"generate"},
    )
    @flat
    async def generate_tileset_tool(request: TilesetRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when a game needs a tilemap: terrain or background textures that tile, shores, paths, cliffs.
        Makes a set in one palette whose tiles fit, with Tiled files, Bevy code and a sample map. To stack terrains
        give an earlier set's asset_id: sand on water, then upper="grass", lower=<its asset_id>.
        Example: generate_tileset(upper="grass", lower="water", tile_size=16)"""

        def work(on_progress: OnProgress) -> ToolResult:
            return _answer(generate_tileset(studio, request, on_progress, project=project or None))

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
    from pipelines.tiles.layouts import LAYOUTS
    from server.deploy.bevy.detect import detect
    from server.deploy.deploy import default_path
    from server.features.preview import preview_png

    asset, tileset = done.asset, done.tileset
    recipe, size = asset.recipe, asset.recipe.width
    warnings = [*done.notes, *base_warnings(recipe), *tileset.warnings]
    if tileset.unknown_words:
        warnings.append(f"The model does not know: {', '.join(tileset.unknown_words)}. Use plainer words for these.")
    if failed := [name for name, held in tileset.report.gates.items() if not held]:
        warnings.append(f"{', '.join(failed)} does not hold. Draw again with another seed.")
    snippet, step = "", "No game was found: give project='/path/to/game' to deploy_asset."
    if done.project is not None:
        path = default_path(asset, done.project)
        snippet = bevy_snippet(tileset, path, detect(done.project).minor)
        step = f"deploy_asset(asset_id='{asset.id}') puts it into {done.project.name} as {path}."
        if tileset.layout.two and tileset.layout.name in LAYOUTS:
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
        palette=asset.details["palette"],
        passed=tileset.report.passed,
        gates=tileset.report.gates,
        scores={name: round(value, 4) for name, value in tileset.report.scores.items()},
        unknown_words=list(tileset.unknown_words),
        warnings=warnings,
        seconds=round(done.seconds, 3),
        bevy=snippet,
        next_step=step,
    )
    return result(answer, preview=preview_png([tileset.preview]))
