"""Drawing sprites for a game: recipe, engine, finishing, library. Knows nothing of tools or the command line."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import Cancelled, InvalidRequest, PipelineError
from server.features.bases import record_bases
from server.features.recipes import compose_recipe

if TYPE_CHECKING:
    from pipelines.records import OnProgress, Pixels, Recipe
    from pipelines.sprites.draw import Sprite
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST = 16
"""Sprites, or candidates for one, of a single request."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One sprite that was drawn and kept."""

    asset: Asset
    image: Pixels
    unknown_words: tuple[str, ...] = ()


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
        wanted: as `server.features.recipes.compose_recipe`.

    Raises:
        ServerError, ProjectError, LibraryError: a size, the game or the library cannot be used.
        PipelineError: the model, the palette or an option cannot be used, or the drawing was cancelled.
    """
    from pipelines.sprites.draw import draw_sprites

    started = time.perf_counter()
    if not 1 <= count <= MOST:
        raise InvalidRequest(f"count={count} is out of range: give 1 to {MOST}, and ask again for more.")
    game = studio.project(project)
    recipe = _recipe(studio, game, prompt, wanted)
    library = studio.library(game)
    drawn = [_keep(studio, library, sprite) for sprite in draw_sprites(studio.engine, recipe, count, on_progress)]
    unknown = dict.fromkeys(word for one in drawn for word in one.unknown_words)
    return DrawnSprites(game, library, tuple(drawn), tuple(unknown), time.perf_counter() - started)


def generate_each(
    studio: Studio, requests: Sequence[Mapping[str, Any]], on_progress: OnProgress, *, project: str | None = None
) -> list[Drawn | Exception]:
    """Draws a sprite for each request (`prompt` and what else `generate_sprites` takes), in as few batches as may be.

    What fails is its own request's error and leaves the others alone; the same requests give the same sprites.

    Raises:
        ProjectError: there is no such game.
        Cancelled: the drawing was cancelled.
    """
    game = studio.project(project)
    library = studio.library(game)
    outcomes: list[Drawn | Exception] = [InvalidRequest("This sprite was not drawn.")] * len(requests)
    groups: dict[str, list[tuple[int, Recipe]]] = {}
    for index, request in enumerate(requests):
        try:
            wanted = dict(request)
            recipe = _recipe(studio, game, wanted.pop("prompt"), wanted)
            groups.setdefault(replace(recipe, prompt="", seed=0).to_json(), []).append((index, recipe))
        except Exception as error:  # of this request alone
            outcomes[index] = error
    for group in groups.values():
        for (index, _), sprite in zip(group, _draw_group(studio, [r for _, r in group], on_progress), strict=True):
            try:
                outcomes[index] = sprite if isinstance(sprite, Exception) else _keep(studio, library, sprite)
            except Exception as error:
                outcomes[index] = error
    return outcomes


def _draw_group(studio: Studio, recipes: list[Recipe], on_progress: OnProgress) -> Sequence[Sprite | Exception]:
    """As one batch; where that cannot be, one by one, so that each has its own error."""
    from pipelines.sprites.draw import draw_batch

    try:
        return draw_batch(studio.engine, recipes, on_progress)
    except Cancelled:
        raise
    except PipelineError as error:
        if len(recipes) == 1:
            return [error]
    return [sprite for recipe in recipes for sprite in _draw_group(studio, [recipe], on_progress)]


def _recipe(studio: Studio, game: Project | None, prompt: str, wanted: Mapping[str, Any]) -> Recipe:
    recipe = compose_recipe(studio, game, "sprite", prompt, **wanted)
    if not 1 <= recipe.candidates <= MOST:
        raise InvalidRequest(f"candidates={recipe.candidates} is out of range: give 1 to {MOST}.")
    return recipe


def _keep(studio: Studio, library: Library, sprite: Sprite) -> Drawn:
    from pipelines.pixels.png import encode_png

    recipe = record_bases(studio, sprite.recipe)
    png = encode_png(sprite.image, recipe.to_json(), sprite.palette)
    details = {"palette": _used(sprite), "unknown_words": list(sprite.unknown_words)}
    asset = library.add("sprite", {"sprite.png": png}, recipe, sprite.report.to_dict(), details)
    return Drawn(asset, sprite.image, sprite.unknown_words)


def _used(sprite: Sprite) -> list[str]:
    """The colours that the sprite shows, as RRGGBB, in the palette's order."""
    from pipelines.pixels.quantize import color_counts

    shown = {tuple(color) for color in color_counts([sprite.image])[0].tolist()}
    return [word for word, color in zip(sprite.palette.words, sprite.palette.colors, strict=True) if color in shown]
