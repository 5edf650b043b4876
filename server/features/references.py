"""Reference pictures of a drawing: found, kept as assets, and read again by a recipe.

SDXL takes their style (an IP-Adapter). A model that draws pixels takes their colours as the palette, and the answer
names a LoRA that was taught on such art.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loras.files import read_json
from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.pixel_fix import find_picture
from server.features.sketches import keep_picture

if TYPE_CHECKING:
    from pipelines.records import Pixels, Recipe
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST = 4
"""Reference pictures of one drawing."""


def with_references(
    studio: Studio, game: Project | None, library: Library, reference: str, recipe: Recipe
) -> tuple[Recipe, tuple[str, ...]]:
    """Adds its references to a recipe, with sentences for the answer; as it is where none are asked for.

    Args:
        reference: up to four files or asset ids, separated by commas.

    Raises:
        InvalidRequest: too many, or a model that takes none.
        ImageError, LibraryError: a picture that cannot be used.
    """
    from pipelines.models.catalog import find_model
    from pipelines.models.families import FAMILIES

    names = [name.strip() for name in reference.split(",") if name.strip()]
    if not names:
        return recipe, ()
    if len(names) > MOST:
        raise InvalidRequest(f"reference takes 1 to {MOST} pictures, not {len(names)}.")
    model = find_model(recipe.model)
    plain = FAMILIES.get(model.family)
    if plain and not plain.references:
        able = ", ".join(f"'{family.name}'" for family in FAMILIES.values() if family.references)
        raise InvalidRequest(
            f"'{model.id}' takes no reference pictures. model='sdxl' and {able} do, or leave reference out."
        )
    found = [find_picture(game, name) or studio.find_asset(name, game)[1] for name in names]
    if model.draws_pixels:
        return _with_colors(studio, game, found, recipe)
    if not plain:
        from pipelines.models.extras import ip_adapter

        ip_adapter()  # says what to fetch before anything is kept
    assets = [keep_picture(library, one, "reference") if isinstance(one, Path) else one.id for one in found]
    return replace(recipe, options=recipe.options | {"reference": {"assets": assets}}), ()


def references_of(studio: Studio, game: Project | None, recipe: Recipe) -> tuple[Pixels, ...]:
    """Reads the reference pictures of a recipe.

    Raises:
        LibraryError: one is gone.
    """
    from pipelines.pixels.png import read_picture

    pictures = []
    for asset_id in recipe.options.get("reference", {}).get("assets", ()):
        try:
            home, asset = studio.find_asset(str(asset_id), game)
        except LibraryError as error:
            raise LibraryError(f"A reference of this recipe is gone. {error}") from error
        pictures.append(read_picture(home.read(asset)))
    return tuple(pictures)


def _with_colors(
    studio: Studio, game: Project | None, found: list[Path | Asset], recipe: Recipe
) -> tuple[Recipe, tuple[str, ...]]:
    from pipelines.pixels.palette import extract_palette
    from pipelines.pixels.png import read_picture

    taught = _taught_on(studio, found)
    named = f" The LoRA '{taught}' was taught on such art: name it in dgx-pixels.toml." if taught else ""
    if recipe.palette:
        note = f"'{recipe.model}' takes only a reference's colours, and the palette is given, so it changes nothing."
        return recipe, (f"{note} model='sdxl' takes its style.{named}",)
    pictures = [
        read_picture(one if isinstance(one, Path) else studio.find_asset(one.id, game)[0].read(one)) for one in found
    ]
    palette = extract_palette(pictures, recipe.colors)
    note = f"'{recipe.model}' takes only a reference's colours: its {len(palette)} are the palette."
    return replace(recipe, palette=palette.hex), (f"{note} model='sdxl' takes its style.{named}",)


def _taught_on(studio: Studio, found: list[Path | Asset]) -> str:
    """Names a listed LoRA that drew one of the pictures, or whose training took the folder that one lies in."""
    listed = {info.name for info in studio.loras.list() if info.state == "available"}
    for one in found:
        if isinstance(one, Path):
            place = one.resolve()
            datasets = {job.name: read_json(job.folder / "spec.json").get("dataset") for job in studio.jobs.list()}
            names = [name for name, dataset in datasets.items() if dataset and place.is_relative_to(dataset)]
        else:
            names = [lora.name for lora in one.recipe.loras]
        if name := next((name for name in names if name in listed), ""):
            return name
    return ""
