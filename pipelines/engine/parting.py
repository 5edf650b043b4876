"""Part a request into smaller ones, and join what they drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.records import Drawing, DrawRequest


def part(request: DrawRequest, count: int) -> list[DrawRequest]:
    """Returns the request as so many of almost equal size, fewer where it has fewer pictures.

    Pictures that are tied together stay together. A picture depends on its own seed and prompt alone.
    """
    batch = len(request.prompts)
    count = 1 if request.couple is not None else max(1, min(count, batch))
    if count == 1:
        return [request]
    ends = [batch * (index + 1) // count for index in range(count)]
    parts = []
    for begin, end in zip([0, *ends], ends, strict=False):
        one = slice(begin, end)
        region = request.region and replace(request.region, weight=request.region.weight[one])
        parts.append(
            replace(
                request,
                prompts=request.prompts[one],
                seeds=request.seeds[one],
                init=request.init[one],
                mask=request.mask[one],
                region=region,
            )
        )
    return parts


def join(drawings: Sequence[Drawing], seconds: float) -> Drawing:
    """Returns the drawings of a request's parts as one."""
    if len(drawings) == 1:
        return drawings[0]
    return replace(
        drawings[0],
        images=tuple(image for drawing in drawings for image in drawing.images),
        seconds=seconds,
        unknown_words=tuple(dict.fromkeys(word for drawing in drawings for word in drawing.unknown_words)),
    )
