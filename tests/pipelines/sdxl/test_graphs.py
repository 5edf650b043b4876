"""Captured calls where there is no GPU to capture on, and compiled regions with a backend that compiles nothing."""

from __future__ import annotations

import copy
import functools
import os
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from pipelines.adapters.stack import WeightStack
from pipelines.engine.engine import Engine
from pipelines.records import DrawRequest
from pipelines.sdxl.attention import PromptKV, fuse_attention_inputs, split_wide_heads
from pipelines.sdxl.denoise import Conditioning, predict_with
from pipelines.sdxl.fast import FastModel
from pipelines.sdxl.graphs import (
    Captured,
    Interrupted,
    compiled,
    compiled_regions,
    keep_code,
)
from pipelines.sdxl.text import PromptEncoder
from tests.fakes import FakeBackend
from tests.random_sdxl import SIZES, build, random_adapter

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


def prompts_of(parts: dict[str, Any]) -> PromptEncoder:
    encoders = [parts["text_encoder"], parts["text_encoder_2"]]
    return PromptEncoder([parts["tokenizer"], parts["tokenizer_2"]], encoders, zeros_for_empty=True)


def test_without_a_gpu_a_captured_call_is_the_plain_one() -> None:
    model = unet()
    captured = Captured(caller(model), CPU, compiled_regions(model))
    with torch.inference_mode():
        assert torch.equal(captured(*inputs()), caller(model)(*inputs()))
    assert not captured.warm()
    assert captured.state() == {
        "graphs": 0,
        "compiled_graphs": 0,
        "halved_graphs": 0,
        "waiting": 0,
        "compile": "off",
        "compile_error": 0.0,
        "failed": [],
    }


@pytest.mark.slow
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


def test_compiled_code_is_kept_where_it_survives_a_restart_unless_a_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_code()
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).is_relative_to(tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/named")
    keep_code()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/named"


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


def test_cross_attention_kv_made_together_answers_the_same_and_sees_merged_adapters(tmp_path: Any) -> None:
    plain, quick = unet(), unet()
    prompt_kv = PromptKV(quick)
    random_adapter(plain, tmp_path / "a.safetensors", rank=4)

    def both() -> tuple[Tensor, Tensor]:
        latents, timestep, hidden, pooled, sizes = inputs()
        with torch.inference_mode(), prompt_kv.given(hidden):
            # what the layers are handed is not looked at
            ours = caller(quick)(latents, timestep, torch.zeros_like(hidden), pooled, sizes)
        with torch.inference_mode():
            return ours, caller(plain)(*inputs())

    torch.testing.assert_close(*both(), rtol=1e-4, atol=1e-5)
    before = both()[0]
    for model in (plain, quick):
        WeightStack({"unet": model}).apply([(tmp_path / "a.safetensors", 1.0)])
    torch.testing.assert_close(*both(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both()[0], before, atol=1e-3)


def test_outside_a_drawing_the_cross_attentions_make_their_own_keys() -> None:
    quick = unet()
    prompt_kv = PromptKV(quick)
    with torch.inference_mode():
        with pytest.raises(ZeroDivisionError), prompt_kv.given(torch.zeros_like(inputs()[2])):
            raise ZeroDivisionError
        assert torch.equal(caller(quick)(*inputs()), caller(pristine_unet())(*inputs()))


@pytest.mark.slow
def test_blocks_that_are_given_their_kv_share_compiled_code() -> None:
    from torch._dynamo.testing import CompileCounter

    model, counter = unet(), CompileCounter()
    prompt_kv = PromptKV(model)
    regions = [(m, "forward") for m in model.modules() if type(m).__name__ == "BasicTransformerBlock"]
    widths = {m.norm1.normalized_shape for m, _ in regions}
    with torch.inference_mode(), compiled(regions, backend=counter):
        with prompt_kv.given(inputs()[2]):
            caller(model)(*inputs())
        once = counter.frame_count
        with prompt_kv.given(inputs()[2] + 1):  # other tensors, the same code
            caller(model)(*inputs())
    assert len(regions) > counter.frame_count == once
    assert counter.frame_count <= 2 * len(widths)  # at two sizes of picture each


def test_a_wide_head_as_products_answers_the_same() -> None:
    from diffusers.models.attention_processor import Attention

    torch.manual_seed(0)
    layer: Any = Attention(
        query_dim=288,
        heads=1,
        dim_head=288,
        norm_num_groups=8,
        residual_connection=True,
        bias=True,
        _from_deprecated_attn_block=True,
    ).eval()
    pixels = torch.randn(2, 288, 6, 4).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = layer(pixels)
        split_wide_heads(layer)
        assert torch.equal(layer(pixels), expected)  # not on a CPU
        with mock.patch("pipelines.sdxl.attention.SCORES", 2 * 24 * 5):
            result = layer.processor.apply(layer, pixels)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_prompts_use_the_captured_call_and_are_encoded_again_for_merged_encoders() -> None:
    parts = build(SIZES["tiny"], CPU, torch.float32)
    plain, prompts = prompts_of(parts), prompts_of(parts)
    FastModel(parts["unet"], parts["vae"], prompts, compiles=False)
    assert isinstance(prompts.call, Captured)
    assert torch.equal(prompts.encode("red dragon").hidden, plain.encode("red dragon").hidden)
    assert torch.equal(prompts.encode("red dragon").pooled, plain.encode("red dragon").pooled)
    with torch.no_grad():
        parts["text_encoder"].encoder.layers[0].mlp.fc1.weight.mul_(1.5)
    assert torch.equal(prompts.encode("red dragon").hidden, plain.encode("red dragon").hidden)
    prompts.state = "merged"
    assert not torch.allclose(prompts.encode("red dragon").hidden, plain.encode("red dragon").hidden)


def test_a_drawing_that_wraps_or_a_unet_in_training_calls_the_module_itself() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    parts = build(SIZES["tiny"], CPU, torch.float32)
    fast = FastModel(parts["unet"], parts["vae"], prompts_of(parts), compiles=True)
    latents, timestep, *prompt = inputs()
    with torch.inference_mode():
        quick = fast.predict()(latents, timestep, Conditioning(*prompt))
        assert torch.equal(fast.predict(plain=True)(latents, timestep, Conditioning(*prompt)), quick)
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
