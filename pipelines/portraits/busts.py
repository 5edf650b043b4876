"""Draw portraits from parts by rules: a bust with face, hair, headgear and clothes that the words of a prompt name.

For models that draw pixels and have learned no faces. Every part is a shape in shares of the side, so a portrait is as
sharp at 96 px as at 24. A part has a dark rim, and light from above left in the five steps of its colour's ramp.
"""

from __future__ import annotations

import numpy as np

from pipelines.effects.ramps import RAMPS, Ramp
from pipelines.pixels.finish import Finished, FinishOptions, finish
from pipelines.pixels.palette import Palette
from pipelines.portraits.board import DARK, SKINS, WHITE, Board, Mask
from pipelines.portraits.headgear import HEADGEAR
from pipelines.portraits.looks import Look
from pipelines.records import Pixels

SMALLEST = 24
"""Side in pixels from which a face has room for eyes, nose and mouth."""

EDITION = 1
"""Of the rules that draw portraits; recipes hold it, since other rules draw other pixels."""


def draw_bust(look: Look, side: int) -> Pixels:
    """Draws a portrait.

    Args:
        look: what is shown (`pipelines.portraits.looks.look_of`).
        side: width and height in pixels, from SMALLEST.

    Returns:
        (side, side, 4) RGBA, alpha 0 or 255, at most about 30 colours.
    """
    board = Board(side)
    skin, hair, cloth, hat = SKINS[look.skin], RAMPS[look.hair_color], RAMPS[look.cloth], RAMPS[look.hat_color]
    head = board.ellipse(0.5, 0.43, 0.2, 0.2) | board.ellipse(0.5, 0.54, 0.158, 0.17)
    if look.hat == "hood":
        board.part(board.ellipse(0.5, 0.47, 0.31, 0.36) | board.wedge(0.5, 0.02, 0.4, 0.27, 0.73), hat)
    elif look.hair == "long":
        board.part(board.ellipse(0.5, 0.44, 0.275, 0.27) | board.box(0.24, 0.44, 0.76, 0.86), hair)
    elif look.hair == "bun":
        board.part(board.ellipse(0.5, 0.17, 0.1, 0.09), hair)
    _torso(board, look, skin, cloth)
    if not look.ears:
        _ears(board, look, skin)
    board.part(head, skin)
    _face(board, look, skin, hair, head)
    if look.beard:
        _beard(board, look, hair, head)
    if look.skin != "bone":
        _hair(board, look, hair)
    if look.ears:  # pointed ones show through the hair
        _ears(board, look, skin)
    if look.hat:
        HEADGEAR[look.hat](board, hat, skin)
    return board.image


def _torso(board: Board, look: Look, skin: Ramp, cloth: Ramp) -> None:
    wide = 0.38 if look.slight else 0.45
    body = board.ellipse(0.5, 1.14, wide, 0.36)
    metal = look.armor
    board.part(body, RAMPS["gray"] if metal else cloth)
    board.part(board.box(0.435, 0.62, 0.565, 0.82), skin, lit=False)
    board.fill(board.box(0.435, 0.62, 0.565, 0.74) & (board.image[..., 3] > 0), skin[1])
    if look.skin == "bone":
        return
    if metal:
        for x in (0.16, 0.84):
            board.part(board.ellipse(x, 0.92, 0.15, 0.13), RAMPS["gray"])
        board.part(board.box(0.38, 0.775, 0.62, 0.83), RAMPS["gray"])
    else:
        board.part(board.wedge(0.5, 0.97, 0.78, 0.4, 0.6), skin, lit=False)
        k = 1.5 / board.side
        for sign in (-1, 1):
            edge = np.abs((board.x - 0.5) * sign - 0.1 * (0.97 - board.y) / 0.19 - k) <= k
            board.fill(edge & (board.y > 0.77) & (board.y < 0.97), cloth[3])


def _ears(board: Board, look: Look, skin: Ramp) -> None:
    for sign in (-1, 1):
        x = 0.5 + sign * 0.2
        if look.ears:
            far = 0.36 if look.ears == "large" else 0.27
            tip = 0.5 + sign * far
            share = np.clip((board.x - x) / (tip - x), 0, 1)
            ear = (board.y >= 0.49 - 0.06 - 0.05 * share) & (board.y <= 0.53 - 0.13 * share)
            board.part(ear & ((board.x - x) * sign >= -0.02) & ((board.x - tip) * sign <= 0), skin)
        elif look.hair != "long" and look.skin != "bone":
            board.part(board.ellipse(x, 0.49, 0.035, 0.055), skin)


