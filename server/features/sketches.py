"""Pictures that a sprite's drawing begins with: found, kept as assets, and read again by a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.pixel_fix import find_picture
from server.features.save import save_asset

if TYPE_CHECKING:
    from pipelines.records import Pixels, Recipe
    from server.features.requests import SpriteRequest
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

LONGEST = 1024
"""Pixels: a longer sketch is kept smaller; no canvas shows more."""


def with_sketch(
    studio: Studio, game: Project | None, library: Library, request: SpriteRequest, recipe: Recipe
) -> Recipe:
    """Adds the sketch to a recipe (`options.sketch`: asset and strength), where the request asks for one.

    A file is kept as an asset of the library, so that the recipe draws the same again.

    Raises:
        InvalidRequest, ImageError, LibraryError: a picture or a strength that cannot be used.
    """
    if not request.sketch:
        return recipe
    if not 0 < request.strength <= 1:
        raise InvalidRequest(f"strength={request.strength:g} is out of range: give more than 0, at most 1.")
    if file := find_picture(game, request.sketch):
        asset = keep_picture(library, file, "sketch")
    else:
        asset = studio.find_asset(request.sketch, game)[1].id
    sketch: dict[str, Any] = {"asset": asset, "strength": request.strength}
    if _holds_to_lines(recipe):
        sketch["lines"] = True
    return replace(recipe, options=recipe.options | {"sketch": sketch})


def sketch_of(studio: Studio, game: Project | None, recipe: Recipe) -> Pixels | None:
    """Reads the picture that a recipe begins with; None where it begins with noise.

    Raises:
        LibraryError: the sketch is gone.
    """
    from pipelines.pixels.png import read_picture

    if not (sketch := recipe.options.get("sketch")):
        return None
    try:
        home, asset = studio.find_asset(str(sketch["asset"]), game)
    except LibraryError as error:
        raise LibraryError(f"The sketch of this recipe is gone. {error}") from error
    return read_picture(home.read(asset))


def _holds_to_lines(recipe: Recipe) -> bool:
    """Whether the model is SDXL, and a ControlNet for lines was pulled."""
    from pipelines.models.catalog import SDXL_FAMILY, find_model
    from pipelines.models.extras import scribble

    model = find_model(recipe.model)
    return model.family == SDXL_FAMILY and not model.draws_pixels and scribble() is not None


def keep_picture(library: Library, file: Path, use: str) -> str:
    """Keeps a picture of a request as an asset, and returns its id. `use`: "sketch" or "reference"."""
    import numpy as np
    from PIL import Image

    from pipelines.pixels.png import read_picture
    from pipelines.records import Recipe

    picture = read_picture(file)
    if max(picture.shape[:2]) > LONGEST:
        image = Image.fromarray(picture).convert("RGBa")
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
        picture = np.array(image.convert("RGBA"))
    height, width = picture.shape[:2]
    name = " ".join(file.stem.replace("_", " ").replace("-", " ").split()) or use
    recipe = Recipe("sprite", name, width, height, 0, model="", options={"from": file.name, f"{use}_of": "a sprite"})
    return save_asset(library, recipe, picture, {"passed": True, "gates": {}, "scores": {}}, indexed=False).id
