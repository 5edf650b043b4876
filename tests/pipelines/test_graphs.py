"""Captured calls where there is no GPU to capture on, and compiled regions with a backend that compiles nothing."""

from __future__ import annotations

import copy
import functools
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.adapters import WeightStack
from pipelines.bench.model import SIZES, build, random_adapter
from pipelines.denoise import Conditioning, predict_with
from pipelines.engine import Engine
from pipelines.fast import FastModel
from pipelines.graphs import (
    Captured,
    Interrupted,
    compiled,
    compiled_regions,
    fuse_attention_inputs,
)
from pipelines.records import DrawRequest
from tests.fakes import FakeBackend

CPU = torch.device("cpu")


@functools.cache
def pristine_unet() -> Any:
    return build(SIZES["tiny"], CPU, torch.float32)["unet"]


def unet() -> Any:
    return copy.deepcopy(pristine_unet())


def inputs(batch: int = 2) -> tuple[Tensor, ...]:
    size, draw = SIZES["tiny"], torch.Generator().manual_seed(batch)
    shapes = ((batch, 4, 8, 8), (batch, 77, sum(size.text)), (batch, size.text[1]), (batch, 6))
    latents, hidden, pooled, sizes = (torch.randn(s, generator=draw) for s in shapes)
    return latents, torch.tensor(300.0), hidden, pooled, sizes


def caller(model: Any):
    def call(latents: Tensor, timestep: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor) -> Tensor:
        return predict_with(model)(latents, timestep, Conditioning(hidden, pooled, sizes))

    return call


def test_without_a_gpu_a_captured_call_is_the_plain_one() -> None:
    model = unet()
    captured = Captured(caller(model), CPU, compiled_regions(model))
    with torch.inference_mode():
        assert torch.equal(captured(*inputs()), caller(model)(*inputs()))
    assert not captured.warm()
    assert captured.state() == {
        "graphs": 0,
        "compiled_graphs": 0,
        "waiting": 0,
        "compile": "off",
        "compile_error": 0.0,
        "failed": [],
    }


def test_compiled_regions_are_gone_after_the_context_and_shared_by_alike_blocks() -> None:
    from torch._dynamo.testing import CompileCounter

    model, counter = unet(), CompileCounter()
    regions = compiled_regions(model.mid_block)
    with torch.inference_mode():
        plain = caller(model)(*inputs())
        with compiled(regions, backend=counter):
            for _ in range(2):
                torch.testing.assert_close(caller(model)(*inputs()), plain)
        assert 0 < counter.frame_count < len(regions)
        once = counter.frame_count
        with compiled(regions, backend=counter):
            caller(model)(*inputs())
        assert counter.frame_count == once
    assert not any(method in module.__dict__ for module, method in regions)


def test_warming_gives_way_between_blocks_and_leaves_the_plain_module() -> None:
    model, asked = unet(), iter([False, False, True])
    regions = compiled_regions(model)
    with torch.inference_mode(), pytest.raises(Interrupted), compiled(regions, lambda: next(asked), backend="eager"):
        caller(model)(*inputs())
    assert not any(method in module.__dict__ for module, method in regions)


def test_fused_attention_inputs_answer_the_same_and_see_merged_adapters(tmp_path: Any) -> None:
    plain, fused = unet(), unet()
    fuse_attention_inputs(fused)
    random_adapter(plain, tmp_path / "a.safetensors", rank=4)
    for model in (plain, fused):
        stack = WeightStack({"unet": model})
        stack.apply([(tmp_path / "a.safetensors", 1.0)])
    with torch.inference_mode():
        torch.testing.assert_close(caller(fused)(*inputs()), caller(plain)(*inputs()), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(caller(fused)(*inputs()), caller(pristine_unet())(*inputs()), atol=1e-3)


def test_fused_attention_still_trains_through_wrapped_layers() -> None:
    from peft import LoraConfig

    model = unet()
    fuse_attention_inputs(model)
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    caller(model)(*inputs()).square().mean().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values())


def test_a_drawing_that_wraps_or_a_unet_in_training_calls_the_module_itself() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    parts = build(SIZES["tiny"], CPU, torch.float32)
    fast = FastModel(parts["unet"], parts["vae"], compiles=True)
    latents, timestep, *words = inputs()
    with torch.inference_mode():
        quick = fast.predict()(latents, timestep, Conditioning(*words))
        assert torch.equal(fast.predict(plain=True)(latents, timestep, Conditioning(*words)), quick)
        assert torch.equal(fast.decode(latents), fast.decode(latents, plain=True))
    assert fast.predict() is not fast.predict(plain=True)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q"]), parts["unet"])
    assert fast.predict() is fast.predict(plain=True)
    assert not fast.warm(lambda: False)


def test_the_engine_warms_the_backend_only_while_nobody_waits() -> None:
    class Warming(FakeBackend):
        left = 2
        gave_way = 0

        def warm(self, should_stop: Any) -> bool:
            if should_stop():
                self.gave_way += 1
                return False
            self.left -= 1
            if self.left < 0:
                idle.set()
                raise RuntimeError("a failure while warming")
            return True

    idle = threading.Event()
    backend = Warming()
    engine = Engine(backend)
    try:
        assert idle.wait(10)
        request = DrawRequest("embedded", ("a",), (1,), 16, 16)
        assert len(engine.draw(request).images) == 1
    finally:
        engine.close()
