"""From a request and the game's style to a Recipe: what the request does not say, the style says, then the settings.

Everything that is made for a game goes through here, so that all its art shares one palette. Draws nothing.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.pixels.named_palettes import named_palette
from server.errors import ProjectError, ServerError
from server.project.game import Project, Style

if TYPE_CHECKING:
    from pipelines.records import Recipe
    from server.studio import Studio

SMALLEST, LARGEST = 8, 64
_WORDS = re.compile(r"#?[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?(?:[\s,]+#?[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?)*[\s,]*")


def compose_recipe(
    studio: Studio,
    project: Project | None,
    kind: str,
    prompt: str,
    *,
    size: int | None = None,
    width: int | None = None,
    height: int | None = None,
    seed: int | None = None,
    model: str = "",
    preset: str = "",
    negative: str = "",
    palette: str = "",
    colors: int | None = None,
    outline: str = "",
    candidates: int = 1,
    options: dict[str, Any] | None = None,
) -> Recipe:
    """The recipe of one asset of the game.

    Args:
        size: pixels of both sides; None: the style's (`tile_size` for a tileset), and the default of width and height.
        seed: None: a new one.
        preset: a speed preset of the model; empty: the model's own choice.
        palette: a palette file, RRGGBB words, `none` (extract colours although the style has a palette), or empty: the
            style's.
        colors: the most colours to extract; None: the style's.

    Raises:
        ServerError: a size is out of range.
        ProjectError: the palette file is outside the game.
        PaletteError: the palette file is not one.
    """
    from pipelines.records import LoraWeight, Recipe

    style = project.style if project else Style()
    side = size or (style.tile_size if kind == "tileset" else style.size)
    wide, high = _side("width", width or side), _side("height", height or side)
    if colors is not None and not 2 <= colors <= 64:
        raise ServerError(f"colors={colors} is out of range: give 2 to 64. 8 to 16 suit most sprites.")
    return Recipe(
        kind=kind,
        prompt=f"{style.prompt_prefix} {prompt}".strip(),
        width=wide,
        height=high,
        seed=secrets.randbelow(2**31) if seed is None else seed,
        negative=negative or style.negative,
        model=studio.model(style, model),
        preset=preset,
        loras=tuple(LoraWeight(lora.name, lora.weight) for lora in style.loras),
        palette=palette_words(project, palette),
        colors=colors or style.colors,
        outline=outline or style.outline,
        candidates=candidates,
        options=dict(options or {}),
    )


def palette_words(project: Project | None, palette: str = "") -> tuple[str, ...]:
    """The locked palette as RRGGBB words; empty where colours are extracted. Arguments and errors as above."""
    palette = palette.strip()
    if palette.lower() == "none":
        return ()
    if named := named_palette(palette):
        return named
    if _WORDS.fullmatch(palette):
        from pipelines.pixels.palette import Palette

        return Palette.from_words(palette.replace(",", " ").split()).words
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

    return read_palette(file).words


def _side(name: str, value: int) -> int:
    if SMALLEST <= value <= LARGEST:
        return value
    raise ServerError(
        f"{name}={value} is out of range: a sprite's sides are {SMALLEST} to {LARGEST} pixels. "
        + ("16 or 32 suit most games." if value < SMALLEST else "Draw larger things in parts, or as a tileset.")
    )
