"""Assemble a kit: every piece on one sheet with its region, insets and states, a font, and a picture of it in use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.effects.ramps import Ramp, ramp_of
from pipelines.errors import InvalidRequest
from pipelines.pixels.gates import Report
from pipelines.pixels.palette import Palette
from pipelines.pixels.quantize import color_counts
from pipelines.records import Pixels
from pipelines.ui import pieces
from pipelines.ui.font import Font, colored, make_font, text_mask
from pipelines.ui.patches import Draw, Insets, find_insets, is_exact, stretch
from pipelines.ui.pieces import Look

SMALLEST, LARGEST = 16, 64
"""Sides of a piece in pixels."""
_SHEET_WIDTH = 6
"""Sides of a piece in a row of the sheet."""


@dataclass(frozen=True, slots=True)
class Region:
    """A piece on the sheet, pixels from the upper left. `insets` are a nine patch's, None for a plain picture."""

    x: int
    y: int
    width: int
    height: int
    insets: Insets | None = None
    point: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Kit:
    """A finished kit: `image` holds all `regions`; `preview` shows it in use, `text` are the font's colours."""

    image: Pixels
    regions: Mapping[str, Region]
    font: Font
    preview: Pixels
    look: Look
    text: Ramp
    report: Report

    def piece(self, name: str) -> Pixels:
        """Returns a piece as it lies on the sheet."""
        r = self.regions[name]
        return self.image[r.y : r.y + r.height, r.x : r.x + r.width]

    def at(self, name: str, width: int, height: int) -> Pixels:
        """Returns a nine patch at another size.

        Raises:
            InvalidRequest: the piece does not stretch.
        """
        insets = self.regions[name].insets
        if insets is None:
            raise InvalidRequest(f"The piece '{name}' does not stretch. Draw it at its own size.")
        return stretch(self.piece(name), insets, width, height)


def make_kit(words: str, side: int, icons: Mapping[str, Pixels] | None = None, palette: Palette | None = None) -> Kit:
    """Draws a kit; the same arguments give the same bytes.

    Args:
        words: names the look, as `look_of` reads it.
        side: of panel, frame and slot, in pixels.
        icons: name -> picture, put onto the sheet as they are.
        palette: the locked palette; None: the ramps' own colours.

    Raises:
        InvalidRequest: the side is out of range.
    """
    if not SMALLEST <= side <= LARGEST:
        raise InvalidRequest(
            f"The pieces of a kit have {SMALLEST} to {LARGEST} pixels a side, not {side}. Give size=32."
        )
    look = pieces.look_of(words, side, palette)
    drawn: dict[str, tuple[Pixels, Insets | None, tuple[int, int] | None]] = {}
    exact = True
    for name, (draw, width, height) in _patches(look, side, palette).items():
        insets = find_insets(draw, width, height)
        exact &= insets is not None and is_exact(draw, width, height, insets)
        drawn[name] = (draw(width, height), insets, None)
    for name, (_, point) in pieces.CURSORS.items():
        drawn[f"cursor_{name}"] = (pieces.cursor(look, name), None, point)
    for name, icon in (icons or {}).items():
        drawn[f"icon_{name}"] = (icon, None, None)
    image, regions = _packed(drawn, side)
    text = (look.ink, *ramp_of("white", palette)[1:])
    font = make_font(text)
    shown = {tuple(map(int, color)) for color in color_counts([image, font.image])[0]}
    gates = {
        "nine_patches_exact": exact,
        "alpha_hard": bool(np.isin(image[..., 3], (0, 255)).all()),
        "every_glyph_drawn": _glyphs_drawn(font),
    }
    if palette is not None:
        gates["in_palette"] = shown <= set(palette.colors)
    report = Report(gates, {"pieces": float(len(regions)), "colors": float(len(shown))})
    kit = Kit(image, regions, font, image, look, text, report)
    return Kit(image, regions, font, show(kit), look, text, report)


