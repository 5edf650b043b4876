"""Terrains from words: pictures that wrap, drawn by a model, and the choice of the one that tiles best.

Owns the wording that suits the embedded model, the canvas for a tile size and the scores of a texture. Knows nothing of
layouts and borders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from pipelines.models import Model, find_model
from pipelines.pixels.cells import sample_cells
from pipelines.pixels.clean import settle_orphans
from pipelines.pixels.grid import regular_grid
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette, extract_palette, lock
from pipelines.records import Drawing, DrawRequest, OnProgress, Pixels, Recipe
from pipelines.tiles.geometry import wrapped
from pipelines.tiles.seams import texture_seam

if TYPE_CHECKING:
    from pipelines.engine import Engine

SDXL_CANVAS = 512
"""Side of the canvas of a model that does not draw single pixels."""
_COLORS = frozenset(
    "black gray grey white brown red orange yellow green cyan blue purple pink dark golden teal".split()
)
_GROUNDS = frozenset("floor wall walls".split())
_USUAL = {
    "grass": "green", "moss": "green", "forest": "green", "jungle": "green", "leaves": "green", "swamp": "green",
    "water": "blue", "sea": "blue", "ocean": "blue", "river": "blue", "lake": "blue", "ice": "cyan",
    "sand": "yellow", "beach": "yellow", "desert": "yellow", "dirt": "brown", "mud": "brown", "soil": "brown",
    "earth": "brown", "path": "brown", "road": "brown", "wood": "brown", "wooden": "brown", "planks": "brown",
    "brick": "brown", "bricks": "brown", "stone": "gray", "rock": "gray", "gravel": "gray", "cobblestone": "gray",
    "lava": "red", "magma": "red", "snow": "white", "marble": "white", "crystal": "purple",
}  # fmt: skip
_SYNONYMS = {
    "sea": "water", "ocean": "water", "river": "water", "lake": "water", "beach": "sand", "desert": "sand",
    "soil": "dirt", "earth": "dirt", "mud": "dirt", "path": "dirt", "road": "dirt", "rock": "stone", "magma": "lava",
    "moss": "grass", "jungle": "grass", "forest": "grass", "leaves": "grass", "wood": "wooden", "planks": "wooden",
    "bricks": "brick",
}  # fmt: skip
LIQUIDS = frozenset("water sea ocean river lake lava magma acid swamp".split())


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """A terrain at native pixels ((n, n, 4), opaque, wraps where it was asked to) and its scores; `cost` is the one to
    choose by, lower is better."""

    image: Pixels
    scores: dict[str, float]

    @property
    def cost(self) -> float:
        return self.scores["cost"]


def words_of(prompt: str) -> list[str]:
    """The prompt's words in lower case."""
    return re.findall(r"[a-z0-9]+", prompt.lower())


def embedded_wording(prompt: str) -> str:
    """The prompt as the embedded model draws it best: the terrain's usual colour where none is named, and `floor`.

    Without a colour it draws terrain of any hue; without `floor` a thing with a clear ground.
    """
    words = words_of(prompt)
    usual = next((_USUAL[word] for word in words if word in _USUAL), "")
    named = any(word in _COLORS for word in words)
    words = [_SYNONYMS.get(word, word) for word in words]
    if usual and not named:
        words.insert(0, usual)
    if not _GROUNDS & set(words):
        words.append("wall" if "brick" in words else "floor")
    return " ".join(words)


def canvas_of(model: Model, size: int) -> tuple[int, int]:
    """(canvas side, SDXL's original size) in pixels for a texture of `size` pixels.

    A model that draws pixels draws small tiles doubled, as its 16 px sprites; other models draw a canvas of their own,
    which is cut down to size x size cells.
    """
    if not model.draws_pixels:
        return SDXL_CANVAS, SDXL_CANVAS
    small, large = model.native_sizes[0], model.native_sizes[-1]
    return (2 * size, small) if size <= small else (size, large)


def texture_request(
    recipe: Recipe, model: Model, prompts: Sequence[str], seeds: Sequence[int], wraps: tuple[bool, bool]
) -> DrawRequest:
    """The drawing of one texture of recipe.width a prompt; `wraps` says in which axes (x, y)."""
    side, native = canvas_of(model, recipe.width)
    if model.draws_pixels:
        prompts = [embedded_wording(prompt) for prompt in prompts]
    return DrawRequest(
        model=recipe.model,
        prompts=tuple(prompts),
        seeds=tuple(seeds),
        width=side,
        height=side,
        negative=recipe.negative,
        native=native,
        preset=recipe.preset,
        steps=recipe.steps or None,
        guidance=recipe.guidance or None,
        loras=recipe.loras,
        tile_x=wraps[0],
        tile_y=wraps[1],
    )


