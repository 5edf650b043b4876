"""Encode prompts with SDXL's two text encoders, with a cache, and find the words that a model does not know.

`PromptEncoder.state` names the LoRAs that are merged into the encoders, so that the cache stays valid.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CACHED_PROMPTS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One prompt, encoded."""

    hidden: Tensor  # (1, tokens, both widths): the layer before the last of each encoder, not normalized
    pooled: Tensor  # (1, width): the second encoder's pooled output


class PromptEncoder:
    """The tokenizers and text encoders of one resident model.

    Each prompt is encoded by itself, so that its embedding does not depend on what else is in the batch.
    """

    def __init__(self, tokenizers: Sequence[Any], encoders: Sequence[Any], zeros_for_empty: bool) -> None:
        self._tokenizers = tokenizers
        self._encoders = encoders
        self._zeros_for_empty = zeros_for_empty
        self._cache: OrderedDict[tuple[str, Hashable], Embedding] = OrderedDict()
        self.hits = self.misses = 0
        """Prompts that were found in the cache, and that were encoded."""
        self.call: Callable[..., Any] = self.run
        """What encodes token ids: `run`, or a faster caller of it."""
        self.state: Hashable = ()
        """The LoRAs that are merged into the encoders. Part of the cache's key."""

    def encode(self, prompt: str) -> Embedding:
        """Returns the prompt's embedding. Tokens over the limit are cut off; `unread_words` lists them."""
        key = (prompt, self.state)
        self.hits += key in self._cache
        if key not in self._cache:
            self.misses += 1
            self._cache[key] = self._encode(prompt)
            if len(self._cache) > CACHED_PROMPTS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def encode_negative(self, prompt: str) -> Embedding:
        """Returns the negative embedding: zeros for an empty prompt where the model was trained that way."""
        if prompt or not self._zeros_for_empty:
            return self.encode(prompt)
        blank = self.encode("")
        return Embedding(torch.zeros_like(blank.hidden), torch.zeros_like(blank.pooled))

    def tokenize(self, prompt: str) -> list[Tensor]:
        """Returns the token ids (1, tokens) of each encoder, on its device."""
        return [
            tokenizer(
                prompt,
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids.to(encoder.device)
            for tokenizer, encoder in zip(self._tokenizers, self._encoders, strict=True)
        ]

    @torch.inference_mode()
    def _encode(self, prompt: str) -> Embedding:
        return Embedding(*self.call(*self.tokenize(prompt)))

    def run(self, *ids: Tensor) -> tuple[Tensor, Tensor]:
        """Computes (hidden, pooled) of an Embedding for the token ids (1, tokens) of each encoder."""
        outputs = [encoder(i, output_hidden_states=True) for encoder, i in zip(self._encoders, ids, strict=True)]
        return torch.cat([output.hidden_states[-2] for output in outputs], dim=-1), outputs[-1][0]

    def unread_words(self, prompt: str) -> tuple[str, ...]:
        """Returns the words of the prompt that a word-level model does not know, or that come after its limit.

        Empty for CLIP's own tokenizer, which spells any word out.
        """
        tokenizer = self._tokenizers[0]
        core = tokenizer.backend_tokenizer
        if type(core.model).__name__ != "WordLevel":
            return ()
        text = core.normalizer.normalize_str(prompt) if core.normalizer else prompt
        words = [word for word, _ in core.pre_tokenizer.pre_tokenize_str(text)]
        room = tokenizer.model_max_length - 2  # begin and end
        unread = [w for i, w in enumerate(words) if i >= room or core.token_to_id(w) is None]
        return tuple(dict.fromkeys(unread))
