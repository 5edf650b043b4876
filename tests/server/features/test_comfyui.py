"""An asset goes to ComfyUI with its files linked, and a workflow comes back as a sprite of the game."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.errors import InvalidRequest
from pipelines.records import LoraWeight, Recipe
from server.errors import LibraryError, ProjectError, ServerError
from server.features.comfyui import (
    draw_imported,
    export_comfyui,
    import_comfyui,
    link_models,
    templates,
)
from server.studio import Studio


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    root = tmp_path / "ComfyUI"
    for folder in ("checkpoints", "loras", "vae"):
        (root / "models" / folder).mkdir(parents=True)
    return root


def kept(studio: Studio, **more: object) -> str:
    recipe = Recipe("sprite", "golem", 32, 32, 1, model="sdxl", preset="quality", **more)  # type: ignore[arg-type]
    return studio.library(studio.project()).add("sprite", {"sprite.png": b"golem"}, recipe).id


def test_an_asset_is_exported(studio: Studio) -> None:
    done = export_comfyui(studio, kept(studio))
    assert {node["class_type"] for node in done.workflow.values()} >= {"CheckpointLoaderSimple", "SaveImage"}
    assert [file.folder for file in done.files] == ["checkpoints", "loras", "vae"]


def test_an_unknown_asset_is_refused(studio: Studio) -> None:
    with pytest.raises(LibraryError):
        export_comfyui(studio, "0123456789ab")


def test_a_lora_that_is_gone_is_named(studio: Studio) -> None:
    with pytest.raises(InvalidRequest.__mro__[1], match="no LoRA 'gone'"):
        export_comfyui(studio, kept(studio, loras=(LoraWeight("gone"),)))


def test_a_recipe_that_comes_with_a_game_names_no_file_outside_of_it(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    with pytest.raises(ProjectError, match="outside the game"):
        export_comfyui(studio, kept(studio, loras=(LoraWeight(str(tmp_path / "secret.safetensors")),)))


def test_the_lora_folder_is_linked_and_what_is_there_stays(studio: Studio, comfyui: Path) -> None:
    loras = studio.loras.folder
    (loras / "mine.safetensors").write_bytes(b"lora")
    (comfyui / "models/checkpoints/sd_xl_base_1.0.safetensors").write_bytes(b"own")
    done = export_comfyui(studio, kept(studio))
    linked = link_models(comfyui, done.files, loras)
    assert (comfyui / "models/loras/dgx-pixels/mine.safetensors").read_bytes() == b"lora"
    assert [file.folder for file in linked.missing] == ["loras", "vae"]
    again = link_models(comfyui, done.files, loras)
    assert again.made == ()
    assert (comfyui / "models/checkpoints/sd_xl_base_1.0.safetensors").read_bytes() == b"own"


def test_a_folder_that_is_not_comfyuis_is_refused(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="not a ComfyUI folder"):
        link_models(tmp_path, (), studio.loras.folder)


def test_a_folder_with_the_links_name_is_left_alone(studio: Studio, comfyui: Path) -> None:
    (comfyui / "models/loras/dgx-pixels").mkdir()
    with pytest.raises(ServerError, match="Move it away"):
        link_models(comfyui, (), studio.loras.folder)


def test_a_picture_that_comfyui_saved_is_read(studio: Studio, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("prompt", templates()["sprite"])
    Image.new("RGB", (32, 32)).save(tmp_path / "comfy.png", pnginfo=info)
    assert import_comfyui(studio, tmp_path / "comfy.png").recipe.prompt == "mossy stone golem"
    Image.new("RGB", (32, 32)).save(tmp_path / "plain.png")
    with pytest.raises(InvalidRequest, match="holds no ComfyUI workflow"):
        import_comfyui(studio, tmp_path / "plain.png")


def test_the_games_palette_is_taken(studio: Studio, game: Path, tmp_path: Path) -> None:
    (game / "assets/palette.hex").write_text("000000\nffffff\n")
    (game / "dgx-pixels.toml").write_text('palette = "assets/palette.hex"\n')
    (tmp_path / "w.json").write_text(templates()["sprite"])
    assert import_comfyui(studio, tmp_path / "w.json").recipe.palette == ("000000", "ffffff")


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "pickle.ckpt", "none.safetensors"])
def test_a_checkpoint_outside_the_folder_is_not_taken(studio: Studio, comfyui: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (comfyui / "models/checkpoints/pickle.ckpt").write_bytes(b"x")
    workflow = json.loads(templates()["sprite"])
    workflow["1"]["inputs"]["ckpt_name"] = name
    (tmp_path / "w.json").write_text(json.dumps(workflow))
    read = import_comfyui(studio, tmp_path / "w.json", comfyui=comfyui)
    assert read.recipe.model == "sdxl"
    assert any("checkpoint" in said for said in read.left_out)


def test_a_checkpoint_in_the_folder_becomes_the_model(studio: Studio, comfyui: Path, tmp_path: Path) -> None:
    place = comfyui / "models/checkpoints/mine.safetensors"
    place.write_bytes(b"x")
    workflow = json.loads(templates()["sprite"])
    workflow["1"]["inputs"]["ckpt_name"] = "mine.safetensors"
    (tmp_path / "w.json").write_text(json.dumps(workflow))
    assert import_comfyui(studio, tmp_path / "w.json", comfyui=comfyui).recipe.model == str(place)


def test_a_model_that_is_not_here_is_named_when_it_should_draw(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(templates()["sprite"])
    read = import_comfyui(studio, tmp_path / "w.json")
    with pytest.raises(Exception, match="models pull sdxl"):
        draw_imported(studio, read, lambda done, total, said: None)
