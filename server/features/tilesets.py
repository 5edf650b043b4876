"""Draw tilesets, on terrains of earlier sets where a request names them, and write the Bevy code that shows one."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from server.features.lora_bases import record_bases
from server.features.recipes import compose_recipe
from server.features.references import references_of, with_references
from server.features.save import save_asset
from server.library.store import ASSET_ID
from server.project.style import Style

if TYPE_CHECKING:
    from pipelines.records import OnProgress, Pixels
    from pipelines.tiles.tileset import Tileset
    from server.features.requests import TilesetRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

OPTIONS = ("layout", "border", "method", "axes", "variants")
"""Fields of a request that are the recipe's options."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnTileset:
    """A tileset that was drawn and kept."""

    project: Project | None
    library: Library
    asset: Asset
    tileset: Tileset
    seconds: float
    notes: tuple[str, ...] = ()


def generate_tileset(
    studio: Studio, request: TilesetRequest, on_progress: OnProgress, *, project: str | None = None
) -> DrawnTileset:
    """Draws a tileset and keeps it in the game's library.

    A terrain is a prompt, or the asset id of an earlier tileset: `upper=<id>` takes the earlier set's lower terrain and
    `lower=<id>` its upper one, so that sets stack (water, sand, grass); `<id>:upper` and `<id>:lower` choose one.

    Raises:
        ServerError, LibraryError: an earlier set is unknown, or the library cannot be used.
        PipelineError: an option cannot be used, or the drawing was cancelled.
    """
    from pipelines.tiles.projected import draw_set

    started = time.perf_counter()
    game = studio.project(project)
    prompts: dict[str, str] = {}
    given: dict[str, Pixels] = {}
    sources: dict[str, str] = {}
    for name, text, default in (("upper", request.upper, "lower"), ("lower", request.lower, "upper")):
        if earlier := _earlier(text):
            asset_id, which = earlier[0], earlier[1] or default
            prompts[name], given[name] = _terrain(studio, game, asset_id, which)
            sources[name] = f"{asset_id}:{which}"
        else:
            prompts[name] = text
    style = game.style if game else Style()
    size = request.tile_size
    if size is None:
        size = next(iter(given.values())).shape[0] if given else style.tile_size
    options: dict[str, Any] = {name: getattr(request, name) for name in OPTIONS} | prompts
    if sources:
        options["from"] = sources
    recipe = compose_recipe(
        studio,
        game,
        request,
        kind="tileset",
        prompt=f"{prompts['upper']} {prompts['lower']}".strip(),
        width=size,
        height=size,
        candidates=request.candidates or 0,
        options=options,
    )
    library = studio.library(game)
    recipe, notes = with_references(studio, game, library, request.reference, recipe)
    tileset = draw_set(studio.engine, recipe, on_progress, given, references_of(studio, game, recipe))
    tileset = replace(tileset, recipe=record_bases(studio, tileset.recipe))
    asset = save_asset(
        library,
        tileset.recipe,
        tileset.atlas,
        tileset.report,
        palette=tileset.palette,
        indexed=False,  # tile maps sample RGBA
        files=tileset.companions(),
        details={
            "unknown_words": list(tileset.unknown_words),
            "layout": request.layout,
            "tiles": len(tileset.tiles),
        },
    )
    return DrawnTileset(game, library, asset, tileset, time.perf_counter() - started, notes)


