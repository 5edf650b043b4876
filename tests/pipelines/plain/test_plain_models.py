"""FLUX.2 klein, Z-Image and Qwen-Image as tiny random pipelines: drawing, progress, cancel, LoRAs, refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from loras.errors import TrainingError
from loras.options import options_for
from pipelines.engine.engine import Engine
from pipelines.errors import AdapterError, Cancelled, InvalidRequest, ModelError
from pipelines.models import catalog
from pipelines.models.catalog import find_model, hub_repos
from pipelines.models.families import FAMILIES
from pipelines.plain import drawing
from pipelines.records import DrawRequest, LoraWeight, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites
from tests.random_pipelines import BUILD, save

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries warn of is theirs

KINDS = tuple(BUILD)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {kind: save(kind, root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def backend() -> DiffusersBackend:
    return DiffusersBackend("cpu")


@pytest.fixture(autouse=True)
def small_canvases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny pipelines on a canvas of 64 pixels."""
    made = catalog.folder_model
    monkeypatch.setattr(catalog, "folder_model", lambda folder: replace(made(folder), canvases=(64,)))


def index_of(folder: Path, pipeline: str) -> Path:
    """A folder that is known as a model of that class, and holds nothing to load."""
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return folder


def request(folder: Path, **changes: object) -> DrawRequest:
    given = {"prompts": ("red dragon", "stone golem"), "seeds": (1, 2), "width": 64, "height": 64, "steps": 2}
    return DrawRequest(model=str(folder), **(given | changes))  # type: ignore[arg-type]


def lora(path: Path, kind: str, backend: DiffusersBackend, folder: Path, scale: float = 1.0) -> Path:
    """A random LoRA on an attention layer of the model's transformer, in diffusers' names."""
    backend.load(str(folder))
    modules = dict(save_modules(kind).items())
    name, layer = next((n, m) for n, m in modules.items() if n.endswith("to_q") and isinstance(m, torch.nn.Linear))
    draws = torch.Generator().manual_seed(3)
    tensors = {
        f"transformer.{name}.lora_A.weight": torch.randn(2, layer.in_features, generator=draws) * scale,
        f"transformer.{name}.lora_B.weight": torch.randn(layer.out_features, 2, generator=draws) * scale,
    }
    save_file(tensors, path)
    return path


