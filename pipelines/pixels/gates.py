"""Check what a finished picture must hold, and score how good it looks.

Gates are yes or no and hold by construction for everything that `finish` returns, except `not_empty`. Scores compare
candidates: `score` is the one to choose by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.pixels.palette import Palette
from pipelines.pixels.quantize import color_counts, pack
from pipelines.records import Pixels


@dataclass(frozen=True, slots=True)
class Report:
    """Gates by name, and scores by name (shares are 0..1)."""

    gates: dict[str, bool] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(self.gates.values())

    def to_dict(self) -> dict[str, object]:
        """Returns JSON values: {"passed": ..., "gates": {...}, "scores": {...}}."""
        scores = {name: round(value, 4) for name, value in self.scores.items()}
        return {"passed": self.passed, "gates": dict(self.gates), "scores": scores}


def check_gates(image: Pixels, width: int, height: int, colors: int | None, palette: Palette | None) -> dict[str, bool]:
    """Returns the hard gates of a finished picture.

    `palette` is the locked one, None where colours were extracted; `colors` None: every colour was kept.
    """
    found, _ = color_counts([image])
    most = len(palette) if palette is not None else colors
    gates = {
        "size_exact": image.shape[:2] == (height, width),
        "alpha_hard": bool(np.isin(image[..., 3], (0, 255)).all()),
        "colors_within": most is None or len(found) <= most,
        "not_empty": bool((image[..., 3] == 255).any()),
    }
    if palette is not None:
        gates["in_palette"] = {tuple(map(int, color)) for color in found} <= set(palette.colors)
    return gates


def score_picture(image: Pixels, stress: float = 0.0, soft: float = 0.0) -> dict[str, float]:
    """Scores a finished picture ((h, w, 4), alpha 0 or 255) in soft numbers.

    Args:
        image: the picture.
        stress: mean OKLab distance that the palette moved its pixels by.
        soft: share of the drawn pixels whose alpha was neither clear nor solid before finishing.
    """
    mask = image[..., 3] == 255
    drawn = int(mask.sum())
    largest = int(np.bincount(label_parts(mask)[mask]).max()) if drawn else 0
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    scores = {
        "occupancy": drawn / mask.size,
        "orphans": float(find_orphans(image).sum()) / max(drawn, 1),
        "detached": 1 - largest / drawn if drawn else 0.0,
        "touches_border": float(edge.mean()),
        "colors": float(len(color_counts([image])[0])),
        "palette_stress": stress,
        "soft_alpha": soft,
    }
    scores["score"] = _total(scores)
    return scores


def label_parts(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Labels (h, w): 0 outside `mask`, else the number 1.. of the 8-connected part that the pixel belongs to."""
    labels, _ = cast("tuple[NDArray[np.int32], int]", ndimage.label(mask, np.ones((3, 3), np.int8)))
    return labels.astype(np.intp)


def find_orphans(image: Pixels) -> NDArray[np.bool_]:
    """Marks (h, w) opaque pixels without an 8-neighbour of their own colour."""
    height, width = image.shape[:2]
    packed = np.full((height + 2, width + 2), -1, np.int64)
    packed[1:-1, 1:-1] = np.where(image[..., 3] >= 128, pack(image).astype(np.int64), -1)
    middle = packed[1:-1, 1:-1]
    alone = middle >= 0
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if (dy, dx) != (1, 1):
                alone &= packed[dy : dy + height, dx : dx + width] != middle
    return alone


def _total(scores: dict[str, float]) -> float:
    """Multiplies to 0..1, so that one bad fault cannot be bought off with virtues elsewhere."""
    if scores["occupancy"] == 0:
        return 0.0
    thin = min(1.0, scores["occupancy"] / 0.12)
    noise = 1 - min(1.0, scores["orphans"] / 0.5)
    whole = 1 - min(1.0, scores["detached"]) * 0.8
    # a full-bleed tile touches the border everywhere, and is meant to
    cut = scores["touches_border"] if scores["touches_border"] < 0.95 else 0.0
    fit = 1 - min(1.0, scores["palette_stress"] / 0.15) * 0.7
    crisp = 1 - min(1.0, scores["soft_alpha"]) * 0.5
    return thin**0.5 * noise * whole * (1 - 0.8 * cut) * fit * crisp
