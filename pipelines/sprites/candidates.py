"""Score how well finished pictures match a prompt, to choose among candidates.

For the embedded model's vocabulary, the judge looks for the noun and for how much a picture is like the others
(`pipelines.embedded.judge`), and the requested colour must be the picture's main one. `pipelines.pixels.gates` scores
how good a picture looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.pixels.finish import Finished
from pipelines.pixels.gates import Report

UNSEEN = 0.2
"""What is left of a score where the judge is sure that the noun is not there: among bad ones the gates still choose."""

UNLIKE = 0.2
"""What is left of a score where a candidate has nothing in common with the others; the noun decides first."""

MISCOLORED = 0.3
"""What is left of a score where the colour that is asked for is not the first one."""


def mark(candidates: Sequence[Finished], prompt: str) -> list[Finished]:
    """Returns the candidates with scores `recognised` (0..1), `likeness` (0..1) and `color` (0 or 1).

    `recognised` and `color` are there where the prompt says such a thing; `likeness` is how much a picture is like
    the others. `score`, by which one is kept, falls with each.
    """
    from pipelines.embedded.colors import color_shares, main_colors
    from pipelines.embedded.judge import compare
    from pipelines.embedded.words import color_asked

    color = color_asked(prompt)
    shown, likeness = compare([candidate.image for candidate in candidates], prompt)
    marked: list[Finished] = []
    for i, candidate in enumerate(candidates):
        scores = dict(candidate.report.scores)
        scores["likeness"] = float(likeness[i])
        scores["score"] *= UNLIKE + (1 - UNLIKE) * scores["likeness"]
        if shown is not None:
            scores["recognised"] = float(shown[i])
            scores["score"] *= UNSEEN + (1 - UNSEEN) * scores["recognised"]
        if color:
            scores["color"] = float(color in main_colors(color_shares(candidate.image))[:1])
            scores["score"] *= 1.0 if scores["color"] else MISCOLORED
        marked.append(replace(candidate, report=Report(candidate.report.gates, scores)))
    return marked
