"""Adapter forms beyond the plain LoRA answer as the libraries that trained them do, on a tiny random SDXL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loras.registry import Registry, read_lora
from pipelines.adapters.families import OtherFamilyError, family_of
from pipelines.adapters.keys import parse_key, read_header
from pipelines.adapters.stack import WeightStack
from pipelines.errors import AdapterError
from tests.pipelines.adapters.test_adapters import (
    assert_changed,
    assert_close,
    in_unet,
    lora,
    outputs,
    plain_outputs,
    tiny,
    write,
)

LINEARS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.2"]
CONVOLUTIONS = ["conv1", "conv2"]


def randomise(module: nn.Module, marks: tuple[str, ...]) -> None:
    """Gives every adapter parameter a value: fresh ones are zero, and would change nothing."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if any(mark in name for mark in marks):
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)


def merged(path: Path, weight: float = 1.0) -> list[Tensor]:
    modules = tiny()
    WeightStack(modules).apply([(path, weight)])
    return outputs(modules)


@pytest.mark.slow
def test_a_dora_of_peft_answers_as_peft_does(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    modules: dict[str, Any] = tiny()
    config = LoraConfig(r=4, lora_alpha=6, use_dora=True, target_modules=[*LINEARS, *CONVOLUTIONS])
    model = get_peft_model(modules["unet"], config)
    assert isinstance(model, PeftModel)
    randomise(model, ("lora_A", "lora_B"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1.3)
    model.save_pretrained(str(tmp_path))
    assert any("magnitude" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    theirs = outputs({**modules, "unet": model})
    assert_changed(theirs, plain_outputs(), (True, False, False))
    assert_close(merged(tmp_path)[:1], theirs[:1])


@pytest.mark.parametrize(
    ("kind", "effective"),
    [
        ("LoHaConfig", False),
        pytest.param("LoKrConfig", True, marks=pytest.mark.slow),
        pytest.param("LoHaConfig", True, marks=pytest.mark.slow),
        pytest.param("LoKrConfig", False, marks=pytest.mark.slow),
    ],
)
def test_products_of_peft_answer_as_peft_does(tmp_path: Path, kind: str, effective: bool) -> None:
    import peft

    modules: dict[str, Any] = tiny()
    config = getattr(peft, kind)(r=4, alpha=6, target_modules=[*LINEARS, *CONVOLUTIONS], use_effective_conv2d=effective)
    model = peft.get_peft_model(modules["unet"], config)
    assert isinstance(model, peft.PeftModel)
    randomise(model, ("hada_", "lokr_"))
    model.save_pretrained(str(tmp_path))
    theirs = outputs({**modules, "unet": model})
    assert_changed(theirs, plain_outputs(), (True, False, False))
    assert_close(merged(tmp_path)[:1], theirs[:1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"algo": "lora"},
        pytest.param({"algo": "lora", "dora_wd": True}, marks=pytest.mark.slow),
        pytest.param({"algo": "lora", "dora_wd": True, "wd_on_output": False}, marks=pytest.mark.slow),
        pytest.param({"algo": "lora", "use_tucker": True}, marks=pytest.mark.slow),
        {"algo": "loha"},
        pytest.param({"algo": "loha", "use_tucker": True}, marks=pytest.mark.slow),
        pytest.param({"algo": "loha", "dora_wd": True}, marks=pytest.mark.slow),
        {"algo": "lokr", "factor": 4},
        pytest.param({"algo": "lokr", "factor": 4, "decompose_both": True}, marks=pytest.mark.slow),
        pytest.param({"algo": "lokr", "factor": 4, "use_tucker": True, "decompose_both": True}, marks=pytest.mark.slow),
        pytest.param({"algo": "lokr", "factor": 4, "full_matrix": True}, marks=pytest.mark.slow),
        pytest.param({"algo": "lokr", "factor": 4, "dora_wd": True}, marks=pytest.mark.slow),
        pytest.param({"algo": "full", "train_norm": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_files_of_lycoris_answer_as_lycoris_does(tmp_path: Path, options: dict[str, Any]) -> None:
    lycoris = pytest.importorskip("lycoris")

    modules: dict[str, Any] = tiny()
    lycoris.LycorisNetwork.apply_preset(
        {"enable_conv": True, "target_module": ["Transformer2DModel", "ResnetBlock2D"], "target_name": []}
    )
    network = lycoris.create_lycoris(
        modules["unet"], 1.0, linear_dim=4, linear_alpha=2, conv_dim=4, conv_alpha=2, **options
    )
    network.apply_to()
    randomise(network, ("lora_", "hada_", "lokr_", "w_norm", "b_norm"))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "dora_scale" in name:
                parameter.mul_(1.2)
            elif name.endswith((".weight", ".bias")) and options["algo"] == "full":
                parameter.add_(torch.randn(parameter.shape) * 0.02)
    path = tmp_path / "x.safetensors"
    network.save_weights(str(path), torch.float32, {})
    theirs = outputs(modules)
    assert_changed(theirs, plain_outputs(), (True, False, False))
    assert_close(merged(path)[:1], theirs[:1])


def test_forms_mix_in_a_stack_and_come_off_bit_for_bit(tmp_path: Path) -> None:
    modules = tiny()
    before = {n: p.detach().clone() for n, p in modules["unet"].named_parameters()}
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    weight = modules["unet"].get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q").weight
    assert isinstance(weight, Tensor)
    full = write(tmp_path / "full.safetensors", {f"{layer}.diff": torch.full(weight.shape, 0.25)})
    norm = write(
        tmp_path / "norm.safetensors",
        {"lora_unet_conv_norm_out.b_norm": torch.ones(before["conv_norm_out.bias"].shape)},
    )
    plain = write(tmp_path / "plain.safetensors", lora(modules, in_unet))
    alone = tiny()
    WeightStack(alone).apply([(plain, 0.5)])
    stack = WeightStack(modules)
    stack.apply([(plain, 0.5), (full, 2.0), (norm, 0.5)])
    expected = alone["unet"].get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q").weight
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(weight, expected + 0.5)
    torch.testing.assert_close(modules["unet"].get_submodule("conv_norm_out").bias, before["conv_norm_out.bias"] + 0.5)
    stack.apply([])
    assert all(torch.equal(before[n], p) for n, p in modules["unet"].named_parameters())


def test_the_weight_of_a_dora_moves_between_none_and_all(tmp_path: Path) -> None:
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    module = tiny()["unet"].get_submodule(name)
    pristine = module.weight
    assert isinstance(pristine, Tensor)
    size = pristine.shape[0]
    tensors = lora(tiny(), lambda component, layer: component == "unet" and layer == name)
    tensors[f"unet.{name}.lora_magnitude_vector"] = torch.linspace(0.5, 2, size)
    path = write(tmp_path / "dora.safetensors", tensors)
    found = {}
    for weight in (0.5, 1.0):
        modules = tiny()
        WeightStack(modules).apply([(path, weight)])
        found[weight] = modules["unet"].get_submodule(name).weight
    torch.testing.assert_close(found[1.0].norm(dim=1), torch.linspace(0.5, 2, size))
    torch.testing.assert_close(found[0.5], (pristine + found[1.0]) / 2)


def test_names_with_the_prefix_of_lycoris_mean_the_unet() -> None:
    key = parse_key("lycoris_mid_block_attentions_0_transformer_blocks_0_ff_net_2.lora_up.weight")
    assert key is not None
    assert (key.component, key.layer, key.role) == (
        "unet",
        "mid_block_attentions_0_transformer_blocks_0_ff_net_2",
        "up",
    )


def test_names_that_diffusers_puts_before_a_unet_are_read() -> None:
    key = parse_key("transformer.mid_block.attentions.0.proj_in.lora_A.weight")
    assert key is not None
    assert (key.component, key.layer, key.role) == ("unet", "mid_block_attentions_0_proj_in", "down")
    assert family_of({"transformer.mid_block.attentions.0.proj_in.lora_A.weight": (4, 4)}, {}) == ""


def test_a_bundled_embedding_is_left_out_and_reported(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.safetensors", lora(tiny(), in_unet))
    bundled = {
        **load_file(plain),
        "bundle_emb.mystyle.clip_g": torch.zeros(1, 32),
        "bundle_emb.mystyle.string_to_param.clip_l": torch.zeros(1, 16),
    }
    path = write(tmp_path / "bundle.safetensors", bundled)
    assert_close(merged(path), merged(plain))
    info = read_lora(path)
    assert info.state == "available"
    assert "embedding 'mystyle'" in info.note


def attention(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, width)}


@pytest.mark.parametrize(
    ("shapes", "metadata", "family"),
    [
        (attention("lora_unet_down_blocks_1_", 768), {}, "Stable Diffusion 1.5"),
        (attention("lora_unet_down_blocks_1_", 1024), {}, "Stable Diffusion 2"),
        (attention("lora_unet_down_blocks_1_", 2048), {"ss_base_model_version": "sd_v1"}, "SDXL"),
        ({"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (4, 4)}, {}, "Stable Diffusion 1.5"),
        ({"x.lora_up.weight": (4, 4)}, {"ss_base_model_version": "sd_v1"}, "Stable Diffusion 1.5"),
        ({"x.lora_up.weight": (4, 4)}, {"ss_base_model_version": "sd_v2"}, "Stable Diffusion 2"),
        ({"x.lora_up.weight": (4, 4)}, {"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
        ({"x.lora_up.weight": (4, 4)}, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        ({"x.lora_up.weight": (4, 4)}, {"modelspec.architecture": "flux-1-dev/lora"}, "Flux"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072)}, {}, "Flux"),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)}, {}, "Flux"),
        ({"diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight": (4, 1536)}, {}, "Stable Diffusion 3"),
        ({"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (4, 4)}, {}, ""),
        ({"unet.mid_block.attentions.0.proj_in.lora_A.weight": (4, 4)}, {}, ""),
    ],
)
def test_the_family_is_read_from_names_shapes_and_metadata(
    shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], family: str
) -> None:
    assert family_of(shapes, metadata) == family


@pytest.mark.parametrize("family", ["Stable Diffusion 1.5", "Flux"])
def test_files_of_other_families_are_listed_as_such_and_refused(tmp_path: Path, family: str) -> None:
    if family == "Flux":
        tensors = {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.zeros(4, 64)}
    else:
        tensors = {"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": torch.zeros(4, 16)}
    save_file(tensors, tmp_path / "style.safetensors")
    registry = Registry(tmp_path)
    (info,) = registry.list()
    assert (info.state, info.base) == ("other_model", family)
    with pytest.raises(AdapterError, match=f"is a LoRA for {family}; the models here are of the SDXL family"):
        registry.find("style")
    with pytest.raises(OtherFamilyError):
        read_header(tmp_path / "style.safetensors")