def bevy_snippet(tileset: Tileset, path: str, minor: int) -> str:
    """Writes Rust that shows the set's sample map as Bevy's own tilemap: a startup system with the imports it needs.

    `path` is the atlas in assets/, `minor` the 19 of Bevy 0.19 (0: unknown). Empty for a Bevy without TilemapChunk
    (before 0.17).
    """
    from pipelines.tiles.projected_set import ProjectedSet
    from pipelines.tiles.props import PropSet
    from server.features.tile_snippets import moving_system, placed_sprites, standing_props

    count, size = len(tileset.tiles), tileset.tiles[0].shape[0]
    if isinstance(tileset, PropSet):
        return standing_props(tileset, path)
    if isinstance(tileset, ProjectedSet) and not tileset.on_square_grid:
        return placed_sprites(tileset, path)
    name = path.removesuffix(".png")
    if minor and minor < 17:
        return ""
    array = f"ImageArrayLayout::RowCount {{ rows: {count} }}"
    settings = f"|settings: &mut ImageLoaderSettings| settings.array_layout = Some({array})"
    if minor == 17:
        load = f'asset_server.load("{name}_strip.png")'
        note = (
            f"    // Once it is loaded: images.get_mut(&tileset).unwrap().reinterpret_stacked_2d_as_array({count});\n"
        )
    elif minor == 18:
        load, note = f'asset_server.load_with_settings("{name}_strip.png", {settings})', ""
    else:
        load, note = f'asset_server.load_builder().with_settings({settings}).load("{name}_strip.png")', ""
    moving = moving_system(tileset) if isinstance(tileset, ProjectedSet) and tileset.frames > 1 else ""
    rows, columns = tileset.map.shape
    numbers = "".join(f"        [{', '.join(map(str, row))}],\n" for row in tileset.map.tolist())
    # chunks count their rows from the bottom since 0.18
    order = "map.iter()" if minor == 17 else "map.iter().rev()"
    return (
        ("" if minor == 17 else "use bevy::image::{ImageArrayLayout, ImageLoaderSettings};\n")
        + "use bevy::prelude::*;\nuse bevy::sprite_render::{TileData, TilemapChunk, TilemapChunkTileData};\n\n"
        + f"/// A sample map; {name}.sheet.json says which tile is for which mask. -1 is an empty place.\n"
        + "fn spawn_tiles(mut commands: Commands, asset_server: Res<AssetServer>) {\n"
        + f"    let tileset = {load};\n{note}    let map: [[i16; {columns}]; {rows}] = [\n{numbers}    ];\n"
        + "    let tile = |&i: &i16| (i >= 0).then(|| TileData::from_tileset_index(i as u16));\n"
        + f"    let tiles = {order}.flatten().map(tile).collect();\n"
        + f"    let (chunk_size, tile_display_size) = (UVec2::new({columns}, {rows}), UVec2::splat({size}));\n"
        + "    let chunk = TilemapChunk { chunk_size, tile_display_size, tileset, ..default() };\n"
        + "    commands.spawn((chunk, TilemapChunkTileData(tiles)));\n}\n"
        + moving
    )


def _earlier(text: str) -> tuple[str, str] | None:
    """Returns (asset id, upper | lower | "") where the text names an earlier tileset."""
    head, _, which = text.partition(":")
    return (head, which) if ASSET_ID.fullmatch(head) and which in ("", "upper", "lower") else None


def _terrain(studio: Studio, game: Project | None, asset_id: str, which: str) -> tuple[str, Pixels]:
    """Returns the prompt and the texture of an earlier set's terrain."""
    from pipelines.pixels.png import read_picture
    from pipelines.tiles.cliffs import split_prompt
    from pipelines.tiles.layouts import find_layout
    from pipelines.tiles.projected import PROJECTED
    from pipelines.tiles.tileset import terrain_of

    library, asset = studio.find_asset(asset_id, game)
    if asset.kind != "tileset":
        raise InvalidRequest(
            f"Asset {asset_id} is a {asset.kind}, not a tileset. Give the asset_id of a tileset (list_assets with "
            "kind='tileset' shows them), or name the terrain, for example 'grass'."
        )
    options = asset.recipe.options
    if options.get("layout") in PROJECTED:
        raise InvalidRequest(
            f"Asset {asset_id} has the layout {options['layout']}, which cannot be continued. Continue a square set "
            "(wang16), or name the terrain."
        )
    atlas = read_picture(library.read(asset))
    texture = terrain_of(atlas, find_layout(str(options.get("layout", ""))), asset.recipe.width, which)
    prompt = re.sub(r"\s+", " ", str(options.get(which, which)))
    # of cliffs ("grass on stone") the terrain is what lies on top
    return split_prompt(prompt)[0] if options.get("layout") == "cliffs" else prompt, texture
