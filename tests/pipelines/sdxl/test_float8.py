"""Linear layers in float8: bounds that hold, errors that are small, weights that change in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.sdxl.attention import PromptKV, fuse_attention_inputs
from pipelines.sdxl.denoise import Conditioning, predict_with
from pipelines.sdxl.float8 import (
    E4M3,
    Float8Layers,
    Float8Linear,
    float8_linear,
    geglu_bound,
    linear_bound,
    norm_bound,
    rounded,
)
from tests.random_extras import write_ip_adapter
from tests.random_sdxl import SIZES, build


def norm_of(width: int) -> nn.LayerNorm:
    norm = nn.LayerNorm(width)
    nn.init.normal_(norm.weight, 1, 0.5)
    nn.init.normal_(norm.bias)
    return norm.requires_grad_(False)


@pytest.fixture
def unet() -> Any:
    unet = build(SIZES["tiny"], torch.device("cpu"), torch.float32)["unet"]
    fuse_attention_inputs(unet)
    return unet


def call(unet: Any) -> Tensor:
    torch.manual_seed(0)
    conditioning = Conditioning(torch.randn(2, 77, 48), torch.randn(2, 32), 64 * torch.rand(2, 6))
    with torch.inference_mode():
        return predict_with(unet)(torch.randn(2, 4, 8, 8), torch.tensor(500.0), conditioning)


def off(ours: Tensor, exact: Tensor) -> float:
    return float((ours - exact).norm() / exact.norm())


@pytest.mark.parametrize("spike", [0.0, 1e4])
def test_no_input_of_a_layer_after_a_norm_is_above_its_bound(spike: float):
    torch.manual_seed(1)
    norm, layer = norm_of(64), nn.Linear(64, 2 * 96).requires_grad_(False)
    x = torch.randn(512, 64)
    x[:, 3] += spike  # the output of a norm is largest where one value is far from all others
    normal = norm(x)
    value, gate = layer(normal).chunk(2, dim=-1)
    for outputs, bound in (
        (normal, norm_bound(norm)),
        (layer(normal), linear_bound(layer, norm)),
        (value * nn.functional.gelu(gate), geglu_bound(layer, norm)),
    ):
        assert (outputs.abs() <= bound * 1.0001).all()


def test_a_product_is_near_the_exact_one():
    torch.manual_seed(2)
    norm, layer = norm_of(128), nn.Linear(128, 64).requires_grad_(False)
    x = norm(torch.randn(3, 50, 128))
    own = rounded(layer.weight, norm_bound(norm))
    assert own.weight.dtype == E4M3
    assert off(float8_linear(x, own, layer.bias), layer(x)) < 0.05


def test_a_value_above_its_bound_is_cut_off_and_gives_no_nan():
    own = rounded(torch.eye(16), torch.ones(16))
    assert float8_linear(torch.full((1, 16), 1e6), own).isfinite().all()


def test_a_unet_stays_near_itself_and_all_layers_after_norms_take_part(unet: Any):
    exact = call(unet)
    Float8Layers(unet)
    blocks = [m for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock"]
    assert sum(isinstance(m, Float8Linear) for m in unet.modules()) == 3 * len(blocks)
    assert all(block.attn1.float8_weight is not None for block in blocks)
    assert 0 < off(call(unet), exact) < 0.03


def test_weights_that_change_in_place_are_rounded_again_into_the_same_storage(unet: Any):
    layers = Float8Layers(unet)
    before, block = call(unet), next(m for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock")
    place = block.ff.net[2].float8_weight.data_ptr()
    pristine = block.ff.net[2].weight.clone()
    block.ff.net[2].weight.mul_(-2)
    block.attn1.qkv_weight.mul_(-2)
    assert torch.equal(call(unet), before)
    layers.refresh()
    assert off(call(unet), before) > 0.001
    assert block.ff.net[2].float8_weight.data_ptr() == place
    block.ff.net[2].weight.copy_(pristine)
    block.attn1.qkv_weight.mul_(-0.5)
    layers.refresh()
    assert torch.equal(call(unet), before)


def test_an_ip_adapter_that_is_loaded_later_leaves_the_rounded_weights(unet: Any, tmp_path: Path):
    from pipelines.models.catalog import Model
    from pipelines.sdxl.loading import Resident
    from pipelines.sdxl.references import References

    folder = write_ip_adapter(unet, tmp_path)
    Float8Layers(unet)
    PromptKV(unet)
    before = call(unet)
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    resident = Resident(
        *(Model("tiny", "", "", tmp_path), "", unet, parts["vae"], parts["text_encoder"], parts["text_encoder_2"]),
        *(None, None, parts["scheduler"], torch.device("cpu"), torch.float32),
    )  # pyright: ignore[reportCallIssue, reportArgumentType]
    References(resident, folder)
    assert torch.equal(call(unet), before)
