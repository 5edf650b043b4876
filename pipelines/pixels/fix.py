"""Give any picture, or the frames of one, its real pixels back, and say what could not be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.choices import Soft
from pipelines.errors import InvalidRequest
from pipelines.pixels.cells import sample_cells
from pipelines.pixels.estimate import EXACT, NOISY, NOT_PROVED, ROUNDED, Estimate, How, estimate_pixels
from pipelines.pixels.finish import Finished, FinishOptions, finish_together, place_together
from pipelines.pixels.gates import Report, check_gates, score_picture
from pipelines.pixels.grid import regular_grid
from pipelines.pixels.matte import NEAR, cut_background, key_color
from pipelines.pixels.palette import MOST_COLORS, Palette, extract_palette
from pipelines.pixels.quantize import color_counts
from pipelines.pixels.soft_alpha import has_soft, settle_soft
from pipelines.records import Pixels

COLORS = 32
"""Most colours of a picture whose colours had to be estimated from noisy ones."""
_ESTIMATED_FROM = 1024
"""Pixels a side that are enough to estimate the colours of a photograph; all 16 million of 4096x4096 take 5 s."""
_EQUAL = 0.008
"""OKLab distance from the background's colour that counts as background where colours are known exactly."""
MOST_CELLS, MOST_NOISY = 1 << 21, 1 << 20
"""Real pixels of all frames that are finished, 1920x1080 has fewer; and of those whose colours have to be estimated."""


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """The finished frames, the pitch that was found (1: native already), how it was found, and what to tell the user.

    `unchanged`: every pixel is as it was.
    """

    frames: list[Finished]
    pitch: float
    how: How
    notes: tuple[str, ...]
    unchanged: bool


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What `fix_pictures` was asked for beside the grid."""

    colors: int | None
    palette: Palette | None
    background: str
    outline: str
    dither: int
    soft: Soft

    @property
    def none(self) -> bool:
        return replace(self, soft="keep") == _Wishes(None, None, "keep", "none", 0, "keep")


def fix_pictures(
    frames: Sequence[Pixels],
    *,
    width: int | None = None,
    height: int | None = None,
    pitch: float | None = None,
    colors: int | None = None,
    palette: Palette | None = None,
    background: str = "keep",
    outline: str = "none",
    dither: int = 0,
    soft: Soft = "keep",
) -> Fixed:
    """Finds the grid of the frames (one for all of them), proves it, and finishes what is in its cells.

    A finished picture comes back as it is, and so does one whose grid cannot be proved. Colours that were read exactly
    are all kept; colours that had to be estimated become at most 32.

    Args:
        frames: (h, w, 4) RGBA each.
        width: finished size; None: as many pixels as the grid has, or what `height` and the shape give.
        height: the same.
        pitch: pixels of the picture for each real pixel, where it is known; None: looked for.
        colors: most colours, where no palette rules; None: as above.
        palette: to lock to.
        background: "keep", "clear" (the background that touches the border in one colour), or the background's colour
            as RRGGBB, which becomes clear inside the drawing too.
        outline: as FinishOptions.
        dither: as FinishOptions.
        soft: what becomes of half-transparent pixels (glows, shadows): "keep", "dither" to clear and solid ones,
            "solid" or "drop".

    Raises:
        InvalidRequest: frames of different sizes, or an option out of range.
    """
    if len({frame.shape for frame in frames}) != 1:
        raise InvalidRequest("The frames have different sizes. Fix them one by one.")
    if pitch is not None and not 1 <= pitch <= 1024:
        raise InvalidRequest(f"pitch is 1 to 1024 pixels, not {pitch}.")
    if background not in ("keep", "clear"):
        key_color(background)
    wishes = _Wishes(colors, palette, background, outline, dither, soft)
    if pitch is not None:
        _check_cells(len(frames), _shape(frames[0])[0] / pitch, _shape(frames[0])[1] / pitch)
    found = estimate_pixels(frames, width, height, pitch)
    notes = list(found.notes)
    if found.how == "unproved":
        if width is None and height is None:
            return _as_it_is(frames, notes, wishes)
        found = _reduced(frames, width, height)
        notes = ["No plain pixel grid was found: the picture was scaled to the size asked for, as paint is."]
    natives = found.natives
    most = MOST_NOISY if found.spread == NOISY else MOST_CELLS
    size = _size(natives[0], width, height)
    _check_cells(len(frames), *_shape(natives[0]), most)
    _check_cells(len(frames), *size, most)
    natives = _cut(natives, wishes, found.spread, notes)
    natives = _settled(natives, soft, found.spread <= ROUNDED, notes)
    if wishes.none and found.spread == EXACT and size == _shape(natives[0]):
        done = [_untouched(native) for native in natives]
    else:
        done = _finished(natives, found, wishes, size, notes)
    _tell_soft(done, notes)
    unchanged = all(np.array_equal(frame, one.image) for frame, one in zip(frames, done, strict=True))
    return Fixed(done, (found.pitch_x + found.pitch_y) / 2, found.how, tuple(notes), unchanged)


def _check_cells(count: int, wide: float, high: float, most: int = MOST_CELLS) -> None:
    """Refuses more real pixels than can be finished in seconds and in the memory of a small machine.

    Raises:
        InvalidRequest: says what to give instead.
    """
    if count * wide * high > most:
        frames = f"{count} frames of " if count > 1 else ""
        noisy = " where colours are estimated" if most == MOST_NOISY else ""
        raise InvalidRequest(
            f"This is {frames}{wide:.0f}x{high:.0f} real pixels, {count * wide * high / 1e6:.1f} million; "
            f"{most / 1e6:.1f} million is the most{noisy}. Give a larger pitch, a smaller size, or "
            f"{'fewer frames' if count > 1 else 'a part of the picture'}."
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _shape(picture: Pixels) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _size(native: Pixels, width: int | None, height: int | None) -> tuple[int, int]:
    """Returns the finished (width, height): a side given alone keeps the shape."""
    wide, high = _shape(native)
    if width is None and height is None:
        return wide, high
    if width is None:
        return max(1, round(wide * (height or 0) / high)), height or 0
    return width, height or max(1, round(high * width / wide))


def _as_it_is(frames: Sequence[Pixels], notes: list[str], wishes: _Wishes) -> Fixed:
    """Returns the frames untouched, with the gate that did not hold."""
    if not wishes.none:
        notes.append("Nothing else that was asked for was done, either.")
    done = [_not_proved(_untouched(frame)) for frame in frames]
    return Fixed(done, 1.0, "unproved", tuple(notes), True)


def _untouched(picture: Pixels) -> Finished:
    """Returns the picture as it is, hidden colours and soft alpha included."""
    gates = check_gates(picture, *_shape(picture), None, None)
    gates["not_empty"] = bool((picture[..., 3] > 0).any())
    del gates["alpha_hard"]
    return Finished(picture, _own_palette(picture), Report(gates, score_picture(picture)))


def _own_palette(picture: Pixels) -> Palette:
    """Returns the colours of a picture; an estimate from some of its pixels where those alone have too many."""
    step = max(1, max(picture.shape[:2]) // _ESTIMATED_FROM)
    some = picture[::step, ::step]
    estimated = step > 1 and len(color_counts([some])[0]) > MOST_COLORS
    return extract_palette([some if estimated else picture], MOST_COLORS)


def _reduced(frames: Sequence[Pixels], width: int | None, height: int | None) -> Estimate:
    """Paints at the size that was asked for."""
    wide, high = _shape(frames[0])
    columns, rows = _size(frames[0], width, height)
    scale = max(wide / columns, high / rows)
    if scale <= 1:
        return Estimate(list(frames), 1.0, 1.0, "unproved", (NOT_PROVED,))
    grid = regular_grid(wide, high, max(1, round(wide / scale)), max(1, round(high / scale)))
    return Estimate([sample_cells(frame, grid) for frame in frames], scale, scale, "unproved", (), grid, NOISY)


def _settled(natives: list[Pixels], soft: Soft, exact: bool, notes: list[str]) -> list[Pixels]:
    """Returns the frames with their half-transparent pixels as `soft` says; a note where they were changed."""
    natives = [settle_soft(native, "keep", exact) for native in natives]
    count = max(int(((native[..., 3] > 0) & (native[..., 3] < 255)).sum()) for native in natives)
    if not count or soft == "keep":
        return natives
    became = {"dither": "dithered to clear and solid", "solid": "made solid", "drop": "dropped"}[soft]
    notes.append(f"{_counted(count, 'half-transparent pixel')} {'was' if count == 1 else 'were'} {became}.")
    return [settle_soft(native, soft, exact=True) for native in natives]


def _cut(natives: list[Pixels], wishes: _Wishes, spread: float, notes: list[str]) -> list[Pixels]:
    """Returns the frames without the background, where that was asked for; notes on what stayed."""
    if wishes.background == "keep":
        return natives
    key = None if wishes.background == "clear" else key_color(wishes.background)
    near = {NOISY: NEAR}.get(spread, max(spread, _EQUAL))
    cuts = [cut_background(native, key, inside=key is not None, near=near) for native in natives]
    if all(cut.failed for cut in cuts):
        notes.append(f"The background was not cleared: {cuts[0].failed}. Give its colour: background='RRGGBB'.")
    kept = max(cut.kept for cut in cuts)
    if kept:
        notes.append(
            f"Inside the drawing {_counted(kept, 'pixel')} of the background's colour {'was' if kept == 1 else 'were'} "
            "kept. If that is a hole, give the background's colour as RRGGBB instead of 'clear': that clears it too."
        )
    return [cut.image for cut in cuts]


def _finished(
    natives: list[Pixels], found: Estimate, wishes: _Wishes, size: tuple[int, int], notes: list[str]
) -> list[Finished]:
    """Returns the native pixels with size, colours and outline as asked for."""
    noisy = found.spread == NOISY
    wide, high = _shape(natives[0])
    if size[0] < wide or size[1] < high:
        notes.append(f"The picture has {wide}x{high} real pixels; it was made smaller, which loses details.")
    colors = wishes.colors if wishes.colors is not None or not noisy else COLORS
    options = FinishOptions(
        width=size[0],
        height=size[1],
        colors=colors,
        palette=wishes.palette,
        pitch=1,
        outline=wishes.outline,
        dither=wishes.dither,
        clean=noisy,
        grain=found.grain,
        place=size != (wide, high),
    )
    if not noisy and found.spread > EXACT and wishes.palette is None and colors is None:
        options = replace(options, palette=_merged([_solid(native) for native in natives], found.spread))
    if any(has_soft(native) for native in natives):
        placed = place_together(natives, options)
        done = finish_together([_solid(picture) for picture in placed], replace(options, place=False))
        done = [_with_alpha(one, picture) for one, picture in zip(done, placed, strict=True)]
    else:
        done = finish_together(natives, options)
    if wishes.palette is None and colors is not None:
        many = len(color_counts(natives)[0])
        if not noisy and many > colors:
            notes.append(f"{many} colours became {len(done[0].palette)}: `colors` sets how many are kept.")
        elif noisy and wishes.colors is None and len(done[0].palette) == COLORS:
            notes.append(f"The colours were reduced to {COLORS}, the default. `colors` keeps up to {MOST_COLORS}.")
    if found.how == "unproved":
        done = [_not_proved(one) for one in done]
    return done


def _not_proved(done: Finished) -> Finished:
    return replace(done, report=Report(done.report.gates | {"grid_proved": False}, done.report.scores))


def _merged(natives: list[Pixels], same: float) -> Palette | None:
    """Returns the natives' own colours, with those made one within `same`; None where they are too many."""
    palette = extract_palette(natives, MOST_COLORS, same=same)
    return palette if len(palette) < MOST_COLORS else None


def _solid(picture: Pixels) -> Pixels:
    hard = picture.copy()
    hard[..., 3] = np.where(picture[..., 3] > 0, 255, 0)
    return hard


def _with_alpha(done: Finished, soft: Pixels) -> Finished:
    """Returns the finished picture with the alpha that its pixels had; the gate on hard alpha is left out."""
    image = done.image.copy()
    image[..., 3] = np.where((done.image[..., 3] > 0) & (soft[..., 3] > 0), soft[..., 3], done.image[..., 3])
    gates = {name: held for name, held in done.report.gates.items() if name != "alpha_hard"}
    return Finished(image, done.palette, Report(gates, done.report.scores))


def _tell_soft(done: list[Finished], notes: list[str]) -> None:
    count = max(int(((one.image[..., 3] > 0) & (one.image[..., 3] < 255)).sum()) for one in done)
    if count:
        notes.append(
            f"{_counted(count, 'half-transparent pixel')} (a glow, a shadow) {'was' if count == 1 else 'were'} kept. "
            "soft='dither', 'solid' or 'drop' gives hard edges."
        )
