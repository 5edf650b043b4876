"""Find the grid: where one pixel of the drawing ends and the next begins.

1. Two profiles: how much the picture changes between neighbouring columns, and rows.
2. Pitch and phase: the comb of lines that stands out most from a profile. Unknown pitches are found by folding the
   profile at every candidate (epoch folding, as in the search for pulsars).
3. Lines: each may leave its place in the regular comb; the best sequence is found by dynamic programming (Viterbi), so
   drift is followed and the number of cells cannot change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.pixels.quantize import ALPHA, as_bytes, as_words
from pipelines.records import Pixels

Profile = NDArray[np.float64]
"""(length + 1,): index i is the change across the line between pixel i - 1 and i; both borders are 0."""

GRID_SEEN = 1.12
"""A grid score below this on both axes means paint: nothing that looks like pixels (pixel art gives 1.2 and more)."""
_SHORTEST_PITCH = 1.9
_FAINT = 5
"""Change per channel that does not count as an edge: noise, and the borders of JPEG blocks, which form a grid too."""
_LOOKED_AT = 2048
"""Pixels of a profile that the search for a pitch reads."""
_FEWEST = 8
"""Cells a side below which a grid is not looked for: so few lines prove nothing."""
_SHORTLIST = 64
_FINE = 16
"""Steps a pitch in which lines are moved."""
_REACH = 20
"""Steps that a line may be from its place in the regular comb."""
_TURN = 6
"""Steps by which one cell may be wider or narrower than the pitch."""
_STIFF = 30.0
"""What a cell of twice the pitch would cost, in strong edges."""
_ANCHOR = 8.0
"""What a first line one cell from the border would cost."""
_COUNTS = 3
"""Cells more and less than the regular comb has that are tried."""
_DOUBT = 2.0
"""Strong edges by which a grid has to gather more than one with other numbers of cells, or its size is an estimate."""
_UNEQUAL = 3000.0
"""What it costs that the pitches of the axes differ, for the square of the logarithm: 3 for one cell in 32."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Cell borders in pixels, ascending: (columns + 1,) and (rows + 1,).

    Scores: how much more changes on a line than elsewhere; about 1 means no grid. `blur`: standard deviation of the
    softness of edges, in pixels. `sure`: no other number of cells gathers nearly as much.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    pitch_x: float
    pitch_y: float
    score_x: float
    score_y: float
    blur: float = 0.0
    sure: bool = True

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
    """Measures change across each vertical and horizontal line of `image` ((h, w, 4) RGBA), all channels together."""
    words = as_words(image)
    if (words & ALPHA != ALPHA).any():
        # colours under transparent pixels do not belong to the drawing
        words = np.where(image[..., 3] > 127, words, np.uint32(0))
    height, width = words.shape
    some_rows, some_columns = as_bytes(words[:: _stride(height)]), as_bytes(words[:, :: _stride(width)])
    across = np.zeros(width + 1)
    across[1:-1] = _change(some_rows[:, :-1], some_rows[:, 1:]).sum(axis=0, dtype=np.uint32).reshape(-1, 4).sum(axis=1)
    down = np.zeros(height + 1)
    down[1:-1] = _change(some_columns[:-1], some_columns[1:]).sum(axis=1, dtype=np.uint32)
    return across, down


