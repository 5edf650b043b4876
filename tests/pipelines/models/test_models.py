"""The catalog, loading, and what is refused, with tiny random SDXL checkpoints in the real layout."""

from __future__ import annotations

import json
import re
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.engine.engine import Engine
from pipelines.errors import InvalidRequest, ModelError, OutOfMemory
from pipelines.models.catalog import (
    embedded_model,
    find_model,
    folder_model,
    hub_repos,
    preset_lora,
    revision_of,
    sdxl_info,
)
from pipelines.models.presets import PRESETS, bucket
from pipelines.records import DrawRequest, Recipe
from pipelines.sdxl import diffusion, picture
from pipelines.sdxl.diffusion import DiffusersBackend, plan_sampling
from pipelines.sprites.draw import draw_sprites
from tests.random_sdxl import SIZES, build


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SDXL as a folder in diffusers layout."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    folder = tmp_path_factory.mktemp("models") / "tiny"
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(autouse=True)
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def request(model: str, **changes: Any) -> DrawRequest:
    values: dict[str, Any] = {"steps": 2} | changes
    return DrawRequest(model, ("red dragon",), (1,), 64, 64, **values)


def nothing(done: int, total: int) -> None:
    pass


def test_a_folder_draws_as_a_model(tiny_sdxl: Path):
    backend = DiffusersBackend("cpu")
    drawing = backend.draw(request(str(tiny_sdxl), tile_x=True), nothing)
    assert drawing.images[0].shape == (64, 64, 4)
    assert (drawing.images[0][..., 3] == 255).all()
    assert [m.state for m in backend.models() if m.id == str(tiny_sdxl)] == ["resident"]
    assert json.dumps(backend.describe())


def test_an_sdxl_canvas_is_finished_to_the_size_asked_for(tiny_sdxl: Path):
    engine = Engine(DiffusersBackend("cpu"))
    (sprite,) = draw_sprites(engine, Recipe("sprite", "stone wall", 16, 16, 1, model=str(tiny_sdxl), steps=2))
    engine.close()
    assert sprite.image.shape == (16, 16, 4)
    assert sprite.report.passed
    assert sprite.recipe.revision == revision_of(folder_model(tiny_sdxl))


def test_the_revision_changes_with_the_weights(tiny_sdxl: Path, tmp_path: Path):
    copy = shutil.copytree(tiny_sdxl, tmp_path / "copy")
    before = revision_of(folder_model(copy))
    assert before == revision_of(folder_model(tiny_sdxl))
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert revision_of(folder_model(copy)) != before


def test_a_pickle_is_refused_with_a_reason(tiny_sdxl: Path, tmp_path: Path):
    copy = shutil.copytree(tiny_sdxl, tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match="pickle"):
        DiffusersBackend("cpu").load(str(copy))
    checkpoint = tmp_path / "model.ckpt"
    checkpoint.write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="Pickles"):
        find_model(str(checkpoint))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder_2"])
def test_broken_weights_are_named(tiny_sdxl: Path, tmp_path: Path, part: str):
    copy = shutil.copytree(tiny_sdxl, tmp_path / "copy")
    (weights,) = (copy / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match=f"The {part} of .* cannot be loaded"):
        DiffusersBackend("cpu").load(str(copy))


