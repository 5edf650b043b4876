"""Upsampling as one transposed convolution: the same values, weights that change in place, and the layer itself
where it wraps, learns, or is asked for another size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.sdxl.denoise import Conditioning, predict_with
from pipelines.sdxl.halves import can_halve, in_halves
from pipelines.sdxl.seamless import circular
from pipelines.sdxl.upsampling import JoinedUpsampling, joined_weight
from tests.random_sdxl import SIZES, build

CPU = torch.device("cpu")


@pytest.fixture
def layer() -> Any:
    from diffusers.models.upsampling import Upsample2D

    torch.manual_seed(0)
    return Upsample2D(8, use_conv=True, out_channels=6).eval()


def off(ours: Tensor, plain: Tensor) -> float:
    return float((ours - plain).abs().max())


@torch.inference_mode()
@pytest.mark.parametrize("side", [1, 2, 7])
def test_a_joined_layer_gives_what_neighbours_and_convolution_give(layer: Any, side: int):
    picture = torch.randn(2, 8, side, side + 3)
    plain = layer(picture)
    JoinedUpsampling(layer)
    assert layer(picture).shape == plain.shape
    assert 0 < off(layer(picture), plain) < 1e-5  # 0 would be the plain pair: its sums are rounded otherwise


@torch.inference_mode()
def test_changed_weights_are_summed_again_where_they_lay(layer: Any):
    joined = JoinedUpsampling(layer)
    before, picture = layer.joined_weight.data_ptr(), torch.randn(1, 8, 5, 5)
    kept = layer.joined_weight.clone()
    layer.conv.weight += 1
    joined.refresh()
    changed = layer(picture)
    layer.conv.weight -= 1
    joined.refresh()
    assert layer.joined_weight.data_ptr() == before
    assert off(changed, layer(picture)) > 1
    assert torch.allclose(layer.joined_weight, kept, atol=1e-6)


def test_equal_weights_are_summed_to_equal_bits():
    weight = torch.randn(6, 8, 3, 3).half()
    assert torch.equal(joined_weight(weight), joined_weight(weight.clone()))


def test_a_layer_that_learns_or_wraps_or_has_another_size_to_give_is_called_as_itself(layer: Any):
    picture = torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        with circular([layer], True, True):
            wrapping = layer(picture)
        sized = layer(picture, (7, 7))
    JoinedUpsampling(layer)
    with torch.no_grad():
        with circular([layer], True, True):
            assert torch.equal(layer(picture), wrapping)
        assert torch.equal(layer(picture, (7, 7)), sized)
    layer(picture).sum().backward()
    assert layer.conv.weight.grad.abs().max() > 0


@torch.inference_mode()
def test_a_unet_with_joined_layers_and_in_halves_answers_as_before():
    unet = build(SIZES["tiny"], CPU, torch.float32)["unet"]
    torch.manual_seed(1)
    inputs = torch.randn(4, 4, 8, 8), torch.tensor(500.0), torch.randn(4, 77, 48), torch.randn(4, 32), torch.rand(4, 6)

    def call(latents: Tensor, timestep: Tensor, *words: Tensor) -> Tensor:
        return predict_with(unet)(latents, timestep, Conditioning(*words))

    plain = call(*inputs)
    JoinedUpsampling(unet)
    assert sum(type(m).__name__ == "JoinedUpsample" for m in unet.modules()) == 2
    assert off(call(*inputs), plain) < 1e-5
    assert off(in_halves(call, CPU)(*inputs), plain) < 1e-5


def test_an_even_number_of_rows_from_four_on_is_tried_in_halves():
    assert [can_halve((torch.zeros(rows, 1),)) for rows in (1, 2, 3, 4, 7, 8)] == [
        False,
        False,
        False,
        True,
        False,
        True,
    ]
