"""Call UNet, decoder and text encoders of one resident model through CUDA graphs where the device has them.

The plain module is called for a drawing that wraps, for a UNet in training, and on a CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.sdxl.attention import PromptKV, fuse_attention_inputs, split_wide_heads
from pipelines.sdxl.denoise import Conditioning, Predict, predict_with
from pipelines.sdxl.float8 import Float8Layers
from pipelines.sdxl.graphs import Captured, compiled_regions
from pipelines.sdxl.lines import Lines
from pipelines.sdxl.loading import Resident
from pipelines.sdxl.references import References
from pipelines.sdxl.text import PromptEncoder
from pipelines.sdxl.upsampling import JoinedUpsampling

logger = logging.getLogger(__name__)


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
        self._references: References | None = None
        self._lines: Lines | None = None
        self._upsampling: JoinedUpsampling | None = None
        device = unet.device
        self._compiles = compiles and device.type == "cuda"
        if self._compiles:
            fuse_attention_inputs(unet)
            self._prompt_kv = PromptKV(unet)
            self._float8 = self._rounded(unet) if float8 else None
            split_wide_heads(vae)
            self._upsampling = JoinedUpsampling(unet)
            self._lay_out(torch.channels_last)
        self._step = Captured(self._call_unet, device, compiled_regions(unet) if self._compiles else (), halves=True)
        self._graphed, self._direct = self._predictions(self._step), self._predictions(self._call_unet)
        self._decode = Captured(self._call_vae, device, compiled_regions(vae) if self._compiles else ())
        self._draft = Captured(self._call_tiny, device)
        self._encode = prompts.call = Captured(prompts.run, device)

    def _rounded(self, unet: Any) -> Float8Layers | None:
        try:
            return Float8Layers(unet)
        except RuntimeError as error:
            logger.warning("%s multiplies no float8, so float16 draws: %s", unet.device, str(error).splitlines()[0])
            return None

    @property
    def precision(self) -> str:
        """What the UNet's linear layers multiply in where it is not the model's dtype: "fp8", else empty."""
        return "fp8" if self._float8 else ""

    def predict(self, plain: bool = False) -> Predict:
        """Returns the prediction function of one drawing.

        `plain` calls the module itself, as `seamless.circular` needs.
        """
        return self._direct if plain or _wrapped(self._unet) else self._graphed

    def refer(self, references: References) -> None:
        """Takes the adapter that reads conditionings with image tokens."""
        self._references = references
        if self._prompt_kv is None:
            self._prompt_kv = PromptKV(self._unet)

    @property
    def holds_lines(self) -> bool:
        """Whether the ControlNet is loaded."""
        return self._lines is not None

    def hold(self, resident: Resident, folder: Path) -> None:
        """Loads the ControlNet that reads conditionings with lines, where it is not loaded yet.

        Raises:
            ModelError: it cannot be loaded.
        """
        if self._lines is None:
            self._lines = Lines(resident, folder, fused=self._compiles)
            if self._compiles:
                self._step.add_regions(compiled_regions(self._lines.network))

    def embed_lines(self, lines: Tensor) -> Tensor:
        """Returns what a conditioning holds of lines (batch, 3, height, width); the ControlNet is loaded (`hold`)."""
        assert self._lines is not None
        return self._lines.embed(lines)

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
        for made in (self._float8, self._upsampling):
            if made:
                made.refresh()

    def state(self) -> dict[str, Any]:
        """Describes the state for get_status, as JSON values."""
        parts = {"step": self._step, "decode": self._decode, "draft": self._draft, "prompts": self._encode}
        states = {name: part.state() for name, part in parts.items()}
        return states | ({"precision": self.precision} if self.precision else {})

    def _lay_out(self, layout: torch.memory_format) -> None:
        for module in (self._unet, self._vae):
            module.to(memory_format=layout)

    def _predictions(self, call: Callable[..., Tensor]) -> Predict:
        def predict(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
            inputs = (latents, timestep, conditioning.hidden, conditioning.pooled, conditioning.sizes)
            beside = tuple(x for x in (conditioning.image, conditioning.lines) if x is not None)
            if not beside and call == self._call_unet:
                return self._plain(latents, timestep, conditioning)
            return call(*inputs, *beside)

        return predict

    def _call_unet(
        self, latents: Tensor, timestep: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor, *beside: Tensor
    ) -> Tensor:
        """Calls the UNet; `beside` holds image tokens (3 dimensions) and lines (4 dimensions), where there are any."""
        more: dict[str, Any] = {}
        conditioning = Conditioning(hidden, pooled, sizes)
        with ExitStack() as given:
            if self._prompt_kv:
                given.enter_context(self._prompt_kv.given(hidden))
            for tensor in beside:
                if tensor.ndim == 3 and self._references:
                    given.enter_context(self._references.given(tensor))
                elif tensor.ndim == 4 and self._lines:
                    more = self._lines.residuals(latents, timestep, conditioning, tensor)
            return self._plain(latents, timestep, conditioning, **more)

    def _call_tiny(self, latents: Tensor) -> Tensor:
        return self._tiny.decode(latents, return_dict=False)[0]

    def _call_vae(self, latents: Tensor) -> Tensor:
        return self._vae.decode(latents, return_dict=False)[0]


def _wrapped(unet: Any) -> bool:
    """Adapters lie beside the weights (a training run): a graph would not see them."""
    return bool(getattr(unet, "peft_config", None))  # PEFT's own mark; looking for its layers takes 5 ms
