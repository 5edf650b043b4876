"""Edit the sprites of a library: the result is a new asset, and the edited one stays."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.lora_bases import record_bases
from server.features.recipes import palette_colors
from server.features.save import save_asset
from server.project.game import local_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.records import OnProgress, Pixels
    from server.features.requests import EditRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio


@dataclass(frozen=True, slots=True, eq=False)
class Edited:
    """One edited sprite, kept as an asset of its own, beside what it was made of."""

    project: Project | None
    library: Library
    before: Pixels
    after: Pixels
    asset: Asset
    changed: int
    unknown_words: tuple[str, ...] = ()


def edit_sprite(studio: Studio, request: EditRequest, on_progress: OnProgress, *, project: str | None = None) -> Edited:
    """Makes the one change that the request asks for: recolor, palette, transform, size, or else drawing it over.

    Raises:
        LibraryError: the sprite does not exist.
        InvalidRequest: changes that do not go together, or that change nothing.
        PipelineError, ServerError: as `generate_sprites`.
    """
    from pipelines.pixels.palette import Palette
    from pipelines.sprites import edit
    from pipelines.sprites.transform import transform

    game = studio.project(project)
    home, asset = studio.find_asset(request.asset_id, game)
    if asset.kind != "sprite":
        raise LibraryError(f"Asset {asset.id} is a {asset.kind}; only a sprite can be edited. list_assets shows them.")
    sized = bool(request.width or request.height)
    chosen = [bool(request.recolor), bool(request.palette), bool(request.transform), sized]
    if sum(chosen) > 1 or (any(chosen) and (request.prompt or request.place)):
        raise InvalidRequest(
            "One change at a time: draw over (prompt, place, strength), recolor, palette, transform, or size. Edit the "
            "result again for the next."
        )
    image = read_sprite(home, asset)
    recipe = asset.recipe
    origin = {"edited_from": asset.id}
    if request.recolor:
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
        mask = _mask(studio, game, image, request.place) if request.place else None
        drawn_with = request.model or recipe.model
        if home is not studio.library(None):  # a game's database may come from anywhere
            loras = tuple(lora.name for lora in recipe.loras)
            local_weights(home.folder.parent, "" if request.model else recipe.model, loras, f"The recipe of {asset.id}")
        wanted = replace(
            recipe,
            prompt=request.prompt or recipe.prompt,
            seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
            model=drawn_with,
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


def _mask(studio: Studio, game: Project | None, image: Pixels, place: str) -> NDArray[np.bool_]:
    """Returns which pixels may change: rectangles, a mask picture (a file or an asset), or a part by its name.

    Raises:
        InvalidRequest, ImageError, LibraryError: none of these, or one that cannot be used.
    """
    from pipelines.pixels.png import read_picture
    from pipelines.sprites.edit import mask_of_place
    from pipelines.sprites.mask import is_rectangles, mask_of_picture, mask_of_rectangles
    from server.features.pixel_fix import find_picture

    height, width = image.shape[:2]
    if is_rectangles(place) and not place.isdecimal():
        return mask_of_rectangles(place, width, height)
    if not re.search(r"[./\\]|^[0-9a-f]{12}$", place):
        return mask_of_place(image, place)
    if file := find_picture(game, place):
        return mask_of_picture(read_picture(file), width, height)
    home, asset = studio.find_asset(place, game)
    return mask_of_picture(read_picture(home.read(asset)), width, height)


def read_sprite(home: Library, asset: Asset) -> Pixels:
    """Returns the sprite's picture, (h, w, 4) RGBA of the size in its recipe.

    Raises:
        LibraryError: the picture has another size (a library may come with a cloned game), or nothing solid is on it.
        ImageError: it cannot be read.
    """
    from pipelines.pixels.png import read_picture

    image = read_picture(home.read(asset))
    size, said = (image.shape[1], image.shape[0]), (asset.recipe.width, asset.recipe.height)
    if size != said:
        raise LibraryError(
            f"The picture of {asset.id} has {size[0]}x{size[1]} pixels, its recipe says {said[0]}x{said[1]}, so it was "
            "changed. Draw the sprite again, or give the picture to fix_pixel_art."
        )
    if not (image[..., 3] >= 128).any():
        raise LibraryError(f"The picture of {asset.id} shows nothing solid. Draw the sprite again.")
    return image


def parse_recolor(text: str) -> dict[str, str]:
    """Parses "ff0000:00ff00, 112233:445566" into a mapping.

    Raises:
        InvalidRequest: the text has another form.
    """
    pairs = [pair.strip().replace("#", "") for pair in re.split(r"[,;]", text) if pair.strip()]
    if not all(re.fullmatch(r"[0-9a-fA-F]{6}\s*(:|->)\s*[0-9a-fA-F]{6}", pair) for pair in pairs):
        raise InvalidRequest(f"recolor='{text}' is not understood. Write 'ff0000:3f6fd0, 8c1f2b:2b4f8c' (old:new).")
    return {a.strip().lower(): b.strip().lower() for a, b in (re.split(r":|->", pair) for pair in pairs)}


def _side(pixels: int) -> int:
    if 1 <= pixels <= 256:
        return pixels
    raise InvalidRequest(f"A sprite cannot be resized to {pixels} pixels. Give 1 to 256.")
