"""Tell the background from the drawing, at native size, where a flood costs nothing.

Only flat backgrounds are known: a picture whose border has no colour in common keeps its background.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.errors import InvalidRequest
from pipelines.pixels.oklab import Lab, from_oklab, to_oklab
from pipelines.records import Pixels

KINDS = ("auto", "none", "ground")
NEAR, _FAR = 0.05, 0.12
"""OKLab distance to the background's colour that always, and at most, counts as background."""
_KEY_CHROMA = 0.15
"""From here on a background is a key: a colour chosen because nothing else in the picture has it."""
_MOST_SHARE = 0.98
"""A background that takes more of the picture than this is the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A picture without its background; the pixels inside the drawing that have its colour and stayed.

    `failed` says why nothing was cut, and is empty where something was.
    """

    image: Pixels
    kept: int
    failed: str = ""


def key_color(matte: str) -> NDArray[np.uint8] | None:
    """Returns the (3,) colour of a matte given as RRGGBB, None for the other kinds.

    Raises:
        InvalidRequest: neither a kind of matte nor a colour.
    """
    if matte in KINDS:
        return None
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", matte):
        raise InvalidRequest(f"matte is one of {', '.join(KINDS)} or the background's colour as RRGGBB, not '{matte}'.")
    return np.frombuffer(bytes.fromhex(matte.lstrip("#")), np.uint8)


def cut_background(
    native: Pixels, key: NDArray[np.uint8] | None = None, *, inside: bool = False, near: float = NEAR
) -> Cut:
    """Clears the background of `native` ((h, w, 4) RGBA), and takes its tint out of the edge beside it.

    The background is what touches the border in one colour (or in `key`). A saturated background is cleared inside the
    drawing too; any other one only with `inside`, since white eyes on white are part of the drawing. Parts of the
    drawing that stand alone stay. `near`: OKLab distance that always counts as the background; where it is
    small the colours have no noise on them, so there is no tint on the edge either.
    """
    solid = native[..., 3] >= 128
    lab = to_oklab(native[..., :3])
    edge = np.zeros(solid.shape, bool)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    border = lab[edge & solid]
    if 2 * len(border) < edge.sum():
        return Cut(native, 0, "its border is transparent already")
    background = to_oklab(key) if key is not None else _common(border)
    if background is None:
        return Cut(native, 0, "its border has no one colour")
    spread = np.linalg.norm(border - background, axis=1)
    tolerance = float(np.clip(3 * np.median(spread), near, _FAR)) if near >= NEAR else near
    same = np.linalg.norm(lab - background, axis=-1) < tolerance
    alike = same | ~solid
    keyed = bool(np.hypot(background[1], background[2]) >= _KEY_CHROMA)
    outside = _from_border(alike)
    clear = alike if keyed or inside else outside
    if not (clear & solid).any():
        return Cut(native, 0, "no pixel at its border has that colour")
    if clear.mean() > _MOST_SHARE:
        return Cut(native, 0, "next to nothing would be left")
    result = native.copy()
    if keyed and near >= NEAR:
        result[..., :3] = from_oklab(_despill(lab, clear, background))
    result[clear & (solid | same)] = 0
    return Cut(result, int((alike & solid & ~clear).sum()))


def _common(border: Lab) -> Lab | None:
    """Returns the colour that at least half of the border has, give or take noise."""
    distance = np.linalg.norm(border[:, None] - border[None, :: max(1, len(border) // 64)], axis=-1) < _FAR / 2
    votes = distance.sum(axis=0)
    best = int(votes.argmax())
    return np.median(border[distance[:, best]], axis=0) if votes[best] >= 0.5 * len(border) else None


def _from_border(alike: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the parts of `alike` (connected by sides: a diagonal line holds the flood) that touch the border."""
    labels = cast("tuple[NDArray[np.int32], int]", ndimage.label(alike))[0]
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, outside[outside > 0])


def _despill(lab: Lab, clear: NDArray[np.bool_], background: Lab) -> Lab:
    """Takes from edge pixels the share of the background's tint that the drawing behind them does not have."""
    direction = background[1:] / np.hypot(background[1], background[2])
    tint = lab[..., 1:] @ direction
    inner = np.logical_not(ndimage.binary_dilation(clear, np.ones((3, 3), bool)))
    edge = ~clear & ~inner
    behind = ndimage.maximum_filter(np.where(inner, tint, 0.0), 3)
    excess = np.where(edge, np.maximum(tint - np.maximum(behind, 0), 0), 0)
    result = lab.copy()
    result[..., 1:] -= excess[..., None] * direction
    return result
