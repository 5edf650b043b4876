"""Figures of painted walk sheets against the sheets that an artist drew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import to_oklab

SAME = 0.04
"""OKLab distance below which two pixels count as one colour."""


def figures(painted: NDArray[np.uint8], real: NDArray[np.uint8] | None = None) -> dict[str, float]:
    """Measures of one sheet (4, CELLS, size, size, 4); those against `real` leave out the key's cell.

    `steps`: share of step cells whose outline at the legs differs from the standing cell by at least 2 px.
    `outline`: intersection over union of the drawn pixels; `colour`: share of the pixels drawn in both of one colour.
    """
    size = painted.shape[2]
    drawn = painted[..., 3] > 0
    rows = np.flatnonzero(drawn[0, 0].any(axis=1))
    feet = int(rows[-1]) if rows.size else size - 1
    legs = slice(max(feet - size // 4, 0), size)
    differ = (painted[:, 1, legs] != painted[:, 2, legs]).any(axis=-1)
    found = {
        "steps": float(
            np.mean([(drawn[r, c, legs] != drawn[r, 0, legs]).sum() >= 2 for r in range(4) for c in (1, 2)])
        ),
        "alternates": float(np.mean([differ[r].sum() >= 2 for r in range(4)])),
    }
    if real is None:
        return found
    truth = real[..., 3] > 0
    asked = np.ones(drawn.shape[:2], bool)
    asked[0, 0] = False
    found["outline"] = float((drawn & truth)[asked].sum() / max((drawn | truth)[asked].sum(), 1))
    sides = asked.copy()
    sides[[0, 3]] = False
    found["sides"] = float((drawn & truth)[sides].sum() / max((drawn | truth)[sides].sum(), 1))
    both = drawn & truth & asked[..., None, None]
    apart = np.linalg.norm(to_oklab(painted[both][:, :3]) - to_oklab(real[both][:, :3]), axis=-1)
    found["colour"], found["colour_error"] = float((apart < SAME).mean()), float(apart.mean())
    return found


def mean_figures(listed: Sequence[dict[str, float]]) -> dict[str, float]:
    """Averages each measure."""
    return {name: round(float(np.mean([one[name] for one in listed if name in one])), 4) for name in listed[0]}