def test_models_other_than_sdxl_are_refused(tiny_sdxl: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="no model 'imaginary'"):
        find_model("imaginary")
    with pytest.raises(ModelError, match=r"model_index\.json is missing"):
        find_model(str(tmp_path))
    copy = shutil.copytree(tiny_sdxl, tmp_path / "copy")
    index = json.loads((copy / "model_index.json").read_text())
    del index["text_encoder_2"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="not of the SDXL family"):
        find_model(str(copy))
    file = tmp_path / "other.safetensors"
    header = json.dumps({"model.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError, match="not of the SDXL family"):
        find_model(str(file))
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="not a safetensors file"):
        find_model(str(file))


def test_a_model_that_was_not_pulled_says_how_to_pull_it():
    for name in ("sdxl", "owner/name", "owner/name@v2"):
        with pytest.raises(ModelError, match=f"models pull {name}"):
            find_model(name)
    assert sdxl_info().state == "not_downloaded"
    with pytest.raises(ModelError, match="models pull sdxl"):
        preset_lora(embedded_model(), PRESETS["fast"])
    assert len(hub_repos("sdxl")) == 6
    assert all(repo.licence != "unknown" for repo in hub_repos("sdxl"))


def test_all_that_a_pull_of_sdxl_fetches_is_pinned_to_a_commit():
    assert {repo.id for repo in hub_repos("sdxl") if not re.fullmatch("[0-9a-f]{40}", repo.revision)} == set()


def test_presets_settle_steps_and_keep_guidance_in_its_range(tiny_sdxl: Path):
    model = folder_model(tiny_sdxl)
    plan = plan_sampling(model, request("x", steps=None))
    assert (plan.steps, plan.guidance, plan.guided) == (30, 6.0, (0.0, 0.6))
    assert plan_sampling(model, request("x", steps=None, preset="fast")).steps == 8
    with pytest.raises(InvalidRequest, match="guidance is 1 to 2"):
        plan_sampling(model, request("x", preset="draft", guidance=7.0))
    with pytest.raises(InvalidRequest, match="has no preset 'turbo'"):
        plan_sampling(model, request("x", preset="turbo"))
    with pytest.raises(InvalidRequest, match="It has turbo, guided"):
        plan_sampling(embedded_model(), request("x", preset="draft"))
    with pytest.raises(InvalidRequest, match="has none"):
        plan_sampling(replace(embedded_model(), presets=()), request("x", preset="turbo"))
    with pytest.raises(InvalidRequest, match="takes 4 steps"):
        plan_sampling(embedded_model(), request("x", preset="turbo", steps=6))
    with pytest.raises(InvalidRequest, match="steps is 1 to"):
        plan_sampling(embedded_model(), request("x", steps=0))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "turbo"),
        ({"steps": 4, "guidance": 1.0}, "turbo"),
        ({"steps": 8}, "guided"),
        ({"guidance": 1.5}, "guided"),
        ({"negative": "blue"}, "guided"),
        ({"tile_x": True}, "guided"),
        ({"init": (np.zeros((32, 32, 4), np.uint8),)}, "guided"),
    ],
)
def test_a_plain_drawing_is_turbo_and_anything_else_is_guided(changes: dict[str, Any], name: str):
    plan = plan_sampling(embedded_model(), request("x", **{"steps": None, "guidance": None} | changes))
    assert plan.preset == PRESETS[name]


def test_guidance_is_set_where_a_prompt_names_a_part_and_none_is_asked_for():
    asked = request("x", steps=None, guidance=None)
    assert plan_sampling(embedded_model(), replace(asked, bare_prompts=("dwarf",))).guidance == 2.0
    assert plan_sampling(embedded_model(), replace(asked, bare_prompts=("",))).guidance == 1.0
    assert plan_sampling(embedded_model(), replace(asked, bare_prompts=("dwarf",), guidance=1.0)).guidance == 1.0
    assert plan_sampling(embedded_model(), replace(asked, preset="turbo", guidance=2.0)).steps == 4


def test_the_longest_unused_model_leaves_when_the_next_needs_room(tiny_sdxl: Path, monkeypatch: pytest.MonkeyPatch):
    backend = DiffusersBackend("cpu")
    free = [10 << 30]
    monkeypatch.setattr(diffusion, "free_bytes", lambda device: free[0] - (3 << 30) * len(backend.residents))
    backend.load("embedded")
    backend.load(str(tiny_sdxl))
    assert len(backend.residents) == 2
    free[0] = 5 << 30
    second = shutil.copytree(tiny_sdxl, tiny_sdxl.parent / "second", dirs_exist_ok=True)
    backend.load(str(second))
    assert list(backend.residents) == [str(second)]
    backend.unload(str(second))
    free[0] = 1 << 30
    with pytest.raises(OutOfMemory, match=r"needs 3\.\d GB of memory"):
        backend.load(str(second))


