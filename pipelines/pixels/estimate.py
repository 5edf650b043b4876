"""Decide which pixels a picture is really made of, and prove it before anything is changed.

Order: an exact enlargement; a finished picture; an enlargement with interpolation (least squares); a grid that is
searched for. Each answer is checked against the picture; where nothing is proved, the picture stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.cells import measure_noise, sample_cells
from pipelines.pixels.clean import ORPHAN_STEP
from pipelines.pixels.exact import (
    MAYBE_NATIVE,
    SMALLEST,
    TELLING,
    Enlargement,
    Lines,
    change_lines,
    find_enlargement,
    is_strong,
    shrink,
    without_hidden_colors,
)
from pipelines.pixels.grid import Grid, find_grid, regular_grid
from pipelines.pixels.lattice import Lattice, find_lattice, has_plateaus, read_lattice
from pipelines.pixels.proof import is_grid, unexplained, unexplained_cells
from pipelines.pixels.quantize import pack
from pipelines.records import Pixels

How = Literal["finished", "exact", "interpolated", "searched", "given", "unproved"]
EXACT, ROUNDED, CLIPPED, NOISY = 0.0, 0.006, 0.02, 0.03
_SEARCHED_FROM = 64
"""Pixels of the longer side up to which no grid is searched for: so few lines prove nothing."""
_CRISP_COLORS = 256
_LUMA = np.array([0.3, 0.55, 0.15], np.float32)
_RAMPS = 0.58
_PLAIN = 8.0
"""Sharpness from which on a picture of few colours is an enlargement with noise on it."""
_FAINT_CHANGE = 6
"""Levels: where the usual change is smaller, it is a gradient's."""
_SIMPLE = ("nearest", "bilinear")
_NOISE = 4.0
"""Mean squared error, in levels, from which on a picture has more than rounding on it: compression, noise."""
_GRAIN = 0.002
"""OKLab distance of one level of noise, a channel, in the mean of a cell's samples."""
_INEXACT = 0.5
"""Mean squared error, in levels, that more than rounding and clipping leaves over."""
_LEFT_OVER = 0.02
"""Share of the pixels that may differ strongly from the native pixels enlarged again."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """The frames at one pixel per cell, the pitch (1: unchanged), how it was found, and what the user should know."""

    natives: list[Pixels]
    pitch_x: float
    pitch_y: float
    how: How
    notes: tuple[str, ...] = ()
    grid: Grid | None = None
    spread: float = EXACT
    """OKLab distance by which estimates of one colour differ: EXACT, ROUNDED, CLIPPED or NOISY."""
    grain: float = ORPHAN_STEP
    """OKLab distance that the noise of a NOISY picture explains."""


def estimate_pixels(
    frames: Sequence[Pixels], width: int | None = None, height: int | None = None, pitch: float | None = None
) -> Estimate:
    """Finds the real pixels of `frames` ((h, w, 4) RGBA of one size), which share one grid.

    Args:
        frames: a picture, or the frames of an animation.
        width: the native width, where it is known or wanted; it is tried first.
        height: the same; one side alone keeps the picture's shape.
        pitch: pixels of the picture for each native pixel, where it is known; it is believed.
    """
    high, wide = frames[0].shape[:2]
    originals, frames = frames, [without_hidden_colors(frame) for frame in frames]
    if pitch == 1:
        return _unchanged(originals, "given")
    x, y = change_lines(frames)
    if pitch is not None:
        return _given(frames, x, y, pitch)
    hint = _hint(wide, high, width, height)
    found = find_enlargement(x, y, wide, high)
    if hint and not (found and found.strong):
        told = _fitting(frames, x, y, hint, believed=False)
        if told:
            return told
    if found:
        return _exact(frames, found, x, y) or _unchanged(originals, *_too_few_lines(found, wide, high))
    ramps = _has_ramps(frames[0])
    crisp = not ramps and _is_crisp(frames[0])
    busiest = frames[0] if len(frames) == 1 else max(frames, key=_changes)
    lattice = find_lattice(busiest)
    small = max(wide, high) <= MAYBE_NATIVE
    if lattice and not small and lattice.kernel != "nearest" and _may_be_coarser(busiest, lattice):
        # blurred pixels fit an interpolated enlargement of two or three times as many
        coarser = _searched(frames, busiest, None)
        if coarser and coarser.pitch_x > 1.5 * wide / lattice.columns:
            return coarser
    read = _interpolated(frames, lattice) if lattice else None
    # plain pixel art that was enlarged fits nearly exactly: what fits a little better than others is another drawing
    doubtful = small and (_is_flat(frames[0]) or (crisp and lattice is not None and lattice.sharpness < _PLAIN))
    if read and not (doubtful and read.spread == NOISY):
        return read
    plain = crisp and (small or not lattice)
    hinted = wide / lattice.columns if lattice else None
    searched = _searched(frames, busiest, hinted) if max(wide, high) > _SEARCHED_FROM and not plain else None
    if searched:
        return searched
    if lattice and not small:
        note = (
            f"Most of the picture is an enlargement of {lattice.columns}x{lattice.rows} pixels, but parts are not "
            "(text over it?), so it is as it was. "
            f"Give pitch={wide / lattice.columns:.4g} to reduce it all the same."
        )
        return _unchanged(originals, "unproved", note)
    if small and lattice:
        note = (
            f"Taken as finished. It could be an enlargement of {lattice.columns}x{lattice.rows} pixels with noise on "
            f"it, too: give pitch={wide / lattice.columns:.4g} if it is one."
        )
        return _unchanged(originals, "finished", note)
    if crisp:
        return _unchanged(originals, "finished")
    if small:
        return _unchanged(originals, "finished", *(() if _is_flat(frames[0]) and not ramps else (TAKEN,)))
    return _unchanged(originals, "unproved", NOT_PROVED)


def _changes(picture: Pixels) -> int:
    return int((picture[:, 1:] != picture[:, :-1]).any(axis=-1).sum())


NOT_PROVED = (
    "No plain pixel grid was found, so the picture is as it was. Give `pitch` (pixels of the file for each real pixel) "
    "or `width` and `height` (real pixels) if you know them; pitch=1 if these are its real pixels."
)
TAKEN = (
    "Taken as finished: no enlargement was found. Give `pitch`, or `width` and `height` in real pixels, if it is one."
)


def _searched(frames: Sequence[Pixels], busiest: Pixels, pitch: float | None) -> Estimate | None:
    """Reads the pixels of a possibly irregular grid, near `pitch` if known, where it explains the picture."""
    grid = find_grid(busiest, pitch)
    if not is_grid(busiest, grid) or (pitch is None and min(grid.columns, grid.rows) < SMALLEST):
        return None
    noise = measure_noise(busiest, grid)
    natives = [sample_cells(frame, grid, noise) for frame in frames]
    if not is_strong(*_plain_lines(natives[0]), grid.columns, grid.rows):
        return None
    if any(unexplained_cells(frame, native, grid) > _LEFT_OVER for frame, native in zip(frames, natives, strict=True)):
        return None
    notes = ()
    if not grid.sure or not all(
        _is_regular(lines, pitch) for lines, pitch in ((grid.x, grid.pitch_x), (grid.y, grid.pitch_y))
    ):
        notes = (
            f"The grid is not regular or cut at the border, so the size {grid.columns}x{grid.rows} is an estimate. "
            "Give `width` and `height` in real pixels if you know them.",
        )
    return Estimate(natives, grid.pitch_x, grid.pitch_y, "searched", notes, grid, NOISY, _grain(noise))


def _grain(noise: float) -> float:
    """Returns the OKLab distance that `noise`, in levels, explains after a cell's samples were averaged."""
    return float(np.clip(_GRAIN * noise, NOISY, ORPHAN_STEP))


