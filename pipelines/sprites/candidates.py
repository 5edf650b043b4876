"""Score how well finished pictures match a prompt, to choose among candidates.

For the embedded model's vocabulary, the judge looks for the noun and for how much a picture is like the others
(`pipelines.embedded.judge`), and the requested colour must be the picture's main one. `pipelines.pixels.gates` scores
how good a picture looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.finish import Finished
from pipelines.pixels.gates import Report
from pipelines.records import Pixels
from pipelines.tracing import traced

UNSEEN = 0.2
"""What is left of a score where the judge is sure that the noun is not there: among bad ones the gates still choose."""

DOUBTFUL = 0.3
"""Below it a third of 30 pictures were named right by someone who did not know the prompts, above it 63 % of 210; what
is higher is not better (docs/model.md)."""

UNUSUAL = 0.6
"""The same where the prompt says what the figure holds: the judge does not know a farmer with a torch as a farmer."""

UNLIKE = 0.2
"""What is left of a score where a candidate has nothing in common with the others; the noun decides first."""

UNWORN = 0.3
"""What is left of a score where nothing of what the figure should wear and hold is there."""

PALE = 0.4
"""What is left of a score where a part has nothing of the colour that is said of it."""

MISCOLORED = 0.3
"""What is left of a score where the colour that is asked for is not the first one."""


@traced("judge")
def mark(candidates: Sequence[Finished], prompt: str) -> list[Finished]:
    """Returns the candidates with scores `recognised`, `likeness`, `worn`, `part_color` (0..1) and `color` (0 or 1).

    `likeness` is how much a picture is like the others. The rest is there where the prompt says such a thing: a noun,
    what a figure wears and holds, the colour of a part, the picture's. `score`, by which one is kept, falls with each.
    """
    from pipelines.embedded.colors import color_shares, main_colors
    from pipelines.embedded.judge import compare
    from pipelines.embedded.words import color_asked

    color = color_asked(prompt)
    images = [candidate.image for candidate in candidates]
    shown, likeness, worn = compare(images, prompt)
    part = part_colors(images, prompt)
    marked: list[Finished] = []
    for i, candidate in enumerate(candidates):
        scores = dict(candidate.report.scores)
        scores["likeness"] = float(likeness[i])
        scores["score"] *= UNLIKE + (1 - UNLIKE) * scores["likeness"]
        if shown is not None:
            scores["recognised"] = float(shown[i])
            left = UNSEEN if worn is None else UNUSUAL
            scores["score"] *= left + (1 - left) * scores["recognised"]
        if worn is not None:
            scores["worn"] = float(worn[i])
            scores["score"] *= UNWORN + (1 - UNWORN) * scores["worn"]
        if part is not None:
            scores["part_color"] = float(part[i])
            scores["score"] *= PALE + (1 - PALE) * scores["part_color"]
        if color:
            scores["color"] = float(color in main_colors(color_shares(candidate.image))[:1])
            scores["score"] *= 1.0 if scores["color"] else MISCOLORED
        marked.append(replace(candidate, report=Report(candidate.report.gates, scores)))
    return marked


def is_doubtful(scores: Mapping[str, float]) -> bool:
    """Returns whether the judge does not see the noun that was asked for in a picture with these scores.

    Where the prompt says what a figure holds it says nothing: it does not know a farmer with a torch as a farmer.
    """
    return "worn" not in scores and scores.get("recognised", 1.0) < DOUBTFUL


def part_colors(images: Sequence[Pixels], prompt: str) -> NDArray[np.float64] | None:
    """Measures how much of a part's colour each picture has, as a share of the most; None where no part is named.

    Of hair or a hat the upper part of the figure counts, of a beard what is below the eyes in its middle.
    """
    from pipelines.embedded.colors import COLORS, color_shares
    from pipelines.embedded.words import part_color_asked

    names, where = part_color_asked(prompt)
    if not names:
        return None
    index = [COLORS.index(name) for name in names]
    shares = np.array([color_shares(_region(image, where))[index].sum() for image in images])
    return shares / max(shares.max(), 1e-6)


def _region(image: Pixels, where: str) -> Pixels:
    """Cuts the part of a picture that counts: "top" and "chin" are shares of the rows and columns of what is drawn."""
    rows = np.flatnonzero((image[..., 3] >= 128).any(axis=1))
    if not where or not len(rows):
        return image
    if where == "top":
        return image[rows[0] : rows[0] + max(1, 2 * len(rows) // 5)]
    head = image[rows[0] + len(rows) // 7 : rows[0] + max(2, 2 * len(rows) // 5)]
    columns = np.flatnonzero((image[rows[0] : rows[0] + max(1, len(rows) // 4), :, 3] >= 128).any(axis=0))
    middle, wide = (columns[0] + columns[-1]) // 2, max(1, image.shape[1] // 12)
    return head[:, max(0, middle - wide) : middle + wide + 1]