def test_no_room_on_the_device_is_an_error_and_the_others_leave(tiny_sdxl: Path, monkeypatch: pytest.MonkeyPatch):
    backend = DiffusersBackend("cpu")
    backend.load("embedded")
    backend.load(str(tiny_sdxl))

    def full(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(picture, "denoise", full)
    with pytest.raises(OutOfMemory, match="no room for 1 pictures of 64x64"):
        backend.draw(request(str(tiny_sdxl)), nothing)
    assert list(backend.residents) == [str(tiny_sdxl)]


def test_a_picture_is_the_same_alone_and_in_a_batch(tiny_sdxl: Path):
    backend = DiffusersBackend("cpu")
    three = DrawRequest(str(tiny_sdxl), ("red dragon", "stone", "golem"), (5, 6, 7), 64, 64, steps=3)
    together = backend.draw(three, nothing).images
    for at, (prompt, seed) in enumerate(zip(three.prompts, three.seeds, strict=True)):
        alone = backend.draw(replace(three, prompts=(prompt,), seeds=(seed,)), nothing).images[0]
        assert np.abs(alone.astype(int) - together[at].astype(int)).max() <= 1  # of 255: sums in another order
    assert np.abs(together[0].astype(int) - together[1].astype(int)).max() > 1


def test_a_draft_is_decoded_by_the_tiny_decoder_and_wraps_where_it_is_asked_to(
    tiny_sdxl: Path, monkeypatch: pytest.MonkeyPatch
):
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    torch.manual_seed(0)
    draft = replace(PRESETS["draft"], repo=None, lora="")
    monkeypatch.setitem(PRESETS, "draft", draft)
    backend = DiffusersBackend("cpu")
    folder = tiny_sdxl.parent / "taesd"
    AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).save_pretrained(folder)
    monkeypatch.setattr(diffusion, "find_model", lambda name: replace(folder_model(tiny_sdxl), tiny_vae=folder))
    drawn = [backend.draw(request(str(tiny_sdxl), preset=p), nothing).images[0] for p in ("quality", "draft")]
    assert not np.array_equal(drawn[0], drawn[1])
    # latents that are moved by two cells of eight come out as the same picture, moved by 16 pixels, over the edge too
    latents = torch.randn(1, 4, 8, 8)
    moved = []
    for shift in (0, 2):
        monkeypatch.setattr(picture, "denoise", lambda *rest, by=shift, **named: latents.roll(by, -1))
        moved.append(backend.draw(request(str(tiny_sdxl), preset="draft", tile_x=True), nothing).images[0].astype(int))
    assert np.abs(np.roll(moved[0], 16, axis=1) - moved[1]).max() <= 1


def test_a_cancelled_drawing_ends_at_its_next_step_and_leaves_the_model_as_it_was(tiny_sdxl: Path):
    class Stop(Exception):
        pass

    taken: list[int] = []

    def stop(done: int, total: int) -> None:
        taken.append(done)
        if done == 2:
            raise Stop

    backend = DiffusersBackend("cpu")
    before = backend.draw(request(str(tiny_sdxl)), nothing).images[0]
    with pytest.raises(Stop):
        backend.draw(request(str(tiny_sdxl), steps=20, tile_x=True), stop)
    assert taken == [1, 2]
    after = backend.draw(request(str(tiny_sdxl)), nothing).images[0]
    assert np.abs(after.astype(int) - before.astype(int)).max() <= 1


def test_what_a_drawing_without_room_held_is_free_before_half_of_it_is_tried(
    tiny_sdxl: Path, monkeypatch: pytest.MonkeyPatch
):
    backend = DiffusersBackend("cpu")
    engine = Engine(backend)
    held: list[weakref.ref[Any]] = []
    plain = picture.denoise

    def scarce(predict: Any, scheduler: Any, latents: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        assert not any(reference() is not None for reference in held)
        if len(latents) > 2:
            activations = torch.zeros(1000)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(predict, scheduler, latents, *rest, **named)

    monkeypatch.setattr(picture, "denoise", scarce)
    try:
        four = DrawRequest(str(tiny_sdxl), ("red dragon",) * 4, (1, 2, 3, 4), 64, 64, steps=1)
        assert len(engine.draw(four).images) == 4
        assert len(held) == 1
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 30}, "multiple of 8"),
        ({"strength": 0.0}, "strength"),
        ({"init": (np.zeros((16, 16, 4), np.uint8),)}, "init needs 1 pictures of 32x32"),
        ({"mask": (np.zeros((32, 32), np.bool_),)}, "give init too"),
    ],
)
def test_a_request_that_does_not_suit_the_model_is_refused(changes: dict[str, Any], words: str):
    values: dict[str, Any] = {"prompts": ("red dragon",), "seeds": (1,), "width": 32, "height": 32} | changes
    with pytest.raises(InvalidRequest, match=words):
        DiffusersBackend("cpu").draw(DrawRequest("embedded", **values), nothing)


def test_canvases_have_few_shapes():
    assert bucket(1024, 32, 32) == (1024, 1024)
    assert bucket(512, 64, 16) == (1024, 256)


def test_one_file_names_the_configuration_that_it_needs(tmp_path: Path):
    path = tmp_path / "tiny.safetensors"
    name = "conditioner.embedders.1.model.ln_final.weight"
    header = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError, match="models pull sdxl-config"):
        find_model(str(path))