def save_modules(kind: str) -> dict[str, torch.nn.Module]:
    return dict(BUILD[kind]().transformer.named_modules())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_drawn_with_progress_and_each_seed_is_its_own(
    backend: DiffusersBackend, folders: dict[str, Path], kind: str
) -> None:
    said: list[tuple[int, int]] = []
    drawing = backend.draw(request(folders[kind]), lambda done, total: said.append((done, total)))
    assert said == [(1, 2), (2, 2)]
    assert [image.shape for image in drawing.images] == [(64, 64, 4)] * 2
    assert not np.array_equal(drawing.images[0], drawing.images[1])
    assert drawing.revision
    assert (drawing.steps, drawing.guidance) == (2, FAMILIES[kind].guidance)
    again = backend.draw(request(folders[kind]), lambda done, total: None)
    assert np.array_equal(again.images[1], drawing.images[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_cancel_ends_the_drawing_within_a_step(
    backend: DiffusersBackend, folders: dict[str, Path], kind: str
) -> None:
    steps: list[int] = []

    def stop(done: int, total: int) -> None:
        steps.append(done)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        backend.draw(request(folders[kind], steps=50), stop)
    assert steps == [1]
    assert backend.draw(request(folders[kind]), lambda done, total: None).images


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_sprite_passes_the_gates(backend: DiffusersBackend, folders: dict[str, Path], kind: str) -> None:
    engine = Engine(backend)
    recipe = Recipe("sprite", "stone golem", 16, 16, 5, model=str(folders[kind]), steps=1)
    (sprite,) = draw_sprites(engine, recipe)
    engine.close()
    assert sprite.image.shape == (16, 16, 4)
    assert sprite.report.passed, sprite.report


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_changes_the_picture_and_goes_without_a_trace(
    backend: DiffusersBackend, folders: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    path = lora(tmp_path / "style.safetensors", kind, backend, folders[kind])
    plain = backend.draw(request(folders[kind]), lambda done, total: None)
    styled = request(folders[kind], loras=(LoraWeight(str(path), 1.0),))
    drawn = backend.draw(styled, lambda done, total: None)
    assert not np.array_equal(drawn.images[0], plain.images[0])
    nothing = request(folders[kind], loras=(LoraWeight(str(path), 0.0),))
    assert np.array_equal(backend.draw(nothing, lambda done, total: None).images[0], plain.images[0])
    assert np.array_equal(backend.draw(request(folders[kind]), lambda done, total: None).images[0], plain.images[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_that_does_not_fit_is_named_and_the_model_draws_on(
    backend: DiffusersBackend, folders: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    save_file({"lora_unet_conv_in.lora_down.weight": torch.zeros(2, 4)}, tmp_path / "other.safetensors")
    (tmp_path / "pickle.bin").write_bytes(b"x")
    for name, said in (("other.safetensors", "does not fit"), ("pickle.bin", "Pickles are not read")):
        wanted = request(folders[kind], loras=(LoraWeight(str(tmp_path / name)),))
        with pytest.raises(AdapterError, match=said):
            backend.draw(wanted, lambda done, total: None)
    assert backend.draw(request(folders[kind]), lambda done, total: None).images


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tile_x": True}, "wraps"),
        ({"init": (np.zeros((64, 64, 4), np.uint8),) * 2}, "begins with no picture"),
        ({"couple": lambda latents, step, total: latents}, "second prompt"),
        ({"negative": "blurry"}, "negative prompt"),
        ({"preset": "fast"}, "no preset 'fast'"),
        ({"steps": 201}, "1 to 200"),
        ({"guidance": 11.0}, "0 to 10"),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_it_is_loaded(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    backend = DiffusersBackend("cpu")
    with pytest.raises(InvalidRequest, match=said) as refused:
        backend.draw(request(index_of(tmp_path, "Flux2KleinPipeline"), **changes), lambda done, total: None)
    assert len(backend.describe()["resident"]) == 0
    if said in ("wraps", "begins with no picture", "second prompt", "negative prompt"):
        assert "model='sdxl' or 'embedded'" in str(refused.value)


@pytest.mark.slow
def test_klein_draws_after_one_and_after_two_pictures_of_any_size(
    backend: DiffusersBackend, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "REFERENCE", 64)
    small, wide = np.zeros((16, 16, 4), np.uint8), np.full((20, 40, 4), 200, np.uint8)
    small[4:12, 4:12] = (200, 30, 30, 255)
    pictures = [
        backend.draw(request(folders["flux2-klein"], references=some), lambda done, total: None).images
        for some in ((), (small,), (small, wide), (small,))
    ]
    assert [image.shape for image in pictures[1]] == [(64, 64, 4)] * 2
    assert (pictures[0][0] != pictures[1][0]).any()
    assert (pictures[1][0] != pictures[2][0]).any()
    assert (pictures[1][1] == pictures[3][1]).all()


@pytest.mark.slow
def test_a_model_of_the_kind_takes_a_negative_prompt_where_its_pipeline_does(
    backend: DiffusersBackend, folders: dict[str, Path]
) -> None:
    plain = backend.draw(request(folders["qwen-image"]), lambda done, total: None)
    other = backend.draw(request(folders["qwen-image"], negative="red"), lambda done, total: None)
    assert not np.array_equal(plain.images[0], other.images[0])


@pytest.mark.parametrize("pipeline", ["ZImagePipeline", "QwenImagePipeline"])
def test_references_are_refused_where_the_pipeline_takes_none(tmp_path: Path, pipeline: str) -> None:
    wanted = request(index_of(tmp_path, pipeline), references=(np.zeros((16, 16, 4), np.uint8),))
    with pytest.raises(InvalidRequest, match="takes no reference pictures"):
        DiffusersBackend("cpu").draw(wanted, lambda done, total: None)


def test_it_cannot_be_trained_and_says_which_can(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Train on model='sdxl' or 'embedded'"):
        options_for(find_model(str(index_of(tmp_path, "ZImagePipeline"))))


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    made = tmp_path / "copy"
    shutil.copytree(folders["z-image"], made)
    return made


@pytest.mark.slow
def test_a_pickle_is_refused(copy: Path) -> None:
    for file in (copy / "transformer").glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(ModelError, match="as a pickle"):
        DiffusersBackend("cpu").load(str(copy))


@pytest.mark.slow
def test_code_in_the_models_folder_is_not_run(copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (copy / "transformer" / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    index = json.loads((copy / "model_index.json").read_text())
    index["transformer"] = ["evil", "Evil"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="code of its own"):
        DiffusersBackend("cpu").load(str(copy))
    assert not marker.exists()


@pytest.mark.slow
def test_a_damaged_file_is_named(copy: Path) -> None:
    next((copy / "vae").glob("*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="Download the model again"):
        DiffusersBackend("cpu").load(str(copy))


@pytest.mark.slow
def test_one_of_these_models_is_loaded_at_a_time(folders: dict[str, Path]) -> None:
    backend = DiffusersBackend("cpu")
    for kind in ("z-image", "qwen-image"):
        backend.load(str(folders[kind]))
    assert [entry["model"] for entry in backend.describe()["resident"]] == [str(folders["qwen-image"])]
    assert [info.state for info in backend.models() if info.id == str(folders["qwen-image"])] == ["resident"]
    backend.unload(str(folders["qwen-image"]))
    assert backend.describe()["resident"] == []


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_name_is_pulled_from_its_publisher_with_its_licence(family: object, monkeypatch: pytest.MonkeyPatch) -> None:
    found = next(f for f in FAMILIES.values() if f is family)
    assert hub_repos(found.name) == (found.repo,)
    assert hub_repos(found.repo.id) == (found.repo,)
    assert found.repo.licence == "apache-2.0"
    with pytest.raises(ModelError, match=f"models pull {found.name}"):
        find_model(found.name)
    infos = {info.id: info for info in DiffusersBackend("cpu").models()}
    assert infos[found.name].state == "not_downloaded"
    assert infos[found.name].licence == "apache-2.0"
    assert "From a prompt" in infos[found.name].note or "from a prompt" in infos[found.name].note
