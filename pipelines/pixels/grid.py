"""The grid: where one pixel of the drawing ends and the next begins. Knows no colours beyond their differences.

1. Two profiles: how much the picture changes between neighbouring columns, and rows.
2. Pitch and phase: the comb of lines that stands out most from a profile. Unknown pitches are found by folding the
   profile at every candidate (epoch folding, as in the search for pulsars).
3. Lines: each may leave its place in the regular comb; the best sequence is found by dynamic programming (Viterbi), so
   drift is followed and the number of cells cannot change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.records import Pixels

Profile = NDArray[np.float64]
"""(length + 1,): index i is the change across the line between pixel i - 1 and i; both borders are 0."""

GRID_SEEN = 1.12
"""A grid score below this on both axes means paint: nothing that looks like pixels (pixel art gives 1.2 and more)."""
_SHORTEST_PITCH = 1.9


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Cell borders in pixels, ascending: (columns + 1,) and (rows + 1,). Scores: about 1 is no grid at all."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    pitch_x: float
    pitch_y: float
    score_x: float
    score_y: float

    @property
    def columns(self) -> int:
        return len(self.x) - 1

    @property
    def rows(self) -> int:
        return len(self.y) - 1

    @property
    def seen(self) -> bool:
        """Whether the picture has such a grid, or is paint on which a grid was only laid."""
        return max(self.score_x, self.score_y) >= GRID_SEEN


def profiles(image: Pixels) -> tuple[Profile, Profile]:
    """Change across each vertical and each horizontal line of `image` ((h, w, 4) RGBA)."""
    planes = image[..., :3]
    if (image[..., 3] < 255).any():
        planes = np.concatenate([planes * (image[..., 3:] > 127), image[..., 3:]], axis=-1)
    across, down = (planes[:: _stride(planes.shape[0])], planes[:, :: _stride(planes.shape[1])])
    return _profile(across, 1), _profile(down, 0)


def _stride(length: int) -> int:
    """512 lines across tell as much of a column as 4096."""
    return max(1, length // 512)


def _profile(planes: NDArray[np.uint8], axis: int) -> Profile:
    before, after = (planes[:, :-1], planes[:, 1:]) if axis == 1 else (planes[:-1], planes[1:])
    # |a - b| of bytes without leaving bytes
    change = (np.maximum(before, after) - np.minimum(before, after)).sum(axis=(1 - axis, 2), dtype=np.int64)
    profile = np.zeros(planes.shape[axis] + 1)
    profile[1:-1] = change
    return profile


def regular_grid(width: int, height: int, columns: int, rows: int) -> Grid:
    """Equal cells; scores 0, for nothing was looked at."""
    x, y = np.linspace(0, width, columns + 1), np.linspace(0, height, rows + 1)
    return Grid(x, y, width / columns, height / rows, 0.0, 0.0)


def find_grid(image: Pixels, pitch: float | None = None) -> Grid:
    """The grid of `image`, near `pitch` pixels a cell (within 6 %) where that is known.

    A picture whose sides are whole multiples of a known pitch keeps exactly that many cells.
    """
    height, width = image.shape[:2]
    profile_x, profile_y = (ndimage.gaussian_filter1d(p, 0.7, mode="constant") for p in profiles(image))
    if pitch is None:
        pitch = search_pitch(profile_x, profile_y)
        exact = False
    else:
        exact = all(abs(side / pitch - round(side / pitch)) < 1e-6 for side in (width, height))
    x, pitch_x, score_x = _lines(profile_x, pitch, exact)
    y, pitch_y, score_y = _lines(profile_y, pitch, exact)
    return Grid(x, y, pitch_x, pitch_y, score_x, score_y)


def search_pitch(*smooth: Profile) -> float:
    """The pitch, in pixels, whose comb stands out most from the given profiles together; at least 2."""
    longest = max(len(p) for p in smooth)
    most = max(_SHORTEST_PITCH + 0.1, min(len(p) for p in smooth) / 4)
    # a step that moves the last line by half a pixel at most
    count = max(2, math.ceil(2 * min(longest, 2048) * math.log(most / _SHORTEST_PITCH)))
    pitches = np.geomspace(_SHORTEST_PITCH, most, count)
    total = sum(_fold(profile, pitches) for profile in smooth)
    return float(pitches[int(np.argmax(total))])


def _fold(profile: Profile, pitches: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each pitch: how far the best phase stands above the mean, in standard errors."""
    profile = profile[max(0, len(profile) // 2 - 1024) : len(profile) // 2 + 1024]
    spread = profile.std() or 1.0
    value = (profile - profile.mean()) / spread
    at = np.arange(len(value))
    best = np.empty(len(pitches))
    for i, pitch in enumerate(pitches):
        bins = max(2, int(pitch + 0.5))
        phase = (at % pitch * (bins / pitch)).astype(np.intp)
        sums = np.bincount(phase, value, bins + 1)[:bins]
        best[i] = sums.max() / math.sqrt(len(value) / bins)
    return best


def _lines(profile: Profile, pitch: float, exact: bool) -> tuple[NDArray[np.float64], float, float]:
    """Cell borders of one axis, the pitch that was settled on, and the grid score."""
    length = len(profile) - 1
    mean = profile.mean()
    if mean <= 0 or length < 3 * pitch:
        count = max(1, round(length / pitch))
        return np.linspace(0, length, count + 1), length / count, 0.0
    reach = min(0.06 * pitch, 0.6 * pitch * pitch / length) if exact else 0.06 * pitch
    pitches = np.arange(-reach, reach + 1e-9, 0.25 * pitch / length * 2) + pitch
    best, origin, chosen = -np.inf, 0.0, pitch
    for candidate in pitches if len(pitches) else [pitch]:
        phases = np.arange(0, candidate, 0.25)
        lines = phases[:, None] + candidate * np.arange(1, int(length / candidate))
        on = np.interp(lines, np.arange(length + 1), profile).mean(axis=1)
        index = int(on.argmax())
        if on[index] > best:
            best, origin, chosen = float(on[index]), float(phases[index]), float(candidate)
    score = float(best / mean)
    if exact:
        count = round(length / pitch)
        first = origin if origin <= chosen / 2 else origin - chosen
    else:
        first = origin - chosen if origin > chosen * 0.5 else origin
        count = max(1, round((length - first) / chosen))
    lines = first + chosen * np.arange(count + 1, dtype=np.float64)
    return _follow(profile, lines, chosen), chosen, score


def _follow(profile: Profile, lines: NDArray[np.float64], pitch: float) -> NDArray[np.float64]:
    """The lines that gather most change while each step stays near the pitch (dynamic programming over offsets)."""
    length = len(profile) - 1
    reach = 0.75 * pitch
    offsets = np.arange(-reach, reach + 1e-9, 0.5)
    gain = np.interp(lines[:, None] + offsets, np.arange(length + 1), profile, left=0, right=0)
    gain /= np.percentile(profile, 90) + 1e-9
    bend = 6.0 * ((offsets[:, None] - offsets[None]) / pitch) ** 2
    bend[np.abs(offsets[:, None] - offsets[None]) > 0.5 * pitch] = np.inf
    total = gain[0] - 0.02 * (offsets / pitch) ** 2
    came = np.zeros((len(lines), len(offsets)), np.intp)
    for k in range(1, len(lines)):
        through = total[None] - bend
        came[k] = through.argmax(axis=1)
        total = through[np.arange(len(offsets)), came[k]] + gain[k] - 0.02 * (offsets / pitch) ** 2
    path = np.empty(len(lines), np.intp)
    path[-1] = int(total.argmax())
    for k in range(len(lines) - 1, 0, -1):
        path[k - 1] = came[k, path[k]]
    followed = np.clip(lines + offsets[path], 0, length)
    return np.maximum.accumulate(followed)
