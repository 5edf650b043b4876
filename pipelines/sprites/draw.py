"""Draw finished sprites from a recipe: plan the canvas for a size, finish the drawing, keep the best candidate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.models.catalog import SDXL, Model, find_model, preset_of
from pipelines.models.presets import bucket
from pipelines.pixels.finish import Finished, FinishOptions, finish
from pipelines.pixels.gates import Report
from pipelines.pixels.palette import Palette
from pipelines.pixels.resample import enlarged, reduced
from pipelines.portraits.busts import EDITION, SMALLEST, finished_bust
from pipelines.portraits.looks import is_portrait, look_of
from pipelines.records import Drawing, DrawRequest, OnProgress, Pixels, Recipe, no_progress
from pipelines.sprites.candidates import mark
from pipelines.sprites.framing import background_of, framed_prompt

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

BATCH = 8
"""The largest batch of pictures."""

SHARP_FROM, LEAST_PITCH = 65, 2
"""From this side (pixels) on a painted canvas has a whole number of pixels, at least two, for each of the sprite's."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A finished sprite.

    `scores` are those of all its candidates, in the order in which they were drawn; `other_seeds` draw the candidates
    that were not kept, the next best first.
    """

    recipe: Recipe
    image: Pixels
    palette: Palette
    report: Report
    scores: tuple[float, ...] = ()
    unknown_words: tuple[str, ...] = ()
    other_seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pass:
    """One drawing: a canvas in pixels, and SDXL's original-size conditioning (None: the canvas's own).

    `doubled`: each pixel of the drawing is 2x2 of the canvas. `pitch`: canvas pixels for each of the sprite's, where
    that is a whole number by plan.
    """

    width: int
    height: int
    native: int | None = None
    doubled: bool = False
    pitch: int = 0


def draw_sprites(
    engine: Engine,
    recipe: Recipe,
    count: int = 1,
    on_progress: OnProgress = no_progress,
    sketch: Pixels | None = None,
    references: tuple[Pixels, ...] = (),
) -> list[Sprite]:
    """Draws `count` sprites with seeds recipe.seed, +1, ...; of `recipe.candidates` each the best is kept.

    Each sprite's own recipe holds the resolved steps, guidance, revision and background, and its batch. Drawing with it
    again gives the same bytes on the same device.

    Args:
        recipe: `options` may have `ground`: "auto" (by the prompt), "transparent" or "opaque", and `sketch` (its
            `strength` in 0..1: how much of the sketch is forgotten).
        sketch: (h, w, 4) RGBA, any size: the picture to begin with, where the recipe has one.
        references: pictures whose style is taken, where the recipe has some (`options.reference`).

    Raises:
        InvalidRequest: a size that the model does not draw, or an unknown option.
        PipelineError: what the engine raised.
    """
    if count < 1:
        raise InvalidRequest("count and candidates are at least 1.")
    origin = recipe.options.get("batch")
    if not origin or count > 1:
        return draw_batch(
            engine, [replace(recipe, seed=recipe.seed + i) for i in range(count)], on_progress, sketch, references
        )
    options = {name: value for name, value in recipe.options.items() if name != "batch"}
    batch = zip(origin["prompts"], origin["seeds"], strict=True)
    whole = [replace(recipe, prompt=prompt, seed=seed, options=options) for prompt, seed in batch]
    return [draw_batch(engine, whole, on_progress, sketch, references)[origin["at"]]]


def draw_batch(
    engine: Engine,
    recipes: Sequence[Recipe],
    on_progress: OnProgress = no_progress,
    sketch: Pixels | None = None,
    references: tuple[Pixels, ...] = (),
) -> list[Sprite]:
    """Draws a sprite for each recipe as one batch. The recipes differ only in prompt and seed.

    Several have the batch in their recipes' options (`batch`: prompts, seeds, at), since a picture's last bits may
    depend on what was drawn beside it. Arguments and errors as `draw_sprites`.

    Raises:
        InvalidRequest: the recipes differ in more.
    """
    first = recipes[0]
    if any(replace(r, prompt=first.prompt, seed=first.seed) != first for r in recipes):
        raise InvalidRequest("Sprites that are drawn together differ in nothing but prompt and seed.")
    check_references(first, references)
    model = find_model(first.model)
    for recipe in recipes:
        _check(recipe, model)
    portraits = [_from_parts(recipe, model, sketch) for recipe in recipes]
    if any(portraits):
        others = [recipe for recipe, made in zip(recipes, portraits, strict=True) if not made]
        drawn = iter(draw_batch(engine, others, on_progress, sketch, references) if others else ())
        return [made or next(drawn) for made in portraits]
    backgrounds = [background_of(recipe) for recipe in recipes]
    plan = plan_pass(model, first.width, first.height, first.preset)
    palette = Palette.from_hex(first.palette) if first.palette else None
    prompts = [r.prompt if model.draws_pixels else framed_prompt(r) for r in recipes]
    asked = [
        (prompt, candidate_seed(r.seed, c))
        for r, prompt in zip(recipes, prompts, strict=True)
        for c in range(first.candidates)
    ]
    batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
    finished: list[Finished] = []
    unknown: dict[str, None] = {}
    drawing: Drawing | None = None
    guidance = 0.0
    init = _first_canvas(first, plan, sketch, backgrounds[0], model) if _begins(first, sketch) else None
    for index, batch in enumerate(batches):
        drawing = _draw(engine, first, plan, batch, init, references, _part_of(on_progress, index, len(batches)))
        unknown |= dict.fromkeys(drawing.unknown_words)
        guidance = max(guidance, drawing.guidance)  # a batch in which a prompt names a part has more
        for canvas in drawing.images:
            background = backgrounds[len(finished) // first.candidates]
            finishing = FinishOptions(
                width=first.width,
                height=first.height,
                colors=first.colors,
                palette=palette,
                pitch=1 if model.draws_pixels else plan.pitch or plan.width / first.width,
                outline=first.outline,
                dither=first.options.get("dither", 0),
                place=background == "transparent",
            )
            native = _native(canvas, first, plan) if model.draws_pixels else canvas
            placed = _on_background(native, first, background, plan.pitch)
            if model.draws_pixels and not model.native_sizes[0] <= max(first.width, first.height) <= canvas.shape[0]:
                placed, finishing = _rescaled(placed, finishing), replace(finishing, clean=False)
            finished.append(_judged(finish(placed, finishing), background))
    assert drawing is not None
    origin = {"prompts": [r.prompt for r in recipes], "seeds": [r.seed for r in recipes]}
    sprites = []
    for i, recipe in enumerate(recipes):
        candidates = finished[i * first.candidates : (i + 1) * first.candidates]
        if model.draws_pixels and len(candidates) > 1:
            candidates = mark(candidates, recipe.prompt)
        scores = tuple(c.report.scores["score"] for c in candidates)
        order = sorted(range(len(scores)), key=lambda c: (candidates[c].report.passed, scores[c]), reverse=True)
        best, others = candidates[order[0]], tuple(candidate_seed(recipe.seed, c) for c in order[1:])
        options = {name: value for name, value in recipe.options.items() if name not in ("batch", "precision")}
        options |= {"ground": backgrounds[i]} | ({"precision": drawing.precision} if drawing.precision else {})
        own = replace(
            recipe,
            revision=drawing.revision,
            preset=drawing.preset,
            steps=drawing.steps,
            guidance=guidance,
            options=options | ({"batch": origin | {"at": i}} if len(recipes) > 1 else {}),
        )
        told = tuple(w for w in unknown if re.search(rf"(?<!\w){re.escape(w)}(?!\w)", recipe.prompt.lower()))
        sprites.append(Sprite(own, best.image, best.palette, best.report, scores, told, others))
    return sprites


def _from_parts(recipe: Recipe, model: Model, sketch: Pixels | None) -> Sprite | None:
    """Draws a portrait by rules where the model has learned no faces and nothing taught it any; else returns None."""
    if not model.draws_pixels or recipe.loras or sketch is not None or min(recipe.width, recipe.height) < SMALLEST:
        return None
    if not is_portrait(recipe.prompt) or recipe.options.get("ground") == "opaque":
        return None
    look, unknown = look_of(recipe.prompt, recipe.seed)
    palette = Palette.from_hex(recipe.palette) if recipe.palette else None
    bust = finished_bust(look, recipe.width, recipe.height, recipe.colors, palette, recipe.outline)
    made = _judged(bust, "transparent")
    options = {name: value for name, value in recipe.options.items() if name != "batch"}
    own = replace(recipe, options=options | {"ground": "transparent", "parts": EDITION})
    return Sprite(own, made.image, made.palette, made.report, (made.report.scores["score"],), unknown)


def candidate_seed(seed: int, candidate: int) -> int:
    """Returns the seed of a sprite's n-th candidate: the first has the sprite's own, the others are far from it.

    Below 2**31, so that clients that read numbers as doubles can ask for it.
    """
    return (seed + candidate * 0x9E3779B1) % 2**31 if candidate else seed


def plan_pass(model: Model, width: int, height: int, preset: str = "") -> _Pass:
    """Plans the drawing that leads to a sprite of that size.

    A model that draws pixels draws its own sizes well. A larger or smaller sprite is drawn at the nearest of them, and
    the finished drawing is made larger or smaller (`_rescaled`).

    A model that paints draws a canvas of the sprite's shape. From SHARP_FROM pixels on a pixel of the sprite is a whole
    number of canvas pixels, at least LEAST_PITCH; the preset's canvas grows where it has to.

    Raises:
        InvalidRequest: not even the largest canvas has LEAST_PITCH pixels for each of the sprite's.
    """
    if not model.draws_pixels:
        return _painted_pass(model, width, height, preset)
    side = max(width, height)
    small, large = model.native_sizes[0], model.native_sizes[-1]
    if side <= small:
        return _Pass(large, large, small, doubled=True)
    return _Pass(large, large, large)


def _painted_pass(model: Model, width: int, height: int, preset: str) -> _Pass:
    chosen = preset_of(model, preset)
    side = chosen.canvas if chosen and chosen.canvas in model.canvases else model.canvases[-1]
    if max(width, height) < SHARP_FROM:
        return _Pass(*bucket(side, width, height))
    for canvas in sorted(canvas for canvas in model.canvases if canvas >= side):
        wide, high = bucket(canvas, width, height)
        if (pitch := min(wide // width, high // height)) >= LEAST_PITCH:
            return _Pass(wide, high, pitch=pitch)
    raise InvalidRequest(
        f"{width}x{height} is too large for '{model.id}': a pixel of the picture would be less than {LEAST_PITCH} of "
        f"the canvas. Draw up to {_roomy(model)} pixels on the longer side for this shape, or larger art in parts."
    )


def _roomy(model: Model) -> int:
    return model.canvases[-1] // LEAST_PITCH


def _check(recipe: Recipe, model: Model) -> None:
    most = model.largest if model.draws_pixels or background_of(recipe) == "transparent" else model.largest_scene
    for name, pixels in (("width", recipe.width), ("height", recipe.height)):
        if not model.smallest <= pixels <= most:
            raise InvalidRequest(
                f"A sprite's {name} is {model.smallest} to {most} pixels, not {pixels}{_larger(model, pixels)}"
            )
    if not recipe.prompt.strip():
        raise InvalidRequest('The prompt is empty. Say what to draw, for example "red dragon".')
    if recipe.candidates < 1:
        raise InvalidRequest("count and candidates are at least 1.")


def _larger(model: Model, pixels: int) -> str:
    """Ends the sentence about a size that the model does not draw with the model that does."""
    if pixels < model.smallest:
        return ". Draw it larger, then make it smaller with edit_sprite (width, height)."
    painter = Model(SDXL, "", "", model.folder)
    if not model.draws_pixels or not model.largest < pixels <= painter.largest_scene:
        return ". Draw larger art in parts, or as a tileset."
    return (
        f", with '{model.id}'. model='{SDXL}' draws {painter.smallest} to {painter.largest}, and backgrounds up to "
        f"{painter.largest_scene}; list_models says whether it is here."
    )


def _draw(
    engine: Engine,
    recipe: Recipe,
    plan: _Pass,
    batch: Sequence[tuple[str, int]],
    init: Pixels | None,
    references: tuple[Pixels, ...],
    on_progress: OnProgress,
) -> Drawing:
    """Draws one batch of (prompt, seed); it begins with `init` where there is one."""
    sketch = recipe.options["sketch"] if init is not None else {}
    request = DrawRequest(
        model=recipe.model,
        prompts=tuple(prompt for prompt, _ in batch),
        seeds=tuple(seed for _, seed in batch),
        width=plan.width,
        height=plan.height,
        negative=recipe.negative,
        native=plan.native,
        preset=recipe.preset,
        steps=recipe.steps or None,
        guidance=recipe.guidance or None,
        loras=recipe.loras,
        init=(init,) * len(batch) if init is not None else (),
        strength=float(sketch.get("strength", 1.0)),
        references=references,
        lines=bool(sketch.get("lines")),
    )
    return engine.draw(request, on_progress)


def check_references(recipe: Recipe, references: Sequence[Pixels]) -> None:
    """Checks that a recipe's references are here.

    Raises:
        InvalidRequest: they are not.
    """
    if len(recipe.options.get("reference", {}).get("assets", ())) != len(references):
        raise InvalidRequest(
            "This recipe was drawn after references, which are not here. Give them: reference=<files>."
        )


def _begins(recipe: Recipe, sketch: Pixels | None) -> bool:
    """Returns whether the drawing begins with a sketch.

    Raises:
        InvalidRequest: the recipe has one that was not given, or the other way round.
    """
    if bool(recipe.options.get("sketch")) != (sketch is not None):
        raise InvalidRequest("This recipe was drawn over a sketch, which is not here. Give it again: sketch=<file>.")
    return sketch is not None


def _first_canvas(recipe: Recipe, one: _Pass, sketch: Pixels | None, background: str, model: Model) -> Pixels:
    from pipelines.sprites.sketch import sketch_canvas

    assert sketch is not None
    size = (recipe.width, recipe.height)
    return sketch_canvas(sketch, (one.width, one.height), size, one.pitch, background, model.draws_pixels)


def _part_of(on_progress: OnProgress, index: int, parts: int) -> OnProgress:
    """Returns the OnProgress of one of several drawings, in thousandths of each, so that the sum only grows."""
    if parts == 1:
        return on_progress
    return lambda done, total, message: on_progress(index * 1000 + 1000 * done // total, parts * 1000, message)


def _resized(image: Pixels, side: int) -> Pixels:
    from PIL import Image

    smaller = side < image.shape[0]
    resample = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(image).resize((side, side), resample))


def _native(canvas: Pixels, recipe: Recipe, last: _Pass) -> Pixels:
    """Scales a pixel model's canvas to one pixel per pixel: halves doubled ones, and keeps within the sprite."""
    if last.doubled:
        canvas = _halved(canvas)
    side = max(recipe.width, recipe.height)
    return _resized(canvas, side) if not last.doubled and side < canvas.shape[0] else canvas


