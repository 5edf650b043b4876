"""LoRA files by name: what is dropped in, changed, broken or taken away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loras.registry import Registry
from pipelines.errors import AdapterError

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"


def drop(path: Path, rank: int = 4) -> Path:
    """A small LoRA in kohya's form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{LAYER}.lora_down.weight": torch.zeros(rank, 8), f"{LAYER}.lora_up.weight": torch.zeros(8, rank)}
    save_file(tensors, path, {"ss_base_model_version": "sdxl_base_v1-0", "modelspec.trigger_phrase": "pixel"})
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "loras")
    yield registry
    registry.close()


def soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def test_a_file_that_is_dropped_in_is_usable_immediately(registry: Registry) -> None:
    assert registry.list() == []
    registry.watch()
    assert registry.list() == []
    drop(registry.folder / "glow.safetensors")
    info = registry.find("glow")
    assert (info.state, info.rank, info.base, info.trigger) == ("available", 4, "sdxl_base_v1-0", "pixel")
    assert soon(lambda: [i.name for i in registry.list()] == ["glow"])
    (registry.folder / "glow.safetensors").unlink()
    assert soon(lambda: registry.list() == [])


def test_a_watched_folder_is_read_only_after_a_change(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(registry.folder / "glow.safetensors")
    registry.watch()
    assert soon(lambda: len(registry.list()) == 1)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(registry, "read_file", never)
    assert [i.name for i in registry.list()] == ["glow"]


def test_a_changed_file_is_read_again(registry: Registry) -> None:
    drop(registry.folder / "glow.safetensors")
    assert registry.find("glow").rank == 4
    drop(registry.folder / "glow.safetensors", rank=8)
    assert registry.find("glow").rank == 8


def test_a_bad_file_is_shown_as_bad_and_the_rest_can_be_used(registry: Registry) -> None:
    drop(registry.folder / "glow.safetensors")
    (registry.folder / "bad.safetensors").write_bytes(b"half a download")
    (registry.folder / "bad.safetensors.part").write_bytes(b"half a download")
    states = {i.name: i.state for i in registry.list()}
    assert states == {"bad": "broken", "glow": "available"}
    with pytest.raises(AdapterError, match="cannot be read"):
        registry.find("bad")
    drop(registry.folder / "bad.safetensors")
    assert registry.find("bad").state == "available"


def test_an_unknown_name_lists_the_known_ones(registry: Registry, tmp_path: Path) -> None:
    drop(registry.folder / "glow.safetensors")
    with pytest.raises(AdapterError, match="Known: glow"):
        registry.find("shine")
    assert registry.find(str(drop(tmp_path / "elsewhere" / "own.safetensors"))).name == "own"


def test_an_ending_in_capitals_counts(registry: Registry) -> None:
    drop(registry.folder / "Glow.SAFETENSORS")
    assert [info.name for info in registry.list()] == ["Glow"]
    assert registry.find("Glow").state == "available"
    assert registry.find("Glow.SAFETENSORS").path.name == "Glow.SAFETENSORS"
