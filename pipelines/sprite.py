"""From a recipe to finished sprites: what is drawn for a size, how it is finished, and which candidate is kept.

Owns the way from a size in pixels to a model's canvases, and the kind of ground. Knows nothing of files or games.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.models import Model, find_model
from pipelines.pixels.finish import Finished, FinishOptions, finish
from pipelines.pixels.gates import Report
from pipelines.pixels.palette import Palette
from pipelines.records import Drawing, DrawRequest, OnProgress, Pixels, Recipe, no_progress

if TYPE_CHECKING:
    from pipelines.engine import Engine

SMALLEST, LARGEST = 8, 64
"""Sides of a sprite, in pixels."""

BATCH = 8
"""Pictures that are drawn at once, at most."""

REFINE = 0.5
"""Strength with which a picture that was resized is drawn over at the new size: half of the steps."""

GROUNDS = ("auto", "transparent", "opaque")
_TILES = re.compile(
    r"\b(floors?|walls?|ground|tiles?|terrain|pavement|road|path|grass|water|lava|dirt|sand|snow|gravel|mud|"
    r"cobblestones?|bricks?|planks|carpet)\W*\Z"
)


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A finished sprite. `scores` are those of all its candidates, in the order in which they were drawn."""

    recipe: Recipe
    image: Pixels
    palette: Palette
    report: Report
    scores: tuple[float, ...] = ()
    unknown_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pass:
    """One drawing: a canvas side in pixels and SDXL's original-size conditioning."""

    side: int
    native: int


def draw_sprites(engine: Engine, recipe: Recipe, count: int = 1, on_progress: OnProgress = no_progress) -> list[Sprite]:
    """Draws `count` sprites with seeds recipe.seed, +1, ...; of `recipe.candidates` each the best is kept.

    A sprite's own recipe says what was settled (steps, guidance, revision, ground), and which batch it came from:
    drawn again with it, the bytes are the same on the same device.

    Args:
        recipe: `options` may have `ground`: "auto" (by the words), "transparent" or "opaque".

    Raises:
        InvalidRequest: a size outside 8..64, or an unknown option.
        PipelineError: what the engine raised.
    """
    origin = recipe.options.get("batch")
    if origin and count == 1:
        options = {name: value for name, value in recipe.options.items() if name != "batch"}
        whole = replace(recipe, seed=origin["first"], options=options)
        return [draw_sprites(engine, whole, origin["count"], on_progress)[recipe.seed - origin["first"]]]

    model = find_model(recipe.model)
    _check(recipe, count)
    ground = ground_of(recipe)
    passes = plan_passes(model, recipe.width, recipe.height)
    palette = Palette.from_words(recipe.palette) if recipe.palette else None
    finishing = FinishOptions(
        width=recipe.width,
        height=recipe.height,
        colors=recipe.colors,
        palette=palette,
        pitch=1 if model.draws_pixels else None,
        outline=recipe.outline,
        place=ground == "transparent",
    )
    seeds = [candidate_seed(recipe.seed + i, c) for i in range(count) for c in range(recipe.candidates)]
    batches = [seeds[start : start + BATCH] for start in range(0, len(seeds), BATCH)]
    finished: list[Finished] = []
    drawing: Drawing | None = None
    for index, batch in enumerate(batches):
        drawing = _draw(engine, recipe, passes, batch, _part_of(on_progress, index, len(batches)))
        for canvas in drawing.images:
            native = _halved(canvas) if model.draws_pixels and passes[-1].native <= 16 else canvas
            finished.append(_judged(finish(_grounded(native, recipe, ground), finishing), ground))
    assert drawing is not None
    settled = replace(
        recipe,
        revision=drawing.revision,
        steps=drawing.steps,
        guidance=drawing.guidance,
        options={k: v for k, v in recipe.options.items() if k != "batch"} | {"ground": ground},
    )
    sprites = []
    for i in range(count):
        candidates = finished[i * recipe.candidates : (i + 1) * recipe.candidates]
        scores = tuple(c.report.scores["score"] for c in candidates)
        best = candidates[max(range(len(scores)), key=lambda c: (candidates[c].report.passed, scores[c]))]
        own = replace(settled, seed=recipe.seed + i)
        if count > 1:
            own = replace(own, options=own.options | {"batch": {"first": recipe.seed, "count": count}})
        sprites.append(Sprite(own, best.image, best.palette, best.report, scores, drawing.unknown_words))
    return sprites


def candidate_seed(seed: int, candidate: int) -> int:
    """The seed of a sprite's n-th candidate: the sprite's own for the first, far from its neighbours' for others."""
    return (seed + candidate * 0x9E3779B97F4A7C15) % 2**63


