"""Reference pictures on SDXL: a tiny random IP-Adapter in the layout of h94's, held to diffusers' own pipeline."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.errors import InvalidRequest, ModelError, OutOfMemory
from pipelines.models.extras import ADAPTER_FILE, ADAPTER_FOLDER, IMAGE_ENCODER
from pipelines.records import DrawRequest, Pixels
from pipelines.sdxl import diffusion
from pipelines.sdxl.diffusion import DiffusersBackend
from tests.random_extras import write_ip_adapter
from tests.random_sdxl import SIZES, build


def picture(seed: int, side: int = 224) -> Pixels:
    image = np.random.default_rng(seed).integers(0, 255, (side, side, 4), np.uint8)
    image[..., 3] = 255
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
def adapter(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ip_adapter(parts["unet"], tmp_path_factory.mktemp("adapter"))


def request(model: str, *references: Pixels, **changes: Any) -> DrawRequest:
    values: dict[str, Any] = {"steps": 2, "guidance": 4.0} | changes
    return DrawRequest(model, ("red dragon",), (1,), 64, 64, references=references, **values)


def nothing(done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_references_draw_what_the_stock_pipeline_draws_with_the_adapter_in_the_style_layers(
    model: str, adapter: Path, guidance: float
):
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
    from PIL import Image

    references = picture(1), picture(2)
    backend = DiffusersBackend("cpu", find_adapter=lambda: adapter)
    ours = backend.draw(request(model, *references, guidance=guidance), nothing).images[0]

    pipe: Any = StableDiffusionXLPipeline.from_pretrained(model, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(
        str(adapter), subfolder=ADAPTER_FOLDER, weight_name=ADAPTER_FILE, image_encoder_folder=IMAGE_ENCODER
    )
    pipe.set_ip_adapter_scale({"up": {"block_0": [0.0, 1.0, 0.0]}})
    stock = pipe(
        "red dragon",
        num_inference_steps=2,
        guidance_scale=guidance,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(1),
        ip_adapter_image=[[Image.fromarray(reference[..., :3]) for reference in references]],
        output_type="np",
    ).images[0]
    assert np.abs(ours[..., :3].astype(float) - stock * 255).max() < 1.5


def test_a_drawing_without_references_is_the_same_before_and_after_one_with(model: str, adapter: Path):
    backend = DiffusersBackend("cpu", find_adapter=lambda: adapter)
    backend.draw(request(model), nothing)
    before = backend.draw(request(model), nothing).images[0]
    styled = backend.draw(request(model, picture(1)), nothing).images[0]
    after = backend.draw(request(model), nothing).images[0]
    other = backend.draw(request(model, picture(2)), nothing).images[0]
    assert np.abs(before.astype(int) - after).max() <= 1  # one product instead of many may round otherwise
    assert (styled != after).any()
    assert (styled != other).any()


def test_references_go_with_a_drawing_that_wraps(model: str, adapter: Path):
    backend = DiffusersBackend("cpu", find_adapter=lambda: adapter)
    plain = backend.draw(request(model, tile_x=True, tile_y=True), nothing).images[0]
    styled = backend.draw(request(model, picture(1), tile_x=True, tile_y=True), nothing).images[0]
    assert (plain != styled).any()


def test_small_pixel_art_reaches_the_encoder_enlarged_and_over_white(model: str, adapter: Path):
    small = picture(3, 32)
    small[:8] = 0  # transparent
    large = small.repeat(7, axis=0).repeat(7, axis=1)
    backend = DiffusersBackend("cpu", find_adapter=lambda: adapter)
    one, other = (backend.draw(request(model, image), nothing).images[0] for image in (small, large))
    assert (one == other).all()


def test_the_error_without_an_adapter_says_what_to_fetch(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="models pull ip-adapter"):
        DiffusersBackend("cpu").draw(request(model, picture(1)), nothing)


def test_an_image_encoder_as_a_pickle_is_not_read(model: str, parts: dict[str, Any], tmp_path: Path):
    folder = write_ip_adapter(parts["unet"], tmp_path)
    weights = folder / IMAGE_ENCODER / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        DiffusersBackend("cpu", find_adapter=lambda: folder).draw(request(model, picture(1)), nothing)


def test_an_adapter_for_another_model_leaves_the_model_as_it_was(model: str, tmp_path: Path):
    from dataclasses import replace

    other = build(replace(SIZES["tiny"], text=(16, 16)), torch.device("cpu"), torch.float32)
    folder = write_ip_adapter(other["unet"], tmp_path)
    backend = DiffusersBackend("cpu", find_adapter=lambda: folder)
    before = backend.draw(request(model), nothing).images[0]
    with pytest.raises(ModelError, match="does not fit"):
        backend.draw(request(model, picture(1)), nothing)
    assert (backend.draw(request(model), nothing).images[0] == before).all()


def test_an_adapter_without_room_unloads_other_models_and_never_the_one_that_draws(
    model: str, adapter: Path, monkeypatch: pytest.MonkeyPatch
):
    backend = DiffusersBackend("cpu", find_adapter=lambda: adapter)
    backend.load("embedded")
    backend.load(model)
    left = itertools.chain([1 << 40], itertools.repeat(1))  # enough for the drawing, too little for the adapter
    monkeypatch.setattr(diffusion, "free_bytes", lambda device: next(left))
    with pytest.raises(OutOfMemory, match="without reference pictures"):
        backend.draw(request(model, picture(1)), nothing)
    assert list(backend.residents) == [model]
    monkeypatch.setattr(diffusion, "free_bytes", lambda device: 1 << 40)
    backend.draw(request(model, picture(1)), nothing)


def test_the_embedded_model_names_the_one_that_reads_references():
    with pytest.raises(InvalidRequest, match="model='sdxl'"):
        DiffusersBackend("cpu").draw(
            DrawRequest("embedded", ("red dragon",), (1,), 32, 32, references=(picture(1),)), nothing
        )
