"""Joint diffusion of a whole corner set: the tiles are drawn together, and what two of them share is tied at every step.

After each step all latent cells that show the same place of the same seam are set to their mean (MultiDiffusion,
Bar-Tal et al. 2023, on the graph of tiles in place of a panorama): a tile's canvas reaches `margin` pixels over its
edges, and the band around an edge belongs to the edge's class, the square around a corner to the corner's terrain.
What belongs where is a table of numbers, so the tie itself knows nothing of tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.tiles.geometry import NE, NW, SE, SW, Rim, corner_field

Ties = NDArray[np.int64]
"""(batch, h, w) a number for each latent cell: cells with equal numbers are one cell."""

TORUS = ((1, 1, 1, 0), (1, 1, 0, 1), (0, 1, 0, 0), (1, 0, 0, 0))
"""Corners of a 4 x 4 map that wraps and in which every corner tile occurs once (a de Bruijn torus)."""


def tie(ties: Ties) -> Callable[[Any, int, int], Any]:
    """A `DrawRequest.couple` that makes tied cells equal: the first one's value after the first step (a mean of
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


def batch_ties(size: int, margin: int) -> Ties:
    """(16, size + 2 margin, same): the ties of 16 corner tiles, drawn each with `margin` more cells around it.

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


def torus_ties(size: int, margin: int) -> Ties:
    """(1, 4 size, 4 size): the ties of the torus, whose cells lie within `margin` of an edge or are alone."""
    grid = np.array(TORUS)
    span = 4 * size
    at = np.arange(span)
    cell, local = at // size, at % size
    end = np.where(local < margin, cell, np.where(local >= size - margin, cell + 1, -1))
    offset = np.where(local < margin, local + margin, np.where(local >= size - margin, local - size + margin, local))
    y, x = np.meshgrid(at, at, indexing="ij")
    ey, ex, oy, ox = end[y], end[x], offset[y], offset[x]
    cy, cx = cell[y], cell[x]
    corner = grid[ey % 4, ex % 4]
    vertical = 2 * grid[cy, ex % 4] + grid[(cy + 1) % 4, ex % 4]
    horizontal = 2 * grid[ey % 4, cx] + grid[ey % 4, (cx + 1) % 4]
    alone = 10 + cy * 4 + cx
    kind = np.select([(ey >= 0) & (ex >= 0), ex >= 0, ey >= 0], [corner, 2 + vertical, 6 + horizontal], alone)
    return (kind * span * span + oy * span + ox)[None]


def torus_places() -> list[tuple[int, int]]:
    """(row, column) of the torus of each of the 16 corner masks."""
    places = {}
    for y in range(4):
        for x in range(4):
            bits = TORUS[y][x], TORUS[y][(x + 1) % 4], TORUS[(y + 1) % 4][x], TORUS[(y + 1) % 4][(x + 1) % 4]
            places[bits[0] * NW + bits[1] * NE + bits[2] * SW + bits[3] * SE] = (y, x)
    return [places[mask] for mask in range(16)]


def upper_weight(size: int, margin: int, rim: Rim, softness: float) -> NDArray[np.float32]:
    """(16, size + 2 margin, same) in 0..1: how much of the upper terrain's words rules each pixel of each tile."""
    fields = np.stack([corner_field(mask, size, rim, margin)[0] for mask in range(16)])
    return (1 / (1 + np.exp(-fields / softness))).astype(np.float32)
