"""Edit a finished sprite: draw over a part or all of it, recolour, resize. Pixels outside the mask stay equal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidRequest
from pipelines.models.catalog import find_model
from pipelines.pixels.finish import FinishOptions, finish
from pipelines.pixels.gates import Report, check_gates, score_picture
from pipelines.pixels.palette import MOST_COLORS, Palette, extract_palette, lock
from pipelines.pixels.quantize import color_counts
from pipelines.pixels.resample import enlarged
from pipelines.records import DrawRequest, OnProgress, Pixels, Recipe, no_progress
from pipelines.sprites.draw import Sprite, plan_pass
from pipelines.sprites.framing import framed_prompt

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

_T = TypeVar("_T", bound=np.generic)

_LINE = 45.0
"""Luma, 0 to 255, up to which a pixel is a dark line."""

FRESH_COLORS = 4
"""Colours that a drawing over a part may bring into a sprite without a palette, though it has all it may have."""

PLACES: Mapping[str, tuple[float, float, float, float]] = {
    "head": (0.0, 0.0, 1.0, 0.38),
    "neck": (0.28, 0.3, 0.72, 0.38),
    "body": (0.0, 0.34, 1.0, 0.74),
    "legs": (0.0, 0.68, 1.0, 1.0),
    "feet": (0.0, 0.84, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "middle": (0.25, 0.25, 0.75, 0.75),
}
"""Parts of a sprite, as (left, top, right, bottom) shares of the box around what is drawn."""
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("hat", "helmet", "hood", "hair", "face", "head", "crown", "horns", "ears", "eyes"), "head"),
    **dict.fromkeys(("neck", "scarf", "collar", "necklace", "bandana", "beard"), "neck"),
    **dict.fromkeys(("body", "chest", "torso", "shirt", "armor", "armour", "robe", "coat", "belt"), "body"),
    **dict.fromkeys(("legs", "trousers", "pants", "skirt", "knees"), "legs"),
    **dict.fromkeys(("feet", "boots", "shoes", "foot"), "feet"),
    **{place: place for place in ("top", "bottom", "left", "right", "middle")},
    **dict.fromkeys(("upper", "above"), "top"),
    **dict.fromkeys(("lower", "below", "base"), "bottom"),
    **dict.fromkeys(("center", "centre"), "middle"),
}


def mask_of_place(image: Pixels, words: str) -> NDArray[np.bool_]:
    """Returns (h, w), True in the part that `place` names: "the hat", "left boots". Several words mean their overlap.

    Raises:
        InvalidRequest: no word of place is known, or nothing is drawn there.
    """
    places = [_WORDS[word] for word in re.findall(r"[a-z]+", words.lower()) if word in _WORDS]
    if not places:
        raise InvalidRequest(f"'{words}' names no part that is known. Use one of: {', '.join(sorted(_WORDS))}.")
    rows = np.flatnonzero((image[..., 3] > 0).any(axis=1))
    columns = np.flatnonzero((image[..., 3] > 0).any(axis=0))
    if not rows.size:
        raise InvalidRequest("There is nothing to edit: the sprite has no opaque pixel.")
    canvas_height, canvas_width = image.shape[:2]
    mask = np.ones((canvas_height, canvas_width), bool)
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    for place in places:
        left, top, right, bottom = PLACES[place]
        part = np.zeros_like(mask)
        # a part that reaches the box's edge takes the margin beyond it too: a new hat may be taller
        y0 = 0 if top == 0 else rows[0] + round(top * height)
        y1 = canvas_height if bottom == 1 else rows[0] + round(bottom * height)
        x0 = 0 if left == 0 else columns[0] + round(left * width)
        x1 = canvas_width if right == 1 else columns[0] + round(right * width)
        part[y0:y1, x0:x1] = True
        mask &= part
    if not mask.any():
        raise InvalidRequest(f"'{words}' names two parts that have nothing in common. Name one.")
    return mask


def redraw(
    engine: Engine,
    image: Pixels,
    recipe: Recipe,
    strength: float = 0.6,
    mask: NDArray[np.bool_] | None = None,
    on_progress: OnProgress = no_progress,
) -> Sprite:
    """Draws over a finished sprite (h, w, 4) with the recipe's prompt, seed, model and palette.

    Args:
        engine: what draws.
        image: the sprite; the result has its size.
        recipe: `width` and `height` are the sprite's.
        strength: 0..1, how much of the sprite is forgotten: 0.3 keeps its shape, 0.8 little but its place.
        mask: (h, w), True where it may change; None: everywhere. All other pixels come back bit-equal.
        on_progress: as in `pipelines.records`.

    Raises:
        InvalidRequest: a strength out of range, or a mask of another size or without a pixel.
        PipelineError: what the engine raised.
    """
    if not 0 < strength <= 1:
        raise InvalidRequest(f"strength={strength} is out of range: give more than 0, at most 1.")
    if mask is not None and (mask.shape != image.shape[:2] or not mask.any()):
        raise InvalidRequest("The mask must have the sprite's size, and at least one pixel that may change.")
    model = find_model(recipe.model)
    if model.draws_pixels and max(image.shape[:2]) > model.native_sizes[-1]:
        return _redrawn_smaller(engine, image, recipe, strength, mask, on_progress, model.native_sizes[-1])
    if recipe.preset == "turbo":  # the turbo adapter learned whole drawings only: an edit uses the model's own steps
        recipe = replace(recipe, preset="", steps=0, guidance=0.0)
    last = plan_pass(model, recipe.width, recipe.height, recipe.preset)
    height, width = image.shape[:2]
    most = min(last.height // height, last.width // width)
    scale = max(1, min(2 if last.doubled else 1, most) if model.draws_pixels else most)
    top, left = (last.height - height * scale) // 2, (last.width - width * scale) // 2
    window = np.s_[top : top + height * scale, left : left + width * scale]

    canvas = np.zeros((last.height, last.width, 4), np.uint8)
    canvas[window] = _enlarged(image, scale)
    masks: tuple[NDArray[np.bool_], ...] = ()
    if mask is not None:
        large = np.zeros(canvas.shape[:2], bool)
        large[window] = _enlarged(mask, scale)
        masks = (large,)
    drawing = engine.draw(
        DrawRequest(
            model=recipe.model,
            prompts=(recipe.prompt if model.draws_pixels else framed_prompt(recipe),),
            seeds=(recipe.seed,),
            width=last.width,
            height=last.height,
            negative=recipe.negative,
            native=last.native,
            preset=recipe.preset,
            steps=recipe.steps or None,
            guidance=recipe.guidance or None,
            loras=recipe.loras,
            init=(canvas,),
            strength=strength,
            mask=masks,
        ),
        on_progress,
    )
    drawn = drawing.images[0][window]
    if mask is not None and not recipe.palette:  # a part in the colours around it would never be the red hat asked for
        kept = len(color_counts([np.where(mask[..., None], 0, image).astype(np.uint8)])[0])
        recipe = replace(recipe, colors=min(MOST_COLORS, max(recipe.colors, kept + FRESH_COLORS)))
    palette = _palette_for(image, drawn, recipe, mask)
    options = FinishOptions(width, height, recipe.colors, palette, float(scale), recipe.outline, place=False)
    finished = finish(drawn, options).image
    if (image[..., 3] == 255).all():
        finished[..., 3] = 255
        finished = lock(finished, palette)
    if mask is not None:
        finished = np.where(mask[..., None], finished, image)
    report = _report(finished, recipe, palette)
    settled = replace(
        recipe,
        revision=drawing.revision,
        preset=drawing.preset,
        steps=drawing.steps,
        guidance=drawing.guidance,
    )
    return Sprite(settled, finished, palette, report, (report.scores["score"],), drawing.unknown_words)


def _redrawn_smaller(
    engine: Engine,
    image: Pixels,
    recipe: Recipe,
    strength: float,
    mask: NDArray[np.bool_] | None,
    on_progress: OnProgress,
    most: int,
) -> Sprite:
    """Draws over a sprite that is larger than what the model draws, at `most` pixels, and enlarges what changed.

    At its own size the model covers everything with one texture (`pipelines.sprites.draw`).
    """
    height, width = image.shape[:2]
    high, wide = (max(1, round(side * most / max(height, width))) for side in (height, width))
    small = image[(np.arange(high) * 2 + 1) * height // (2 * high)][:, (np.arange(wide) * 2 + 1) * width // (2 * wide)]
    small_mask = None
    if mask is not None:
        y, x = np.nonzero(mask)
        small_mask = np.zeros((high, wide), bool)
        small_mask[y * high // height, x * wide // width] = True
    smaller = replace(recipe, width=wide, height=high)
    made = redraw(engine, np.ascontiguousarray(small), smaller, strength, small_mask, on_progress)
    result = enlarged(made.image, height, width)
    if mask is not None:
        changed = (made.image != small).any(axis=-1)
        at = changed[np.arange(height) * high // height][:, np.arange(width) * wide // width]
        result = np.where((mask & at)[..., None], result, image)
    locked = Palette.from_hex(recipe.palette) if recipe.palette else None
    shown = color_counts([result])[0].tolist()
    palette = locked or Palette("drawn over", tuple((int(r), int(g), int(b)) for r, g, b in shown))
    settled = replace(made.recipe, width=width, height=height, colors=max(made.recipe.colors, len(shown)))
    report = _report(result, settled, palette)
    return Sprite(settled, result, palette, report, (report.scores["score"],), made.unknown_words)


def recolor(image: Pixels, recipe: Recipe, mapping: Mapping[str, str]) -> Sprite:
    """Swaps colours, RRGGBB -> RRGGBB. Every other pixel stays.

    Raises:
        InvalidRequest: no colour of the mapping is in the sprite.
        PaletteError: a word does not name a colour.
    """
    old, new = Palette.from_hex(list(mapping)), Palette.from_hex(list(mapping.values()))
    result = image.copy()
    changed = False
    for before, after in zip(old.colors, new.colors, strict=True):
        here = (image[..., :3] == before).all(axis=-1) & (image[..., 3] > 0)
        result[here, :3] = after
        changed |= bool(here.any())
    if not changed:
        words = ", ".join(sorted({"".join(f"{c:02x}" for c in p[:3]) for p in image[image[..., 3] > 0].tolist()})[:32])
        raise InvalidRequest(f"None of these colours is in the sprite. It has: {words}.")
    found = sorted({(int(r), int(g), int(b)) for r, g, b, _ in result[result[..., 3] > 0]})
    palette = Palette("recoloured", tuple(found))
    free = replace(recipe, palette=palette.hex)
    return Sprite(free, result, palette, _report(result, free, palette))


def tint(image: Pixels, recipe: Recipe, mask: NDArray[np.bool_], color: str) -> Sprite:
    """Paints a part in one colour: its own light and shade in the colour's steps. Dark lines and clear pixels stay.

    Args:
        image: (h, w, 4) RGBA, hard alpha.
        recipe: a locked palette holds; without one, up to three new colours come in.
        mask: (h, w), True where it may change.
        color: a colour that prompts know ("red"), or RRGGBB.

    Raises:
        InvalidRequest: the colour is unknown, or the part holds nothing but dark lines.
    """
    locked = Palette.from_hex(recipe.palette) if recipe.palette else None
    steps = np.array(_steps(color, locked), np.uint8)
    luma = image[..., :3].astype(np.int64) @ np.array([299, 587, 114]) / 1000
    here = mask & (image[..., 3] > 0) & (luma > _LINE)
    if not here.any():
        raise InvalidRequest("Nothing there can be coloured: the place holds only dark lines. Name another place.")
    low, high = np.quantile(luma[here], [0.15, 0.85])
    shade = np.digitize(luma, [low + (high - low) / 3, low + (high - low) * 2 / 3]) if high - low > 12 else 1
    painted = np.concatenate([steps[np.broadcast_to(shade, luma.shape)], image[..., 3:]], axis=-1)
    result = np.where(here[..., None], painted, image).astype(np.uint8)
    palette = locked or Palette("tinted", tuple(map(tuple, color_counts([result])[0].tolist())))  # type: ignore[arg-type]
    settled = recipe if locked else replace(recipe, colors=max(recipe.colors, len(palette.colors)))
    return Sprite(settled, result, palette, _report(result, settled, palette))


def _steps(color: str, palette: Palette | None) -> list[tuple[int, int, int]]:
    """Returns a shade, the colour and a light of a colour's name or RRGGBB; of a palette the nearest.

    Raises:
        InvalidRequest: it is neither.
    """
    from pipelines.effects.ramps import RAMPS, ramp_name, ramp_of

    if name := ramp_name(color):
        return list(ramp_of(name, palette)[1:4])
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", color.strip()):
        raise InvalidRequest(f"'{color[:60]}' is not a known colour. Give RRGGBB, or one of: {', '.join(RAMPS)}.")
    red, green, blue = Palette.from_hex([color]).colors[0]
    base = np.array([red, green, blue], float)
    steps = np.rint([base * 0.66, base, base + (255 - base) * 0.35]).astype(np.uint8)
    if palette is not None:
        steps = lock(np.concatenate([steps, np.full((3, 1), 255, np.uint8)], axis=1)[None], palette)[0, :, :3]
    return [(int(r), int(g), int(b)) for r, g, b in steps]


def repaint(image: Pixels, recipe: Recipe, palette: Palette) -> Sprite:
    """Maps each pixel to the nearest colour of another palette (OKLab)."""
    locked = lock(image, palette)
    settled = replace(recipe, palette=palette.hex)
    return Sprite(settled, locked, palette, _report(locked, settled, palette))


def resize(image: Pixels, recipe: Recipe, width: int, height: int) -> Sprite:
    """Resizes the sprite: enlarges by whole factors where that fits, else samples cell by cell."""
    palette = Palette.from_hex(recipe.palette) if recipe.palette else _own_palette(image, recipe)
    options = FinishOptions(width, height, recipe.colors, palette, None, "none", place=False)
    times = min(width // image.shape[1], height // image.shape[0])
    if times >= 1:
        large = _enlarged(image, times)
        result = np.zeros((height, width, 4), np.uint8)
        top, left = (height - large.shape[0]) // 2, (width - large.shape[1]) // 2
        result[top : top + large.shape[0], left : left + large.shape[1]] = large
    else:
        result = finish(image, replace(options, pitch=max(image.shape[1] / width, image.shape[0] / height))).image
    settled = replace(recipe, width=width, height=height)
    return Sprite(settled, result, palette, _report(result, settled, palette))


def moved(image: Pixels, recipe: Recipe) -> Sprite:
    """Returns a sprite of pixels that were only moved, with the size that they have now."""
    palette = Palette.from_hex(recipe.palette) if recipe.palette else _own_palette(image, recipe)
    settled = replace(recipe, width=image.shape[1], height=image.shape[0])
    return Sprite(settled, image, palette, _report(image, settled, palette))


def _enlarged(picture: NDArray[_T], times: int) -> NDArray[_T]:
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _own_palette(image: Pixels, recipe: Recipe) -> Palette:
    return extract_palette([image], recipe.colors)


def _palette_for(image: Pixels, drawn: Pixels, recipe: Recipe, mask: NDArray[np.bool_] | None) -> Palette:
    """Returns the lock where there is one; else the colours that stay, and as many new ones as the budget leaves."""
    if recipe.palette:
        return Palette.from_hex(recipe.palette)
    if mask is None:
        return extract_palette([drawn], recipe.colors)
    kept = extract_palette([np.where(mask[..., None], 0, image).astype(np.uint8)], recipe.colors)
    room = recipe.colors - len(kept.colors)
    if room < 1:
        return kept
    fresh = extract_palette([drawn], room)
    return Palette(kept.name, tuple(dict.fromkeys([*kept.colors, *fresh.colors])))


def _report(image: Pixels, recipe: Recipe, palette: Palette) -> Report:
    locked = palette if recipe.palette else None
    gates = check_gates(image, recipe.width, recipe.height, recipe.colors, locked)
    return Report(gates, score_picture(image))
