"""Recipes go to ComfyUI as workflows that its own facts allow, and come back as the same recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidRequest, UserError
from pipelines.records import LoraWeight, Recipe
from server.features.comfyui import templates
from workflows.comfyui.export import Exported, export_recipe
from workflows.comfyui.nodes import check_nodes
from workflows.comfyui.read import read_workflow
from workflows.errors import WorkflowError

GOLEM = Recipe(
    "sprite", "mossy stone golem", 48, 32, 7, negative="blurry", model="sdxl", loras=(LoraWeight("mygame", 0.7),),
    preset="quality", steps=30, guidance=6.0, options={"ground": "transparent"},
)  # fmt: skip


def exported(recipe: Recipe = GOLEM, checkpoint: str = "") -> Exported:
    return export_recipe(recipe, lambda name: Path(f"/loras/{name}.safetensors"), checkpoint)


def of(workflow: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in workflow.values() if node["class_type"] == kind]


@pytest.mark.parametrize("name", templates())
def test_a_template_keeps_to_the_facts_and_can_be_read(name: str) -> None:
    workflow = json.loads(templates()[name])
    check_nodes(workflow)
    recipe = read_workflow(templates()[name], name).recipe
    assert recipe.model == "sdxl"
    assert recipe.preset == "quality"
    assert (recipe.width, recipe.height) == ((16, 16) if name == "tile" else (32, 32))


def test_the_four_templates_ship() -> None:
    assert list(templates()) == ["batch", "sheet", "sprite", "tile"]


def test_a_recipe_keeps_its_numbers_in_comfyui() -> None:
    workflow = exported().workflow
    assert of(workflow, "CheckpointLoaderSimple")[0]["ckpt_name"] == "sd_xl_base_1.0.safetensors"
    loras = [(node["lora_name"], node["strength_model"], node["strength_clip"]) for node in of(workflow, "LoraLoader")]
    assert loras == [("pixel-art-xl.safetensors", 1.0, 1.0), ("dgx-pixels/mygame.safetensors", 0.7, 0.7)]
    first, second = of(workflow, "KSamplerAdvanced")
    assert (first["cfg"], first["start_at_step"], first["end_at_step"], first["noise_seed"]) == (6.0, 0, 18, 7)
    assert (second["cfg"], second["start_at_step"], second["add_noise"]) == (1.0, 18, "disable")
    scaled = of(workflow, "ImageScale")[0]
    assert (scaled["width"], scaled["height"], scaled["upscale_method"]) == (48, 32, "nearest-exact")
    canvas = of(workflow, "EmptyLatentImage")[0]
    assert canvas["width"] / canvas["height"] == pytest.approx(1.5, rel=0.05)
    assert of(workflow, "CLIPTextEncodeSDXL")[1]["text_g"] == "blurry"


@pytest.mark.parametrize("preset", ["quality", "fast", "draft"])
@pytest.mark.parametrize("negative", ["", "blurry (very)"])
def test_a_workflow_comes_back_as_its_recipe(preset: str, negative: str) -> None:
    sampling = {"quality": (30, 6.0), "fast": (8, 5.0), "draft": (6, 1.5)}[preset]
    recipe = Recipe(
        "sprite", "knight (old)", 64, 64, 2**63 - 1, negative=negative, model="sdxl",
        loras=(LoraWeight("mygame", 0.7),), preset=preset, steps=sampling[0], guidance=sampling[1],
        options={"ground": "opaque"},
    )  # fmt: skip
    read = read_workflow(json.dumps(exported(recipe).workflow), "w.json", {"mygame"})
    assert read.recipe == recipe
    assert read.left_out == ()


def test_an_embedded_sprite_is_exported_with_a_named_checkpoint_only() -> None:
    recipe = Recipe("sprite", "imp", 32, 32, 1, preset="turbo", steps=4, guidance=1.0)
    with pytest.raises(InvalidRequest, match="--checkpoint sd_xl_base"):
        exported(recipe)
    done = exported(recipe, "mine.safetensors")
    assert of(done.workflow, "CheckpointLoaderSimple")[0]["ckpt_name"] == "mine.safetensors"
    assert of(done.workflow, "KSamplerAdvanced")[0]["steps"] == 30
    assert any("embedded" in said for said in done.left_out)


def test_a_tileset_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidRequest, match="template"):
        exported(Recipe("tileset", "x", 16, 16, 1, model="sdxl"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda w: w["1"].update(class_type="Loader"), "'Loader' is not known"),
        (lambda w: w["1"]["inputs"].update(extra=1), "takes no 'extra'"),
        (lambda w: w["4"]["inputs"].pop("clip"), "needs the input 'clip'"),
        (lambda w: w["4"]["inputs"].update(clip=["1", 0]), "needs CLIP, and is linked to MODEL"),
        (lambda w: w["4"]["inputs"].update(clip=["99", 0]), "leads nowhere"),
        (lambda w: w["4"]["inputs"].update(clip=["1", 3]), "leads nowhere"),
        (lambda w: w["8"]["inputs"].update(steps=0), "INT from 1 to 10000"),
        (lambda w: w["8"]["inputs"].update(steps=True), "INT from 1 to 10000"),
        (lambda w: w["8"]["inputs"].update(sampler_name="magic"), "one of euler"),
        (lambda w: w["8"]["inputs"].update(latent_image=["9", 0]), "circle"),
        (lambda w: w.pop("12"), "saves a picture"),
    ],
)
def test_a_workflow_that_comfyui_would_refuse_is_found(spoil: Any, said: str) -> None:
    workflow = json.loads(templates()["sprite"])
    names = [node["class_type"] for node in workflow.values()]
    assert names[7:9] == ["KSamplerAdvanced"] * 2
    assert names[11] == "SaveImage"
    workflow["4"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["2", 1]}} | {}
    workflow["5"]["inputs"]["clip"] = ["2", 1]
    workflow["8"]["inputs"]["latent_image"] = ["13", 0]
    workflow["13"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    check_nodes(workflow)
    spoil(workflow)
    with pytest.raises(WorkflowError, match=said):
        check_nodes(workflow)


FOREIGN: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 2**64 - 5, "steps": 20, "cfg": 8, "sampler_name": "dpmpp_2m", "scheduler": "karras",
            "denoise": 0.5, "model": ["11", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sub\\juggernaut.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 512, "batch_size": 4}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["20", 0], "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "embedding:bad, (blurry:1.3)", "clip": ["10", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {
            "model": ["4", 0], "clip": ["4", 1], "lora_name": "style/mygame.safetensors",
            "strength_model": 0.8, "strength_clip": 0.2,
        },
    },
    "11": {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["12", 0], "lora_name": "other.safetensors", "strength_model": 0.5},
    },
    "12": {"class_type": "PatchModelAddDownscale", "inputs": {"model": ["10", 0]}},
    "20": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a (red:1.2)\ndragon \\(old\\)"}},
}  # fmt: skip


def test_somebody_elses_workflow_gives_a_recipe_and_names_what_is_left_out() -> None:
    read = read_workflow(json.dumps(FOREIGN), "w.json", {"mygame"})
    recipe = read.recipe
    assert recipe.prompt == "a red dragon (old)"
    assert recipe.negative == "blurry"
    assert (recipe.width, recipe.height) == (128, 64)
    assert recipe.seed == (2**64 - 5) % 2**63
    assert recipe.loras == (LoraWeight("mygame", 0.8),)
    assert (recipe.steps, recipe.guidance, recipe.preset) == (20, 8.0, "quality")
    assert read.checkpoint == "sub/juggernaut.safetensors"
    said = " ".join(read.left_out)
    for part in ("juggernaut", "'other.safetensors' (weight 0.5)", "dpmpp_2m / karras", "batch", "begin with"):
        assert part in said
    for part in ("Weights", "Embeddings", "PatchModelAddDownscale", "another weight", "highest bit", "an eighth"):
        assert part in said


def test_a_checkpoint_that_is_found_becomes_the_model() -> None:
    read = read_workflow(json.dumps(FOREIGN), "w.json", (), lambda name: f"/models/{name}")
    assert read.recipe.model == "/models/sub/juggernaut.safetensors"
    assert not any("checkpoint" in said for said in read.left_out)


def test_the_body_of_a_request_is_read_as_its_workflow() -> None:
    assert read_workflow(json.dumps({"prompt": FOREIGN, "client_id": "x"}), "w").recipe.steps == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not a ComfyUI API workflow"),
        ("{}", "not a ComfyUI API workflow"),
        ("{", "not JSON"),
        ('{"nodes": [], "links": []}', "Export \\(API\\)"),
        ('{"1": {"class_type": "KSampler"}}', "'1' has no class_type and inputs"),
        ('{"1": {"class_type": "SaveImage", "inputs": {}}}', "no node that samples"),
        ('{"1": ' + "9" * 5000 + "}", "too long"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps({str(i): {"class_type": "A", "inputs": {}} for i in range(5001)}), "5,001 nodes"),
    ],
)
def test_a_file_that_is_not_a_workflow_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_workflow(text, "w.json")


LINKS = st.tuples(st.sampled_from([*FOREIGN, "99"]), st.integers(-1, 3)).map(list)
VALUES = st.one_of(LINKS, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just([]))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([(node, key) for node in FOREIGN for key in FOREIGN[node]["inputs"]]), VALUES),
        max_size=8,
    )
)
def test_any_value_in_a_workflow_gives_a_usable_recipe_or_a_sentence(changes: list[Any]) -> None:
    workflow = json.loads(json.dumps(FOREIGN))
    for (node, key), value in changes:
        workflow[node]["inputs"][key] = value
    try:
        recipe = read_workflow(json.dumps(workflow), "w.json", {"mygame"}).recipe
    except UserError:
        return
    assert 0 < len(recipe.prompt) <= 2000
    assert 8 <= min(recipe.width, recipe.height) <= max(recipe.width, recipe.height) <= 256
    assert 0 <= recipe.seed < 2**63
    assert Recipe.from_json(recipe.to_json()) == recipe
