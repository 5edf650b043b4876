"""Read what a request names from a library: sprites, sheets, masks, and the weights of an asset's recipe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.project.game import local_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.animation.sheets import Sheet
    from pipelines.records import Pixels
    from server.features.requests import EditRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio


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


def read_sheet(home: Library, asset: Asset) -> Sheet:
    """Returns a sheet of the library with its clips.

    Raises:
        LibraryError: its layout does not fit its picture (a library may come with a cloned game), or it has no clips.
        ImageError: the picture cannot be read.
    """
    from pipelines.pixels.png import read_picture

    sheet = _laid_out(read_picture(home.read(asset)), asset.details.get("sheet"))
    if sheet is None:
        raise LibraryError(f"The layout of {asset.id} does not fit its picture. Make the sheet again.")
    return sheet


def _laid_out(image: Pixels, layout: Any) -> Sheet | None:
    """Returns a picture with its clips; None where the layout is not one, or of another picture."""
    from pipelines.animation.sheets import Clip, Sheet

    try:
        (width, height), columns, rows = layout["tile_size"], int(layout["columns"]), int(layout["rows"])
        clips = {
            str(name): Clip(int(c["first"]), int(c["last"]), float(c["fps"]), bool(c["loop"]))
            for name, c in layout["animations"].items()
        }
        fits = width > 0 < height and image.shape[:2] == (rows * height, columns * width) and clips
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    if not fits or not all(0 <= c.first <= c.last < rows * columns and 0 < c.fps <= 1000 for c in clips.values()):
        return None
    return Sheet(image, int(width), int(height), columns, rows, clips)


def mask_of(studio: Studio, game: Project | None, image: Pixels, place: str) -> NDArray[np.bool_]:
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


def check_weights(studio: Studio, home: Library, asset: Asset, request: EditRequest) -> None:
    """Checks the model and LoRAs of an asset's recipe: a game's database may come from anywhere.

    Raises:
        ProjectError: they are files outside of the game.
    """
    if home is not studio.library(None):
        loras = tuple(lora.name for lora in asset.recipe.loras)
        named = "" if request.model else asset.recipe.model
        local_weights(home.folder.parent, named, loras, f"The recipe of {asset.id}")


def parse_recolor(text: str) -> dict[str, str]:
    """Parses "ff0000:00ff00, 112233:445566" into a mapping.

    Raises:
        InvalidRequest: the text has another form.
    """
    pairs = [pair.strip().replace("#", "") for pair in re.split(r"[,;]", text) if pair.strip()]
    if not all(re.fullmatch(r"[0-9a-fA-F]{6}\s*(:|->)\s*[0-9a-fA-F]{6}", pair) for pair in pairs):
        raise InvalidRequest(
            f"recolor='{text}' is not understood. Write 'ff0000:3f6fd0, 8c1f2b:2b4f8c' (old:new), or a colour and a "
            "place: recolor='red', place='neck'."
        )
    return {a.strip().lower(): b.strip().lower() for a, b in (re.split(r":|->", pair) for pair in pairs)}
