"""The fast callers of one resident model: UNet, decoder and text encoders as graphs, where the device has them.

Owns when the plain module must be called instead (a drawing that wraps, a UNet that is being trained) and the layout
that compiled blocks want. Knows nothing of requests, prompts or queues. On a CPU every call is the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from pipelines.sdxl.attention import WordKeys, fuse_attention_inputs, split_wide_heads
from pipelines.sdxl.denoise import Conditioning, Predict, predict_with
from pipelines.sdxl.graphs import Captured, compiled_regions
from pipelines.sdxl.text import PromptEncoder


class FastModel:
    """Of a UNet, a VAE and the text side of one model on one device.

    `compiles` asks for compiled blocks and fused attention (worth it at SDXL's size). The text side is given its graph.
    """

    def __init__(self, unet: Any, vae: Any, prompts: PromptEncoder, compiles: bool, tiny_vae: Any = None) -> None:
        self._unet, self._vae, self._tiny = unet, vae, tiny_vae
        self._plain = predict_with(unet)
        self._words: WordKeys | None = None
        device = unet.device
        self._compiles = compiles and device.type == "cuda"
        if self._compiles:
            fuse_attention_inputs(unet)
            self._words = WordKeys(unet)
            split_wide_heads(vae)
            self._lay_out(torch.channels_last)
        self._step = Captured(self._call_unet, device, compiled_regions(unet) if self._compiles else ())
        self._decode = Captured(self._call_vae, device, compiled_regions(vae) if self._compiles else ())
        self._draft = Captured(self._call_tiny, device)
        self._encode = prompts.call = Captured(prompts.run, device)

    def predict(self, plain: bool = False) -> Predict:
        """The step for one drawing. `plain`: the module itself is called, as `seamless.circular` needs it."""
        if plain or _wrapped(self._unet):
            return self._plain

        def predict(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
            return self._step(latents, timestep, conditioning.hidden, conditioning.pooled, conditioning.sizes)

        return predict

    def decode(self, latents: Tensor, plain: bool = False) -> Tensor:
        """Latents (batch, c, h, w), already divided by the scaling factor -> values (batch, channels, h * 8, w * 8)."""
        return self._call_vae(latents) if plain else self._decode(latents)

    def draft(self, latents: Tensor, plain: bool = False) -> Tensor:
        """The same by the tiny decoder, for latents as the loop leaves them."""
        return self._call_tiny(latents) if plain else self._draft(latents)

    def warm(self, should_stop: Callable[[], bool]) -> bool:
        """Captures one shape that was drawn and has no graph; False when there is nothing to do or it gave way."""
        done = any(captured.warm(should_stop) for captured in (self._encode, self._step, self._decode, self._draft))
        states = (self._step.compile_state, self._decode.compile_state)
        if self._compiles and all(state.startswith("failed") for state in states):
            # plain convolutions and norms are faster in torch's usual layout
            self._compiles = False
            self._lay_out(torch.contiguous_format)
            self._step.reset()
            self._decode.reset()
        return done

    def state(self) -> dict[str, Any]:
        """For get_status, as JSON values."""
        parts = {"step": self._step, "decode": self._decode, "draft": self._draft, "words": self._encode}
        return {name: part.state() for name, part in parts.items()}

    def _lay_out(self, layout: torch.memory_format) -> None:
        for module in (self._unet, self._vae):
            module.to(memory_format=layout)

    def _call_unet(self, latents: Tensor, timestep: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor) -> Tensor:
        with self._words.given(hidden) if self._words else nullcontext():
            return self._plain(latents, timestep, Conditioning(hidden, pooled, sizes))

    def _call_tiny(self, latents: Tensor) -> Tensor:
        return self._tiny.decode(latents, return_dict=False)[0]

    def _call_vae(self, latents: Tensor) -> Tensor:
        return self._vae.decode(latents, return_dict=False)[0]


def _wrapped(unet: Any) -> bool:
    """Adapters lie beside the weights (a training run): a graph would not see them."""
    return bool(getattr(unet, "peft_config", None))  # PEFT's own mark; looking for its layers takes 5 ms