def _is_regular(lines: NDArray[np.float64], pitch: float) -> bool:
    """Returns whether all cells, those at the border too, have about the same size, and the lines do not drift."""
    regular = np.linspace(lines[0], lines[-1], len(lines))
    return float(np.abs(lines - regular).max()) < 0.3 * pitch


def _unchanged(frames: Sequence[Pixels], how: How, *notes: str) -> Estimate:
    return Estimate(list(frames), 1.0, 1.0, how, notes)


def _hint(wide: int, high: int, width: int | None, height: int | None) -> tuple[int, int] | None:
    """Returns the (columns, rows) that a given size means; one side alone keeps the shape. None: nothing that helps."""
    if width is None and height is None:
        return None
    columns = width or max(1, round(wide * (height or 0) / high))
    rows = height or max(1, round(high * columns / wide))
    fits = 0.95 < (wide / columns) / (high / rows) < 1.05
    return (columns, rows) if fits and columns < wide and rows < high else None


def _fitting(frames: Sequence[Pixels], x: Lines, y: Lines, size: tuple[int, int], *, believed: bool) -> Estimate | None:
    """Returns the estimate of exactly this native size, if it is proved."""
    high, wide = frames[0].shape[:2]
    factor_x, factor_y = wide // size[0], high // size[1]
    whole = wide == factor_x * size[0] and high == factor_y * size[1]
    if whole and not (x % factor_x).any() and not (y % factor_y).any():
        natives = [shrink(frame, Enlargement(factor_x, factor_y, 0, 0, True)) for frame in frames]
        return Estimate(natives, factor_x, factor_y, "exact")
    lattice = find_lattice(frames[0], [size], believed=believed)
    if lattice is None or (believed and lattice.kernel == "nearest"):
        return None
    return _interpolated(frames, lattice)


