"""Teach the text encoders with the UNet: captions are encoded at every step, through adapters that learn.

kohya's scripts train attention and feed-forward layers of both encoders, with a learning rate of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from loras.adapter import add_adapter
from loras.options import TEXT_LAYERS, TrainOptions

if TYPE_CHECKING:
    from pipelines.sdxl.loading import Resident

ENCODERS = ("text_encoder", "text_encoder_2")


class LearningEncoders:
    """The text encoders of one resident model while they learn."""

    def __init__(self, resident: Resident, captions: Sequence[str], blank: bool, options: TrainOptions) -> None:
        """
        Args:
            captions: those of the cache's rows from 1 on; row 0 stands for no caption.
            blank: no caption is an embedding of zeros.
        """
        self._prompts, self._blank, self._device = resident.prompts, blank, resident.device
        self.modules = [resident.modules[name] for name in ENCODERS]
        self.weights: dict[str, torch.nn.Parameter] = {}
        for name, module in zip(ENCODERS, self.modules, strict=True):
            added = add_adapter(module, options, TEXT_LAYERS)
            self.weights |= {f"{name}.{layer}": weight for layer, weight in added.items()}
        tokens = [self._prompts.tokenize(caption) for caption in ("", *captions)]
        self._ids = [torch.cat([row[which] for row in tokens]).to(self._device) for which in range(len(ENCODERS))]

    def inputs(self, caption: Tensor) -> tuple[Tensor, ...]:
        """Returns what `encode` takes for these rows (batch,) of the cache: tokens of each encoder, and what is said.

        The last is (batch, 1), 0 where there is no caption and that is an embedding of zeros, else 1.
        """
        said = (caption != 0) if self._blank else torch.ones_like(caption)
        return (*(ids[caption.to(self._device)] for ids in self._ids), said.float().unsqueeze(1).to(self._device))

    def encode(self, first: Tensor, second: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """Returns hidden states (batch, tokens, width) and pooled output (batch, width), with gradients."""
        hidden, pooled = self._prompts.run(first, second)
        return hidden * said.unsqueeze(2).to(hidden.dtype), pooled * said.to(pooled.dtype)
