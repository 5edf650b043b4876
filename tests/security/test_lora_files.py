"""A LoRA file from anywhere: bad ones are listed with the reason and refused, and never make a black picture."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from loras.registry import Registry
from pipelines.adapters.closed_forms import ClosedForm, difference
from pipelines.adapters.finite import check_finite, first_nonfinite
from pipelines.adapters.keys import read_header
from pipelines.adapters.stack import WeightStack
from pipelines.errors import AdapterError, ModelError
from pipelines.models.catalog import EMBEDDED, find_model
from pipelines.sdxl.diffusion import DiffusersBackend

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
    raw(folder / "header.safetensors", b'{"a":' + b" " * (17 << 20) + b"1}")
    save_file(tensors() | {"x" * 5000 + ".lora_up.weight": np.ones((8, 4), np.float16)}, folder / "name.safetensors")
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
        "header": "its header would have 17 MiB",
        "name": "names that no program writes",
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
    from pipelines.sdxl.picture import to_pictures

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


def side(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float16)


@pytest.mark.parametrize(
    "factors",
    [
        {"lokr_w1": side(30_000, 100), "lokr_w2": side(100, 30_000)},
        {
            "hada_w1_a": side(10**6, 1),
            "hada_w1_b": side(1, 10**6),
            "hada_w2_a": side(10**6, 1),
            "hada_w2_b": side(1, 10**6),
        },
        {"up": side(8, 10**5), "mid": side(10**5, 1, 1, 1), "down": side(1, 10**5, 1, 1), "dora_scale": side(8)},
        {"up": side(8, 10_000), "down": side(10_000, 8), "mid": side(10_000, 10_000, 1, 1), "dora_scale": side(8)},
        {"diff": side(3, 3)},
        {"lokr_w1": side(), "lokr_w2": side(8)},
    ],
)
def test_factors_whose_product_would_fill_the_memory_are_refused_before_they_are_multiplied(
    factors: dict[str, torch.Tensor],
) -> None:
    with pytest.raises(AdapterError, match="do not fit"):
        difference(ClosedForm(factors, 1.0), torch.zeros(8, 8))


def test_a_core_that_would_fill_the_memory_is_refused_before_it_is_multiplied(tmp_path: Path) -> None:
    layer = torch.nn.Module()
    layer.conv = torch.nn.Conv2d(8, 8, 3)
    rank = 20_000
    weights = {
        "unet.conv.lora_up.weight": side(8, rank, 1, 1),
        "unet.conv.lora_mid.weight": side(rank, 8, 3, 3),
        "unet.conv.lora_down.weight": side(8, 20_000, 1, 1),
    }
    save_torch(weights, tmp_path / "core.safetensors")
    stack = WeightStack({"unet": layer})
    with pytest.raises(AdapterError, match="factors of layer conv do not fit each other"):
        stack.apply([(tmp_path / "core.safetensors", 1.0)])
    assert stack.stack == ()


def test_a_fifo_in_the_folder_of_loras_hangs_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    save_file(tensors(), tmp_path / "good.safetensors")
    listed = {info.name: info.state for info in Registry(tmp_path).list()}
    assert listed == {"pipe": "broken", "good": "available"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: raw(f / "unet.safetensors", b"[1, 2]"), "header is not an object"),
        (lambda f: raw(f / "unet.safetensors", b"[" * 100_000), "nested too deeply"),
        (lambda f: (f / "unet.safetensors").write_bytes(struct.pack("<Q", 99 << 20) + b"{}"), "header is too long"),
    ],
)
def test_a_checkpoint_file_with_an_odd_header_is_refused_with_the_reason(
    tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    change(tmp_path)
    with pytest.raises(ModelError, match=said):
        find_model(str(tmp_path / "unet.safetensors"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model_index.json", "[]"),
        ("model_index.json", "7"),
        ("model_index.json", "[" * 100_000),
        ("unet/config.json", '{"addition_embed_type": "text_time", "sample_size": [1]}'),
        ("unet/config.json", '{"addition_embed_type": "text_time", "sample_size": 1000000000}'),
        ("vae/config.json", '{"block_out_channels": 7}'),
        ("vae/config.json", json.dumps({"block_out_channels": [1] * 10_000})),
        ("scheduler/scheduler_config.json", '{"_class_name": "DDIMScheduler", "num_train_timesteps": "x"}'),
        ("scheduler/scheduler_config.json", '{"_class_name": 7}'),
        ("tokenizer/tokenizer_config.json", '{"tokenizer_class": 7}'),
        ("tokenizer/tokenizer.json", '{"model": {"vocab": 7}}'),
        ("text_encoder/config.json", '{"hidden_size": "x"}'),
        ("unet/config.json", '{"addition_embed_type": "text_time", "block_out_channels": "x"}'),
    ],
)
def test_a_checkpoint_with_odd_settings_is_a_sentence(tmp_path: Path, file: str, content: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED, folder)
    (folder / file).write_text(content)
    with pytest.raises(ModelError) as error:
        DiffusersBackend("cpu").load(str(folder))
    assert not re.search(r"[a-z]Error|Traceback", str(error.value)), error.value
