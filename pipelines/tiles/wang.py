"""Paint a border between two terrains that wrap: a mask composite with a painted rim.

Along the border of a distance field the upper terrain gets an edge line and tufts that hang over the edge, the lower
one a shadow to the south and, where it is a liquid, a bright shore. All of it is painted inside upper cells, from the
padded field and from noise that wraps, so a tile's edge strip depends only on what its neighbour has too. The
palette is applied later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import from_oklab, to_oklab
from pipelines.records import Pixels
from pipelines.tiles.geometry import (
    BLOB_MASKS,
    Cells,
    Field,
    Rim,
    blob_field,
    corner_field,
    noise,
    path_field,
    wrapped,
)


@dataclass(frozen=True, slots=True, eq=False)
class Terrain:
    """A terrain to paint with: `texture` (n, n, 4) wraps in both axes; clear all over means there is nothing there.

    `liquid` lies below everything that it touches.
    """

    texture: Pixels
    liquid: bool = False

    @property
    def size(self) -> int:
        return self.texture.shape[0]

    @property
    def clear(self) -> bool:
        return not self.texture[..., 3].any()


@dataclass(frozen=True, slots=True)
class Border:
    """How the edge of the higher terrain looks, for tiles of 16 pixels: lengths in pixels, scaled with the tile.

    `tufts` hang over a southern edge; `shadow` falls from it; `wobble` is the border's waviness.
    """

    tufts: int
    shadow: int
    wobble: float
    rounding: float


GRASSY = Border(tufts=2, shadow=1, wobble=1.2, rounding=3.0)
SOFT = Border(tufts=0, shadow=1, wobble=1.4, rounding=3.5)
CRISP = Border(tufts=0, shadow=2, wobble=0.0, rounding=1.5)
BORDERS = {"grassy": GRASSY, "soft": SOFT, "crisp": CRISP}


def scale_border(border: Border, size: int) -> tuple[Border, Rim]:
    """Scales the border's lengths and rim to tiles of `size` pixels: rim, shadow and tufts stay in the upper cell."""
    scale = size / 16
    short = 1 if size < 16 else max(1.0, scale**0.7)
    scaled = replace(
        border,
        tufts=round(border.tufts * short) if size >= 16 else min(border.tufts, 1),
        shadow=round(border.shadow * short),
        wobble=border.wobble * scale,
        rounding=border.rounding * scale,
    )
    inset = max(border.wobble * scale + 1, size / 8)
    return scaled, Rim(inset, max(0.0, min(scaled.rounding, size / 2 - 2.5 - inset)), scaled.wobble)


def paint_corners(upper: Terrain, lower: Terrain, border: Border, seed: int) -> list[Pixels]:
    """Returns the 16 corner tiles in the order of their masks."""
    size = upper.size
    scaled, rim = scale_border(border, size)
    brush = _square_brush(upper, lower, scaled, seed)
    return [brush.paint(*corner_field(mask, size, rim, brush.pad)) for mask in range(16)]


