"""Merged LoRA stacks against PEFT's own output, on a tiny random model with SDXL's layout."""

from __future__ import annotations

import copy
import functools
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.adapters.keys import read_header
from pipelines.adapters.stack import WeightStack
from pipelines.errors import AdapterError
from tests.random_sdxl import SIZES, build, random_adapter

COMPONENTS = ("unet", "text_encoder", "text_encoder_2")


@functools.cache
def pristine_parts() -> dict[str, Any]:
    return build(SIZES["tiny"], torch.device("cpu"), torch.float32)


def tiny_parts() -> dict[str, Any]:
    return copy.deepcopy(pristine_parts())


def tiny() -> dict[str, nn.Module]:
    return {name: copy.deepcopy(pristine_parts()[name]) for name in COMPONENTS}


def snapshot(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{c}.{n}": p.detach().clone() for c, m in modules.items() for n, p in m.named_parameters()}


def pointers(modules: dict[str, nn.Module]) -> dict[str, int]:
    return {f"{c}.{n}": p.data_ptr() for c, m in modules.items() for n, p in m.named_parameters()}


@torch.no_grad()
def outputs(modules: dict[str, Any]) -> list[Tensor]:
    """What the UNet and both text encoders say to fixed inputs."""
    draw = torch.Generator().manual_seed(1)
    size = SIZES["tiny"]
    ids = torch.randint(0, 49000, (2, 77), generator=draw)
    noise = torch.randn(2, 4, 8, 8, generator=draw)
    context = torch.randn(2, 77, sum(size.text), generator=draw)
    added = {
        "text_embeds": torch.randn(2, size.text[1], generator=draw),
        "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2),
    }
    return [
        modules["unet"](noise, torch.tensor(500), context, added_cond_kwargs=added).sample,
        modules["text_encoder"](ids).last_hidden_state,
        modules["text_encoder_2"](ids).text_embeds,
    ]


@functools.cache
def plain_outputs() -> list[Tensor]:
    """The outputs without an adapter; read only."""
    return outputs(tiny())


def lora(
    modules: dict[str, nn.Module],
    chosen: Callable[[str, str], bool],
    rank: Callable[[str], int] = lambda name: 4,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Random factors in PEFT's names for the linear and convolution layers that `chosen(component, name)` picks."""
    draw = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for component, module in modules.items():
        for name, layer in module.named_modules():
            if not chosen(component, name) or not isinstance(layer, nn.Linear | nn.Conv2d):
                continue
            out, *rest = layer.weight.shape
            r = rank(name)
            up = (out, r, *(1 for _ in rest[1:]))
            tensors[f"{component}.{name}.lora_A.weight"] = torch.randn(r, *rest, generator=draw) * 0.1
            tensors[f"{component}.{name}.lora_B.weight"] = torch.randn(up, generator=draw) * 0.1
    return tensors


def everywhere(component: str, name: str) -> bool:
    return ".attn" in name or ".ff." in name or name.endswith(("_proj", "fc1", "fc2"))


def in_unet(component: str, name: str) -> bool:
    return component == "unet" and (".attn" in name or ".ff." in name)


def with_convolutions(component: str, name: str) -> bool:
    return component == "unet" and name.endswith(
        ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "conv")
    )


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path


def peft_outputs(loads: list[tuple[Path, float]]) -> list[Tensor]:
    """The same model's outputs when diffusers and PEFT load the files and add the adapters unmerged."""
    pipe = StableDiffusionXLPipeline(**tiny_parts())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT remarks on a second adapter
        for i, (path, _) in enumerate(loads):
            pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=f"a{i}")
    pipe.set_adapters([f"a{i}" for i in range(len(loads))], [weight for _, weight in loads])
    return outputs({name: getattr(pipe, name) for name in COMPONENTS})