def _given(frames: Sequence[Pixels], x: Lines, y: Lines, pitch: float) -> Estimate:
    """Returns the pixels at a pitch that the caller knows; a note where the picture does not bear it out."""
    high, wide = frames[0].shape[:2]
    size = max(1, round(wide / pitch)), max(1, round(high / pitch))
    near = all(abs(side / pitch - count) < 0.1 for side, count in zip((wide, high), size, strict=True))
    fitting = _fitting(frames, x, y, size, believed=True) if near else None
    if fitting:
        return fitting
    grid = find_grid(frames[0], pitch)
    note = f"The picture shows no clear grid of {pitch:g} pixels. Compare the result with it before you use it."
    notes = () if is_grid(frames[0], grid) else (note,)
    noise = measure_noise(frames[0], grid)
    natives = [sample_cells(frame, grid, noise) for frame in frames]
    return Estimate(natives, grid.pitch_x, grid.pitch_y, "given", notes, grid, NOISY, _grain(noise))


def _exact(frames: Sequence[Pixels], found: Enlargement, x: Lines, y: Lines) -> Estimate | None:
    """Returns the pixels of an exact enlargement; None where too little proves it."""
    high, wide = frames[0].shape[:2]
    small = max(high, wide) <= MAYBE_NATIVE
    columns, rows = wide // found.factor_x, high // found.factor_y
    notes: tuple[str, ...] = ()
    if found.phase_x or found.phase_y:
        # a native drawing of large blocks looks like this too
        if small:
            return None
        notes = ("The picture is cut through the pixels at its border; those that are half inside were kept.",)
    elif not found.strong:
        if (small and found.evidence < TELLING) or min(columns, rows) < SMALLEST:
            return None
        factor = found.factor_x
        other = next(d for d in range(2, factor + 1) if factor % d == 0)
        finer = f"{columns * other}x{rows * other} (pitch {factor // other})"
        notes = (f"Few lines prove the size {columns}x{rows}; {finer} is possible too. Give `pitch` if that is right.",)
    natives = [shrink(frame, found) for frame in frames]
    return Estimate(natives, found.factor_x, found.factor_y, "exact", notes)


def _too_few_lines(found: Enlargement, wide: int, high: int) -> tuple[How, str]:
    """Says what a picture is taken for whose few lines do not prove an enlargement, and what to tell the user."""
    factor = found.factor_x
    if max(wide, high) <= MAYBE_NATIVE:
        size = f"{wide // factor}x{high // factor}"
        return "finished", (
            f"Taken as finished. Its lines also fit an enlargement of {size} pixels: give pitch={factor} if it is one."
        )
    return "unproved", (
        f"No plain pixel grid was proved: so few lines fit pitch {factor} and each of its divisors. Give `pitch`, or "
        "`width` and `height` in real pixels."
    )


