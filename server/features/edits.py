"""Edit the sprites and sheets of a library: the result is a new asset, and the edited one stays."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.kept import check_weights, mask_of, parse_recolor, read_sprite
from server.features.lora_bases import record_bases
from server.features.recipes import palette_colors
from server.features.save import save_asset
from server.storage import check_storage

if TYPE_CHECKING:
    from pipelines.records import OnProgress, Pixels
    from server.features.requests import EditRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio


@dataclass(frozen=True, slots=True, eq=False)
class Edited:
    """One edited sprite or sheet, kept as an asset of its own, beside what it was made of."""

    project: Project | None
    library: Library
    before: Pixels
    after: Pixels
    asset: Asset
    changed: int
    unknown_words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def edit_sprite(studio: Studio, request: EditRequest, on_progress: OnProgress, *, project: str | None = None) -> Edited:
    """Makes the one change that the request asks for: recolor, palette, transform, size, or else drawing it over.

    Of a sheet, one frame is drawn over (or given as a picture), and the change is carried to all others.

    Raises:
        LibraryError: the sprite does not exist.
        InvalidRequest: changes that do not go together, or that change nothing.
        PipelineError, ServerError: as `generate_sprites`.
    """
    from pipelines.pixels.palette import Palette
    from pipelines.sprites import edit
    from pipelines.sprites.transform import transform

    check_storage()
    game = studio.project(project)
    home, asset = studio.find_asset(request.asset_id, game)
    sized = bool(request.width or request.height)
    chosen = [bool(request.recolor), bool(request.palette), bool(request.transform), sized]
    tinted = bool(request.recolor and request.place and ":" not in request.recolor and "->" not in request.recolor)
    if sum(chosen) > 1 or (any(chosen) and (request.prompt or (request.place and not tinted))):
        raise InvalidRequest(
            "One change at a time: draw over (prompt, place, strength), recolor, palette, transform, or size. Edit the "
            "result again for the next."
        )
    if request.picture and (any(chosen) or request.prompt or request.place):
        raise InvalidRequest("picture is a change by itself: leave prompt, place, recolor, palette and sizes out.")
    if asset.kind == "sheet":
        return _edit_sheet(studio, game, home, asset, request, on_progress)
    if asset.kind != "sprite":
        raise LibraryError(
            f"Asset {asset.id} is a {asset.kind}; only sprites and sheets can be edited. list_assets shows them."
        )
    if request.picture or request.frame:
        raise InvalidRequest(f"picture and frame are for sheets; {asset.id} is a sprite. Use fix_pixel_art for a file.")
    image = read_sprite(home, asset)
    recipe = asset.recipe
    origin = {"edited_from": asset.id}
    if tinted:
        sprite = edit.tint(image, recipe, mask_of(studio, game, image, request.place), request.recolor)
        origin |= {"recolor": request.recolor, "place": request.place}
    elif request.recolor:
        colors = parse_recolor(request.recolor)
        sprite = edit.recolor(image, recipe, colors)
        origin["recolor"] = ",".join(f"{a}:{b}" for a, b in colors.items())
    elif request.palette:
        locked = palette_colors(game, request.palette)
        if not locked:
            raise InvalidRequest("palette='none' repaints nothing. Give a palette file or RRGGBB colours.")
        sprite = edit.repaint(image, recipe, Palette.from_hex(locked))
    elif request.transform:
        sprite = edit.moved(transform(image, request.transform), recipe)
        origin["transform"] = request.transform
    elif sized:
        sides = _side(request.width or recipe.width), _side(request.height or recipe.height)
        sprite = edit.resize(image, recipe, *sides)
    else:
        mask = mask_of(studio, game, image, request.place) if request.place else None
        check_weights(studio, home, asset, request)
        wanted = replace(
            recipe,
            prompt=request.prompt or recipe.prompt,
            seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
            model=request.model or recipe.model,
        )
        sprite = edit.redraw(studio.engine, image, wanted, request.strength, mask, on_progress)
        sprite = replace(sprite, recipe=record_bases(studio, sprite.recipe))
        origin |= {"strength": str(request.strength), "place": request.place}
    options = {name: value for name, value in sprite.recipe.options.items() if name != "batch"} | {"edit": origin}
    library = studio.library(game)
    kept = save_asset(
        library,
        replace(sprite.recipe, options=options),
        sprite.image,
        sprite.report,
        palette=sprite.palette,
        details={"unknown_words": list(sprite.unknown_words)},
    )
    same_size = sprite.image.shape == image.shape
    changed = int((sprite.image != image).any(axis=-1).sum()) if same_size else sprite.image.shape[0] * image.shape[1]
    return Edited(game, library, image, sprite.image, kept, changed, sprite.unknown_words)


def _edit_sheet(
    studio: Studio, game: Project | None, home: Library, asset: Asset, request: EditRequest, on_progress: OnProgress
) -> Edited:
    from server.features.sheet_edits import edit_sheet, keep_sheet, read_sheet

    before, library = read_sheet(home, asset), studio.library(game)
    change = edit_sheet(studio, game, home, asset, request, on_progress)
    changed = int((change.image != before.image).any(axis=-1).sum())
    kept = keep_sheet(library, asset, before, replace(change, recipe=record_bases(studio, change.recipe)))
    return Edited(game, library, before.image, change.image, kept, changed, change.unknown_words, change.notes)


def _side(pixels: int) -> int:
    if 1 <= pixels <= 256:
        return pixels
    raise InvalidRequest(f"A sprite cannot be resized to {pixels} pixels. Give 1 to 256.")