def _patches(look: Look, side: int, palette: Palette | None) -> dict[str, tuple[Draw, int, int]]:
    """Maps each piece's name to how it is drawn, and its size on the sheet."""
    wide, low = max(side, 24), max(12 if look.thick > 1 else 9, side * 3 // 8)
    tall = max(12, side * 5 // 8)
    found: dict[str, tuple[Draw, int, int]] = {
        "panel": (lambda w, h: pieces.panel(look, w, h), wide, wide),
        "frame": (lambda w, h: pieces.frame(look, w, h), side, side),
        "slot": (lambda w, h: pieces.slot(look, w, h), side, side),
        "bar": (lambda w, h: pieces.bar(look, w, h), side, low),
    }
    for state in pieces.BUTTON_STATES:
        found[f"button_{state}"] = (_button(look, state), side, tall)
    for color in pieces.BAR_COLORS:
        ramp = ramp_of(color, palette)
        found[f"fill_{color}"] = (_fill(ramp, look.thick > 1), 4, low - 6)
    return found


def _button(look: Look, state: str) -> Draw:
    return lambda width, height: pieces.button(look, state, width, height)


def _fill(ramp: Ramp, lit: bool) -> Draw:
    return lambda width, height: pieces.fill(ramp, lit, width, height)


def _packed(
    drawn: Mapping[str, tuple[Pixels, Insets | None, tuple[int, int] | None]], side: int
) -> tuple[Pixels, dict[str, Region]]:
    """Lays the pieces out in rows, one clear pixel between them."""
    limit = max(side * _SHEET_WIDTH, *(picture.shape[1] for picture, _, _ in drawn.values()))
    x, y, lowest, regions = 0, 0, 0, {}
    for name, (picture, insets, point) in drawn.items():
        height, width = picture.shape[:2]
        if x + width > limit:
            x, y = 0, lowest + 1
        regions[name] = Region(x, y, width, height, insets, point)
        x, lowest = x + width + 1, max(lowest, y + height)
    image = np.zeros((lowest, limit, 4), np.uint8)
    for name, region in regions.items():
        image[region.y : region.y + region.height, region.x : region.x + region.width] = drawn[name][0]
    return image, regions


def _glyphs_drawn(font: Font) -> bool:
    width, height = font.cell
    cells = [
        font.image[y : y + height, x : x + width, 3]
        for y in range(0, font.image.shape[0], height)
        for x in range(0, font.image.shape[1], width)
    ]
    return all(cell.any() for cell in cells[1:95])


def regions_json(kit: Kit, image_name: str, font_name: str) -> bytes:
    """Describes the kit: `pieces` by name (rectangle, insets, scale mode, the pixel that points), and the font."""
    described: dict[str, dict[str, Any]] = {}
    for name, r in kit.regions.items():
        entry: dict[str, Any] = {"rect": [r.x, r.y, r.width, r.height]}
        if r.insets:
            entry["insets"] = {side: getattr(r.insets, side) for side in ("left", "right", "top", "bottom")}
            entry["scale"] = "stretch" if stretches(kit.piece(name), r.insets) else "tile"
        if r.point:
            entry["point"] = list(r.point)
        described[name] = entry
    font = {"image": font_name, "cell": list(kit.font.cell), "columns": 16, "first": 32, "last": 126}
    return (json.dumps({"image": image_name, "pieces": described, "font": font}, indent=1) + "\n").encode()


def stretches(piece: Pixels, insets: Insets) -> bool:
    """Returns whether all between the insets is one colour along each axis: then stretching is as exact as tiling."""
    height, width = piece.shape[:2]
    columns = piece[:, insets.left : width - insets.right]
    rows = piece[insets.top : height - insets.bottom]
    return bool((columns == columns[:, :1]).all() and (rows == rows[:1]).all())


def show(kit: Kit) -> Pixels:
    """Draws a picture of the kit in use: a window with title, bars, slots, buttons in all states and a cursor."""
    side = kit.regions["slot"].width
    unit = max(side, 20)
    left, top, column = unit // 4, unit // 4, unit // 4 + unit * 5 - unit // 8
    labels = dict(zip(pieces.BUTTON_STATES, ("Play", "Options", "Load", "Quit"), strict=True))
    # the narrowest buttons of small kits are as wide as their widest word needs
    long = max(unit * 2 - unit // 4, *(text_mask(text).shape[1] + 2 * kit.look.thick + 6 for text in labels.values()))
    width, height = max(unit * 7, column + long + unit // 8), unit * 5
    canvas = np.zeros((height, width, 4), np.uint8)
    canvas[:] = (*kit.look.gray[0], 255)

    def put(picture: Pixels, x: int, y: int) -> None:
        h, w = picture.shape[:2]
        place = canvas[y : y + h, x : x + w]
        part = picture[: place.shape[0], : place.shape[1]]
        place[part[..., 3] > 0] = part[part[..., 3] > 0]

    def label(text: str, x: int, y: int) -> None:
        put(colored(text_mask(text), kit.text), x, y)

    put(kit.at("panel", unit * 4 + unit // 2, height - unit // 2), left, top)
    label("Backpack", left + unit // 2, top + unit // 3)
    low = kit.regions["bar"].height
    for row, (color, part) in enumerate((("red", 0.7), ("blue", 0.45), ("yellow", 0.9))):
        x, y, whole = left + unit // 2, top + unit // 3 + 14 + row * (low + 3), unit * 3
        put(kit.at("bar", whole, low), x, y)
        put(kit.at(f"fill_{color}", int((whole - 6) * part), low - 6), x + 3, y + 3)
    icons = [name for name in kit.regions if name.startswith("icon_")]
    cell = max([side, *(kit.regions[name].width + 6 for name in icons)])
    first = top + unit // 3 + 18 + 3 * (low + 3)
    shown = 0
    for row in range(max(1, (height - first - unit // 2) // (cell + 2))):
        for place in range((unit * 4 - unit // 4) // (cell + 2)):
            x, y = left + unit // 2 - 2 + place * (cell + 2), first + row * (cell + 2)
            if y + cell > height - unit // 2:
                continue
            put(kit.at("slot", cell, cell), x, y)
            if shown < len(icons):
                icon = kit.piece(icons[shown])
                put(icon, x + (cell - icon.shape[1]) // 2, y + (cell - icon.shape[0]) // 2)
            if (row, place) == (0, 1):
                put(kit.at("frame", cell, cell), x, y)
            shown += 1
    tall = kit.regions["button_normal"].height
    for row, (state, text) in enumerate(labels.items()):
        x, y = column, top + row * (tall + unit // 4)
        put(kit.at(f"button_{state}", long, tall), x, y)
        mask = text_mask(text)
        down = kit.look.thick if state == "pressed" else 0
        label(text, x + (long - mask.shape[1]) // 2 - 1, y + (tall - 9 - kit.look.thick) // 2 + down)
        if state == "hover":
            put(kit.piece("cursor_hand"), x + long - unit // 2, y + tall - unit // 4)
    put(kit.piece("cursor_arrow"), width - unit, height - unit)
    put(kit.piece("cursor_target"), width - unit * 2, height - unit)
    return canvas
