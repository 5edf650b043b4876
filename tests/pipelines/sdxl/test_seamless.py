"""Pictures that wrap."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipelines.sdxl.denoise import Conditioning
from pipelines.sdxl.seamless import circular, rolled
from tests.random_sdxl import SIZES, build


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 5, padding=2), nn.Conv2d(8, 3, 1))


@pytest.mark.parametrize(("x", "y"), [(True, True), (True, False), (False, True)])
def test_a_shifted_input_gives_the_shifted_output_in_the_axes_that_wrap(x: bool, y: bool):
    model = convolutions()
    picture = torch.randn(1, 3, 12, 16)
    axes = {-1: x, -2: y}
    with torch.no_grad(), circular([model], x, y):
        for axis, wraps in axes.items():
            shifted = model(picture.roll(5, axis)).roll(-5, axis)
            assert torch.allclose(shifted, model(picture), atol=1e-5) == wraps


def test_the_modules_are_what_they_were_also_after_an_error():
    model = build(SIZES["tiny"], torch.device("cpu"), torch.float32)["vae"]
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        before = model.decode(latents).sample
        with circular([model], True, True):
            assert not torch.equal(model.decode(latents).sample, before)
        with pytest.raises(RuntimeError), circular([model], True, True):
            model.decode(latents[:, :3])
        assert torch.equal(model.decode(latents).sample, before)
    assert not any("_conv_forward" in vars(module) for module in model.modules())


def test_the_roll_moves_what_the_model_sees_and_is_taken_back():
    picture = torch.arange(64.0).view(1, 1, 8, 8)
    nothing = Conditioning(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    seen: list[Tensor] = []

    def same(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        seen.append(latents)
        return latents

    predict = rolled(same, 4, True, False)
    for _ in range(4):
        assert torch.equal(predict(picture, torch.tensor(0), nothing), picture)
    assert any(not torch.equal(latents, picture) for latents in seen)
    assert all(torch.equal(latents.sort(-1).values, picture) for latents in seen), "rows were moved too"
