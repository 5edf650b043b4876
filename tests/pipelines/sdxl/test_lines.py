"""Lines of a sketch on SDXL: a tiny random ControlNet in the real layout, held to diffusers' own calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.errors import InvalidRequest, ModelError
from pipelines.records import DrawRequest, Pixels
from pipelines.sdxl.denoise import Conditioning
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sdxl.lines import HOLD, lines_of
from tests.random_extras import write_controlnet
from tests.random_sdxl import SIZES, build


def square(left: int = 16) -> Pixels:
    image = np.full((64, 64, 4), 255, np.uint8)
    image[16:48, left : left + 32, :3] = (200, 30, 30)
    return image


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return build(SIZES["tiny"], torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def model(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    folder = tmp_path_factory.mktemp("models") / "tiny"
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder, safe_serialization=True)
    return str(folder)


@pytest.fixture(scope="module")
def network(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_controlnet(parts["unet"], tmp_path_factory.mktemp("scribble"))


def request(model: str, sketch: Pixels, **changes: Any) -> DrawRequest:
    values: dict[str, Any] = {"steps": 2, "guidance": 4.0, "strength": 1.0, "lines": True} | changes
    return DrawRequest(model, ("red dragon",), (1,), 64, 64, init=(sketch,), **values)


def nothing(done: int, total: int) -> None:
    pass


def test_lines_are_where_colours_change_and_nowhere_else():
    lines = lines_of([square()])
    assert lines.shape == (1, 3, 64, 64)
    assert set(lines.unique().tolist()) == {0.0, 1.0}
    assert lines[0, 0, 32, 15:17].all()  # the square's left border
    assert not lines[0, :, 24:40, 24:40].any()
    assert not lines[0, :, :8].any()


def test_the_border_of_a_transparent_sketch_is_a_line():
    sketch = np.zeros((64, 64, 4), np.uint8)
    sketch[16:48, 16:48, 3] = 255  # black on nothing
    assert lines_of([sketch])[0, 0, 32, 15:17].all()


def test_a_step_with_lines_is_what_diffusers_calls_give(model: str, parts: dict[str, Any], network: Path):
    from diffusers.models.controlnets.controlnet import ControlNetModel

    backend = DiffusersBackend("cpu", find_controlnet=lambda: network)
    backend.draw(request(model, square()), nothing)
    resident = next(iter(backend.residents.values()))
    fast = backend.adopt(resident)
    fast.hold(resident, network)
    latents, hidden, pooled = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 48), torch.randn(2, 32)
    sizes, lines = torch.full((2, 6), 64.0), lines_of([square()] * 2)
    step = torch.tensor(500)
    own = fast.predict()(latents, step, Conditioning(hidden, pooled, sizes, lines=fast.embed_lines(lines)))

    control: Any = ControlNetModel.from_pretrained(network).eval()
    added = {"text_embeds": pooled, "time_ids": sizes}
    with torch.inference_mode():
        down, mid = control(latents, step, hidden, lines, HOLD, added_cond_kwargs=added, return_dict=False)
        stock = parts["unet"](
            latents,
            step,
            hidden,
            added_cond_kwargs=added,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]
    assert torch.allclose(own, stock, atol=1e-5)


def test_lines_change_the_drawing_and_a_drawing_without_them_stays(model: str, network: Path):
    backend = DiffusersBackend("cpu", find_controlnet=lambda: network)
    before = backend.draw(request(model, square(), lines=False), nothing).images[0]
    held = backend.draw(request(model, square()), nothing).images[0]
    after = backend.draw(request(model, square(), lines=False), nothing).images[0]
    assert (before == after).all()
    assert (held != after).any()


def test_lines_without_a_controlnet_say_what_to_fetch(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="models pull scribble"):
        DiffusersBackend("cpu").draw(request(model, square()), nothing)


def test_a_controlnet_that_is_a_pickle_or_of_another_model_is_refused(
    model: str, parts: dict[str, Any], tmp_path: Path
):
    folder = write_controlnet(parts["unet"], tmp_path / "pickle")
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match="models pull scribble"):
        DiffusersBackend("cpu", find_controlnet=lambda: folder).draw(request(model, square()), nothing)
    other = build(replace(SIZES["tiny"], text=(16, 16)), torch.device("cpu"), torch.float32)
    folder = write_controlnet(other["unet"], tmp_path / "other")
    with pytest.raises(ModelError, match="another model"):
        DiffusersBackend("cpu", find_controlnet=lambda: folder).draw(request(model, square()), nothing)


def test_lines_need_a_picture_to_begin_with(model: str):
    with pytest.raises(InvalidRequest, match="init"):
        DrawRequest(model, ("red dragon",), (1,), 64, 64, lines=True)