def ground_of(recipe: Recipe) -> str:
    """ "transparent" or "opaque": what the recipe says, else by the words (floors and walls fill their square).

    Raises:
        InvalidRequest: the recipe's ground is none of GROUNDS.
    """
    ground = str(recipe.options.get("ground", "auto"))
    if ground not in GROUNDS:
        raise InvalidRequest(f"ground is one of {', '.join(GROUNDS)}, not '{ground}'.")
    if ground != "auto":
        return ground
    return "opaque" if _TILES.search(recipe.prompt.lower()) else "transparent"


def plan_passes(model: Model, width: int, height: int) -> tuple[_Pass, ...]:
    """The drawings, one over the other, that lead to a sprite of that size.

    A model that draws pixels draws its own sizes well; a sprite of another size is drawn at 32, resized, and drawn
    over at its own size: from nothing, such a canvas would be filled with two creatures, or half of one.
    """
    side = max(width, height)
    if not model.draws_pixels:
        return (_Pass(model.canvases[-1], model.canvases[-1]),)
    small, large = model.native_sizes[0], model.native_sizes[-1]
    if side <= small:
        return (_Pass(large, small),)
    first = _Pass(large, large)
    own = -(-side // 8) * 8
    return (first,) if own == large else (first, _Pass(own, large if own > large else own))


def _check(recipe: Recipe, count: int) -> None:
    for name, pixels in (("width", recipe.width), ("height", recipe.height)):
        if not SMALLEST <= pixels <= LARGEST:
            raise InvalidRequest(
                f"A sprite's {name} is {SMALLEST} to {LARGEST} pixels, not {pixels}. For larger art draw parts and put "
                "them together; for a smaller dot, place it in a sprite of 8."
            )
    if not recipe.prompt.strip():
        raise InvalidRequest('The prompt is empty. Say what to draw, for example "red dragon".')
    if count < 1 or recipe.candidates < 1:
        raise InvalidRequest("count and candidates are at least 1.")


def _draw(
    engine: Engine, recipe: Recipe, passes: Sequence[_Pass], seeds: Sequence[int], on_progress: OnProgress
) -> Drawing:
    """One batch through all passes."""
    drawing: Drawing | None = None
    for index, one in enumerate(passes):
        request = DrawRequest(
            model=recipe.model,
            prompts=(recipe.prompt,) * len(seeds),
            seeds=tuple(seeds),
            width=one.side,
            height=one.side,
            negative=recipe.negative,
            native=one.native,
            preset=recipe.preset,
            steps=recipe.steps or None,
            guidance=recipe.guidance or None,
            loras=recipe.loras,
            init=tuple(_resized(image, one.side) for image in drawing.images) if drawing else (),
            strength=REFINE if drawing else 1.0,
        )
        drawing = engine.draw(request, _part_of(on_progress, index, len(passes)))
    assert drawing is not None
    return drawing


def _part_of(on_progress: OnProgress, index: int, parts: int) -> OnProgress:
    """The OnProgress of one of several drawings that count as one: in thousandths of each, so that it only grows."""
    if parts == 1:
        return on_progress
    return lambda done, total, message: on_progress(index * 1000 + 1000 * done // total, parts * 1000, message)


def _resized(image: Pixels, side: int) -> Pixels:
    from PIL import Image

    smaller = side < image.shape[0]
    resample = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(image).resize((side, side), resample))


def _halved(image: Pixels) -> Pixels:
    """Every 2x2 block as one pixel: the mean of its opaque part."""
    height, width = image.shape[:2]
    blocks = image.reshape(height // 2, 2, width // 2, 2, 4).astype(np.float32)
    alpha = blocks[..., 3:]
    total = alpha.sum(axis=(1, 3))
    color = (blocks[..., :3] * alpha).sum(axis=(1, 3)) / np.maximum(total, 1)
    return np.concatenate([color, total / 4], axis=-1).round().astype(np.uint8)


def _grounded(image: Pixels, recipe: Recipe, ground: str) -> Pixels:
    """For an opaque ground: every pixel solid (holes take the nearest colour), cut to the shape that is asked for."""
    if ground != "opaque":
        return image
    image = image.copy()
    clear = image[..., 3] < 128
    if clear.any() and not clear.all():
        from scipy.ndimage import distance_transform_edt

        rows, columns = np.asarray(distance_transform_edt(clear, return_distances=False, return_indices=True))
        image = image[rows, columns]
    image[..., 3] = 255
    height, width = image.shape[:2]
    side = max(recipe.width, recipe.height)
    tall, wide = round(height * recipe.height / side), round(width * recipe.width / side)
    top, left = (height - tall) // 2, (width - wide) // 2
    return image[top : top + tall, left : left + wide]


def _judged(finished: Finished, ground: str) -> Finished:
    """With the ground in the report: a creature on a solid square is a worse candidate."""
    scores = dict(finished.report.scores)
    right = ground == "opaque" or scores["occupancy"] < 0.95
    scores["ground"] = float(right)
    scores["score"] *= 1.0 if right else 0.3
    return replace(finished, report=Report(finished.report.gates, scores))
