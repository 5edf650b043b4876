"""Draw the pieces of a kit at any size: panel, frame, slot, buttons, bars; and cursors from their designs.

A look is a material (wood, stone, metal, paper) and an accent colour. Pieces are drawn as levels of ramps: `body` is
the material's, `accent` the colour of trim and buttons. Textures repeat every PERIOD pixels from the inner corner, so
that nine patches are exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pipelines.effects.ramps import Ramp, ramp_name, ramp_of
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels

PERIOD = 8
MATERIALS = {
    "wood": ("brown", "orange"),
    "stone": ("gray", "blue"),
    "metal": ("white", "cyan"),
    "paper": ("tan", "red"),
}
"""Material -> ramp of its body, ramp of its accent."""
_SAID_FOR = {
    **{"wooden": "wood", "plank": "wood", "rock": "stone", "marble": "stone", "iron": "metal", "steel": "metal"},
    **{"scifi": "metal", "parchment": "paper", "scroll": "paper", "leather": "wood"},
}
BUTTON_STATES = ("normal", "hover", "pressed", "disabled")
BAR_COLORS = ("red", "green", "blue", "yellow")


@dataclass(frozen=True, slots=True)
class Look:
    """What all pieces of a kit share."""

    material: str
    body: Ramp
    accent: Ramp
    gray: Ramp
    ink: tuple[int, int, int]
    thick: int


def look_of(words: str, side: int, palette: Palette | None = None) -> Look:
    """Returns the look that a prompt names: a material (wood where it names none) and, if it names one, a colour.

    Args:
        words: the prompt.
        side: of a piece in pixels; from 24 on lines of the trim are two pixels thick.
        palette: the locked palette; None: the ramps' own colours.
    """
    named = [_SAID_FOR.get(word, word) for word in re.findall(r"[a-z]+", words.lower())]
    material = next((word for word in named if word in MATERIALS), "wood")
    body, accent = MATERIALS[material]
    accent = ramp_name(words) or accent
    return Look(
        material,
        ramp_of(body, palette),
        ramp_of(accent, palette),
        ramp_of("gray", palette),
        ramp_of("black", palette)[0],
        2 if side >= 24 else 1,
    )


def _clear(width: int, height: int) -> Pixels:
    return np.zeros((height, width, 4), np.uint8)


def _fill(picture: Pixels, left: int, top: int, right: int, bottom: int, color: tuple[int, int, int]) -> None:
    """Paints a rectangle; `right` and `bottom` count from the far sides."""
    height, width = picture.shape[:2]
    picture[top : height - bottom, left : width - right] = (*color, 255)


def _bevel(
    picture: Pixels, inset: int, light: tuple[int, int, int], dark: tuple[int, int, int], thick: int = 1
) -> None:
    """Draws a lit edge on the left and top and a shaded one on the right and bottom, `inset` pixels inside."""
    height, width = picture.shape[:2]
    for at in range(inset, inset + thick):
        picture[height - 1 - at, at : width - at] = (*dark, 255)
        picture[at : height - at, width - 1 - at] = (*dark, 255)
        picture[at, at : width - at - 1] = (*light, 255)
        picture[at : height - at - 1, at] = (*light, 255)


def _round(picture: Pixels, cut: int, ink: tuple[int, int, int] | None = None) -> None:
    """Clears stairs of `cut` pixels from the corners; `ink` closes the outline along them."""
    height, width = picture.shape[:2]
    for y in range(cut):
        for x in range(cut - y):
            for row, column in ((y, x), (y, width - 1 - x), (height - 1 - y, x), (height - 1 - y, width - 1 - x)):
                picture[row, column] = 0
    if ink:
        for at in range(cut + 1):
            x, y = at, cut - at
            for row, column in ((y, x), (y, width - 1 - x), (height - 1 - y, x), (height - 1 - y, width - 1 - x)):
                picture[row, column] = (*ink, 255)


def _texture(look: Look, width: int, height: int) -> Pixels:
    """Draws the material's surface: a few marks on its middle colour that repeat every PERIOD pixels."""
    b = look.body
    y, x = np.mgrid[0:height, 0:width] % PERIOD
    picture = np.zeros((height, width, 4), np.uint8)
    if look.material == "wood":
        picture[:] = (*b[2], 255)
        picture[(y == 1) & (x > 0) & (x < 5)] = (*b[1], 255)
        picture[(y == 5) & ((x > 4) | (x == 0))] = (*b[1], 255)
        picture[(y == 3) & (x > 1) & (x < 4)] = (*b[3], 255)
        picture[y == PERIOD - 1] = (*b[0], 255)
        picture[y == 0] = (*b[3], 255)
        picture[(y == 0) & (x == 6)] = (*b[2], 255)
    elif look.material == "stone":
        picture[:] = (*b[1], 255)
        picture[((x == 1) & (y == 2)) | ((x == 5) & (y == 6)) | ((x == 6) & (y == 6))] = (*b[2], 255)
        picture[((x == 2) & (y == 3)) | ((x == 6) & (y == 7)) | ((x == 4) & (y == 0))] = (*b[0], 255)
    elif look.material == "metal":
        picture[:] = (*b[1], 255)
        picture[(x + y) % 4 == 0] = (*b[2], 255)
    else:
        picture[:] = (*b[3], 255)
        picture[((x == 2) & (y == 1)) | ((x == 6) & (y == 5))] = (*b[2], 255)
        picture[((x == 3) & (y == 6)) | ((x == 7) & (y == 2))] = (*b[4], 255)
    return picture


