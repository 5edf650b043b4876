"""The matte: which native pixels are ground and which are drawing. Works on cells, where a flood costs nothing.

Knows flat grounds only: a picture whose border has no colour in common keeps its ground.
"""

from __future__ import annotations

import re
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.errors import InvalidRequest
from pipelines.pixels.oklab import Lab, from_oklab, to_oklab
from pipelines.records import Pixels

KINDS = ("auto", "none", "ground")
_NEAR, _FAR = 0.05, 0.12
"""OKLab distance to the ground that always, and at most, counts as ground."""
_KEY_CHROMA = 0.15
"""From here on a ground is a key: a colour chosen since nothing else in the picture has it."""
_MOST_SHARE = 0.98
"""A ground that is more of the picture than this is the picture."""


def key_color(matte: str) -> NDArray[np.uint8] | None:
    """The (3,) colour of a matte given as RRGGBB, None for the other kinds.

    Raises:
        InvalidRequest: neither a kind of matte nor a colour.
    """
    if matte in KINDS:
        return None
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", matte):
        raise InvalidRequest(f"matte is one of {', '.join(KINDS)} or the ground's colour as RRGGBB, not '{matte}'.")
    return np.frombuffer(bytes.fromhex(matte.lstrip("#")), np.uint8)


def cut_ground(native: Pixels, key: NDArray[np.uint8] | None = None) -> Pixels:
    """`native` ((h, w, 4) RGBA, opaque) with its ground clear, and the ground's tint out of the edge beside it.

    The ground is what touches the border in one colour (or in `key`); a saturated ground is cleared inside the drawing
    too, while a white one leaves white eyes alone. Parts of the drawing that stand alone stay.
    """
    lab = to_oklab(native[..., :3])
    border = np.concatenate([lab[0], lab[-1], lab[1:-1, 0], lab[1:-1, -1]])
    ground = to_oklab(key) if key is not None else _common(border)
    if ground is None:
        return native
    spread = np.linalg.norm(border - ground, axis=1)
    tolerance = float(np.clip(3 * np.median(spread), _NEAR, _FAR))
    alike = np.linalg.norm(lab - ground, axis=-1) < tolerance
    keyed = bool(np.hypot(ground[1], ground[2]) >= _KEY_CHROMA)
    clear = alike if keyed else _from_border(alike)
    if not clear.any() or clear.mean() > _MOST_SHARE:
        return native
    result = native.copy()
    result[..., :3] = from_oklab(_despill(lab, clear, ground)) if keyed else native[..., :3]
    result[clear] = 0
    return result


def _common(border: Lab) -> Lab | None:
    """The colour that at least half of the border has, give or take noise."""
    distance = np.linalg.norm(border[:, None] - border[None, :: max(1, len(border) // 64)], axis=-1) < _FAR / 2
    votes = distance.sum(axis=0)
    best = int(votes.argmax())
    return np.median(border[distance[:, best]], axis=0) if votes[best] >= 0.5 * len(border) else None


def _from_border(alike: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The parts of `alike` (connected by sides: a diagonal line holds the flood) that touch the border."""
    labels = cast("tuple[NDArray[np.int32], int]", ndimage.label(alike))[0]
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, outside[outside > 0])


def _despill(lab: Lab, clear: NDArray[np.bool_], ground: Lab) -> Lab:
    """Edge pixels lose the share of the ground's tint that the drawing behind them has not."""
    direction = ground[1:] / np.hypot(ground[1], ground[2])
    tint = lab[..., 1:] @ direction
    inner = np.logical_not(ndimage.binary_dilation(clear, np.ones((3, 3), bool)))
    edge = ~clear & ~inner
    behind = ndimage.maximum_filter(np.where(inner, tint, 0.0), 3)
    excess = np.where(edge, np.maximum(tint - np.maximum(behind, 0), 0), 0)
    result = lab.copy()
    result[..., 1:] -= excess[..., None] * direction
    return result
