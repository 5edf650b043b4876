"""Drawing sprites for a game: recipe, engine, finishing, library. Knows nothing of tools or the command line."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from server.recipes import compose_recipe

if TYPE_CHECKING:
    from pipelines.records import OnProgress, Pixels
    from pipelines.sprite import Sprite
    from server.library import Library
    from server.project import Project
    from server.records import Asset
    from server.studio import Studio

MOST = 16
"""Sprites, or candidates for one, of a single request."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One sprite that was drawn and kept."""

    asset: Asset
    image: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSprites:
    """The sprites of one request, and the words that the model did not know."""

    project: Project | None
    library: Library
    sprites: tuple[Drawn, ...]
    unknown_words: tuple[str, ...]
    seconds: float


def generate_sprites(
    studio: Studio,
    prompt: str,
    on_progress: OnProgress,
    *,
    project: str | None = None,
    count: int = 1,
    **wanted: Any,
) -> DrawnSprites:
    """Draws `count` sprites and keeps them in the game's library.

    Args:
        prompt: what to draw.
        on_progress: called from this thread; raising from it cancels the drawing.
        project: the game's root; None: found (no game: the user's own library).
        count: how many, 1 to 16, with seeds one after another.
        wanted: as `server.recipes.compose_recipe`.

    Raises:
        ServerError, ProjectError, LibraryError: a size, the game or the library cannot be used.
        PipelineError: the model, the palette or an option cannot be used, or the drawing was cancelled.
    """
    from pipelines.pixels.png import encode_png
    from pipelines.sprite import draw_sprites

    started = time.perf_counter()
    if not 1 <= count <= MOST:
        raise InvalidRequest(f"count={count} is out of range: give 1 to {MOST}, and ask again for more.")
    game = studio.project(project)
    recipe = compose_recipe(studio, game, "sprite", prompt, **wanted)
    if not 1 <= recipe.candidates <= MOST:
        raise InvalidRequest(f"candidates={recipe.candidates} is out of range: give 1 to {MOST}.")
    library = studio.library(game)
    drawn: list[Drawn] = []
    unknown: dict[str, None] = {}
    for sprite in draw_sprites(studio.engine, recipe, count, on_progress):
        png = encode_png(sprite.image, sprite.recipe.to_json(), sprite.palette)
        details = {"palette": _used(sprite), "unknown_words": list(sprite.unknown_words)}
        asset = library.add("sprite", {"sprite.png": png}, sprite.recipe, sprite.report.to_dict(), details)
        drawn.append(Drawn(asset, sprite.image))
        unknown |= dict.fromkeys(sprite.unknown_words)
    return DrawnSprites(game, library, tuple(drawn), tuple(unknown), time.perf_counter() - started)


def _used(sprite: Sprite) -> list[str]:
    """The colours that the sprite shows, as RRGGBB, in the palette's order."""
    from pipelines.pixels.quantize import color_counts

    shown = {tuple(color) for color in color_counts([sprite.image])[0].tolist()}
    return [word for word, color in zip(sprite.palette.words, sprite.palette.colors, strict=True) if color in shown]
