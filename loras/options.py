"""Define the options of a training run, and choose those that suit a model. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loras.errors import TrainingError

if TYPE_CHECKING:
    from pipelines.models.catalog import Model

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
"""Modules of the transformer blocks: attention and feed-forward, as kohya's scripts train them."""
CONVOLUTIONS = ("conv_in", "conv_out", "conv1", "conv2", "conv_shortcut", "conv", "proj_in", "proj_out")
"""The rest of a UNet. The embedded model has no attention at full resolution: edges and flat colours are made here."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The numbers of one run.

    `rate` is the highest learning rate: it rises over the first steps and falls as a cosine to zero. `rank` is also
    alpha, so that no loader has to know either. `snr_limit` is min-SNR's gamma (Hang et al. 2023). `average` is the
    decay of a moving average of the weights, which is then sampled and exported; 0: none. `resolution` is the side of a
    square canvas in pixels.
    """

    steps: int = 1500
    batch: int = 1
    rank: int = 16
    rate: float = 1e-4
    resolution: int = 1024
    targets: tuple[str, ...] = ATTENTION
    caption_dropout: float = 0.1
    snr_limit: float = 5.0
    average: float = 0.0
    seed: int = 0
    save_every: int = 100
    sample_every: int = 250
    checkpointing: bool = False

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        from math import cos, pi

        warmup = min(50, max(1, self.steps // 10))
        if step < warmup:
            return self.rate * (step + 1) / warmup
        return self.rate * 0.5 * (1 + cos(pi * (step - warmup) / max(1, self.steps - warmup)))


def options_for(model: Model, **wanted: Any) -> TrainOptions:
    """The options that suit the model, with those of `wanted` that are not None in their place.

    Raises:
        TrainingError: a number is out of range.
    """
    if model.draws_pixels:
        options = TrainOptions(
            steps=400,
            batch=8,
            rate=1e-3,
            resolution=model.canvases[-1],
            targets=ATTENTION + CONVOLUTIONS,
            average=0.99,
            save_every=20,
            sample_every=100,
        )
    else:
        options = TrainOptions(resolution=model.canvases[-1])
    options = replace(options, **{name: value for name, value in wanted.items() if value is not None})
    _check(options)
    return options


def _check(options: TrainOptions) -> None:
    for name, least, most in (
        ("steps", 1, 100_000),
        ("batch", 1, 64),
        ("rank", 1, 128),
        ("rate", 1e-7, 1e-1),
        ("save_every", 1, 100_000),
        ("sample_every", 1, 100_000),
    ):
        value = getattr(options, name)
        if not least <= value <= most:
            raise TrainingError(f"{name}={value} is out of range: give {least:g} to {most:g}, or leave it out.")
