"""One .safetensors file with the names that published SDXL files use, beside a folder with the configuration alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.errors import ModelError
from pipelines.models.catalog import find_model, revision_of
from pipelines.records import DrawRequest
from pipelines.sdxl.diffusion import DiffusersBackend
from tests.pipelines.sdxl.single_file import write_single_file
from tests.random_sdxl import SIZES, build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SDXL as a folder in diffusers layout."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    folder = tmp_path_factory.mktemp("models") / "folder"
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same weights in one file; the folder of the same name beside it holds none."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    shutil.copytree(folder, tmp_path / "tiny", ignore=shutil.ignore_patterns("*.safetensors"))
    write_single_file(folder, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_one_file_draws_the_pixels_of_its_folder(folder: Path, file: Path):
    assert not list(file.with_suffix("").rglob("*.safetensors"))
    backend = DiffusersBackend("cpu")

    def draw(model: Path) -> np.ndarray:
        request = DrawRequest(str(model), ("red dragon",), (1,), 64, 64, steps=2, guidance=5.0, negative="stone golem")
        return backend.draw(request, lambda done, total: None).images[0]

    expected, got = draw(folder), draw(file)
    assert len(np.unique(expected)) > 16  # not one flat colour, which everything would equal
    np.testing.assert_array_equal(got, expected)
    model = find_model(str(file))
    assert (model.title, model.file) == ("tiny", file)
    assert revision_of(model) != revision_of(find_model(str(folder)))


@pytest.mark.parametrize(
    "part",
    [
        "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.norm1.weight",
        "first_stage_model.decoder.mid.attn_1.norm.weight",
        "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight",
        "conditioner.embedders.1.model.text_projection",
    ],
)
def test_one_file_that_lacks_a_tensor_is_refused(file: Path, part: str):
    tensors = load_file(file)
    del tensors[part]
    save_file(tensors, file)
    with pytest.raises(ModelError, match=r"cannot be loaded as SDXL: .* Download it again"):
        DiffusersBackend("cpu").load(str(file))
