"""Finish what a model drew, or any picture, to sprites of exact size, hard alpha and one palette.

Order: grid -> cells -> matte -> hard alpha -> placing -> palette -> clean-up -> outline -> gates. Pure: no files, no
models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.pixels.cells import sample_cells
from pipelines.pixels.clean import CALM, ORPHAN_STEP, drop_specks, hard_mask, settle_noise, settle_orphans
from pipelines.pixels.dither import SIZES, dither
from pipelines.pixels.gates import Report, check_gates, score_picture
from pipelines.pixels.grid import Grid, find_grid, regular_grid
from pipelines.pixels.matte import cut_background, key_color
from pipelines.pixels.oklab import from_oklab, to_oklab
from pipelines.pixels.outline import DARK, KINDS, draw_outline
from pipelines.pixels.palette import MOST_COLORS, Palette, extract_palette, nearest_index, paint
from pipelines.pixels.quantize import color_counts
from pipelines.records import Pixels
from pipelines.tracing import traced

MOST_PIXELS = 4096


@dataclass(frozen=True, slots=True)
class FinishOptions:
    """What a finished picture is to be.

    Args:
        width: finished size in pixels, exact.
        height: the same.
        colors: most colours that are extracted; a `palette` overrules it. None keeps every colour as it is.
        palette: the palette to lock to.
        pitch: pixels of the input for each pixel of the drawing; None looks for it where the input is larger.
        outline: none, outer, inner or selective.
        matte: what becomes clear of an opaque picture that is larger than its native size: "ground" (what touches the
            border in one colour), the background's colour as RRGGBB, "none", or "auto": "ground" where `place` is set.
        dither: side of the Bayer matrix: 2, 4, 8; 0 for none.
        clean: specks and orphan pixels go. Pictures that keep the rules already are never cleaned.
        grain: OKLab distance that noise in the picture explains: lone pixels within it join a neighbour. Less where a
            picture is known to have little noise, so that its details stay.
        place: trim and centre; False keeps every pixel where it was drawn (tiles, frames of a sheet). Pictures that are
            finished together move together.

    Raises:
        InvalidRequest: a value outside its range.
    """

    width: int
    height: int
    colors: int | None = 16
    palette: Palette | None = None
    pitch: float | None = None
    outline: str = "none"
    matte: str = "auto"
    dither: int = 0
    clean: bool = True
    grain: float = ORPHAN_STEP
    place: bool = True

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("height", self.height)):
            if not 1 <= value <= MOST_PIXELS:
                raise InvalidRequest(f"{name} is 1 to {MOST_PIXELS} pixels, not {value}.")
        if self.colors is not None and not 1 <= self.colors <= MOST_COLORS:
            raise InvalidRequest(f"colors is 1 to {MOST_COLORS}, not {self.colors}.")
        if self.outline not in KINDS:
            raise InvalidRequest(f"outline is one of {', '.join(KINDS)}, not '{self.outline}'.")
        if self.dither not in SIZES:
            raise InvalidRequest(f"dither is one of {', '.join(map(str, SIZES))}, not {self.dither}.")
        key_color(self.matte)
        if self.pitch is not None and not 1 <= self.pitch <= 1024:
            raise InvalidRequest(f"pitch is 1 to 1024 pixels, not {self.pitch}.")


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A finished picture ((height, width, 4) RGBA, alpha 0 or 255), its palette and what was measured on it."""

    image: Pixels
    palette: Palette
    report: Report


def finish(image: Pixels, options: FinishOptions) -> Finished:
    """Finishes one picture ((h, w, 4) RGBA uint8). Same arguments, same result; a finished picture stays as it is."""
    return finish_together([image], options)[0]


@traced("finish")
def finish_together(images: Sequence[Pixels], options: FinishOptions) -> list[Finished]:
    """Finishes pictures that belong together (frames, directions): one palette for all of them, and one placing.

    They are trimmed by their common bounds, so what stood still from picture to picture stands still afterwards.
    """
    if not images:
        return []
    natives = [_native(image, options) for image in images]
    hard = [_harden(native, options.clean) for native, _ in natives]
    placed = place_together([picture for picture, _ in hard], options)
    palette = options.palette or _palette(placed, options)
    colored = [_colored(picture, palette, options, soft) for picture, (_, soft) in zip(placed, hard, strict=True)]
    images = _outlined([image for image, _ in colored], palette, options)
    return [
        Finished(image, palette, _report(image, options, stress, soft, grid))
        for image, (_, stress), (_, soft), (_, grid) in zip(images, colored, hard, natives, strict=True)
    ]


