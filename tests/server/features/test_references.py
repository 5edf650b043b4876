"""reference= of sprites, tilesets and animations: kept pictures, palettes on the embedded model, clear refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import InvalidRequest, ModelError
from pipelines.records import LoraWeight, no_progress
from pipelines.sdxl.diffusion import DiffusersBackend
from server.errors import LibraryError
from server.features.animations import generate_animation
from server.features.requests import AnimationRequest, SpriteRequest, TilesetRequest
from server.features.sprites import generate_sprites
from server.features.tilesets import generate_tileset
from server.settings import Settings
from server.studio import Studio
from tests.fakes import FakeBackend
from tests.random_extras import write_controlnet, write_ip_adapter
from tests.random_sdxl import SIZES, build

RED, GREEN, BLUE = (200, 30, 40), (40, 160, 60), (30, 60, 180)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Pixel art of three colours on nothing."""
    image = np.zeros((16, 16, 4), np.uint8)
    image[2:14, 2:6], image[2:14, 6:10], image[2:14, 10:14] = (*RED, 255), (*GREEN, 255), (*BLUE, 255)
    file = tmp_path / "art" / "hero.png"
    file.parent.mkdir()
    Image.fromarray(image).save(file)
    return file


@pytest.fixture
def studio(tmp_path: Path) -> Any:
    studio = Studio(Settings(data_dir=tmp_path / "data"), FakeBackend())
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A tiny random SDXL, its IP-Adapter and its ControlNet."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    folder = tmp_path_factory.mktemp("models")
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder / "tiny", safe_serialization=True)
    adapter = write_ip_adapter(parts["unet"], folder / "adapter")
    return str(folder / "tiny"), adapter, write_controlnet(parts["unet"], folder / "scribble")