def paint_cells(upper: Terrain, lower: Terrain, border: Border, seed: int) -> list[Pixels]:
    """Returns the 47 blob tiles in the order of BLOB_MASKS, painted whole (see `blob` for the same from quarters)."""
    size = upper.size
    scaled, rim = scale_border(border, size)
    # a cell's picture is half a tile off the dual grid's
    brush = _square_brush(_shifted(upper), _shifted(lower), scaled, seed, shift=size // 2)
    return [brush.paint(*blob_field(mask, size, rim, brush.pad)) for mask in BLOB_MASKS]


def paint_paths(upper: Terrain, lower: Terrain, border: Border, seed: int) -> list[Pixels]:
    """Returns the 16 edge tiles of a path of `upper`, half a tile wide, on `lower`, in the order of their masks."""
    size = upper.size
    scaled = replace(scale_border(border, size)[0], tufts=0)
    # both sides of a path wave: with a shore's waves it would look like a string of beads, and below 16 px break
    scaled = replace(scaled, wobble=scaled.wobble / 2 if size >= 16 else 0, shadow=scaled.shadow if size >= 16 else 0)
    # the shadow and the shore stay inside the tile
    width = min(size * 0.56, size - 2 * (scaled.wobble + scaled.shadow + 2))
    brush = _square_brush(upper, lower, scaled, seed)
    everywhere = np.ones((size + 2 * brush.pad,) * 2, np.bool_)
    return [brush.paint(path_field(mask, size, width, brush.pad), everywhere) for mask in range(16)]


def _square_brush(upper: Terrain, lower: Terrain, border: Border, seed: int, shift: int = 0) -> Brush:
    """Returns the brush of square tiles, a quarter tile of padding around them."""
    size, pad = upper.size, upper.size // 4
    waves = (wrapped(noise(size, seed), pad, shift) * border.wobble).astype(np.float32)
    blades = np.random.default_rng(seed + 1).choice(border.tufts + 1, size)
    blades = blades[(np.arange(-pad, size + pad) + shift) % size]
    return Brush(upper, lower, border, waves, blades, lambda texture: wrapped(texture, pad), pad)


class Brush:
    """Paints fields on canvases of one size with one pair of terrains: shades are made once.

    Args:
        upper: the terrain where a field is positive; its texture has any size.
        lower: the other one.
        border: lengths in pixels of the canvas.
        waves: (h, w), what is added to every field.
        blades: (w,), the length of tufts in each column, at most border.tufts.
        spread: lays a texture out over the (h, w) canvas.
        pad: the canvas's pixels around what `paint` returns.
    """

    def __init__(
        self,
        upper: Terrain,
        lower: Terrain,
        border: Border,
        waves: Field,
        blades: NDArray[np.integer],
        spread: Callable[[Pixels], Pixels],
        pad: int,
    ) -> None:
        self.pad, self.border, self.waves, self.blades = pad, border, waves, blades
        self.high_is_upper = lower.liquid or not upper.liquid
        self.textures = spread(upper.texture), spread(lower.texture)
        high, self.low = (upper, lower) if self.high_is_upper else (lower, upper)
        self.line = spread(shade(high.texture, 0.62, darkest=True))
        self.lit = spread(shade(high.texture, 1.12))
        self.dark = spread(shade(self.low.texture, 0.72))
        self.shore = spread(shade(self.low.texture, 1.22))

    def paint(self, field: Field, inside: Cells) -> Pixels:
        """Returns the picture (h - 2 pad, w - 2 pad, 4) of a padded field; borders are painted `inside` alone."""
        solid = (field + self.waves > 0) & inside
        high = solid if self.high_is_upper else ~solid
        high = self._with_tufts(high, inside)
        solid = high if self.high_is_upper else ~high
        out = np.where(solid[..., None], *self.textures)
        low = ~high
        near = low & _beside(high)
        under = low & _below(high, self.border.shadow)
        if not self.low.clear:
            if self.low.liquid:
                _put(out, low & inside & ~under & (near | _beside(under) & ~near), self.shore)
            _put(out, under & inside, self.dark)
        rim = high & _beside(low)
        _put(out, rim & inside, self.line)
        _put(out, high & inside & ~rim & _below(rim & ~_below(high, 1), 1), self.lit)
        return out[self.pad : -self.pad, self.pad : -self.pad]

    def _with_tufts(self, high: Cells, inside: Cells) -> Cells:
        grown = high
        for length in range(1, self.border.tufts + 1):
            grown = grown | (_down(grown) & inside & (self.blades >= length))
        return grown


def shade(texture: Pixels, factor: float, darkest: bool = False) -> Pixels:
    """Returns the texture with its OKLab lightness scaled; `darkest` makes it one colour first, its dark quarter's."""
    lab = to_oklab(texture[..., :3])
    if darkest:
        flat = lab.reshape(-1, 3)
        dark = flat[flat[:, 0] <= np.quantile(flat[:, 0], 0.25)].mean(axis=0)
        lab = np.broadcast_to(dark, lab.shape)
    scaled = lab * np.array([factor, 1, 1], np.float32)
    if factor < 1:
        # shadows lean to blue, as pixel artists shift hues
        scaled = scaled + np.array([0, 0, -0.012], np.float32)
    return np.concatenate([from_oklab(scaled), texture[..., 3:]], axis=-1)


def _shifted(terrain: Terrain) -> Terrain:
    half = terrain.size // 2
    return replace(terrain, texture=np.roll(terrain.texture, (-half, -half), (0, 1)))


def _put(out: Pixels, where: NDArray[np.bool_], paint: Pixels) -> None:
    out[where] = paint[where]


def _down(mask: Cells) -> Cells:
    moved = np.zeros_like(mask)
    moved[1:] = mask[:-1]
    return moved


def _below(mask: Cells, depth: int) -> Cells:
    """Returns where a pixel of the mask lies at most `depth` pixels above."""
    total = np.zeros_like(mask)
    for _ in range(depth):
        mask = _down(mask)
        total |= mask
    return total


def _beside(mask: Cells) -> Cells:
    """Returns where one of the four neighbours is in the mask."""
    total = np.zeros_like(mask)
    total[1:] |= mask[:-1]
    total[:-1] |= mask[1:]
    total[:, 1:] |= mask[:, :-1]
    total[:, :-1] |= mask[:, 1:]
    return total