def _stud(picture: Pixels, look: Look, inset: int) -> None:
    """Draws a rivet of the accent colour in every corner, `inset` pixels inside."""
    height, width = picture.shape[:2]
    size = look.thick + 1
    for top in (inset, height - inset - size):
        for left in (inset, width - inset - size):
            picture[top : top + size, left : left + size] = (*look.accent[2], 255)
            picture[top, left : left + size - 1] = (*look.accent[4], 255)
            picture[top + size - 1, left + 1 : left + size] = (*look.accent[1], 255)


def panel(look: Look, width: int, height: int) -> Pixels:
    """Draws a window: outline, lit border, recessed surface, rivets."""
    b, t = look.body, look.thick
    picture = _clear(width, height)
    _fill(picture, 0, 0, 0, 0, look.ink)
    _fill(picture, 1, 1, 1, 1, b[2])
    _bevel(picture, 1, b[4] if look.material != "paper" else b[3], b[1])
    edge = 2 + t
    _fill(picture, edge, edge, edge, edge, look.ink if look.material != "paper" else b[1])
    inner = edge + 1
    picture[inner : height - inner, inner : width - inner] = _texture(look, width - 2 * inner, height - 2 * inner)
    if look.material != "paper":
        _shade(picture, inner, b[0])
        _stud(picture, look, 1 + (t == 1) * 0)
    _round(picture, 1)
    return picture


def _shade(picture: Pixels, inset: int, dark: tuple[int, int, int]) -> None:
    """Draws the border's shadow on a recessed surface: one row and one column."""
    height, width = picture.shape[:2]
    picture[inset, inset : width - inset] = (*dark, 255)
    picture[inset : height - inset, inset] = (*dark, 255)


def frame(look: Look, width: int, height: int) -> Pixels:
    """Draws a rim of the accent colour with a clear middle, to mark what is chosen."""
    a, t = look.accent, look.thick
    picture = _clear(width, height)
    _fill(picture, 0, 0, 0, 0, look.ink)
    _fill(picture, 1, 1, 1, 1, a[2])
    _bevel(picture, 1, a[4], a[1])
    _fill(picture, 1 + t, 1 + t, 1 + t, 1 + t, look.ink)
    rim = 2 + t
    picture[rim : height - rim, rim : width - rim] = 0
    size = 2 + t  # thicker corners
    for top in (0, height - rim - size + 1):
        for left in (0, width - rim - size + 1):
            corner = picture[top : top + rim + size - 1, left : left + rim + size - 1]
            corner[:] = (*look.ink, 255)
            corner[1:-1, 1:-1] = (*a[2], 255)
            corner[1, 1:-2] = corner[1:-2, 1] = (*a[4], 255)
            corner[-2, 2:-1] = corner[2:-1, -2] = (*a[1], 255)
    _round(picture, 1)
    return picture


def slot(look: Look, width: int, height: int) -> Pixels:
    """Draws a recessed square for an item."""
    b = look.body
    picture = _clear(width, height)
    _fill(picture, 0, 0, 0, 0, look.ink)
    dark, low = (b[1], b[0]) if look.material != "paper" else (b[2], b[1])
    _fill(picture, 1, 1, 1, 1, dark)
    _bevel(picture, 1, low, b[3], 1)
    if look.thick > 1:
        _shade(picture, 2, low)
    _round(picture, 1)
    return picture