def _stride(length: int) -> int:
    """Returns the step that samples 512 lines: they say as much about a column as 4096."""
    return max(1, length // 512)


def _change(before: Pixels, after: Pixels) -> NDArray[np.uint8]:
    """Computes |a - b| without leaving bytes, (rows, columns * 4)."""
    change = np.maximum(before, after)
    change -= np.minimum(before, after)
    np.maximum(change, _FAINT, out=change)
    change -= np.uint8(_FAINT)
    return change.reshape(change.shape[0], change.shape[1] * 4)


def regular_grid(width: int, height: int, columns: int, rows: int) -> Grid:
    """Makes a grid of equal cells; scores are 0, for nothing was looked at."""
    x, y = np.linspace(0, width, columns + 1), np.linspace(0, height, rows + 1)
    return Grid(x, y, width / columns, height / rows, 0.0, 0.0)


def find_grid(image: Pixels, pitch: float | None = None) -> Grid:
    """Returns the grid of `image`, near `pitch` pixels a cell (within 6 %) where that is known.

    A picture whose sides are whole multiples of a known pitch keeps exactly that many cells.
    """
    height, width = image.shape[:2]
    sharp_x, sharp_y = profiles(image)
    smooth_x, smooth_y = (ndimage.gaussian_filter1d(p, 0.7, mode="constant") for p in (sharp_x, sharp_y))
    exact = pitch is not None and all(abs(side / pitch - round(side / pitch)) < 1e-6 for side in (width, height))
    near = search_pitch(smooth_x, smooth_y) if pitch is None else pitch
    combs = [_combs(smooth, near, exact, whole=pitch is None) for smooth in (smooth_x, smooth_y)]
    pairs = sorted(product(*combs), key=lambda pair: -_together(*pair))
    x, y = pairs[0]
    others = (pair for pair in pairs if (len(pair[0].lines), len(pair[1].lines)) != (len(x.lines), len(y.lines)))
    sure = all(_together(*other) < _together(x, y) - _DOUBT for other in others)
    blur = min(_blur(sharp_x, x.lines, x.pitch), _blur(sharp_y, y.lines, y.pitch))
    return Grid(x.lines, y.lines, x.pitch, y.pitch, x.score, y.score, blur, sure)


@dataclass(frozen=True, slots=True, eq=False)
class _Comb:
    """Lines of one axis; `gain` is what they gather, `score` how far a regular comb stands out of the profile."""

    lines: NDArray[np.float64]
    pitch: float
    score: float
    gain: float = 0.0


def _together(x: _Comb, y: _Comb) -> float:
    """Returns what two combs gather, less what it costs that their pitches differ: pixels are square."""
    return x.gain + y.gain - _UNEQUAL * math.log(x.pitch / y.pitch) ** 2


def search_pitch(*smooth: Profile) -> float:
    """Returns the pitch, in pixels, whose comb stands out most from the given profiles together; at least 2."""
    longest = max(len(p) for p in smooth)
    most = max(_SHORTEST_PITCH + 0.1, min(len(p) for p in smooth) / _FEWEST)
    # a step that moves the last line by half a pixel at most
    count = max(2, math.ceil(2 * min(longest, _LOOKED_AT) * math.log(most / _SHORTEST_PITCH)))
    pitches = np.geomspace(_SHORTEST_PITCH, most, count)
    flat = [_flattened(profile) for profile in smooth]
    promise = np.sum([_harmonics(value, pitches) for value in flat], axis=0)
    peaks = np.flatnonzero((promise >= np.roll(promise, 1)) & (promise >= np.roll(promise, -1)))
    peaks = peaks[np.argsort(-promise[peaks], kind="stable")[:_SHORTLIST]]
    tried = pitches[np.unique(np.clip(peaks[:, None] + np.arange(-2, 3), 0, count - 1))]
    return float(tried[int(np.sum([_fold(value, tried) for value in flat], axis=0).argmax())])


def _flattened(profile: Profile) -> Profile:
    """Returns the profile's middle as a signal of mean 0 and deviation 1, compressed.

    Or the few lines where whole objects end would outvote the many between pixels.
    """
    middle = len(profile) // 2
    value = np.sqrt(profile[max(0, middle - _LOOKED_AT // 2) : middle + _LOOKED_AT // 2])
    value = np.minimum(value, np.percentile(value, 90))
    return (value - value.mean()) / (value.std() or 1.0)


def _harmonics(value: Profile, pitches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums the spectrum at each pitch and its harmonics: quick, but as fond of multiples as of the pitch."""
    size = 8 << (len(value) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(value, size))
    total = np.zeros(len(pitches))
    for harmonic in range(1, 7):
        at = np.rint(harmonic * size / pitches).astype(np.intp)
        total += np.where(at < len(spectrum), spectrum[np.minimum(at, len(spectrum) - 1)], 0) / harmonic
    return total


def _fold(value: Profile, pitches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measures for each pitch how far the best phase stands above the mean, in standard errors."""
    at = np.arange(len(value))
    best = np.empty(len(pitches))
    for i, pitch in enumerate(pitches):
        bins = max(2, int(pitch + 0.5))
        phase = (at % pitch * (bins / pitch)).astype(np.intp)
        sums = np.bincount(phase, value, bins + 1)[:bins]
        best[i] = sums.max() / math.sqrt(len(value) / bins)
    return best


def _combs(profile: Profile, pitch: float, exact: bool, whole: bool) -> list[_Comb]:
    """Returns the lines of the regular comb near `pitch` that stands out most, followed where they drift.

    With `whole` also those of pictures that hold a whole number of cells, about as many: where lines drift, the best
    regular comb often has one cell too many or too few.
    """
    length = len(profile) - 1
    mean = profile.mean()
    if mean <= 0 or length < 3 * pitch:
        count = max(1, round(length / pitch))
        return [_Comb(np.linspace(0, length, count + 1), length / count, 0.0)]
    reach = 0.0 if exact else 0.06 * pitch
    step = 0.25 * pitch / length
    best, origin, chosen = -np.inf, 0.0, pitch
    for candidate in pitch + step * np.arange(-int(reach / step), int(reach / step) + 1):
        phases = np.arange(0, candidate, 0.25)
        lines = phases[:, None] + candidate * np.arange(1, int(length / candidate))
        on = np.interp(lines, np.arange(length + 1), profile).mean(axis=1)
        index = int(on.argmax())
        if on[index] > best:
            best, origin, chosen = float(on[index]), float(phases[index]), float(candidate)
    first = origin if origin <= chosen / 2 else origin - chosen
    count = round(length / pitch) if exact else max(1, round((length - first) / chosen))
    regular = [first + chosen * np.arange(count + 1, dtype=np.float64)]
    if whole:
        regular += [np.linspace(0, length, n + 1) for n in range(max(2, count - _COUNTS), count + _COUNTS + 1)]
    followed = _follow(profile, regular, [exact] + [True] * (len(regular) - 1))
    found = [
        _Comb(lines, float(comb[1] - comb[0]), best / float(mean), gain)
        for comb, (lines, gain) in zip(regular, followed, strict=True)
    ]
    if not exact:
        found[0] = replace(found[0], lines=_fill_border(found[0].lines, chosen, length))
    return found


def _fill_border(lines: NDArray[np.float64], pitch: float, length: int) -> NDArray[np.float64]:
    """Adds a cell at either border exactly where at least half of it is in the picture."""
    inner = lines[(lines > 0.45 * pitch) & (lines < length - 0.45 * pitch)]
    if not len(inner):
        return np.array([0.0, length])
    before, after = (max(1, round(gap / pitch)) for gap in (inner[0], length - inner[-1]))
    head = np.maximum(inner[0] - pitch * np.arange(before, 0, -1), 0)
    tail = np.minimum(inner[-1] + pitch * np.arange(1, after + 1), length)
    return np.concatenate([head, inner, tail])


def _follow(
    profile: Profile, combs: list[NDArray[np.float64]], anchored: list[bool]
) -> list[tuple[NDArray[np.float64], float]]:
    """Follows, for each regular comb, the lines that gather most change with steps near its pitch; returns both.

    Dynamic programming over offsets from the comb's places, for all combs together. Where a comb is `anchored` its
    first and last line belong to the borders, though not quite firmly. A line that gathers no more than the mean adds
    nothing, so combs of different numbers of lines compare.
    """
    length = len(profile) - 1
    offsets = np.arange(-_REACH, _REACH + 1) / _FINE
    strong, steps = float(np.percentile(profile, 90)) + 1e-9, len(offsets)
    pitches = [float(comb[1] - comb[0]) for comb in combs]
    gain = np.zeros((max(map(len, combs)), len(combs), steps))
    for index, (comb, pitch, anchor) in enumerate(zip(combs, pitches, anchored, strict=True)):
        at = comb[:, None] + offsets * pitch
        own = np.interp(at, np.arange(length + 1), profile, left=0, right=0) / strong - 0.02 * offsets**2
        if anchor:
            own[0] -= _ANCHOR * (at[0] / pitch) ** 2
            own[-1] -= _ANCHOR * ((at[-1] - length) / pitch) ** 2
        gain[: len(comb), index] = own
    bend = _STIFF * (np.arange(-_TURN, _TURN + 1) / _FINE) ** 2
    padded = np.full((len(combs), steps + 2 * _TURN), -np.inf)
    total = padded[:, _TURN:-_TURN]
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _TURN + 1, axis=1)
    total[:] = gain[0]
    came = np.empty(gain.shape, np.intp)
    totals = np.empty(gain.shape)
    totals[0] = total
    for k in range(1, len(gain)):
        through = windows - bend
        came[k] = through.argmax(axis=2)
        total[:] = through.max(axis=2) + gain[k]
        totals[k] = total
    mean = float(profile.mean()) / strong
    result = []
    for index, (comb, pitch) in enumerate(zip(combs, pitches, strict=True)):
        path = np.empty(len(comb), np.intp)
        path[-1] = int(totals[len(comb) - 1, index].argmax())
        for k in range(len(comb) - 1, 0, -1):
            path[k - 1] = path[k] + came[k, index, path[k]] - _TURN
        lines = np.maximum.accumulate(np.clip(comb + offsets[path] * pitch, 0, length))
        result.append((lines, float(totals[len(comb) - 1, index].max()) - mean * len(comb)))
    return result


def _blur(profile: Profile, lines: NDArray[np.float64], pitch: float) -> float:
    """Measures in pixels (standard deviation) how change is spread about the lines; an even spread counts as noise."""
    inner = lines[1:-1]
    half = int(pitch / 2)
    if not len(inner) or half < 1:
        return 0.0
    distance = np.arange(-half, half + 1)
    around = np.interp(np.rint(inner)[:, None] + distance, np.arange(len(profile)), profile).mean(axis=0)
    around -= around.min()
    mass = around.sum()
    return float(np.sqrt((around * distance**2).sum() / mass)) if mass > 0 else 0.0
