"""LoRA training steps: rank 32 on every linear layer of the transformer blocks, frozen base, cached latents."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from pipelines.bench.measure import Row, measure
from pipelines.bench.rig import Rig
from pipelines.denoise import Conditioning, predict_with

RANK = 32
STEPS = 3000


def steps(rig: Rig) -> None:
    """Steps a second at two sizes, batch 1, eager and as one CUDA graph of forward, backward and update."""
    from peft import LoraConfig

    unet: Any = rig.build()["unet"]
    targets = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets), "bench")
    parameters = [p for p in unet.parameters() if p.requires_grad]
    for p in parameters:
        p.data = p.data.float()
    for side in (rig.plan.sides[0], rig.plan.sides[-1]):
        _time(rig, unet, parameters, side)


def _time(rig: Rig, unet: Any, parameters: list[torch.nn.Parameter], side: int) -> None:
    cuda = rig.device.type == "cuda"
    latents, _, hidden, pooled, sizes = rig.inputs(1, side)
    timestep = torch.tensor(500.0, device=rig.device)
    target = torch.randn_like(latents)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, capturable=cuda, foreach=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        with torch.autocast(rig.device.type, rig.dtype if cuda else torch.bfloat16, cache_enabled=False):
            prediction = predict_with(unet)(latents, timestep, Conditioning(hidden, pooled, sizes))
        torch.nn.functional.mse_loss(prediction.float(), target.float()).backward()
        optimizer.step()

    forward = rig.tflop("step", 1, side)
    tflop = 2.1 * forward  # backward of a frozen base: gradients of the activations alone
    seconds, runs, peak = measure(step, rig.device, 3, warmup=2)
    note = f"{STEPS} steps: {STEPS * seconds / 60:.1f} min"
    rig.results.add(Row(f"training step, {side}: eager", seconds, runs, 1, 1, tflop, peak, note))
    if not cuda:
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    seconds, runs, peak = measure(graph.replay, rig.device, 2 * rig.plan.runs)
    note = f"{STEPS} steps: {STEPS * seconds / 60:.1f} min"
    rig.results.add(Row(f"training step, {side}: graph", seconds, runs, 1, 1, tflop, peak, note))
    del graph
    rig.free()
