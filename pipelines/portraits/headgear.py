"""What a bust may wear on its head; each is painted over hair and face."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipelines.effects.ramps import RAMPS, Ramp
from pipelines.portraits.board import DARK, SKINS, Board, Mask, shifted


def _dome(board: Board) -> Mask:
    return board.ellipse(0.5, 0.41, 0.245, 0.255)


def _wizard(board: Board, hat: Ramp, skin: Ramp) -> None:
    board.part(board.wedge(0.6, -0.02, 0.31, 0.26, 0.74), hat)
    board.part(board.box(0.29, 0.245, 0.71, 0.295), RAMPS["yellow"], lit=False)
    board.part(board.ellipse(0.5, 0.315, 0.37, 0.06), hat)


def _crown(board: Board, hat: Ramp, skin: Ramp) -> None:
    points = np.zeros((board.side, board.side), bool)
    for x in (0.33, 0.415, 0.5, 0.585, 0.67):
        points |= board.wedge(x, 0.1 if x == 0.5 else 0.13, 0.27, x - 0.05, x + 0.05)
    board.part(points | board.box(0.28, 0.24, 0.72, 0.32), RAMPS["yellow"])
    for x, color in ((0.38, "red"), (0.5, "blue"), (0.62, "red")):
        board.fill(board.ellipse(x, 0.282, 0.022, 0.022), RAMPS[color][2])


def _helmet(board: Board, hat: Ramp, skin: Ramp) -> None:
    shell = _dome(board) | board.ellipse(0.5, 0.54, 0.205, 0.195)
    face = board.box(0.345, 0.43, 0.655, 0.525) | board.box(0.468, 0.43, 0.532, 0.68)
    board.part(board.ellipse(0.58, 0.12, 0.16, 0.1) & (board.y < 0.2), RAMPS["red"])
    board.part(shell & ~face, hat)
    board.fill(face & ~shifted(face, 0, board.step), DARK)
    board.fill(board.box(0.489, 0.16, 0.511, 0.42), hat[3])


def _horned(board: Board, hat: Ramp, skin: Ramp) -> None:
    for sign in (-1, 1):
        outer = board.ellipse(0.5 + sign * 0.3, 0.2, 0.13, 0.17)
        horn = outer & ~board.ellipse(0.5 + sign * 0.25, 0.12, 0.13, 0.16)
        board.part(horn & (board.y > 0.06), SKINS["bone"])
    board.part(_dome(board) & (board.y < 0.36), RAMPS["gray"])
    board.part(board.box(0.26, 0.325, 0.74, 0.38), RAMPS["brown"], lit=False)


def _bandana(board: Board, hat: Ramp, skin: Ramp) -> None:
    board.part(_dome(board) & (board.y < 0.37 - 0.1 * (board.x - 0.5)), hat)
    board.part(board.ellipse(0.755, 0.37, 0.045, 0.04) | board.wedge(0.76, 0.36, 0.52, 0.73, 0.82), hat)


def _hood(board: Board, hat: Ramp, skin: Ramp) -> None:
    opening = board.ellipse(0.5, 0.5, 0.175, 0.225)
    board.part((board.ellipse(0.5, 0.46, 0.255, 0.3) | board.wedge(0.5, 0.06, 0.4, 0.3, 0.7)) & ~opening, hat)
    board.fill(opening & ~shifted(opening, 0, 2 * board.step) & (board.y < 0.5), skin[1])


def _mask(board: Board, hat: Ramp, skin: Ramp) -> None:
    slit = board.box(0.3, 0.42, 0.7, 0.53)
    board.part((_dome(board) | board.ellipse(0.5, 0.54, 0.19, 0.19)) & ~slit, hat)


def _straw(board: Board, hat: Ramp, skin: Ramp) -> None:
    board.part(_dome(board) & (board.y < 0.29), RAMPS["tan"])
    board.part(board.box(0.28, 0.245, 0.72, 0.285), RAMPS["red"], lit=False)
    board.part(board.ellipse(0.5, 0.305, 0.37, 0.05), RAMPS["tan"])


def _chef(board: Board, hat: Ramp, skin: Ramp) -> None:
    puffs = board.ellipse(0.38, 0.13, 0.12, 0.1) | board.ellipse(0.62, 0.13, 0.12, 0.1)
    puffs |= board.ellipse(0.5, 0.1, 0.13, 0.1)
    board.part(puffs | board.box(0.33, 0.14, 0.67, 0.24), RAMPS["white"])
    board.part(board.box(0.31, 0.225, 0.69, 0.3), RAMPS["white"])


def _horns(board: Board, hat: Ramp, skin: Ramp) -> None:
    for sign in (-1, 1):
        root = 0.5 + sign * 0.15
        board.part(board.wedge(0.5 + sign * 0.26, 0.05, 0.29, root - 0.05, root + 0.05), RAMPS["black"])


HEADGEAR: Mapping[str, Callable[[Board, Ramp, Ramp], None]] = {
    "wizard": _wizard,
    "crown": _crown,
    "helmet": _helmet,
    "horned": _horned,
    "bandana": _bandana,
    "hood": _hood,
    "mask": _mask,
    "straw": _straw,
    "chef": _chef,
    "horns": _horns,
}
"""Name -> what paints it, given its ramp and the skin's."""
