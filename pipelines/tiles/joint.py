"""Draw all tiles of a corner set together, and tie their shared regions at every step (joint diffusion).

After each step all latent cells that show the same place of the same seam are set to their mean (MultiDiffusion,
Bar-Tal et al. 2023, on the graph of tiles in place of a panorama): a tile's canvas reaches `margin` pixels over its
edges, and the band around an edge belongs to the edge's class, the square around a corner to the corner's terrain. A
table of numbers says which cells belong together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidRequest
from pipelines.models.catalog import Model
from pipelines.pixels.oklab import from_oklab, to_oklab
from pipelines.records import Drawing, DrawRequest, OnProgress, Pixels, Recipe, Region
from pipelines.tiles.geometry import NE, NW, SE, SW, Rim, corner_field
from pipelines.tiles.layouts import corner_sides
from pipelines.tiles.textures import SDXL_CANVAS, embedded_wording, make_opaque, terrain_seed, to_native

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

MARGIN = 4
"""A tile's canvas reaches a quarter of the tile over each edge."""
SMALLEST = 16
"""Tiles below this size, in pixels, have too few latent cells to tie."""

Ties = NDArray[np.int64]
"""(batch, h, w) a number for each latent cell: cells with equal numbers are one cell."""


def tie(ties: Ties) -> Callable[[Any, int, int], Any]:
    """Returns a `DrawRequest.couple` that makes tied cells equal: the first one's value after the first step (a mean of
    independent noise would be too quiet), the mean afterwards."""
    flat, inverse = np.unique(ties.reshape(-1), return_inverse=True)
    first = np.full(len(flat), ties.size, np.int64)
    np.minimum.at(first, inverse, np.arange(ties.size))
    counts = np.bincount(inverse, minlength=len(flat))

    def couple(latents: Any, index: int, total: int) -> Any:
        batch, channels, height, width = latents.shape
        cells = latents.movedim(1, -1).reshape(-1, channels)
        where = latents.new_tensor(inverse).long()
        if index == 0:
            shared = cells[latents.new_tensor(first).long()]
        else:
            shared = latents.new_zeros((len(flat), channels)).index_add_(0, where, cells)
            shared = shared / latents.new_tensor(counts)[:, None]
        return shared[where].reshape(batch, height, width, channels).movedim(-1, 1).contiguous()

    return couple


