"""Load the embedded model's UNet: a stock diffusers UNet2DConditionModel, read without diffusers' loader.

`UNet2DConditionModel.from_pretrained` first makes random weights on the meta device, which imports torch._dynamo.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pipelines.engine.light_imports import light_imports

_FILLS = (Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_)


class EmbeddedUNet:
    """What `pipelines.sdxl.loading` asks for a UNet of the embedded model."""

    @staticmethod
    def from_pretrained(folder: Path, dtype: torch.dtype, **_: Any) -> Any:
        """Loads `config.json` and `diffusion_pytorch_model.safetensors` as a UNet2DConditionModel in eval mode.

        Raises:
            OSError, ValueError, KeyError, RuntimeError, SafetensorError: a file is missing, broken or does not fit.
        """
        with light_imports():
            from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"), Unfilled():
            unet = UNet2DConditionModel(**{k: v for k, v in config.items() if not k.startswith("_")})
        weights = load_file(folder / "diffusion_pytorch_model.safetensors")
        unet.load_state_dict({name: value.to(dtype) for name, value in weights.items()}, assign=True)
        # diffusers' decorator imports peft at every step, to scale adapters that are not there
        if plain := getattr(UNet2DConditionModel.forward, "__wrapped__", None):
            unet.forward = MethodType(plain, unet)
        return unet.eval()


class Unfilled(TorchFunctionMode):
    """Leaves new parameters as they are: values from a file replace them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        if func in _FILLS or getattr(func, "__module__", "") == "torch.nn.init":
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))
