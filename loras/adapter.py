"""Put a new LoRA beside the weights of a model, as PEFT does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from loras.options import TrainOptions


def add_adapter(model: Any, options: TrainOptions, targets: Sequence[str] = ()) -> dict[str, torch.nn.Parameter]:
    """Adds a new LoRA to a UNet or text encoder (B = 0: its output does not change) and freezes all other weights.

    Its dropout is off until a step turns it on.

    Returns:
        The LoRA's parameters by PEFT's names, in float32.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    model.requires_grad_(False)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha or options.rank,  # type: ignore[arg-type] (a float is scaled with as well)
        lora_dropout=options.dropout,
        target_modules=list(targets or options.targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        inject_adapter_in_model(config, model)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            for drop in layer.lora_dropout.values():
                drop.eval()
                drop.adapter = True  # type: ignore[assignment] (a mark for `Trainer._dropping`)
    weights: dict[str, torch.nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
            weights[name.replace(".default", "")] = parameter
    return weights
