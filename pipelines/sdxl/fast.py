"""Call UNet, decoder and text encoders of one resident model through CUDA graphs where the device has them.

The plain module is called for a drawing that wraps, for a UNet in training, and on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from pipelines.sdxl.attention import PromptKV, fuse_attention_inputs, split_wide_heads
from pipelines.sdxl.denoise import Conditioning, Predict, predict_with
from pipelines.sdxl.float8 import Float8Layers
from pipelines.sdxl.graphs import Captured, compiled_regions
from pipelines.sdxl.text import PromptEncoder


class FastModel:
    """The fast calls of a UNet, a VAE and the text encoders of one model on one device.

    `compiles` asks for compiled blocks and fused attention (worth it at SDXL's size). The prompt encoder gets its
    graph here. `float8` multiplies the UNet's linear layers in float8 where it compiles.
    """

    def __init__(
        self, unet: Any, vae: Any, prompts: PromptEncoder, compiles: bool, tiny_vae: Any = None, float8: bool = False
    ) -> None:
        self._unet, self._vae, self._tiny = unet, vae, tiny_vae
        self._plain = predict_with(unet)
        self._prompt_kv: PromptKV | None = None
        self._float8: Float8Layers | None = None
        device = unet.device
        self._compiles = compiles and device.type == "cuda"
        if self._compiles:
            fuse_attention_inputs(unet)
            self._prompt_kv = PromptKV(unet)
            self._float8 = Float8Layers(unet) if float8 else None
            split_wide_heads(vae)
            self._lay_out(torch.channels_last)
        self._step = Captured(self._call_unet, device, compiled_regions(unet) if self._compiles else ())
        self._decode = Captured(self._call_vae, device, compiled_regions(vae) if self._compiles else ())
        self._draft = Captured(self._call_tiny, device)
        self._encode = prompts.call = Captured(prompts.run, device)

    def predict(self, plain: bool = False) -> Predict:
        """Returns the prediction function of one drawing.

        `plain` calls the module itself, as `seamless.circular` needs.
        """
        if plain or _wrapped(self._unet):
            return self._plain

        def predict(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
            return self._step(latents, timestep, conditioning.hidden, conditioning.pooled, conditioning.sizes)

        return predict

    def decode(self, latents: Tensor, plain: bool = False) -> Tensor:
        """Decodes latents (batch, c, h, w), already divided by the scaling factor, to (batch, channels, h * 8, w
        * 8).
        """
        return self._call_vae(latents) if plain else self._decode(latents)

    def draft(self, latents: Tensor, plain: bool = False) -> Tensor:
        """Decodes latents as the loop leaves them with the tiny decoder."""
        return self._call_tiny(latents) if plain else self._draft(latents)

    def warm(self, should_stop: Callable[[], bool]) -> bool:
        """Captures one shape that was drawn and has no graph; False when there is nothing to do or it was
        interrupted.
        """
        done = any(captured.warm(should_stop) for captured in (self._encode, self._step, self._decode, self._draft))
        states = (self._step.compile_state, self._decode.compile_state)
        if self._compiles and all(state.startswith("failed") for state in states):
            # plain convolutions and norms are faster in torch's usual layout
            self._compiles = False
            self._lay_out(torch.contiguous_format)
            self._step.reset()
            self._decode.reset()
        return done

    def weights_changed(self) -> None:
        """Computes again what was computed from the weights, after a LoRA stack changed them in place."""
        if self._float8:
            self._float8.refresh()

    def state(self) -> dict[str, Any]:
        """Describes the state for get_status, as JSON values."""
        parts = {"step": self._step, "decode": self._decode, "draft": self._draft, "prompts": self._encode}
        return {name: part.state() for name, part in parts.items()}

    def _lay_out(self, layout: torch.memory_format) -> None:
        for module in (self._unet, self._vae):
            module.to(memory_format=layout)

    def _call_unet(self, latents: Tensor, timestep: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor) -> Tensor:
        with self._prompt_kv.given(hidden) if self._prompt_kv else nullcontext():
            return self._plain(latents, timestep, Conditioning(hidden, pooled, sizes))

    def _call_tiny(self, latents: Tensor) -> Tensor:
        return self._tiny.decode(latents, return_dict=False)[0]

    def _call_vae(self, latents: Tensor) -> Tensor:
        return self._vae.decode(latents, return_dict=False)[0]


def _wrapped(unet: Any) -> bool:
    """Adapters lie beside the weights (a training run): a graph would not see them."""
    return bool(getattr(unet, "peft_config", None))  # PEFT's own mark; looking for its layers takes 5 ms
