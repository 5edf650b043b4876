"""Recognise normal maps, whose colours are directions: a palette would destroy them."""

from __future__ import annotations

import re

import numpy as np

from pipelines.records import Pixels

_NAMED = re.compile(r"(?:^|[_\-. ])(?:n|nm|nrm|nor|norm|normal|normals|normalmap|normal[_\-]map)\d*$", re.IGNORECASE)
_UNIT = 0.15
"""How far from 1 the length of a direction may be, for rounding and compression."""


def named_normal_map(stem: str) -> bool:
    """Returns whether a file's stem names a normal map: `wall_n`, `wall-normal`, `Wall Normal`, `wallNormal`."""
    return bool(_NAMED.search(stem)) or stem.endswith(("Normal", "NormalMap"))


def looks_like_normal_map(picture: Pixels) -> bool:
    """Returns whether the drawn pixels of `picture` ((h, w, 4) RGBA) are unit vectors that mostly face the viewer.

    A picture of one colour is not taken for one.
    """
    drawn = picture[picture[..., 3] > 127][:, :3]
    if len(drawn) < 16 or not (drawn != drawn[0]).any():
        return False
    direction = drawn.astype(np.float32) / 127.5 - 1
    unit = np.abs(np.linalg.norm(direction, axis=1) - 1) < _UNIT
    mean = direction.mean(axis=0)
    return bool(unit.mean() > 0.95 and (direction[:, 2] > -0.05).mean() > 0.98 and mean[2] > 0.5)
