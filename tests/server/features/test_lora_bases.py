"""Drawing with a LoRA that was trained on other weights works; the recipe keeps the hash and the answer warns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fastmcp import Client
from safetensors.torch import save_file

from pipelines.pixels.png import read_recipe
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def put_lora(settings: Settings, name: str, base_hash: str) -> None:
    """A LoRA file whose header names the weights that it was trained on ("": none)."""
    folder = settings.data_dir / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        "lora_unet_conv_in.lora_down.weight": torch.zeros(2, 16, 3, 3),
        "lora_unet_conv_in.lora_up.weight": torch.zeros(8, 2, 1, 1),
    }
    said = {"dgx_pixels": json.dumps({"base": "embedded", "base_hash": base_hash})} if base_hash else {}
    save_file(tensors, folder / f"{name}.safetensors", said)


async def call(settings: Settings, backend: FakeBackend, tool: str, **arguments: Any) -> dict[str, Any]:
    async with Client(create_server(settings, backend)) as client:
        return (await client.call_tool(tool, arguments)).structured_content or {}


@pytest.mark.anyio
async def test_drawing_with_a_lora_of_other_weights_warns(game: Path, settings: Settings, backend: FakeBackend) -> None:
    (game / "dgx-pixels.toml").write_text('[[loras]]\nname = "mygame"\nweight = 0.8\n')
    put_lora(settings, "mygame", "0123456789abcdef")
    drawn = await call(settings, backend, "generate_sprite", prompt="red dragon")
    assert len(drawn["warnings"]) == 1
    assert "'mygame' was trained on other weights (01234567)" in drawn["warnings"][0]
    recipe = read_recipe(Path(drawn["paths"][0]).read_bytes())
    assert recipe is not None
    assert json.loads(recipe)["options"]["lora_bases"] == {"mygame": "0123456789abcdef"}
    assert "warnings" not in json.loads(recipe)["options"]

    edited = await call(settings, backend, "edit_sprite", asset_id=drawn["asset_id"], strength=0.5)
    moved = await call(settings, backend, "generate_animation", asset_id=drawn["asset_id"], motions="idle")
    tiles = await call(settings, backend, "generate_tileset", upper="grass", layout="seamless", tile_size=16)
    assert all(drawn["warnings"][0] in answer["warnings"] for answer in (edited, moved, tiles))

    put_lora(settings, "mygame", "fake")  # what the fake backend says of its weights
    again = await call(settings, backend, "edit_sprite", asset_id=drawn["asset_id"], strength=0.5)
    assert not any("other weights" in warning for warning in again.get("warnings", []))


@pytest.mark.anyio
@pytest.mark.parametrize("base_hash", ["fake", ""])
async def test_a_lora_of_the_same_or_unknown_weights_gives_no_warning(
    game: Path, settings: Settings, backend: FakeBackend, base_hash: str
) -> None:
    (game / "dgx-pixels.toml").write_text('[[loras]]\nname = "mygame"\n')
    put_lora(settings, "mygame", base_hash)
    drawn = await call(settings, backend, "generate_sprite", prompt="red dragon")
    assert "warnings" not in drawn


@pytest.mark.anyio
async def test_a_comparison_warns_about_the_lora(game: Path, settings: Settings, backend: FakeBackend) -> None:
    put_lora(settings, "mygame", "0123456789abcdef")
    done = await call(settings, backend, "compare_models", prompts=["red dragon"], variants=["", "+ mygame"], count=1)
    assert ["'mygame' was trained on other weights" in warning for warning in done["warnings"]] == [True]