def _interpolated(frames: Sequence[Pixels], lattice: Lattice) -> Estimate | None:
    """Reads the pixels of an interpolated enlargement; None where parts are something else (text over it)."""
    high, wide = frames[0].shape[:2]
    grid, noise = None, 0.0
    exact = lattice.kernel != "nearest" and lattice.error <= _INEXACT
    if not exact and (lattice.kernel == "nearest" or has_plateaus(frames[0], lattice.columns, lattice.rows)):
        # blurred, shifted by part of a pixel, with noise: cells all the same
        grid = _cells(frames[0], lattice)
        noise = measure_noise(frames[0], grid)
    natives: list[Pixels] = []
    spread = ROUNDED
    for frame in frames:
        if grid:
            native, used = sample_cells(frame, grid, noise), lattice
        else:
            native, used = read_lattice(frame, lattice)
            noise = max(noise, math.sqrt(used.error))
        spread = max(spread, NOISY if used.error > _NOISE else ROUNDED if used.kernel in _SIMPLE else CLIPPED)
        left = unexplained_cells(frame, native, grid) if grid else unexplained(frame, native, used.kernel)
        if left > _LEFT_OVER:
            return None
        natives.append(native)
    notes = []
    if not is_strong(*_plain_lines(natives[0]), lattice.columns, lattice.rows):
        notes.append(
            f"Few lines prove the size {lattice.columns}x{lattice.rows}; a multiple of it is possible too. Give "
            "`pitch` if that is right."
        )
    pitch = wide / lattice.columns, high / lattice.rows
    return Estimate(natives, *pitch, "interpolated", tuple(notes), None, spread, _grain(noise))


def _may_be_coarser(picture: Pixels, lattice: Lattice) -> bool:
    """Returns whether an interpolated enlargement fits not quite, or shows cells of several of its pixels."""
    columns, rows = lattice.columns, lattice.rows
    return lattice.error > _INEXACT or any(
        columns % m == rows % m == 0 and has_plateaus(picture, columns // m, rows // m) for m in (2, 3, 4)
    )


def _cells(picture: Pixels, lattice: Lattice) -> Grid:
    """Returns the lattice's cells where they show in the picture, with its blur; else equal ones."""
    high, wide = picture.shape[:2]
    grid = find_grid(picture, wide / lattice.columns)
    if grid.seen and (grid.columns, grid.rows) == (lattice.columns, lattice.rows):
        return grid
    return regular_grid(wide, high, lattice.columns, lattice.rows)


def _plain_lines(native: Pixels) -> tuple[Lines, Lines]:
    """Finds lines across which the picture changes by more than noise."""
    value = native.astype(np.int16)
    across = np.abs(np.diff(value, axis=1)).max(axis=(0, 2)) > 24
    down = np.abs(np.diff(value, axis=0)).max(axis=(1, 2)) > 24
    return np.flatnonzero(across) + 1, np.flatnonzero(down) + 1


def _has_ramps(picture: Pixels) -> bool:
    """Returns whether most changes go on in their direction for two steps or more, as interpolation makes them.

    Finished pixel art has about 0.4 of them, enlargements by bilinear or bicubic interpolation 0.6 to 1.
    """
    going_on = turning = 0
    step = max(1, min(picture.shape[:2]) // 128)
    for some in (picture[::step], picture.swapaxes(0, 1)[::step]):
        alpha = some[..., 3].astype(np.float32)
        luma = (some[..., :3] @ _LUMA) * (alpha / 255) + alpha
        change = np.diff(luma, axis=1)
        both = (change[:, 1:] != 0) & (change[:, :-1] != 0)
        same = (change[:, 1:] > 0) == (change[:, :-1] > 0)
        going_on += int((both & same).sum())
        turning += int((both & ~same).sum())
    return going_on > _RAMPS * max(going_on + turning, 1)


def _is_flat(picture: Pixels) -> bool:
    """Returns whether a small picture has few colours and flat areas, as pixel art that was never enlarged."""
    code = pack(picture) | picture[..., 3].astype(np.uint32) << 24
    equal = min(float((lines[:, 1:] == lines[:, :-1]).mean()) for lines in (code, code.T))
    return len(np.unique(code)) <= _CRISP_COLORS // 4 and equal >= 0.4


def _is_crisp(picture: Pixels) -> bool:
    """Returns whether the picture is plain pixel art at one pixel per pixel.

    Few colours, most neighbours equal, strong changes, and single pixels: an enlargement has no run of one pixel.
    """
    step = max(1, min(picture.shape[:2]) // 128)
    for some in (picture[::step], picture.swapaxes(0, 1)[::step]):
        code = pack(some) | some[..., 3].astype(np.uint32) << 24
        changed = code[:, 1:] != code[:, :-1]
        single = changed[:, 1:] & changed[:, :-1]
        if changed.mean() > 0.5 or single.sum() < max(2, 0.04 * changed.sum()):
            return False
        change = np.abs(np.diff(some.astype(np.int16), axis=1)).max(axis=-1)
        if np.median(change[changed]) < _FAINT_CHANGE or len(np.unique(code)) > _CRISP_COLORS:
            return False
    return len(np.unique(pack(picture))) <= _CRISP_COLORS
