"""Check that a recipe describes a tileset that can be drawn, before a model is loaded for it."""

from __future__ import annotations

from typing import get_args

from pipelines import choices
from pipelines.errors import InvalidRequest
from pipelines.models.catalog import Model
from pipelines.records import Recipe
from pipelines.tiles.layouts import Layout, find_layout
from pipelines.tiles.textures import words_of

STEP = 8
"""Tile sizes are multiples of this many pixels, as models and quarter tiles need."""
LARGEST_TILE = 64
MOST_VARIANTS = 12


def check_recipe(recipe: Recipe, model: Model) -> Layout:
    """Returns the layout of a recipe that can be drawn.

    Raises:
        InvalidRequest: it cannot.
    """
    options = recipe.options
    layout = find_layout(str(options.get("layout", "wang16")))
    _check_tile_size(recipe.width, model)
    if recipe.width != recipe.height:
        raise InvalidRequest(f"Tiles are square, not {recipe.width}x{recipe.height}. Give one tile_size.")
    upper, lower = str(options.get("upper", "")).strip(), str(options.get("lower", "")).strip()
    if not upper:
        raise InvalidRequest('The upper terrain is empty. Say what lies on top, for example "grass".')
    if layout.two and words_of(upper) == words_of(lower):
        raise InvalidRequest(
            f"Both terrains are '{upper}'. Give two different ones, such as upper='grass', lower='water'; "
            "for one terrain alone use layout='seamless' or 'variations'."
        )
    if layout.name == "platformer" and not lower:
        raise InvalidRequest("A platformer set needs lower=, what lies below the surface, for example 'dirt'.")
    if not layout.two and lower:
        raise InvalidRequest(f"The layout {layout.name} has one terrain. Leave lower= out, or use layout='wang16'.")
    for name, known in (
        ("border", get_args(choices.Border)),
        ("method", get_args(choices.Method)),
        ("axes", get_args(choices.Axes)),
    ):
        value = options.get(name, known[0])
        if value not in known:
            raise InvalidRequest(f"{name} is one of {', '.join(known)}, not '{value}'.")
    # quarters of corner tiles that were drawn one by one do not meet: seams of up to six times an ordinary step
    if options.get("method") == "joint" and (layout.name != "wang16" or not lower):
        raise InvalidRequest(
            "method='joint' draws corner sets of two terrains: use it with layout='wang16' and a lower terrain, or "
            "leave method= out."
        )
    variants = options.get("variants", 4)
    if not isinstance(variants, int) or not 2 <= variants <= MOST_VARIANTS:
        raise InvalidRequest(f"variants={variants} is out of range: give 2 to {MOST_VARIANTS}.")
    if recipe.colors < 4 and not recipe.palette:
        raise InvalidRequest(f"colors={recipe.colors} is too few for a tileset: give 4 to 64, or a palette.")
    return layout


def _check_tile_size(size: int, model: Model) -> None:
    most = min(model.largest, LARGEST_TILE)
    if model.smallest <= size <= most and size % STEP == 0:
        return
    near = min(most, max(model.smallest, round(size / STEP) * STEP))
    raise InvalidRequest(
        f"tile_size={size} cannot be used: tiles are squares of {model.smallest} to {most} pixels in steps of "
        f"{STEP}. The nearest is {near}."
    )