def button(look: Look, state: str, width: int, height: int) -> Pixels:
    """Draws a button: lit face over a lip; hover is brighter, pressed lies lower without its lip, disabled is grey."""
    a = look.accent if state != "disabled" else look.gray
    lip = look.thick
    face, light, lips = a[2], a[3], a[1]
    if state == "hover":
        face, light, lips = a[3], a[4], a[2]
    elif state == "pressed":
        face, light = a[1], a[1]
    elif state == "disabled":
        face, light, lips = a[2], a[2], a[1]
    down = lip if state == "pressed" else 0
    picture = _clear(width, height)
    picture[down:, :] = (*look.ink, 255)
    picture[down + 1 : height - 1, 1:-1] = (*face, 255)
    if state == "pressed":
        picture[down + 1, 1:-1] = (*a[0], 255)
        picture[down + 1 : height - 1, 1] = (*a[0], 255)
    else:
        picture[height - 1 - lip : height - 1, 1:-1] = (*lips, 255)
        picture[1, 1:-1] = (*light, 255)
        picture[1 : height - 1 - lip, 1] = (*light, 255)
        if state != "disabled" and look.thick > 1:
            picture[2, 2] = picture[2, 3] = picture[3, 2] = (*a[4], 255)
    rounded = picture[down:]
    _round(rounded, look.thick, look.ink if look.thick > 1 else None)
    return picture


def bar(look: Look, width: int, height: int) -> Pixels:
    """Draws the trough of a bar: an outline with a light rim, dark inside."""
    b = look.body
    picture = _clear(width, height)
    _fill(picture, 0, 0, 0, 0, look.ink)
    _fill(picture, 1, 1, 1, 1, b[3])
    _bevel(picture, 1, b[4] if look.material != "paper" else b[2], b[1])
    _fill(picture, 2, 2, 2, 2, look.ink)
    picture[3 : height - 3, 3 : width - 3] = (*look.gray[0], 255)
    _round(picture, 1)
    return picture


def fill(ramp: Ramp, lit: bool, width: int, height: int) -> Pixels:
    """Draws what fills a bar: a light upper edge, a shaded lower one; `lit` adds a bright line for 12 pixel bars."""
    picture = _clear(width, height)
    picture[:] = (*ramp[2], 255)
    picture[0] = (*ramp[3], 255)
    picture[-1] = (*ramp[1], 255)
    if lit:
        picture[1] = (*ramp[4], 255)
    return picture


CURSORS = {
    "arrow": (
        "x/xx/xox/xoox/xooox/xoooox/xooooox/xoooooox/xooooooox/xoooooxxxx/xooxsox/xoxxoox/xx..xsox/x...xoox/.....xsx/.....xxx",
        (0, 0),
    ),
    "hand": (
        "....xx/...xoox/...xoox/...xoox/...xooxxx/...xooxooxxx/xxxxooxooxoox/xooxooxooxooxx/xoooooooooxooox"
        "/.xooooooooooox/..xoooooooooox/..xsooooooooox/...xsoooooosx/....xsooooox/....xsssssx/....xxxxxxx",
        (5, 0),
    ),
    "target": (
        "......xxx/......xox/......xox/....xxxoxxx/...xoooooooox/..xoxxxxxxxox/xxxoxx...xxoxxx/xooox.....xooox/xxxoxx...xxoxxx"
        "/..xoxxxxxxxox/...xooooooox/....xxxoxxx/......xox/......xox/......xxx",
        (7, 7),
    ),
}
"""Name -> rows of pixels (x ink, o light, s shade), and the pixel that points."""


def cursor(look: Look, name: str) -> Pixels:
    """Draws a cursor of CURSORS in white and the look's ink."""
    rows = CURSORS[name][0].split("/")
    picture = _clear(max(map(len, rows)), len(rows))
    colors = {"x": look.ink, "o": look.gray[4], "s": look.gray[3]}
    for y, row in enumerate(rows):
        for x, pixel in enumerate(row):
            if pixel in colors:
                picture[y, x] = (*colors[pixel], 255)
    return picture
