"""Writes an SDXL folder in diffusers layout as one .safetensors file, with the names that such files use."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
    "text_model.final_layer_norm": "ln_final",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.encoder.layers": "transformer.resblocks",
}


def write_single_file(folder: Path, path: Path) -> None:
    """The checkpoint of `folder` at `path`."""
    unet = _read(folder / "unet")
    tensors = {f"model.diffusion_model.{_unet_name(n, unet)}": t for n, t in unet.items()}
    for name, tensor in _read(folder / "vae").items():
        new = _vae_name(name)
        conv = ".attn_1." in new and tensor.ndim == 2  # these files have 1x1 convolutions there
        tensors[f"first_stage_model.{new}"] = tensor[..., None, None] if conv else tensor
    for name, tensor in _read(folder / "text_encoder").items():
        tensors[f"conditioner.embedders.0.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    for name, tensor in _open_clip(_read(folder / "text_encoder_2")).items():
        tensors[f"conditioner.embedders.1.model.{name}"] = tensor
    # published files carry these two as well; nothing that draws needs them
    tensors["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    tensors["conditioner.embedders.1.model.logit_scale"] = torch.tensor(4.6)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _read(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def _unet_name(name: str, every: dict[str, torch.Tensor]) -> str:
    for ours, theirs in _UNET.items():
        if name.startswith(ours + "."):
            return theirs + name.removeprefix(ours)

    def inside(match: re.Match[str]) -> str:
        side, i, kind, j = match[1], int(match[2]), match[3], int(match[4])
        place = {"resnets": 0, "attentions": 1}.get(kind, 2)
        if side == "down":
            return f"input_blocks.{3 * (i + 1)}.0.op" if place == 2 else f"input_blocks.{3 * i + j + 1}.{place}"
        if place == 2:
            has_attention = any(n.startswith(f"up_blocks.{i}.attentions.") for n in every)
            return f"output_blocks.{3 * i + 2}.{2 if has_attention else 1}.conv"
        return f"output_blocks.{3 * i + j}.{place}"

    name = re.sub(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)", inside, name)
    name = re.sub(r"((?:in|out)put_blocks\.\d+\.\d+\.(?:op|conv))\.conv", r"\1", name)
    name = name.replace("mid_block.resnets.0", "middle_block.0").replace("mid_block.attentions.0", "middle_block.1")
    name = name.replace("mid_block.resnets.1", "middle_block.2")
    if ".transformer_blocks." in name:
        return name  # its norm1 and norm2 keep their names
    return _replaced(name, _RESNET, lambda ours: rf"(?<=\.){ours}(?=\.)")


def _vae_name(name: str) -> str:
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
    name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        name = _replaced(name, _VAE_ATTENTION, lambda ours: rf"(?<=\.){re.escape(ours)}(?=\.)")
    return name


def _open_clip(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    result: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        new = _replaced(name, _CLIP, re.escape)
        if name == "text_projection.weight":
            result["text_projection"] = tensor.T
        elif name.endswith("position_embedding.weight"):
            result["positional_embedding"] = tensor
        elif match := re.search(r"(.*)self_attn\.q_proj\.(weight|bias)", new):
            parts = [tensors[name.replace("q_proj", f"{which}_proj")] for which in "qkv"]
            result[f"{match[1]}attn.in_proj_{match[2]}"] = torch.cat(parts)
        elif not re.search(r"self_attn\.[kv]_proj", new):
            result[new] = tensor
    return result


def _replaced(name: str, names: dict[str, str], pattern: Callable[[str], str]) -> str:
    for ours, theirs in names.items():
        name = re.sub(pattern(ours), theirs, name)
    return name