def _face(board: Board, look: Look, skin: Ramp, hair: Ramp, head: Mask) -> None:
    side = board.side
    if look.skin == "bone":
        for x in (0.415, 0.585):
            board.fill(board.ellipse(x, 0.465, 0.07, 0.07), skin[0])
        board.fill(board.wedge(0.5, 0.53, 0.585, 0.465, 0.535), skin[0])
        board.fill(board.box(0.4, 0.635, 0.6, 0.635), skin[1])
        for x in (0.42, 0.47, 0.53, 0.58):
            board.fill(board.box(x - 0.5 / side, 0.61, x, 0.67), skin[1])
        return
    wide, high = max(2, round(0.07 * side)), max(2, round(0.055 * side))
    top = round(0.455 * side)
    for sign in (-1, 1):
        left = round((0.5 + sign * 0.088) * side - wide / 2)
        board.image[top : top + high, left : left + wide] = (*WHITE, 255)
        board.image[top : top + max(1, side // 64), left : left + wide] = (*DARK, 255)
        iris = max(1, round(wide * 0.5))
        at = left + (wide - iris + (sign < 0)) // 2
        board.image[top : top + high, at : at + iris] = (*RAMPS[look.eyes][1], 255)
        if iris >= 2:
            board.image[top + high // 2 :, at : at + iris][: high - high // 2] = (*RAMPS[look.eyes][2], 255)
        if look.hat != "helmet":
            brow = top - max(2, round(0.045 * side))
            tilt = 1 if look.stern and side >= 32 else 0
            inner, outer = (left + wide // 2, left + wide + 1) if sign < 0 else (left - 1, left + wide - wide // 2)
            board.image[brow : brow + max(1, side // 48), left - (sign > 0) : left + wide + (sign < 0)] = (
                *hair[1],
                255,
            )
            if tilt:
                board.image[brow + 1 : brow + 1 + max(1, side // 48), inner:outer] = (*hair[1], 255)
    nose = skin[1]
    board.fill(board.box(0.512, 0.49, 0.535, 0.575), nose)
    board.fill(board.box(0.475, 0.565, 0.535, 0.58), nose)
    if side >= 40:
        board.fill(board.box(0.487, 0.5, 0.5, 0.555), skin[4])
    lips = (178, 58, 66) if look.slight else skin[0]
    board.fill(board.box(0.445, 0.628, 0.555, 0.64), lips)
    if look.slight and side >= 40:
        board.fill(board.box(0.465, 0.645, 0.535, 0.658), (214, 96, 96))
    if look.slight:
        for x in (0.385, 0.615):
            board.fill(board.ellipse(x, 0.565, 0.032, 0.018) & head, _mixed(skin[2], (230, 90, 90)))
    if look.tusks:
        for x in (0.445, 0.555):
            board.part(board.wedge(x, 0.565, 0.635, x - 0.025, x + 0.025), SKINS["bone"], lit=False)
    if look.fangs:
        for x in (0.465, 0.53):
            board.fill(board.box(x, 0.64, x + 0.015, 0.665), WHITE)
    if look.patch:
        board.fill(board.ellipse(0.588, 0.478, 0.062, 0.055), DARK)
        strap = np.abs((board.y - 0.44) - (board.x - 0.62) * -0.35) <= 0.6 / side
        board.fill(strap & head, DARK)
    if look.scar:
        board.fill(board.box(0.375, 0.53, 0.39, 0.64), _mixed(skin[1], (190, 60, 60)))


def _mixed(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return (a[0] * 2 + b[0]) // 3, (a[1] * 2 + b[1]) // 3, (a[2] * 2 + b[2]) // 3


def _beard(board: Board, look: Look, hair: Ramp, head: Mask) -> None:
    mouth = board.ellipse(0.5, 0.625, 0.07, 0.026)
    jaw = (board.ellipse(0.5, 0.57, 0.195, 0.185) & (board.y > 0.575)) | (
        head & (np.abs(board.x - 0.5) > 0.15) & (board.y > 0.47)
    )
    if look.beard == "long":
        jaw |= board.wedge(0.5, 1.0, 0.66, 0.32, 0.68)
    board.part(jaw & ~mouth, hair)
    for x in (0.45, 0.55):
        board.part(board.ellipse(x, 0.6, 0.075, 0.025), hair, rim=False)


def _hair(board: Board, look: Look, hair: Ramp) -> None:
    if look.hair == "bald" or look.hat in ("hood", "helmet", "mask"):
        return
    skull = board.ellipse(0.5, 0.42, 0.228, 0.235)
    line = 0.33 + 0.9 * (board.x - 0.44) ** 2
    locks = 0.78 if look.hair == "long" else 0.5
    cap = skull & (board.y < line)
    sides = (np.abs(board.x - 0.5) > 0.172) & (np.abs(board.x - 0.5) < 0.24) & (board.y > 0.33) & (board.y < locks)
    spiky = look.hair == "spiky" and not look.hat
    if spiky:
        for x, lean in ((0.3, -0.08), (0.42, -0.03), (0.55, 0.02), (0.69, 0.08)):
            cap |= board.wedge(x + lean, 0.09, 0.34, x - 0.1, x + 0.1)
        cap |= board.wedge(0.42, 0.42, 0.3, 0.36, 0.48) | board.wedge(0.6, 0.41, 0.3, 0.54, 0.66)
    if look.hair == "long":
        cap |= skull & (board.y < 0.42) & (board.x < 0.42 - (board.y - 0.3) * 1.2)
    board.part(cap | sides, hair)
    if not spiky:
        shine = (
            skull & (np.abs(board.y - 0.255 - 0.8 * (board.x - 0.46) ** 2) < 0.016) & (board.x < 0.6) & (board.x > 0.36)
        )
        board.fill(shine, hair[4])


def finished_bust(look: Look, width: int, height: int, colors: int, palette: Palette | None, outline: str) -> Finished:
    """Draws a portrait at the bottom of a canvas, and finishes it in the palette or at most `colors` colours."""
    side = min(width, height)
    canvas = np.zeros((height, width, 4), np.uint8)
    left = (width - side) // 2
    canvas[height - side :, left : left + side] = draw_bust(look, side)
    return finish(canvas, FinishOptions(width, height, colors, palette, 1, outline, clean=False, place=False))
