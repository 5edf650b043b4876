"""Paint corner tiles of a plateau: a face of rock hangs below its lower edges, a rim runs along the others.

The masks are those of a wang16 set. The plateau keeps to the inside of its cells, so its lower edge lies high enough in
a tile that a face of more than half a tile ends above the tile's last row: the tile below needs no face, and any map of
corners is legal. The pattern of the face depends on the column and on the distance below the edge; it wraps in x.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import from_oklab, to_oklab
from pipelines.records import Pixels
from pipelines.tiles.geometry import Cells, Rim, corner_field, noise, wrapped
from pipelines.tiles.textures import usual_color, words_of
from pipelines.tiles.wang import Terrain, shade

FACE_FACTORS = (0.42, 0.60, 0.80, 1.0)
"""OKLab lightness of the face's four tones as multiples of the rock's own: crevices, shade, rock, lit edges."""
_ROCKS = {
    "sand": (196, 148, 92), "beach": (196, 148, 92), "desert": (196, 132, 84), "snow": (138, 152, 178),
    "ice": (110, 150, 182), "stone": (122, 120, 128), "rock": (122, 120, 128), "gravel": (122, 120, 128),
    "lava": (92, 74, 80), "brick": (128, 112, 108), "marble": (168, 166, 172), "crystal": (120, 96, 150),
}  # fmt: skip
"""The rock (sRGB) below a terrain that names none, by a word of the terrain."""
NEAR = 0.06
"""Difference in hue (OKLab's a and b) below which a face is lost before its ground."""
EARTH = 146, 104, 72
"""Rock of all other terrains."""


def split_prompt(prompt: str) -> tuple[str, str]:
    """Splits "grass on red stone" into what lies on top and what the face is of; the second part may be empty."""
    top, _, face = re.sub(r"\s+", " ", prompt).strip().partition(" on ")
    return top, face


def face_ramp(prompt: str, ground: Pixels) -> NDArray[np.uint8]:
    """Returns (4, 3), sRGB tones of the face from crevice to lit edge, for a prompt such as "snow" or "snow on stone".

    Rock that no prompt names is grey where earth would be lost before the `ground` (h, w, 4).
    """
    top, face = split_prompt(prompt)
    named = usual_color(face) if face else None
    if named is None:
        color = next((_ROCKS[word] for word in words_of(face or top) if word in _ROCKS), EARTH)
        named = to_oklab(np.array(color, np.uint8))
        solid = to_oklab(ground[ground[..., 3] > 0][:, :3])
        if len(solid) and float(np.linalg.norm((solid.mean(axis=0) - named)[1:])) < NEAR:
            named = to_oklab(np.array(_ROCKS["stone"], np.uint8))
    # a face stands in its own shade: even snow is less light than it lies
    base = np.array([min(float(named[0]), 0.78), named[1] * 0.8, named[2] * 0.8], np.float32)
    tones = np.stack([base * np.array([factor, 1, 1], np.float32) for factor in FACE_FACTORS])
    # shadows lean to blue, as elsewhere
    tones[:, 2] -= np.float32(0.02) * (1 - np.array(FACE_FACTORS, np.float32))
    return from_oklab(tones)


@dataclass(frozen=True, slots=True)
class Cliff:
    """Lengths in pixels for one tile size: `rim` of the plateau, `height` of the face and its `shadow`."""

    rim: Rim
    height: int
    shadow: int


def cliff_of(size: int) -> Cliff:
    """Returns the highest cliff whose face and shadow end above the last row of a tile."""
    inset, wobble = size / 4, 0.8 * size / 16 if size >= 16 else 0.0
    shadow = max(1, size // 16)
    height = int(size / 2 + inset - wobble - shadow) - 2
    return Cliff(Rim(inset, max(0.0, min(size / 8, size / 2 - 2.5 - inset)), wobble), height, shadow)


def paint_cliffs(upper: Terrain, lower: Terrain, ramp: NDArray[np.uint8], seed: int) -> list[Pixels]:
    """Returns the 16 corner tiles in the order of their masks; `lower` may be clear."""
    size = upper.size
    cliff, pad = cliff_of(size), size // 4
    # waves of columns alone: a side edge that went in and out would leave crumbs of a face below every step
    waves = wrapped(np.tile(noise(size, seed)[:1], (size, 1)), pad) * cliff.rim.wobble
    face = face_pattern(size, cliff.height, seed + 1)
    tones = np.concatenate([ramp, np.full((4, 1), 255, np.uint8)], axis=1)
    top, ground = wrapped(upper.texture, pad), wrapped(lower.texture, pad)
    lit, dim = wrapped(shade(upper.texture, 1.12), pad), wrapped(shade(upper.texture, 0.8), pad)
    dark = wrapped(shade(lower.texture, 0.72), pad)
    row = np.arange(size + 2 * pad)[:, None] - pad
    tiles = []
    for mask in range(16):
        field, _ = corner_field(mask, size, cliff.rim, pad)
        high = field + waves > 0
        below, column = steps_below(high), (np.arange(size + 2 * pad) - pad) % size
        # in a hollow corner the edge lies lower: there the face ends with the tile's last row but one
        wall = (below > 0) & (below <= cliff.height) & (row < size - 1 - cliff.shadow)
        out = np.where(high[..., None], top, ground)
        if not lower.clear:
            foot = (below > cliff.height) & (below <= cliff.height + cliff.shadow) & (row < size - 1)
            foot = (below > cliff.height) & (below <= cliff.height + cliff.shadow) & (row < size - 1)
            cast = (_right_of(high | wall, cliff.shadow) | foot) & ~high & ~wall
            out[cast] = dark[cast]
        y, x = np.nonzero(wall)
        out[y, x] = tones[face[below[y, x] - 1, column[x]]]
        _paint_rim(out, high, wall, (lit, dim), tones)
        tiles.append(out[pad:-pad, pad:-pad])
    return tiles


def _paint_rim(out: Pixels, high: Cells, wall: Cells, shades: Sequence[Pixels], tones: Pixels) -> None:
    """Paints the plateau's edges: a lit lip over the face, rock at both sides, a dark line at the back."""
    lit, dim = shades
    low = ~high & ~wall
    lip = high & _moved(wall, -1, 0)
    out[lip] = lit[lip]
    back = high & _moved(low, 1, 0)
    out[back] = dim[back]
    left, right = high & _moved(~high, 0, 1), high & _moved(~high, 0, -1)
    out[left & ~lip] = tones[2]
    out[right & ~lip] = tones[1]
    # the face ends in a dark line at its sides, so that it stands before the ground
    out[wall & (_moved(low, 0, 1) | _moved(low, 0, -1))] = tones[0]


def steps_below(high: Cells) -> NDArray[np.intp]:
    """Counts the rows from each low pixel up to the nearest high one in its column; 0 in high pixels and below none."""
    rows = np.arange(len(high))[:, None]
    last = np.maximum.accumulate(np.where(high, rows, -1), axis=0)
    return np.where(high | (last < 0), 0, rows - last)


def face_pattern(size: int, height: int, seed: int) -> NDArray[np.intp]:
    """Returns (height, size) tones 0 to 3 of a face that wraps in x: blocks of rock with dark joints and lit tops."""
    rng = np.random.default_rng(seed)
    wide = max(3, round(size / 3.2))
    columns, rows = max(2, round(size / wide)), max(1, round(height / (0.75 * wide)))
    places = []
    for row in range(rows):
        shift = 0.5 * (row % 2)
        for column in range(columns):
            x = (column + shift + rng.uniform(-0.18, 0.18)) * size / columns
            places.append(((row + 0.5 + rng.uniform(-0.2, 0.2)) * height / rows, x))
    y, x = np.mgrid[0:height, 0:size] + 0.5
    distances = []
    for at_y, at_x in places:
        across = np.abs(x - at_x) % size
        distances.append(np.hypot((y - at_y) * 1.15, np.minimum(across, size - across)))
    owner = np.argmin(np.stack(distances), axis=0)
    joint = (owner != np.roll(owner, -1, 1)) | (owner != np.roll(owner, -1, 0))
    joint[-1] = owner[-1] != np.roll(owner[-1], -1)
    top = (owner != np.roll(owner, 1, 0)) & ~joint
    top[0] = False
    shaded = np.roll(joint, 1, 1) if size >= 16 else np.zeros_like(joint)  # the right flank of the block before
    tone = np.full((height, size), 2)
    tone[(np.roll(joint, -1, 1) | np.roll(joint, -1, 0)) & ~joint] = 1
    tone[top | shaded & ~joint & (tone == 2)] = 3
    tone[joint] = 0
    tone[0] = np.minimum(tone[0], 1)  # in the shadow of the lip
    tone[-1] = np.minimum(tone[-1], 1)
    return tone


def _moved(mask: Cells, dy: int, dx: int) -> Cells:
    """Returns the mask moved by (dy, dx) of -1, 0 or 1; what comes in from outside is False."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]


def _right_of(mask: Cells, depth: int) -> Cells:
    """Returns where a pixel of the mask lies at most `depth` pixels to the left."""
    total = np.zeros_like(mask)
    for _ in range(depth):
        mask = _moved(mask, 0, 1)
        total |= mask
    return total
