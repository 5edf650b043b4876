"""Paint ground seen from the side: a body, a surface on open tops, a dark rim, transparent surroundings."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pipelines.records import Pixels
from pipelines.tiles.geometry import BLOB_MASKS, Rim, blob_cells, enlarge, noise, rim_field, wrapped
from pipelines.tiles.wang import Terrain, shade


def paint_platforms(surface: Terrain, body: Terrain, seed: int) -> list[Pixels]:
    """Returns the 47 tiles in the order of BLOB_MASKS: solid cells of `body` with a layer of `surface` on every top."""
    size = body.size
    waves = wrapped(noise(size, seed), size) * size * 0.09
    blades = np.tile(np.random.default_rng(seed + 1).integers(0, 3, size), 3) * size / 16
    top, deep = wrapped(surface.texture, size), wrapped(body.texture, size)
    lit, line = wrapped(shade(surface.texture, 1.14), size), wrapped(shade(surface.texture, 0.62, True), size)
    rim, gloom = wrapped(shade(body.texture, 0.5, True), size), wrapped(shade(body.texture, 0.75), size)
    rounding = Rim(0, max(1.0, size / 10), 0)
    tiles = []
    for mask in BLOB_MASKS:
        # the whole neighbourhood is painted and the middle cut out, so sides cannot differ
        solid = rim_field(blob_cells(mask), size, rounding) > 0
        above = np.zeros_like(solid)
        above[1:] = solid[:-1]
        above[0] = enlarge(blob_cells(mask), size)[0]
        crust = solid & ~above
        # a top continues a little into the wall beside it, straight, so that it meets the tile there
        crust = np.asarray(ndimage.binary_dilation(crust, np.ones((1, 7))), bool) & solid
        depth = np.asarray(ndimage.distance_transform_edt(~crust)) if crust.any() else np.full(solid.shape, 9.0 * size)
        layer = solid & (depth < size * 0.28 + waves + blades[None])
        first = np.arange(3 * size)[:, None] % size == 0
        layer &= ~(first & above)
        edge = solid & ~np.asarray(ndimage.binary_erosion(solid, np.ones((3, 3)), border_value=1), bool)
        out = np.where(layer[..., None], top, deep)
        below = np.zeros_like(layer)
        below[1:] = layer[:-1]
        gloomy = solid & ~layer & below
        out[gloomy] = gloom[gloomy]
        last = layer & ~np.roll(layer, -1, 0)
        out[last] = line[last]
        second = np.roll(crust, 1, 0) & layer
        out[second] = lit[second]
        out[edge] = rim[edge]
        out[~solid] = 0
        tiles.append(out[size : 2 * size, size : 2 * size])
    return tiles