@dataclass(frozen=True, slots=True)
class CornerTies:
    """A `DrawRequest.couple` for 16 corner tiles, `size` pixels a side, drawn with `margin` more around each."""

    size: int
    margin: int

    def __call__(self, latents: Any, index: int, total: int) -> Any:
        cells = latents.shape[-1] * self.size // (self.size + 2 * self.margin)
        return tie(batch_ties(cells, cells // MARGIN))(latents, index, total)


def batch_ties(size: int, margin: int) -> Ties:
    """Ties (16, size + 2 margin, same): 16 corner tiles, drawn each with `margin` more cells around it.

    `size` and `margin` are latent cells; margin is at most half of size.
    """
    return np.stack([_tile_ties(mask, size, margin) for mask in range(16)])


def _tile_ties(mask: int, size: int, margin: int) -> Ties:
    span = size + 2 * margin
    corners = np.array([[mask & NW, mask & NE], [mask & SW, mask & SE]]).astype(bool).astype(np.int64)
    at = np.arange(span) - margin
    # near which of the two ends a cell is (-1: neither), and where it is from there
    end = np.where(at < margin, 0, np.where(at >= size - margin, 1, -1))
    offset = np.where(end == 0, at + margin, np.where(end == 1, at - size + margin, at))
    y, x = np.meshgrid(np.arange(span), np.arange(span), indexing="ij")
    ey, ex, oy, ox = end[y], end[x], offset[y], offset[x]
    place = oy * span + ox
    corner = corners[np.maximum(ey, 0), np.maximum(ex, 0)]
    vertical = 2 * corners[0, np.maximum(ex, 0)] + corners[1, np.maximum(ex, 0)]
    horizontal = 2 * corners[np.maximum(ey, 0), 0] + corners[np.maximum(ey, 0), 1]
    kind = np.select(
        [(ey >= 0) & (ex >= 0), ex >= 0, ey >= 0],
        [corner, 2 + vertical, 6 + horizontal],
        10 + mask,
    )
    return kind * span * span + place


def draw_joint(
    engine: Engine,
    recipe: Recipe,
    model: Model,
    upper: str,
    lower: str,
    rim: Rim,
    on_progress: OnProgress,
    references: tuple[Pixels, ...] = (),
) -> tuple[list[Pixels], Drawing]:
    """Returns the 16 corner tiles (recipe.width square, opaque) in one batch, and the drawing that they came from.

    The lower terrain's prompt is the main prompt; the upper one's prompt applies to the upper part of each tile.

    Raises:
        InvalidRequest: tiles too small for a margin.
    """
    size = recipe.width
    margin = size // MARGIN
    if model.draws_pixels and (size < SMALLEST or (size + 2 * margin) % 8):
        raise InvalidRequest(f"method='joint' needs tiles of 16, 32, 48 or 64 pixels, not {size}. Leave method= out.")
    wording = embedded_wording if model.draws_pixels else str
    weight = upper_weight(size, margin, rim, softness=size / 16)
    scale = 1 if model.draws_pixels else painters_scale(size)
    side = (size + 2 * margin) * scale

    request = DrawRequest(
        model=recipe.model,
        prompts=(wording(lower),) * 16,
        seeds=tuple(terrain_seed(recipe.seed, lower + upper, i) for i in range(16)),
        width=side,
        height=side,
        negative=recipe.negative,
        native=model.native_sizes[-1] if model.draws_pixels else side,
        preset=recipe.preset,
        steps=recipe.steps or None,
        guidance=recipe.guidance or None,
        loras=recipe.loras,
        region=Region(wording(upper), weight.repeat(scale, 1).repeat(scale, 2)),
        couple=CornerTies(size, margin),
    )
    drawing = engine.draw(request, on_progress)
    inside = slice(margin, margin + size)
    tiles = [make_opaque(to_native(image, size + 2 * margin, model))[0][inside, inside] for image in drawing.images]
    return tiles, drawing


def painters_scale(size: int) -> int:
    """Canvas pixels a tile's pixel for a model that paints: near SDXL_CANVAS with the margins, and so that tile and
    margins are whole latent cells (8 pixels) at every level of the UNet (4 cells)."""
    step = 64 // math.gcd(64, size)
    return max(1, round(SDXL_CANVAS / (1.5 * size * step))) * step


def freeze(tiles: Sequence[Pixels]) -> list[Pixels]:
    """Gives all corner tiles that show the same at a side the very same strip there: the first one's.

    A model whose decoder mixes neighbours leaves tied sides a little unequal.
    """
    frozen = [tile.copy() for tile in tiles]
    pure = tiles[0], tiles[15]
    strips: dict[tuple[int, Hashable], Pixels] = {}
    for mask, tile in enumerate(frozen):
        shown = corner_sides(mask)
        for side, where in enumerate((np.s_[0], np.s_[:, -1], np.s_[-1], np.s_[:, 0])):
            tile[where] = strips.setdefault((side, shown[side]), tile[where].copy())
        # a corner pixel lies in two strips: its terrain decides
        for bit, place in ((NW, (0, 0)), (NE, (0, -1)), (SW, (-1, 0)), (SE, (-1, -1))):
            tile[place] = pure[bool(mask & bit)][place]
    return frozen


def ease(tiles: Sequence[Pixels], most: float) -> list[Pixels]:
    """Eases frozen corner tiles until no pair steps more than `most` times the mean step inside the tiles.

    The model does not know where tiles end, and may draw a line on an edge. The two strips of such a pair are drawn
    towards each other, all tiles that share them alike; corners stay, since they lie in two strips.
    """
    labs = [to_oklab(tile[..., :3]) for tile in tiles]
    inside = [np.linalg.norm(np.diff(lab, axis=axis), axis=-1).mean() for lab in labs for axis in (0, 1)]
    limit = most * float(np.mean(inside))
    shown = [corner_sides(mask) for mask in range(16)]
    pairs = ((1, 3, np.s_[1:-1, -1], np.s_[1:-1, 0]), (2, 0, np.s_[-1, 1:-1], np.s_[0, 1:-1]))
    for near, far, here, there in pairs:
        for what in {sides[near] for sides in shown}:
            before = [i for i, sides in enumerate(shown) if sides[near] == what]
            after = [i for i, sides in enumerate(shown) if sides[far] == what]
            a, b = labs[before[0]][here], labs[after[0]][there]
            step = float(np.linalg.norm(a - b, axis=-1).mean())
            if step > limit:
                toward = (b - a) * (1 - limit / step) / 2
                a, b = a + toward, b - toward
                for i in before:
                    labs[i][here] = a
                for i in after:
                    labs[i][there] = b
    return [np.concatenate([from_oklab(lab), t[..., 3:]], axis=-1) for lab, t in zip(labs, tiles, strict=True)]


def upper_weight(size: int, margin: int, rim: Rim, softness: float) -> NDArray[np.float32]:
    """Weighs the upper terrain's prompt for each pixel of each tile: (16, size + 2 margin, same) in 0..1."""
    fields = np.stack([corner_field(mask, size, rim, margin)[0] for mask in range(16)])
    return (1 / (1 + np.exp(-np.clip(fields / softness, -30, 30)))).astype(np.float32)
