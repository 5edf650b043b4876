"""Draw the sprites of requests and keep them in the game's library."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import Cancelled, InvalidRequest, PipelineError
from server.features.lora_bases import record_bases
from server.features.recipes import of_the_game, sprite_recipe
from server.features.references import references_of, with_references
from server.features.save import save_asset
from server.features.sketches import sketch_of, with_sketch
from server.tally import TALLY

if TYPE_CHECKING:
    from pipelines.records import LoraWeight, OnProgress, Pixels, Recipe
    from pipelines.sprites.draw import Sprite
    from server.features.requests import SpriteRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One sprite that was drawn and kept."""

    asset: Asset
    image: Pixels
    unknown_words: tuple[str, ...] = ()
    other_seeds: tuple[int, ...] = ()


PORTRAIT_NOTE = (
    "The embedded model has learned no faces: this portrait is drawn from parts, by the words for who it is, hair, "
    "beard, hat, skin and clothes. Another seed varies what the prompt leaves open.",
)
SURE_ICON = 12
"""Side in pixels from which icons of ordinary things can be read."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSprites:
    """The sprites of one request, and the words of the prompt that the model does not know."""

    project: Project | None
    library: Library
    sprites: tuple[Drawn, ...]
    unknown_words: tuple[str, ...]
    seconds: float
    notes: tuple[str, ...] = ()


def generate_sprites(
    studio: Studio,
    request: SpriteRequest,
    on_progress: OnProgress,
    *,
    project: str | None = None,
    count: int = 1,
    loras: Sequence[LoraWeight] | None = None,
) -> DrawnSprites:
    """Draws `count` sprites and keeps them in the game's library.

    Args:
        request: what to draw.
        on_progress: called from this thread; raising from it cancels the drawing.
        project: the game's root; None: the game around the working directory, else the user's own library.
        count: 1 to 16 sprites with seeds one after another.
        loras: replace the stack of the game's style.

    Raises:
        ServerError, ProjectError, LibraryError: the game or the library cannot be used.
        PipelineError: the model, the size, the palette or an option cannot be used, or the drawing was cancelled.
    """
    from pipelines.sprites.draw import draw_sprites

    started = time.perf_counter()
    game = studio.project(project)
    library = studio.library(game)
    recipe = with_sketch(studio, game, library, request, sprite_recipe(studio, game, request, count))
    if loras is not None:
        recipe = replace(recipe, loras=tuple(loras))
    recipe, notes = with_references(studio, game, library, request.reference, recipe)
    sketch, references = sketch_of(studio, game, recipe), references_of(studio, game, recipe)
    sprites = draw_sprites(studio.engine, recipe, count, on_progress, sketch, references)
    drawn = [keep_sprite(studio, library, sprite) for sprite in sprites]
    unknown = dict.fromkeys(word for one in drawn for word in one.unknown_words)
    notes = (*notes, *(PORTRAIT_NOTE if "parts" in sprites[0].recipe.options else size_notes(recipe)))
    return DrawnSprites(game, library, tuple(drawn), tuple(unknown), time.perf_counter() - started, notes)


def size_notes(recipe: Recipe) -> tuple[str, ...]:
    """Says what to expect of a size that the model does not draw itself."""
    from pipelines.models.catalog import find_model

    model, side = find_model(recipe.model), max(recipe.width, recipe.height)
    if not model.draws_pixels:
        return ()
    large = model.native_sizes[-1]
    if side > large:
        return (f"Drawn at {large} px and enlarged without new colours: smooth edges, the detail of {large} px.",)
    if side < SURE_ICON:
        return (f"At {side} px few things can be told apart: look at it. {SURE_ICON} px do for most icons.",)
    return ()


def generate_each(
    studio: Studio, requests: Sequence[SpriteRequest], on_progress: OnProgress, *, project: str | None = None
) -> list[Drawn | Exception]:
    """Draws a sprite for each request, in as few batches as possible.

    A request that fails gives its error and leaves the others alone; the same requests give the same sprites.

    Raises:
        ProjectError: the game does not exist.
        Cancelled: the drawing was cancelled.
    """
    game = studio.project(project)
    library = studio.library(game)
    outcomes: list[Drawn | Exception] = [InvalidRequest("This sprite was not drawn.")] * len(requests)
    groups: dict[str, list[tuple[int, Recipe]]] = {}
    for index, request in enumerate(requests):
        try:
            asked = of_the_game(game, request, "generate_sprite") if game else request
            recipe = sprite_recipe(studio, game, asked, len(requests))
            recipe = with_sketch(studio, game, library, asked, recipe)
            recipe, _ = with_references(studio, game, library, asked.reference, recipe)
            groups.setdefault(replace(recipe, prompt="", seed=0).to_json(), []).append((index, recipe))
        except Exception as error:  # of this request alone
            outcomes[index] = error
    for group in groups.values():
        sketch, references = sketch_of(studio, game, group[0][1]), references_of(studio, game, group[0][1])
        recipes = [recipe for _, recipe in group]
        for (index, _), sprite in zip(
            group, _draw_group(studio, recipes, on_progress, sketch, references), strict=True
        ):
            try:
                outcomes[index] = sprite if isinstance(sprite, Exception) else keep_sprite(studio, library, sprite)
            except Exception as error:
                outcomes[index] = error
    return outcomes


def _draw_group(
    studio: Studio,
    recipes: list[Recipe],
    on_progress: OnProgress,
    sketch: Pixels | None,
    references: tuple[Pixels, ...],
) -> Sequence[Sprite | Exception]:
    """Draws one batch; if that fails, one recipe at a time, so that each has its own error."""
    from pipelines.sprites.draw import draw_batch

    try:
        return draw_batch(studio.engine, recipes, on_progress, sketch, references)
    except Cancelled:
        raise
    except PipelineError as error:
        if len(recipes) == 1:
            return [error]
    return [sprite for recipe in recipes for sprite in _draw_group(studio, [recipe], on_progress, sketch, references)]


def keep_sprite(studio: Studio, library: Library, sprite: Sprite) -> Drawn:
    """Keeps a sprite that was just drawn."""
    from pipelines.sprites.candidates import is_doubtful

    asset = save_asset(
        library,
        record_bases(studio, sprite.recipe),
        sprite.image,
        sprite.report,
        palette=sprite.palette,
        details={"unknown_words": list(sprite.unknown_words)},
    )
    if is_doubtful(sprite.report.scores):
        TALLY.doubted(sprite.recipe.model)
    return Drawn(asset, sprite.image, sprite.unknown_words, sprite.other_seeds)
