"""The SDXL tier on a CUDA device, through the engine: float16, graphs, LoRAs that change under a graph, no room.

A tiny random checkpoint in SDXL's real layout: about a minute, nearly all of it compiling. `make test-gpu`
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.engine import Engine
from pipelines.errors import OutOfMemory
from pipelines.models.presets import PRESETS
from pipelines.records import Drawing, DrawRequest, LoraWeight, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites
from tests.random_sdxl import SIZES, build

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),  # what compilers and drivers remark is not ours
]

WARMED = 240.0
"""Seconds after which graphs should be there: a tiny model has as many pieces to compile as a full one."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SDXL in float16, with a VAE that does not overflow in it."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    folder = tmp_path_factory.mktemp("models") / "tiny"
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    parts["vae"].register_to_config(force_upcast=False)
    pipe: Any = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    pipe.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def loras(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A LoRA of the UNet and one of both text encoders."""
    folder = tmp_path_factory.mktemp("loras")
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    draw = torch.Generator().manual_seed(1)

    def write(name: str, components: tuple[str, ...], ends: tuple[str, ...]) -> Path:
        factors: dict[str, torch.Tensor] = {}
        for component in components:
            for layer, module in parts[component].named_modules():
                if isinstance(module, torch.nn.Linear) and layer.endswith(ends):
                    down = torch.randn(4, module.in_features, generator=draw) * 0.5
                    up = torch.randn(module.out_features, 4, generator=draw) * 0.5
                    factors[f"{component}.{layer}.lora_A.weight"] = down
                    factors[f"{component}.{layer}.lora_B.weight"] = up
        save_file(factors, folder / name)
        return folder / name

    return {
        "unet": write("unet.safetensors", ("unet",), ("to_q", "to_k", "to_v", "to_out.0", "ff.net.2")),
        "text": write("text.safetensors", ("text_encoder", "text_encoder_2"), ("fc1", "fc2", "q_proj")),
    }


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def nothing(done: int, total: int) -> None:
    pass


def request(checkpoint: Path, *loras: Path, count: int = 2, side: int = 64, **changes: Any) -> DrawRequest:
    values: dict[str, Any] = {"steps": 3, "guidance": 1.0} | changes
    stack = tuple(LoraWeight(str(path), 0.8) for path in loras)
    seeds = tuple(range(count))
    return DrawRequest(str(checkpoint), ("red dragon",) * count, seeds, side, side, loras=stack, **values)


def difference(a: Drawing, b: Drawing) -> float:
    """Mean distance of two drawings' pixels, in 0..255."""
    return float(np.abs(np.stack(a.images).astype(int) - np.stack(b.images).astype(int)).mean())


def until_warm(engine: Engine) -> dict[str, Any]:
    """The graphs' state once none waits."""
    end, tick = time.monotonic() + WARMED, threading.Event()
    while True:
        state = engine.status()["resident"][0]["graphs"]
        if all(part["waiting"] == 0 for part in state.values()):
            return state
        assert time.monotonic() < end, state
        tick.wait(0.1)


def test_an_sdxl_in_float16_draws_sprites_gets_graphs_and_sees_every_change_of_its_loras(
    checkpoint: Path, loras: dict[str, Path]
):
    engine = Engine(DiffusersBackend("cuda"))
    plain = DiffusersBackend("cuda")  # never warmed: what graphs are compared with
    try:
        eager = plain.draw(request(checkpoint), nothing)
        assert all(image[..., :3].std() > 1 for image in eager.images), "a flat picture: no numbers in float16"
        # 1. sprites, through finishing
        recipe = Recipe("sprite", "red dragon", 16, 16, 1, model=str(checkpoint), steps=3, guidance=1.0)
        sprites = draw_sprites(engine, recipe, 2)
        assert [sprite.image.shape for sprite in sprites] == [(16, 16, 4)] * 2
        # 2. graphs, made while nobody waits
        engine.draw(request(checkpoint))
        state = until_warm(engine)
        print(json.dumps(state))
        assert json.dumps(engine.status())
        assert not any(part["failed"] for part in state.values())
        assert all(state[part]["graphs"] >= 1 for part in ("step", "decode", "prompts"))
        assert state["step"]["compile"].startswith("on")
        assert state["step"]["compiled_graphs"] >= 1
        assert state["decode"]["compiled_graphs"] >= 1
        assert difference(captured := engine.draw(request(checkpoint)), eager) < 2
        # 3. LoRAs change under the graphs: UNet, text encoders, both, none
        for stack in ([loras["unet"]], [loras["text"]], [loras["unet"], loras["text"]]):
            wanted = request(checkpoint, *stack)
            changed = engine.draw(wanted)
            assert difference(changed, captured) > 0.5
            assert difference(changed, plain.draw(wanted, nothing)) < 2
        again = engine.draw(request(checkpoint))
        assert all(np.array_equal(a, b) for a, b in zip(again.images, captured.images, strict=True))
        assert engine.status()["failed"] == 0
    finally:
        engine.close()


def test_presets_draw_with_their_own_loras(
    checkpoint: Path, loras: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    backend = DiffusersBackend("cuda")
    presets = [PRESETS[name] for name in ("quality", "fast", "draft")]
    for preset in presets:
        if preset.repo is not None:
            folder = tmp_path / f"models--{preset.repo.id.replace('/', '--')}"
            snapshot = folder / "snapshots" / preset.repo.revision
            snapshot.mkdir(parents=True)
            (snapshot / preset.lora).symlink_to(loras["unet"])
    drawn = [
        backend.draw(request(checkpoint, preset=preset.name, steps=None, guidance=None), nothing) for preset in presets
    ]
    assert [(d.steps, d.guidance) for d in drawn] == [(p.steps, p.guidance) for p in presets]
    assert all(image[..., :3].std() > 1 for d in drawn for image in d.images)


def test_a_vae_that_overflows_in_float16_decodes_in_float32(checkpoint: Path, tmp_path: Path):
    import shutil

    folder = tmp_path / "upcast"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps(config | {"force_upcast": True}))
    upcast, half = DiffusersBackend("cuda"), DiffusersBackend("cuda")
    drawing = upcast.draw(request(folder), nothing)
    assert upcast.resident(upcast.residents[str(folder)].model).vae.dtype == torch.float32
    assert difference(drawing, half.draw(request(checkpoint), nothing)) < 2


def test_without_room_the_batch_is_halved_and_then_the_refusal_says_what_to_do(checkpoint: Path):
    backend = DiffusersBackend("cuda")
    engine = Engine(backend)
    backend.warm = lambda should_stop: False  # graphs keep memory of their own
    try:

        def peak(count: int) -> int:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            engine.draw(request(checkpoint, count=count, side=512))
            return torch.cuda.max_memory_reserved()

        expected = engine.draw(request(checkpoint, count=4, side=512))
        two, four = peak(2), peak(4)
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((two + 0.5 * (four - two)) / total)
        halved = engine.draw(request(checkpoint, count=4, side=512))
        assert difference(halved, expected) < 2
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (1 << 20)) / total)
        with pytest.raises(OutOfMemory, match="smaller size"):
            engine.draw(request(checkpoint, count=1, side=1024))
        torch.cuda.set_per_process_memory_fraction(1.0)
        engine.draw(request(checkpoint, count=1, side=512))
    finally:
        engine.close()


def test_a_step_that_takes_its_time_is_cancelled_before_it_ends(checkpoint: Path):
    class Stop(Exception):
        pass

    engine = Engine(DiffusersBackend("cuda"))
    try:

        def stop(done: int, total: int, message: str) -> None:
            if done >= 3:
                raise Stop

        with pytest.raises(Stop):
            engine.draw(request(checkpoint, steps=150), stop)
        assert len(engine.draw(request(checkpoint)).images) == 2
    finally:
        engine.close()
