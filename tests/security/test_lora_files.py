"""A LoRA file from anywhere: bad ones are listed with the reason and refused, and never make a black picture."""

from __future__ import annotations

import json
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from loras.registry import Registry
from pipelines.adapters.finite import check_finite, first_nonfinite
from pipelines.adapters.keys import read_header
from pipelines.errors import AdapterError

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"


def tensors(value: float = 0.5, dtype: Any = np.float16) -> dict[str, np.ndarray]:
    return {
        f"{LAYER}.lora_down.weight": np.full((4, 8), 0.5, dtype),
        f"{LAYER}.lora_up.weight": np.full((8, 4), value, dtype),
        f"{LAYER}.alpha": np.array(4, dtype),
    }


def raw(path: Path, header: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def bad_files(folder: Path) -> dict[str, str]:
    """File name -> a part of the reason."""
    save_file(tensors(float("nan")), folder / "nan.safetensors")
    save_file(tensors(float("inf"), np.float32), folder / "infinite.safetensors")
    raw(folder / "deep.safetensors", b'{"a":' + b"[" * 100_000)
    raw(folder / "endless.safetensors", b"")
    (folder / "long.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    (folder / "empty.safetensors").write_bytes(b"")
    raw(folder / "numbers.safetensors", json.dumps({"a": 5, "b": None, "__metadata__": 7}).encode())
    scalar = tensors() | {f"{LAYER}.lora_down.weight": np.array(1, np.float16)}
    save_file(scalar, folder / "scalar.safetensors")
    many = tensors() | {f"{LAYER}.alpha": np.ones(7, np.float16)}
    save_file(many, folder / "many_alphas.safetensors")
    rankless = tensors() | {f"{LAYER}.lora_down.weight": np.ones((0, 8), np.float16)}
    save_file(rankless, folder / "rankless.safetensors")
    for name, value in {
        "list": "[1, 2]",
        "deep_settings": "[" * 100_000,
        "odd": '{"unet.lora_alpha": {"a": 1}}',
    }.items():
        save_file(tensors(), folder / f"{name}.safetensors", {"lora_adapter_metadata": value})
    save_file(tensors(), folder / "nan_alpha.safetensors", {"lora_adapter_metadata": '{"unet.lora_alpha": NaN}'})
    return {
        "nan": "not numbers",
        "infinite": "not numbers",
        "scalar": "has the size a single number",
        "many_alphas": "has the size 7",
        "rankless": "has the size 0x8",
        "nan_alpha": "settings",
        "list": "settings",
        "deep_settings": "settings",
        "odd": "settings",
        "deep": "cannot be read",
        "endless": "cannot be read",
        "long": "cannot be read",
        "empty": "cannot be read",
        "numbers": "cannot be read",
    }


def test_every_bad_file_is_listed_with_the_reason_and_refused_and_the_good_one_stays_usable(tmp_path: Path) -> None:
    expected = bad_files(tmp_path)
    own = json.dumps({"base": ["a"], "trigger": {"b": 1}, "licence": "MIT\x1b[2J" + "x" * 10_000})
    save_file(tensors(), tmp_path / "good.safetensors", {"dgx_pixels": own, "ss_base_model_version": "sdxl_base_v1-0"})
    registry = Registry(tmp_path)
    listed = {info.name: info for info in registry.list()}
    assert listed.keys() == {*expected, "good"}
    for name, reason in expected.items():
        assert listed[name].state == "broken", name
        assert reason in listed[name].note, (name, listed[name].note)
        assert not re.search(r"[a-z]Error", listed[name].note), listed[name].note
        with pytest.raises(AdapterError, match=r".*"):
            registry.find(name)
    good = registry.find("good")
    assert (good.state, good.rank, good.trigger) == ("available", 4, "")
    assert good.licence.startswith("MIT\\x1b[2J")
    assert len(good.licence) <= 200


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nonfinite_weights_are_found_in_every_floating_point_form(
    tmp_path: Path, dtype: torch.dtype, value: float
) -> None:
    from safetensors.torch import save_file as save_torch

    good = torch.randn(300, 7).to(dtype)
    bad = good.clone()
    bad[299, 6] = value
    save_torch({"a": good, "b": bad, "c": torch.arange(5)}, tmp_path / "f.safetensors")
    assert first_nonfinite(tmp_path / "f.safetensors") == "b"
    save_torch({"a": good, "c": torch.full((3,), -1)}, tmp_path / "g.safetensors")
    check_finite(tmp_path / "g.safetensors")


def test_a_file_that_was_checked_is_not_read_again_and_a_changed_one_is(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(tensors(), path)
    assert Registry(tmp_path).list()[0].state == "available"
    save_file(tensors(float("nan"), np.float32), path)
    assert Registry(tmp_path).list()[0].state == "broken"


def test_a_drawing_with_values_that_are_not_numbers_is_an_error() -> None:
    from pipelines.errors import DrawingError
    from pipelines.sdxl.diffusion import to_pictures

    values = torch.zeros(1, 3, 8, 8)
    assert to_pictures(values)[0].shape == (8, 8, 4)
    values[0, 1, 2, 3] = float("nan")
    with pytest.raises(DrawingError, match=r"not numbers.*Draw without LoRAs"):
        to_pictures(values)


def test_headers_are_read_without_an_unexpected_error_whatever_bytes_they_hold(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    save_file(tensors(), tmp_path / "good.safetensors", {"lora_adapter_metadata": '{"unet.lora_alpha": 4}'})
    original = (tmp_path / "good.safetensors").read_bytes()
    path = tmp_path / "mutated.safetensors"
    for _ in range(300):
        data = bytearray(original)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data[: rng.integers(1, len(data) + 1)])
        with suppress(AdapterError):
            read_header(path)
            check_finite(path)