def merged_outputs(loads: list[tuple[Path, float]]) -> list[Tensor]:
    modules = tiny()
    WeightStack(modules).apply(loads)
    return outputs(modules)


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def assert_changed(ours: list[Tensor], plain: list[Tensor], which: tuple[bool, bool, bool]) -> None:
    assert [not torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, plain, strict=True)] == list(which)


def kohya(tensors: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    named = convert_state_dict_to_kohya(dict(tensors))
    return {n: torch.tensor(alpha) if n.endswith(".alpha") else t for n, t in named.items()}


def original_layout(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """kohya's names on the original SDXL UNet, for the attention of the tiny model (two resnets a block), by hand."""
    places = {
        "down_blocks_1_attentions_0": "input_blocks_4_1",
        "down_blocks_1_attentions_1": "input_blocks_5_1",
        "down_blocks_2_attentions_0": "input_blocks_7_1",
        "down_blocks_2_attentions_1": "input_blocks_8_1",
        "mid_block_attentions_0": "middle_block_1",
        **{f"up_blocks_{i}_attentions_{j}": f"output_blocks_{3 * i + j}_1" for i in range(2) for j in range(3)},
    }
    renamed = {}
    for name, tensor in tensors.items():
        for ours, theirs in places.items():
            name = name.replace(f"lora_unet_{ours}_", f"lora_unet_{theirs}_")
        renamed[name] = tensor
    return renamed


def old_diffusers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`...attn1.processor.to_q_lora.down.weight`, as diffusers wrote before PEFT."""
    renamed = {}
    for name, tensor in tensors.items():
        layer, _, role = name.removesuffix(".weight").rpartition(".lora_")
        block, _, inner = layer.partition(".attn")
        number, _, projection = inner.partition(".")
        side = {"A": "down", "B": "up"}[role]
        renamed[f"{block}.attn{number}.processor.{projection.removesuffix('.0')}_lora.{side}.weight"] = tensor
    return renamed


@pytest.mark.slow
def test_merged_factors_in_peft_names_answer_as_peft_does(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", lora(tiny(), everywhere))
    ours = merged_outputs([(path, 0.8)])
    assert_changed(ours, plain_outputs(), (True, True, True))
    assert_close(ours, peft_outputs([(path, 0.8)]))


def test_alpha_and_ranks_that_differ_by_layer_scale_as_in_kohya(tmp_path: Path) -> None:
    tensors = lora(tiny(), everywhere, rank=lambda name: 2 + len(name) % 3)
    path = write(tmp_path / "kohya.safetensors", kohya(tensors, alpha=1.5))
    assert len(read_header(path).ranks) == 3
    assert_close(merged_outputs([(path, 1.0)]), peft_outputs([(path, 1.0)]))


@pytest.mark.slow
def test_names_of_the_original_unet_find_the_same_layers(tmp_path: Path) -> None:
    named = original_layout(kohya(lora(tiny(), in_unet), alpha=2.0))
    assert any("input_blocks_7_1" in name for name in named)
    path = write(tmp_path / "a1111.safetensors", named)
    assert_close(merged_outputs([(path, 1.0)]), peft_outputs([(path, 1.0)]))


@pytest.mark.slow
def test_names_of_old_diffusers_files_find_the_same_layers(tmp_path: Path) -> None:
    attention = lora(tiny(), lambda component, name: component == "unet" and ".attn" in name)
    old = write(tmp_path / "old.safetensors", old_diffusers(attention))
    new = write(tmp_path / "new.safetensors", attention)
    assert_close(merged_outputs([(old, 1.0)]), merged_outputs([(new, 1.0)]))
    assert_close(merged_outputs([(old, 1.0)]), peft_outputs([(old, 1.0)]))


def test_comfyui_names_find_the_same_layers(tmp_path: Path) -> None:
    tensors = lora(tiny(), in_unet)
    renamed = {"diffusion_model." + name.removeprefix("unet."): tensor for name, tensor in tensors.items()}
    comfy, peft = write(tmp_path / "c.safetensors", renamed), write(tmp_path / "p.safetensors", tensors)
    assert_close(merged_outputs([(comfy, 1.0)]), merged_outputs([(peft, 1.0)]))


@pytest.mark.slow
def test_convolution_adapters_answer_as_peft_does(tmp_path: Path) -> None:
    path = write(tmp_path / "conv.safetensors", lora(tiny(), with_convolutions))
    assert_changed(merged_outputs([(path, 1.0)]), plain_outputs(), (True, False, False))
    assert_close(merged_outputs([(path, 1.0)]), peft_outputs([(path, 1.0)]))


@pytest.mark.slow
def test_convolutions_of_the_original_unet_find_the_same_layers(tmp_path: Path) -> None:
    renames = {
        "lora_unet_conv_in.": "lora_unet_input_blocks_0_0.",
        "lora_unet_conv_out.": "lora_unet_out_2.",
        "lora_unet_time_embedding_linear_1.": "lora_unet_time_embed_0.",
        "lora_unet_add_embedding_linear_2.": "lora_unet_label_emb_0_2.",
        "lora_unet_down_blocks_0_downsamplers_0_conv.": "lora_unet_input_blocks_3_0_op.",
        "lora_unet_down_blocks_1_resnets_0_conv1.": "lora_unet_input_blocks_4_0_in_layers_2.",
        "lora_unet_down_blocks_1_resnets_0_conv_shortcut.": "lora_unet_input_blocks_4_0_skip_connection.",
        "lora_unet_mid_block_resnets_1_conv2.": "lora_unet_middle_block_2_out_layers_3.",
        "lora_unet_up_blocks_0_upsamplers_0_conv.": "lora_unet_output_blocks_2_2_conv.",
        "lora_unet_up_blocks_2_resnets_1_time_emb_proj.": "lora_unet_output_blocks_7_0_emb_layers_1.",
    }
    layers = {key.removeprefix("lora_unet_").rstrip(".") for key in renames}
    tensors = kohya(lora(tiny(), lambda component, name: component == "unet" and name.replace(".", "_") in layers), 4)
    renamed = {}
    for name, tensor in tensors.items():
        head, dot, tail = name.partition(".")
        renamed[renames[head + dot] + tail] = tensor
    assert len(renamed) == 3 * len(renames)
    ours = write(tmp_path / "ours.safetensors", tensors)
    theirs = write(tmp_path / "theirs.safetensors", renamed)
    assert_close(merged_outputs([(theirs, 1.0)]), merged_outputs([(ours, 1.0)]))
    assert_close(merged_outputs([(theirs, 1.0)]), peft_outputs([(theirs, 1.0)]))


def test_tucker_factors_multiply_out_to_the_convolution(tmp_path: Path) -> None:
    modules = tiny()
    layer = modules["unet"].get_submodule("mid_block.resnets.0.conv1")
    assert isinstance(layer, nn.Conv2d)
    out, into, height, width = layer.weight.shape
    down, mid = torch.randn(3, into, 1, 1), torch.randn(3, 3, height, width)
    up = torch.randn(out, 3, 1, 1)
    name = "lora_unet_mid_block_resnets_0_conv1"
    path = write(
        tmp_path / "tucker.safetensors",
        {f"{name}.lora_down.weight": down, f"{name}.lora_mid.weight": mid, f"{name}.lora_up.weight": up},
    )
    # three convolutions in a row are one with the multiplied-out weight
    x = torch.randn(1, into, 8, 8)
    chain = nn.functional.conv2d(nn.functional.conv2d(nn.functional.conv2d(x, down), mid, padding=1), up)
    before = layer(x)
    WeightStack(modules).apply([(path, 0.5)])
    torch.testing.assert_close(layer(x) - before, 0.5 * chain, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_three_adapters_with_their_weights_add_up_as_in_peft(tmp_path: Path) -> None:
    modules = tiny()
    files = [
        (write(tmp_path / "a.safetensors", lora(modules, everywhere, seed=1)), 0.5),
        (write(tmp_path / "b.safetensors", lora(modules, in_unet, rank=lambda n: 7, seed=2)), 1.25),
        (write(tmp_path / "c.safetensors", kohya(lora(modules, everywhere, seed=3), alpha=1)), -0.75),
    ]
    assert_close(merged_outputs(files), peft_outputs(files))


@pytest.mark.slow
def test_alpha_in_diffusers_metadata_counts(tmp_path: Path) -> None:
    from peft import LoraConfig

    pipe = StableDiffusionXLPipeline(**tiny_parts())
    unet: Any = pipe.unet
    torch.manual_seed(0)
    pattern = {"to_v": 3}
    unet.add_adapter(
        LoraConfig(r=4, target_modules=["to_q", "to_v"], lora_alpha=10, alpha_pattern=pattern, init_lora_weights=False)
    )
    unet.save_lora_adapter(tmp_path, weight_name="x.safetensors")
    inside = load_file(tmp_path / "x.safetensors")
    config = {"unet.lora_alpha": 10, "unet.r": 4, "unet.alpha_pattern": pattern}
    path = write(
        tmp_path / "meta.safetensors",
        {f"unet.{name.removeprefix('transformer.')}": tensor for name, tensor in inside.items()},
        {"lora_adapter_metadata": json.dumps(config)},
    )
    assert_close(merged_outputs([(path, 1.0)])[:1], outputs({n: getattr(pipe, n) for n in COMPONENTS})[:1])


def test_a_peft_folder_with_rank_stabilised_scale_answers_as_peft_does(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    modules: dict[str, Any] = tiny()
    config = LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["to_k"], init_lora_weights=False)
    model = get_peft_model(modules["unet"], config)
    assert isinstance(model, PeftModel)
    model.save_pretrained(str(tmp_path))
    assert_close(merged_outputs([(tmp_path, 1.0)])[:1], outputs({**modules, "unet": model})[:1])


def test_taking_the_stack_off_gives_back_every_bit_where_it_was(tmp_path: Path) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        parts = build(SIZES["tiny"], torch.device("cpu"), dtype)
        modules: dict[str, nn.Module] = {name: parts[name] for name in COMPONENTS}
        before, places = snapshot(modules), pointers(modules)
        stack = WeightStack(modules)
        a = write(tmp_path / "a.safetensors", lora(modules, everywhere, seed=1))
        b = write(tmp_path / "b.safetensors", lora(modules, with_convolutions, seed=2))
        for loads in ([(a, 1.0)], [(a, 0.3), (b, 1.0)], [(b, -2.0)]):
            stack.apply(loads)
            assert any(not torch.equal(before[n], t) for n, t in snapshot(modules).items())
        stack.apply([])
        assert all(torch.equal(before[n], t) for n, t in snapshot(modules).items())
        stack.apply([(a, 1.0), (b, 1.0)])
        stack.restore()
        assert all(torch.equal(before[n], t) for n, t in snapshot(modules).items())
        assert pointers(modules) == places
        assert stack.stack == ()


def test_a_stack_gives_the_same_bits_after_any_earlier_stack(tmp_path: Path) -> None:
    modules = tiny()
    a = write(tmp_path / "a.safetensors", lora(modules, everywhere, seed=1))
    b = write(tmp_path / "b.safetensors", lora(modules, in_unet, seed=2))
    stack = WeightStack(modules, pristine=torch.device("cpu"))
    stack.apply([(a, 1.0)])
    fresh = snapshot(modules)
    stack.apply([(a, 0.2), (b, 3.0)])
    stack.apply([(a, 1.0)])
    assert all(torch.equal(fresh[n], t) for n, t in snapshot(modules).items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_merging_three_adapters_costs_half_precision_one_rounding(tmp_path: Path, dtype: torch.dtype) -> None:
    unet = build(SIZES["tiny"], torch.device("cpu"), dtype)["unet"]
    name = "mid_block.attentions.0.transformer_blocks.1.attn1.to_q"
    exact = unet.get_submodule(name).weight.double()
    files = []
    for i in range(3):
        path = tmp_path / f"{i}.safetensors"
        random_adapter(unet, path, rank=16, seed=i)  # deltas of a tenth of the weights, as trained ones are
        tensors = load_file(path)
        up, down = (tensors[f"unet.{name}.lora_{side}.weight"].double() for side in "BA")
        exact = exact + (0.3 + i / 3) * up @ down
        files.append((path, 0.3 + i / 3))
    WeightStack({"unet": unet}).apply(files)
    error = (unet.get_submodule(name).weight.double() - exact).square().mean().sqrt()
    rounding = (exact.to(dtype).double() - exact).square().mean().sqrt()
    assert error < 1.15 * rounding


def test_a_file_that_was_trained_on_replaces_the_cached_one(tmp_path: Path) -> None:
    modules = tiny()
    path = write(tmp_path / "a.safetensors", lora(modules, in_unet, seed=1))
    stack = WeightStack(modules)
    stack.apply([(path, 1.0)])
    first, merged = snapshot(modules), stack.stack
    write(path, lora(modules, in_unet, rank=lambda n: 5, seed=2))
    os.utime(path, ns=(0, merged[0].changed + 1))  # at any resolution of the file system's clock
    stack.apply([(path, 1.0)])
    assert stack.stack != merged
    assert any(not torch.equal(first[n], t) for n, t in snapshot(modules).items())


def test_a_bad_file_leaves_the_merged_stack_as_it_was(tmp_path: Path) -> None:
    modules = tiny()
    good = write(tmp_path / "good.safetensors", lora(modules, in_unet))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(good.read_bytes()[:1000])
    stack = WeightStack(modules)
    stack.apply([(good, 1.0)])
    before = snapshot(modules)
    with pytest.raises(AdapterError, match="cannot be read"):
        stack.apply([(good, 0.5), (broken, 1.0)])
    assert all(torch.equal(before[n], t) for n, t in snapshot(modules).items())
    assert [(merged.path, merged.weight) for merged in stack.stack] == [(str(good), 1.0)]


LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([f"{LAYER}.oft_blocks"], "OFT"),
        ([f"{LAYER}.on_input"], "IA3"),
        ([f"{LAYER}.hada_w1_a", f"{LAYER}.hada_w1_b"], "half of layer .*hada_w2_a"),
        ([f"{LAYER}.lokr_w1", f"{LAYER}.lokr_w2_a"], "half of layer .*lokr_w2_b"),
        ([f"{LAYER}.lokr_w1", f"{LAYER}.lokr_w2"], "does not fit layer"),
        ([f"{LAYER}.diff"], "does not fit layer"),
        ([f"{LAYER}.diff_b"], "bias of layer .* has none"),
        ([f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight", f"{LAYER}.lora_B.bias"], "biases"),
        (["unet.nothing.lora_A.weight", "unet.nothing.lora_B.weight"], "another kind of model"),
        ([f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"], "does not fit"),
        ([f"{LAYER}.lora_A.weight"], "half of layer"),
        (["model.diffusion_model.conv_in.weight"], "not a LoRA weight"),
        (["bundle_emb.x.clip_l"], "no LoRA weights"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_a_reason(tmp_path: Path, names: list[str], words: str) -> None:
    path = write(tmp_path / "x.safetensors", {name: torch.randn(3, 3) for name in names})
    with pytest.raises(AdapterError, match=words):
        WeightStack(tiny()).apply([(path, 1.0)])


def test_a_pickle_and_a_missing_file_are_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "x.pt")
    with pytest.raises(AdapterError, match=r"get the \.safetensors version"):
        read_header(tmp_path / "x.pt")
    with pytest.raises(AdapterError, match="no LoRA file"):
        read_header(tmp_path / "nothing.safetensors")
