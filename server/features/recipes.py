"""Make a Recipe from a request and the game's style, so that all art of a game shares one palette.

A value comes from the request, else from the game's style, else from the settings.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.pixels.named_palettes import named_palette
from server.errors import ProjectError
from server.features.requests import SpriteRequest
from server.project.game import Project, local_picture, local_weights
from server.project.style import Style

if TYPE_CHECKING:
    from pipelines.records import Recipe
    from server.features.requests import AnimationRequest, EditRequest, TilesetRequest
    from server.studio import Studio

    R = TypeVar("R", bound=SpriteRequest | TilesetRequest | AnimationRequest | EditRequest)

_HEX_COLORS = re.compile(r"#?[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?(?:[\s,]+#?[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?)*[\s,]*")


def sprite_recipe(studio: Studio, project: Project | None, request: SpriteRequest, count: int = 1) -> Recipe:
    """Composes a sprite's recipe. Fields of the request that `Recipe` does not have become options where they are set.

    Args:
        count: how many sprites are drawn together; the model's default number of candidates depends on it.

    Raises:
        ProjectError, PaletteError: as `compose_recipe`.
    """
    from pipelines.models.catalog import find_model

    style = project.style if project else Style()
    side = request.size or style.size
    candidates = request.candidates or find_model(studio.model(style, request.model)).sprite_candidates(count)
    return compose_recipe(
        studio,
        project,
        request,
        kind="sprite",
        prompt=request.prompt,
        width=request.width or side,
        height=request.height or side,
        preset=request.preset,
        outline=request.outline or style.outline,
        candidates=candidates,
        options=request.model_dump(include=_options(), exclude_defaults=True),
    )


def _options() -> set[str]:
    from pipelines.records import Recipe

    return (
        SpriteRequest.model_fields.keys()
        - {field.name for field in fields(Recipe)}
        - {"size", "sketch", "strength", "reference"}
    )


def compose_recipe(
    studio: Studio,
    project: Project | None,
    request: SpriteRequest | TilesetRequest,
    *,
    prompt: str,
    **more: Any,
) -> Recipe:
    """Composes a recipe with the fields of all drawings: from the request, else the game's style, else the settings.

    Args:
        prompt: what to draw; the style's prefix comes before it.
        more: the other fields of `Recipe`, as they are.

    Raises:
        ProjectError: the palette file is outside the game.
        PaletteError: the palette file is not one.
    """
    from pipelines.records import LoraWeight, Recipe

    style = project.style if project else Style()
    values: dict[str, Any] = {
        "prompt": f"{style.prompt_prefix} {prompt}".strip(),
        "seed": secrets.randbelow(2**31) if request.seed is None else request.seed,
        "negative": request.negative or style.negative,
        "model": studio.model(style, request.model),
        "loras": tuple(LoraWeight(lora.name, lora.weight) for lora in style.loras),
        "palette": palette_colors(project, request.palette),
        "colors": request.colors or style.colors,
        "outline": style.outline,
    }
    return Recipe(**(values | more))


def of_the_game(project: Project, request: R, where: str) -> R:
    """Resolves a request that a file of the game holds; such files name models as `dgx-pixels.toml` may.

    Pictures that it names (a sketch, a mask) are inside the game as well.

    Raises:
        ProjectError: its model or a picture is a path that leads out of the game.
    """
    changed = {"model": local_weights(project.root, request.model, (), where)[0]}
    for name in ("sketch", "place", "picture"):
        named = getattr(request, name, "")
        if re.search(r"[./\\~]", named):
            changed[name] = local_picture(project.root, named, f"{where}: {name}")
    if named := getattr(request, "reference", ""):
        paths = [part.strip() for part in named.split(",")]
        where = f"{where}: reference"
        inside = [local_picture(project.root, p, where) if re.search(r"[./\\~]", p) else p for p in paths]
        changed["reference"] = ", ".join(inside)
    return request.model_copy(update={n: value for n, value in changed.items() if value != getattr(request, n)})


def palette_colors(project: Project | None, palette: str = "") -> tuple[str, ...]:
    """Returns the locked palette as RRGGBB colours; empty where colours are extracted.

    Args:
        palette: a palette file, RRGGBB colours, "none" (extract colours although the style has a palette), or empty:
            the style's.

    Raises:
        ProjectError: the palette file is outside the game.
        PaletteError: the palette file is not one.
    """
    palette = palette.strip()
    if palette.lower() == "none":
        return ()
    if named := named_palette(palette):
        return named
    if _HEX_COLORS.fullmatch(palette):
        from pipelines.pixels.palette import Palette

        return Palette.from_hex(palette.replace(",", " ").split()).hex
    if palette:
        base = project.root if project else Path.cwd()
        file = (base / palette).resolve()
        if not file.is_relative_to(base.resolve()):
            raise ProjectError(f"The palette {palette} is outside {base}. Copy it into the game and name it there.")
    elif project and project.palette_file:
        file = project.palette_file
    else:
        return ()
    from pipelines.pixels.palette_files import read_palette

    return read_palette(file).hex