def _rescaled(picture: Pixels, options: FinishOptions) -> Pixels:
    """Finishes a picture at the size that it was drawn in, and makes that larger or smaller, without new colours.

    A drawing over at the larger size was tried: it covers everything with one texture, faces and doors too.
    """
    drawn, longest = max(picture.shape[:2]), max(options.width, options.height)
    width, height = (max(1, round(side * drawn / longest)) for side in (options.width, options.height))
    own = finish(picture, replace(options, width=width, height=height, outline="none", dither=0)).image
    if longest > drawn:
        return enlarged(own, options.height, options.width)
    room = int(options.outline == "outer")
    small = reduced(own, options.height - 2 * room, options.width - 2 * room)
    return np.pad(small, ((room, room), (room, room), (0, 0)))


def _halved(image: Pixels) -> Pixels:
    """Averages the opaque part of every 2x2 block into one pixel."""
    height, width = image.shape[:2]
    blocks = image.reshape(height // 2, 2, width // 2, 2, 4).astype(np.float32)
    alpha = blocks[..., 3:]
    total = alpha.sum(axis=(1, 3))
    color = (blocks[..., :3] * alpha).sum(axis=(1, 3)) / np.maximum(total, 1)
    return np.concatenate([color, total / 4], axis=-1).round().astype(np.uint8)


def _on_background(image: Pixels, recipe: Recipe, background: str, pitch: int = 0) -> Pixels:
    """Makes every pixel solid (holes take the nearest colour) and crops to the wanted shape.

    With a whole pitch the crop is that many pixels for each of the sprite's: finishing keeps exactly these.
    """
    if background != "opaque":
        return image
    image = image.copy()
    clear = image[..., 3] < 128
    if clear.any() and not clear.all():
        from scipy.ndimage import distance_transform_edt

        rows, columns = np.asarray(distance_transform_edt(clear, return_distances=False, return_indices=True))
        image = image[rows, columns]
    image[..., 3] = 255
    height, width = image.shape[:2]
    if pitch:
        tall, wide = pitch * recipe.height, pitch * recipe.width
    elif width * recipe.height > height * recipe.width:
        tall, wide = height, round(height * recipe.width / recipe.height)
    else:
        tall, wide = round(width * recipe.height / recipe.width), width
    top, left = (height - tall) // 2, (width - wide) // 2
    return image[top : top + tall, left : left + wide]


def _judged(finished: Finished, background: str) -> Finished:
    """Adds the background to the report: a creature on a solid square is a worse candidate."""
    scores = dict(finished.report.scores)
    right = background == "opaque" or scores["occupancy"] < 0.95
    scores["ground"] = float(right)
    scores["score"] *= 1.0 if right else 0.3
    return replace(finished, report=Report(finished.report.gates, scores))