def _colored(picture: Pixels, palette: Palette, options: FinishOptions, soft: float) -> tuple[Pixels, float]:
    """Puts a placed picture into the palette's colours and cleans it; returns how far its pixels moved on average."""
    if options.colors is None and options.palette is None and not options.dither:
        return picture, 0.0
    index = nearest_index(picture, palette)
    locked = paint(picture, index, palette)
    drawn = picture[..., 3] == 255
    moved = np.linalg.norm(to_oklab(picture[drawn, :3]) - to_oklab(locked[drawn, :3]), axis=-1)
    stress = float(moved.mean()) if moved.size else 0.0
    if options.dither:
        locked = dither(picture, palette, options.dither)
    elif options.clean and (stress > 0 or soft > 0):
        # a picture that keeps the rules already is somebody's pixels: nothing in it is noise
        weight = max(CALM * options.grain / ORPHAN_STEP, 0.1 * stress * stress)
        locked = settle_orphans(settle_noise(picture, palette, weight, index), options.grain)
    return locked, stress


def _outlined(pictures: list[Pixels], palette: Palette, options: FinishOptions) -> list[Pixels]:
    """Outlines the pictures and places them again, since an outline missing on one side moves the middle."""
    if options.outline == "none":
        return pictures
    for _ in range(4):
        outlined = place_together([draw_outline(picture, options.outline, palette) for picture in pictures], options)
        if all(np.array_equal(a, b) for a, b in zip(pictures, outlined, strict=True)):
            break
        pictures = outlined
    return pictures


def _report(image: Pixels, options: FinishOptions, stress: float, soft: float, grid: Grid | None) -> Report:
    scores = score_picture(image, stress, soft)
    if grid is not None:
        scores |= {"grid_x": grid.score_x, "grid_y": grid.score_y}
    return Report(check_gates(image, options.width, options.height, options.colors, options.palette), scores)


def native_pixels(image: Pixels, pitch: float | None = None) -> tuple[Pixels, Grid]:
    """Takes one pixel per cell of the grid found in `image` ((h, w, 4) RGBA), and that grid. Alpha may be soft."""
    grid = find_grid(image, pitch)
    return sample_cells(image, grid), grid


def _native(image: Pixels, options: FinishOptions) -> tuple[Pixels, Grid | None]:
    """Returns the picture at one pixel per cell; its grid where one had to be found."""
    height, width = image.shape[:2]
    if options.pitch == 1 or (options.pitch is None and width <= options.width and height <= options.height):
        return image, None
    native, grid = native_pixels(image, options.pitch)
    if options.pitch is None and not grid.seen:
        # paint: the size asked for is the best guess at its grid
        scale = max(width / options.width, height / options.height)
        grid = regular_grid(width, height, max(1, round(width / scale)), max(1, round(height / scale)))
        native = sample_cells(image, grid)
    matte = "ground" if options.matte == "auto" and options.place else options.matte
    if matte not in ("auto", "none") and (image[..., 3] == 255).all():
        native = cut_background(native, key_color(options.matte)).image
    return native, grid


def _harden(native: Pixels, clean: bool) -> tuple[Pixels, float]:
    """Sets alpha to 0 or 255, clears hidden colours, and returns the share of drawn pixels that were half clear."""
    alpha = native[..., 3]
    half = (alpha > 8) & (alpha < 247)
    mask = hard_mask(alpha)
    if clean:
        mask = drop_specks(mask, alpha)
    hard = np.where(mask[..., None], native, 0).astype(np.uint8)
    hard[mask, 3] = 255
    return hard, float(half.sum()) / max(int(mask.sum()), 1)


def place_together(pictures: list[Pixels], options: FinishOptions) -> list[Pixels]:
    """Places pictures on canvases of the size asked for: trimmed and centred together, smaller only if they do not
    fit.
    """
    if len({picture.shape for picture in pictures}) > 1:
        return [place_together([picture], options)[0] for picture in pictures]
    height, width = pictures[0].shape[:2]
    if options.place or height > options.height or width > options.width:
        drawn = np.any([picture[..., 3] > 0 for picture in pictures], axis=0)
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        if not len(rows):
            return [np.zeros((options.height, options.width, 4), np.uint8) for _ in pictures]
        pictures = [picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for picture in pictures]
        height, width = pictures[0].shape[:2]
    scale = max(height / options.height, width / options.width)
    if scale > 1:
        grid = regular_grid(width, height, max(1, round(width / scale)), max(1, round(height / scale)))
        smaller = [_harden(sample_cells(picture, grid), False)[0] for picture in pictures]
        return place_together(smaller, replace(options, place=True))
    top, left = (options.height - height) // 2, (options.width - width) // 2
    below, right = options.height - height - top, options.width - width - left
    return [np.pad(picture, ((top, below), (left, right), (0, 0))) for picture in pictures]


def _palette(pictures: Sequence[Pixels], options: FinishOptions) -> Palette:
    """Extracts a palette from all pictures, with a dark colour in it where an outline will need one."""
    palette = extract_palette(pictures, options.colors or MOST_COLORS)
    if options.outline == "none" or options.colors in (None, 1) or not color_counts(pictures)[0].size:
        return palette
    if palette.lab[:, 0].min() <= DARK:
        return palette
    palette = extract_palette(pictures, options.colors - 1)
    dark = palette.lab[int(palette.lab[:, 0].argmin())].copy()
    dark[0] = 0.2
    dark[1:] *= 0.5
    r, g, b = (int(c) for c in from_oklab(dark))
    return Palette(palette.name, ((r, g, b), *palette.colors))
