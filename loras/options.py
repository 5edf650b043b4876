"""Define the options of a training run, and choose those that suit a model. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from loras.errors import TrainingError

if TYPE_CHECKING:
    from pipelines.models.catalog import Model

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
"""Modules of the transformer blocks: attention and feed-forward, as kohya's scripts train them."""
CONVOLUTIONS = ("conv_in", "conv_out", "conv1", "conv2", "conv_shortcut", "conv", "proj_in", "proj_out")
"""The rest of a UNet. The embedded model has no attention at full resolution: edges and flat colours are made here."""
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
"""The linear layers of a CLIP text encoder's blocks, as kohya's scripts train them."""
TARGETS: Mapping[str, tuple[str, ...]] = {
    "attention": ATTENTION[:4],
    "transformer": ATTENTION,
    "all": ATTENTION + CONVOLUTIONS,
}
"""The names of sets of layers: `transformer` is attention and feed-forward."""
Optimizer = Literal["adamw", "prodigy"]
MOST_HELD_OUT = 32
"""Pictures that are held out at most: each costs a few forward passes at every validation."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The numbers of one run.

    `rate` is the highest learning rate: it rises over the first steps and falls as a cosine to zero; with Prodigy it
    multiplies the rate that Prodigy finds. `alpha` scales the adapter by alpha / rank while it learns (0: alpha is the
    rank); the file holds the scaled weights, so that no loader has to know it. `snr_limit` is min-SNR's gamma (Hang et
    al. 2023). `average` is the decay of a moving average of the weights, which is then sampled and exported; 0: none.
    `resolution` is the side of a square canvas in pixels. `dropout` is the share of an adapter's inputs that is left
    out, `caption_dropout` that of captions. `masked`: what is transparent is not learned (no effect on a model that
    draws transparency itself). `validation` is the share of the pictures that is held out, `sample_every` steps apart
    their loss is measured. `text_rate` is the learning rate of the text encoders' own adapters (0: they do not learn);
    Prodigy has one rate for all.
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
    alpha: float = 0.0
    dropout: float = 0.0
    masked: bool = True
    validation: float = 0.0
    optimizer: Optimizer = "adamw"
    text_rate: float = 0.0

    @property
    def scale(self) -> float:
        """What the adapter's product is multiplied with."""
        return (self.alpha or self.rank) / self.rank

    def held_out(self, pictures: int) -> int:
        """Returns how many of `pictures` are held out: at least one where any are, and one remains to learn from."""
        return min(MOST_HELD_OUT, pictures - 1, max(1, round(pictures * self.validation))) if self.validation else 0

    def rate_at(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        from math import cos, pi

        warmup = min(50, max(1, self.steps // 10))
        if step < warmup:
            return self.rate * (step + 1) / warmup
        return self.rate * 0.5 * (1 + cos(pi * (step - warmup) / max(1, self.steps - warmup)))


def options_for(model: Model, **wanted: Any) -> TrainOptions:
    """Returns the options that suit the model, with those of `wanted` that are not None in their place.

    Raises:
        TrainingError: a number is out of range.
    """
    if model.family != "sdxl":
        raise TrainingError(f"'{model.id}' cannot be taught here. Train on model='sdxl' or 'embedded'.")
    if model.draws_pixels and wanted.get("text_rate"):
        raise TrainingError(
            f"The text encoder of '{model.id}' is not taught. Leave text_rate out, or use model='sdxl'."
        )
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
    if wanted.get("optimizer") == "prodigy":
        options = replace(options, rate=1.0)
    options = replace(options, **{name: value for name, value in wanted.items() if value is not None})
    _check(options)
    return options


def parse_options(text: str) -> dict[str, Any]:
    """Reads `"alpha=8, optimizer=prodigy, targets=all"` as values for `options_for`.

    Raises:
        TrainingError: an unknown name, or a value of another type; it says which names there are.
    """
    values: dict[str, Any] = {}
    for part in re.split(r"[,;\s]+", text.strip()):
        if not part:
            continue
        name, given, value = (piece.strip() for piece in part.partition("="))
        if name not in _READERS or not given:
            raise TrainingError(
                f"'{part[:60]}' is not an option of training. Write name=value, with a name of: {', '.join(_READERS)}."
            )
        try:
            values[name] = _READERS[name](value)
        except (ValueError, KeyError):
            raise TrainingError(f"{name}={value[:40]} cannot be used: {_FORMS.get(name, 'give a number')}.") from None
    return values


def _yes(text: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]


def _optimizer(text: str) -> str:
    if text.lower() not in get_args(Optimizer):
        raise ValueError(text)
    return text.lower()


_READERS: Mapping[str, Any] = {
    "alpha": float,
    "dropout": float,
    "caption_dropout": float,
    "targets": lambda text: TARGETS[text.lower()],
    "optimizer": _optimizer,
    "text_rate": float,
    "masked": _yes,
    "validation": float,
    "batch": int,
    "average": float,
    "snr_limit": float,
    "sample_every": int,
    "save_every": int,
    "seed": int,
    "checkpointing": _yes,
}
_FORMS = {
    "targets": f"give {', '.join(TARGETS)}",
    "optimizer": f"give {' or '.join(get_args(Optimizer))}",
    "masked": "give true or false",
    "checkpointing": "give true or false",
}


def _check(options: TrainOptions) -> None:
    for name, least, most in (
        ("steps", 1, 100_000),
        ("batch", 1, 64),
        ("rank", 1, 128),
        ("rate", 1e-7, 1e-1 if options.optimizer == "adamw" else 10),
        ("text_rate", 0, 1e-1 if options.optimizer == "adamw" else 10),
        ("alpha", 0, 1024),
        ("dropout", 0, 0.9),
        ("caption_dropout", 0, 1),
        ("validation", 0, 0.5),
        ("average", 0, 0.9999),
        ("snr_limit", 0.1, 1000),
        ("seed", 0, 2**31),
        ("save_every", 1, 100_000),
        ("sample_every", 1, 100_000),
    ):
        value = getattr(options, name)
        if not least <= value <= most:
            raise TrainingError(f"{name}={value} is out of range: give {least:g} to {most:g}, or leave it out.")
