"""Cut a sheet into its pictures: by a layout file's rectangles, or by a grid that the picture's own pixels prove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.animation.sheet_grids import Grid, SheetLines, find_grid
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

MOST_PIECES = 1024
MOST_CELLS = 1 << 16
"""Cells of a grid, empty ones included."""
MOST_PIXELS = 1 << 25
"""Pixels of all pieces together, with what was trimmed: 128 MiB as RGBA."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One picture of a sheet: where it lies (pixels), and its place in its untrimmed canvas.

    `width` and `height` are its size upright; a `rotated` piece lies turned clockwise by 90 degrees, so it covers
    height x width pixels of the sheet. `canvas` is the untrimmed (width, height), `left` and `top` the place in it.
    `duration` is in milliseconds; 0: the file does not say.
    """

    name: str
    x: int
    y: int
    width: int
    height: int
    canvas: tuple[int, int]
    left: int = 0
    top: int = 0
    rotated: bool = False
    duration: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """An animation: indices of pieces in playing order (ping-pong and repeats written out)."""

    name: str
    pieces: tuple[int, ...]
    loop: bool = True


@dataclass(frozen=True, slots=True)
class Slices:
    """How a sheet is cut. `how` tells the user where the cuts come from."""

    pieces: tuple[Piece, ...]
    runs: tuple[Run, ...]
    how: str
    grid: Grid | None = None


def cut(image: Pixels, slices: Slices) -> list[Pixels]:
    """Returns the pieces of `image` ((h, w, 4)), upright, each on its untrimmed canvas.

    Raises:
        InvalidRequest: a piece lies outside the picture or outside its canvas.
    """
    pictures = []
    high, wide = image.shape[:2]
    total = sum(piece.canvas[0] * piece.canvas[1] for piece in slices.pieces)
    if total > MOST_PIXELS:
        raise InvalidRequest(
            f"The {len(slices.pieces)} pieces of this layout have {total / 1e6:,.0f} million pixels; "
            f"{MOST_PIXELS / 1e6:.0f} million is the most. Export smaller frames, or fewer in one sheet."
        )
    for piece in slices.pieces:
        width, height = (piece.height, piece.width) if piece.rotated else (piece.width, piece.height)
        if piece.x < 0 or piece.y < 0 or piece.x + width > wide or piece.y + height > high:
            raise InvalidRequest(
                f"'{piece.name[:40]}' lies at {piece.x},{piece.y} with {width}x{height} pixels, outside the picture of "
                f"{wide}x{high}. The layout belongs to another picture, or to one of another size: export both again."
            )
        drawn = image[piece.y : piece.y + height, piece.x : piece.x + width]
        if piece.rotated:
            drawn = np.rot90(drawn)
        across, down = piece.canvas
        if piece.left < 0 or piece.top < 0 or piece.left + piece.width > across or piece.top + piece.height > down:
            raise InvalidRequest(
                f"'{piece.name[:40]}' does not fit its canvas of {across}x{down} pixels: {piece.width}x{piece.height} "
                f"at {piece.left},{piece.top}. Export the sheet again."
            )
        canvas = np.zeros((down, across, 4), np.uint8)
        canvas[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width] = drawn
        pictures.append(canvas)
    return pictures


def slice_grid(
    image: Pixels,
    name: str,
    tile: tuple[int, int] | None = None,
    gap: int | None = None,
    margin: int | None = None,
) -> Slices:
    """Finds the grid of a sheet ((h, w, 4)); empty cells are left out, each row is a run.

    Args:
        image: the sheet.
        name: what the sheet is called; pieces are numbered after it.
        tile: (width, height) of a cell in pixels; None: found.
        gap: pixels between cells; None: found.
        margin: pixels around all cells; None: found.

    Raises:
        InvalidRequest: no grid is proved; it names what is left over and what to give.
    """
    sheet = SheetLines(image)
    grid = find_grid(sheet, name, tile, gap, margin)
    if grid.x.count * grid.y.count > MOST_CELLS:
        raise InvalidRequest(
            f"{name} would be cut into {grid.x.count:,}x{grid.y.count:,} tiles of {grid.x.size}x{grid.y.size} px. Give "
            "a larger tile size."
        )
    pieces: list[Piece] = []
    runs: list[Run] = []
    size = grid.x.size, grid.y.size
    for row, y in enumerate(grid.y.begins()):
        first = len(pieces)
        for x in grid.x.begins():
            if sheet.drawn[y : y + size[1], x : x + size[0]].any():
                pieces.append(Piece(f"{name} {len(pieces)}", x, y, *size, size))
        if len(pieces) > first:
            runs.append(Run(f"row_{row + 1}", tuple(range(first, len(pieces)))))
    if not pieces:
        raise InvalidRequest(f"{name} shows nothing: every cell is empty. Give a sheet with something drawn on it.")
    if len(pieces) > MOST_PIECES:
        raise InvalidRequest(
            f"{name} would be cut into {len(pieces):,} pieces; {MOST_PIECES:,} is the most. Give a larger tile size."
        )
    return Slices(tuple(pieces), tuple(runs), f"a grid of {grid.describe()}", grid)


def preview(image: Pixels, slices: Slices, longest: int = 512) -> Pixels:
    """Returns the sheet enlarged by a whole number, with a frame around each piece; what is not cut out is dimmed."""
    zoom = max(1, longest // max(image.shape[:2]))
    large = np.repeat(np.repeat(image, zoom, axis=0), zoom, axis=1)
    height, width = large.shape[:2]
    alpha = large[..., 3:].astype(np.uint16)
    across = np.add.outer(np.arange(height, dtype=np.uint32), np.arange(width, dtype=np.uint32))
    checks = np.where(across // max(4, zoom) % 2 > 0, np.uint16(96), np.uint16(80))[..., None]
    shown = ((large[..., :3] * alpha + checks * (255 - alpha)) // 255).astype(np.uint8)
    kept = np.zeros((height, width), bool)
    boxes = []
    for piece in slices.pieces:
        across, down = (piece.height, piece.width) if piece.rotated else (piece.width, piece.height)
        box = (piece.y * zoom, (piece.y + down) * zoom, piece.x * zoom, (piece.x + across) * zoom)
        kept[box[0] : box[1], box[2] : box[3]] = True
        boxes.append(box)
    shown[~kept] //= 3
    for index, (top, bottom, left, right) in enumerate(boxes):
        color = ((255, 64, 160), (64, 220, 255))[index % 2]  # neighbours are told apart where cells touch
        shown[[top, bottom - 1], left:right] = color
        shown[top:bottom, [left, right - 1]] = color
    return np.dstack([shown, np.full((height, width), 255, np.uint8)])


def names_of(pieces: Sequence[Piece]) -> list[str]:
    """Returns a distinct name for each piece: repeated ones are numbered."""
    taken: set[str] = set()
    names = []
    for piece in pieces:
        name, number = piece.name, 1
        while name in taken:
            number += 1
            name = f"{piece.name} {number}"
        taken.add(name)
        names.append(name)
    return names
