"""Draw sample pictures during a run, with the pipeline that draws sprites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipelines.records import DrawRequest, Pixels

if TYPE_CHECKING:
    from pipelines.sdxl.diffusion import DiffusersBackend

SAMPLES = 4
"""Prompts that are drawn each time."""


def sample(
    backend: DiffusersBackend,
    model: str,
    prompts: Sequence[str],
    side: int,
    preset: str = "",
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Pixels]:
    """Draws one picture for each prompt, with seeds 0, 1, ..., the same at every call: progress is seen side by side.

    Args:
        side: of the canvas in pixels.
        preset: one that merges no LoRA of its own: the UNet is wrapped while it learns.
        on_step: raising from it ends the drawing.
    """
    pictures: list[Pixels] = []
    for seed, prompt in enumerate(prompts):
        request = DrawRequest(model, (prompt,), (seed,), side, side, preset=preset)
        pictures += backend.draw(request, on_step).images
    return pictures