@pytest.fixture
def painter(tiny: tuple[str, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A studio whose SDXL has an IP-Adapter."""
    monkeypatch.setattr("pipelines.models.extras.ip_adapter", lambda: tiny[1])
    backend = DiffusersBackend("cpu", find_adapter=lambda: tiny[1], find_controlnet=lambda: tiny[2])
    studio = Studio(Settings(data_dir=tmp_path / "data"), backend)
    yield studio
    studio.close()


def sprite(**values: Any) -> SpriteRequest:
    return SpriteRequest.model_validate({"prompt": "red dragon", "size": 16, "seed": 1, "candidates": 1} | values)


def test_the_embedded_model_takes_a_references_colours_as_the_palette_and_says_so(studio: Studio, picture: Path):
    done = generate_sprites(studio, sprite(reference=str(picture)), no_progress)
    wanted = {f"{r:02x}{g:02x}{b:02x}" for r, g, b in (RED, GREEN, BLUE)}
    assert {word.lower() for word in done.sprites[0].asset.recipe.palette} == wanted
    assert "its 3 are the palette" in done.notes[0]
    assert "model='sdxl'" in done.notes[0]


def test_a_palette_that_is_given_wins_over_a_references_colours(studio: Studio, picture: Path):
    done = generate_sprites(studio, sprite(reference=str(picture), palette="pico-8"), no_progress)
    assert len(done.sprites[0].asset.recipe.palette) == 16
    assert "changes nothing" in done.notes[0]


def test_a_lora_that_was_taught_on_the_references_folder_is_named(studio: Studio, picture: Path, tmp_path: Path):
    from safetensors.torch import save_file

    job = tmp_path / "data" / "jobs" / "0123456789abcdef"
    job.mkdir(parents=True)
    spec = {"name": "mygame", "dataset": str(picture.parent), "model": "embedded", "options": {"steps": 10}}
    (job / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    (job / "state.json").write_text(json.dumps({"status": "done"}), encoding="utf-8")
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {f"{layer}.lora_down.weight": torch.zeros(2, 8), f"{layer}.lora_up.weight": torch.zeros(8, 2)}
    folder = tmp_path / "data" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "mygame.safetensors")
    elsewhere = shutil.copy(picture, tmp_path / "other.png")
    assert "LoRA" not in generate_sprites(studio, sprite(reference=str(elsewhere)), no_progress).notes[0]
    assert "'mygame' was taught" in generate_sprites(studio, sprite(reference=str(picture)), no_progress).notes[0]


def test_references_are_at_most_four_and_exist(studio: Studio, picture: Path):
    with pytest.raises(InvalidRequest, match="1 to 4"):
        generate_sprites(studio, sprite(reference=", ".join([str(picture)] * 5)), no_progress)
    with pytest.raises(Exception, match="There is no file"):
        generate_sprites(studio, sprite(reference="nothing.png"), no_progress)
    assert sprite(reference=["a.png", "b.png"]).reference == "a.png, b.png"


def test_tilesets_and_animations_take_the_colours_too(studio: Studio, picture: Path):
    tileset = generate_tileset(
        studio, TilesetRequest(upper="grass", layout="seamless", seed=1, reference=str(picture)), no_progress
    )
    assert len(tileset.asset.recipe.palette) == 3
    assert "palette" in tileset.notes[0]
    request = AnimationRequest(prompt="red dragon", motions=("idle",), frames=2, seed=1, reference=str(picture))
    animation = generate_animation(studio, request, no_progress)
    assert len(animation.asset.recipe.palette) == 3
    assert any("palette" in note for note in animation.notes)
    with pytest.raises(InvalidRequest, match="goes with a prompt"):
        generate_animation(
            studio, AnimationRequest(asset_id=animation.key.id if animation.key else "", reference="a.png"), no_progress
        )


def test_sdxl_draws_in_the_style_of_kept_references_and_the_recipe_draws_the_same_again(
    painter: Studio, tiny: tuple[str, Path, Path], picture: Path
):
    from pipelines.sprites.draw import draw_sprites
    from server.features.references import references_of

    asked = sprite(model=tiny[0], reference=str(picture))
    plain = generate_sprites(painter, sprite(model=tiny[0]), no_progress).sprites[0]
    styled = generate_sprites(painter, asked, no_progress).sprites[0]
    assert (plain.image != styled.image).any()
    recipe = styled.asset.recipe
    picture.unlink()
    (again,) = draw_sprites(painter.engine, recipe, 1, no_progress, references=references_of(painter, None, recipe))
    assert (again.image == styled.image).all()
    with pytest.raises(InvalidRequest, match="references"):
        draw_sprites(painter.engine, recipe)


@pytest.mark.slow
def test_a_tileset_of_sdxl_is_drawn_in_the_style_of_an_earlier_sprite(painter: Studio, tiny: tuple[str, Path, Path]):
    earlier = generate_sprites(painter, sprite(model=tiny[0]), no_progress).sprites[0].asset
    values = {"upper": "grass", "layout": "seamless", "seed": 1, "model": tiny[0], "candidates": 1}
    plain = generate_tileset(painter, TilesetRequest.model_validate(values), no_progress)
    styled = generate_tileset(painter, TilesetRequest.model_validate(values | {"reference": earlier.id}), no_progress)
    assert styled.asset.recipe.options["reference"] == {"assets": [earlier.id]}
    assert (plain.tileset.atlas != styled.tileset.atlas).any()


def test_sdxl_without_the_adapter_says_what_to_fetch_before_anything_is_kept(
    tiny: tuple[str, Path, Path], tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    studio = Studio(Settings(data_dir=tmp_path / "data"), DiffusersBackend("cpu"))
    with pytest.raises(ModelError, match="models pull ip-adapter"):
        generate_sprites(studio, sprite(model=tiny[0], reference=str(picture)), no_progress)
    assert studio.library(None).find() == ([], 0)
    studio.close()


def test_a_sketch_on_sdxl_is_held_to_its_lines_where_a_controlnet_was_pulled(
    painter: Studio, tiny: tuple[str, Path, Path], picture: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = sprite(model=tiny[0], sketch=str(picture), strength=1.0)
    free = generate_sprites(painter, asked, no_progress).sprites[0]
    monkeypatch.setattr("pipelines.models.extras.scribble", lambda: tiny[2])
    held = generate_sprites(painter, asked, no_progress).sprites[0]
    assert "lines" not in free.asset.recipe.options["sketch"]
    assert held.asset.recipe.options["sketch"]["lines"] is True
    assert (free.image != held.image).any()


def test_a_reference_that_is_gone_is_named(painter: Studio, tiny: tuple[str, Path, Path], picture: Path):
    from dataclasses import replace

    from server.features.references import references_of

    recipe = (
        generate_sprites(painter, sprite(model=tiny[0], reference=str(picture)), no_progress).sprites[0].asset.recipe
    )
    gone = replace(recipe, options={"reference": {"assets": ["0" * 12]}}, loras=(LoraWeight("x"),))
    with pytest.raises(LibraryError, match="A reference of this recipe is gone"):
        references_of(painter, None, gone)
