"""Finishing: one road from what a model drew, or any picture, to sprites of exact size, hard alpha and one palette.

Order: grid -> cells -> hard alpha -> placing -> palette -> clean-up -> outline -> gates. Pure: no files, no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.pixels import outline as outlines
from pipelines.pixels.cells import sample_cells
from pipelines.pixels.clean import drop_specks, hard_mask, settle_orphans
from pipelines.pixels.gates import Report, check_gates, score_picture
from pipelines.pixels.grid import Grid, find_grid, regular_grid
from pipelines.pixels.oklab import from_oklab, to_oklab
from pipelines.pixels.palette import MOST_COLORS, Palette, extract_palette, lock
from pipelines.pixels.quantize import color_counts
from pipelines.records import Pixels

MOST_PIXELS = 4096


@dataclass(frozen=True, slots=True)
class FinishOptions:
    """What a finished picture is to be.

    Args:
        width: finished size in pixels, exact.
        height: the same.
        colors: most colours that are extracted; a `palette` overrules it.
        palette: the palette to lock to.
        pitch: pixels of the input for each pixel of the drawing; None looks for it where the input is larger.
        outline: none, outer, inner or selective.
        clean: specks and orphan pixels go. Pictures that keep the rules already are never cleaned.
        place: trim and centre; False keeps every pixel where it was drawn (tiles, frames of a sheet).

    Raises:
        InvalidRequest: a value outside its range.
    """

    width: int
    height: int
    colors: int = 16
    palette: Palette | None = None
    pitch: float | None = None
    outline: str = "none"
    clean: bool = True
    place: bool = True

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("height", self.height)):
            if not 1 <= value <= MOST_PIXELS:
                raise InvalidRequest(f"{name} is 1 to {MOST_PIXELS} pixels, not {value}.")
        if not 1 <= self.colors <= MOST_COLORS:
            raise InvalidRequest(f"colors is 1 to {MOST_COLORS}, not {self.colors}.")
        if self.outline not in outlines.KINDS:
            raise InvalidRequest(f"outline is one of {', '.join(outlines.KINDS)}, not '{self.outline}'.")
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


def finish_together(images: Sequence[Pixels], options: FinishOptions) -> list[Finished]:
    """Finishes pictures that belong together: one palette for all of them."""
    natives, grids = zip(*(_native(image, options) for image in images), strict=True) if images else ((), ())
    placed, softness = [], []
    for native in natives:
        hard, soft = _harden(native, options.clean)
        placed.append(_fit(hard, options))
        softness.append(soft)
    palette = options.palette or _palette(placed, options)
    locked_palette = options.palette
    results = []
    for picture, soft, grid in zip(placed, softness, grids, strict=True):
        finished = lock(picture, palette)
        drawn = picture[..., 3] == 255
        moved = np.linalg.norm(to_oklab(picture[drawn, :3]) - to_oklab(finished[drawn, :3]), axis=-1)
        stress = float(moved.mean()) if moved.size else 0.0
        if options.clean and (stress > 0 or soft > 0):
            finished = settle_orphans(finished)
        finished = outlines.draw_outline(finished, options.outline, palette)
        scores = score_picture(finished, stress, soft)
        if grid is not None:
            scores |= {"grid_x": grid.score_x, "grid_y": grid.score_y}
        gates = check_gates(finished, options.width, options.height, options.colors, locked_palette)
        results.append(Finished(finished, palette, Report(gates, scores)))
    return results


def native_pixels(image: Pixels, pitch: float | None = None) -> tuple[Pixels, Grid]:
    """One pixel for each cell of the grid found in `image` ((h, w, 4) RGBA), and that grid. Alpha may be soft."""
    grid = find_grid(image, pitch)
    return sample_cells(image, grid), grid


def _native(image: Pixels, options: FinishOptions) -> tuple[Pixels, Grid | None]:
    """The picture at one pixel a cell; its grid where one had to be found."""
    height, width = image.shape[:2]
    if options.pitch == 1 or (options.pitch is None and width <= options.width and height <= options.height):
        return image, None
    native, grid = native_pixels(image, options.pitch)
    if options.pitch is None and not grid.seen:
        # paint: the size asked for is the best guess at its grid
        scale = max(width / options.width, height / options.height)
        grid = regular_grid(width, height, max(1, round(width / scale)), max(1, round(height / scale)))
        native = sample_cells(image, grid)
    return native, grid


def _harden(native: Pixels, clean: bool) -> tuple[Pixels, float]:
    """Alpha 0 or 255, nothing under clear pixels; and the share of drawn pixels that were half clear."""
    alpha = native[..., 3]
    half = (alpha > 8) & (alpha < 247)
    mask = hard_mask(alpha)
    if clean:
        mask = drop_specks(mask, alpha)
    hard = np.where(mask[..., None], native, 0).astype(np.uint8)
    hard[mask, 3] = 255
    return hard, float(half.sum()) / max(int(mask.sum()), 1)


def _fit(picture: Pixels, options: FinishOptions) -> Pixels:
    """The picture on a canvas of the size asked for: placed, and made smaller only where it does not fit."""
    height, width = picture.shape[:2]
    rows, columns = (np.flatnonzero((picture[..., 3] == 255).any(axis=axis)) for axis in (1, 0))
    canvas = np.zeros((options.height, options.width, 4), np.uint8)
    if not len(rows):
        return canvas
    if not options.place and (height, width) == (options.height, options.width):
        return picture
    if options.place or height > options.height or width > options.width:
        picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = picture.shape[:2]
    if height > options.height or width > options.width:
        scale = max(height / options.height, width / options.width)
        size = max(1, round(height / scale)), max(1, round(width / scale))
        picture, _ = _harden(sample_cells(picture, regular_grid(width, height, size[1], size[0])), False)
        return _fit(picture, replace(options, place=True))
    top, left = (options.height - height) // 2, (options.width - width) // 2
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _palette(pictures: Sequence[Pixels], options: FinishOptions) -> Palette:
    """Extracted from all pictures; with a dark colour in it where an outline will need one."""
    palette = extract_palette(pictures, options.colors)
    if options.outline == "none" or options.colors == 1 or not color_counts(pictures)[0].size:
        return palette
    if palette.lab[:, 0].min() <= outlines.DARK:
        return palette
    palette = extract_palette(pictures, options.colors - 1)
    dark = palette.lab[int(palette.lab[:, 0].argmin())].copy()
    dark[0] = 0.2
    dark[1:] *= 0.5
    r, g, b = (int(c) for c in from_oklab(dark))
    return Palette(palette.name, ((r, g, b), *palette.colors))