def draw_textures(
    engine: Engine, recipe: Recipe, prompts: Sequence[str], wraps: tuple[bool, bool], on_progress: OnProgress
) -> tuple[list[list[Texture]], Drawing]:
    """recipe.candidates textures for each prompt, best first, and the drawing that they came from."""
    model = find_model(recipe.model)
    count = recipe.candidates
    seeds = [terrain_seed(recipe.seed, prompt, i) for prompt in prompts for i in range(count)]
    every = [prompt for prompt in prompts for _ in range(count)]
    drawing = engine.draw(texture_request(recipe, model, every, seeds, wraps), on_progress)
    found = [judge(to_native(image, recipe.width, model), wraps) for image in drawing.images]
    groups = [sorted(found[i * count : (i + 1) * count], key=lambda t: t.cost) for i in range(len(prompts))]
    return groups, drawing


def terrain_seed(seed: int, prompt: str, candidate: int) -> int:
    """A seed that depends on the words, so that two terrains of a set do not share their noise, but grass on water
    and grass on sand have the same grass."""
    digest = 0
    for letter in prompt.encode():
        digest = (digest * 131 + letter) % 2**31
    return (seed * 1_000_003 + digest * 97 + candidate) % 2**63


def to_native(canvas: Pixels, size: int, model: Model) -> Pixels:
    """A canvas as size x size pixels: doubled pixels halved, a painter's canvas cut into cells."""
    side = canvas.shape[0]
    if side == size:
        return canvas
    if model.draws_pixels and side == 2 * size:
        blocks = canvas.reshape(size, 2, size, 2, 4).astype(np.float32)
        return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return sample_cells(canvas, regular_grid(side, side, size, size))


def judge(image: Pixels, wraps: tuple[bool, bool] = (True, True)) -> Texture:
    """The texture, made opaque, with its scores.

    `seam` is the worse wrap (see seams), `lumps` how uneven it is at the scale of a quarter tile (what shows as a grid
    when it repeats), `grain` how rough pixel by pixel, `clear` the share of pixels that had to be filled.
    """
    clear = image[..., 3] < 128
    solid = image.copy()
    if clear.any() and not clear.all():
        nearest = ndimage.distance_transform_edt(clear, return_distances=False, return_indices=True)
        solid = solid[tuple(np.asarray(nearest))]
    solid[..., 3] = 255
    lab = to_oklab(solid[..., :3])
    mode = ["wrap" if wraps[1] else "nearest", "wrap" if wraps[0] else "nearest", "nearest"]
    sigma = image.shape[0] / 8
    smooth = ndimage.gaussian_filter(lab, (sigma, sigma, 0), mode=mode)
    lumps = float(np.linalg.norm(smooth - smooth.mean(axis=(0, 1)), axis=-1).mean())
    grain = float(np.linalg.norm(lab - smooth, axis=-1).mean())
    x, y = texture_seam(solid)
    seam = max(x if wraps[0] else 0.0, y if wraps[1] else 0.0)
    scores = {"seam": seam, "lumps": lumps, "grain": grain, "clear": float(clear.mean())}
    # a flat tile is dull, a rough one muddies every border
    dull = max(0.0, 0.015 - grain) * 40
    rough = max(0.0, grain - 0.06) * 10
    scores["cost"] = lumps * 30 + max(0.0, seam - 1.1) * 2 + dull + rough + scores["clear"] * 20
    return Texture(solid, scores)


def flatten(texture: Pixels, colors: int, palette: Palette | None) -> Pixels:
    """The texture in at most `colors` colours (of `palette` where there is one), without lone pixels; it still wraps."""
    few = lock(texture, palette) if palette else texture
    few = lock(few, extract_palette([few], colors))
    if palette:
        few = lock(few, palette)
    size = texture.shape[0]
    margin = min(4, size)
    settled = settle_orphans(wrapped(few, margin))
    return settled[margin:-margin, margin:-margin]


def draw_variants(
    engine: Engine, recipe: Recipe, prompt: str, base: Pixels, count: int, on_progress: OnProgress
) -> list[Pixels]:
    """`count` textures that fit `base` (n, n, 4) and each other: its frame stays, its inside is drawn anew."""
    model = find_model(recipe.model)
    size = recipe.width
    seeds = [terrain_seed(recipe.seed, prompt, 1000 + i) for i in range(count)]
    request = texture_request(recipe, model, [prompt] * count, seeds, (True, True))
    scale = request.width // size
    frame = max(1, size // 16)
    inside = np.zeros((size, size), np.bool_)
    inside[frame:-frame, frame:-frame] = True
    init = base.repeat(scale, 0).repeat(scale, 1)
    mask = inside.repeat(scale, 0).repeat(scale, 1)
    request = replace(request, init=(init,) * count, mask=(mask,) * count)
    drawing = engine.draw(request, on_progress)
    variants = []
    for canvas in drawing.images:
        tile = judge(to_native(canvas, size, model)).image
        variants.append(np.where(inside[..., None], tile, base))
    return variants
