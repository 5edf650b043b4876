"""Compute weight differences of adapter forms that are more than one product of two factors.

Forms and sources, W being a layer's pristine weight and s the scale alpha / rank:
    LoHa    s * (A1 B1) o (A2 B2), o elementwise (Hyeon-Woo et al. 2021, arXiv 2108.06098)
    LoKr    s * kron(C, D), each whole or a product (Yeh et al. 2023, arXiv 2309.14859)
    DoRA    m * (W + delta) / ||W + delta|| - W, m learned per row or column (Liu et al. 2024, arXiv 2402.09353)
    full    the difference itself, of a weight, a bias or a norm
File layouts are LyCORIS's (lycoris/functional) and PEFT's. The Tucker form of a convolution has a core between A and B.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.errors import AdapterError

MOST_RANK = 4096
"""Of the core of a Tucker form: SDXL's largest layers have 2560 rows."""
FULL = ("diff", "diff_b", "w_norm", "b_norm")
"""Roles whose tensor is the difference itself."""


@dataclass(frozen=True)
class ClosedForm:
    """One layer of an adapter: its tensors by role (see `keys.Key`), on the weight's device, and its scale."""

    tensors: Mapping[str, Tensor]
    scale: float


def is_closed_form(roles: Iterable[str]) -> bool:
    """Returns whether the roles of a layer are more than the factors of a plain LoRA."""
    return any(role not in ("down", "up", "mid", "alpha") for role in roles)


def rank_of(tensors: Mapping[str, Tensor]) -> int | None:
    """Returns the rank that alpha is divided by; None where every factor is whole (the scale is 1 then)."""
    for role in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if role in tensors:
            return tensors[role].shape[0]
    return None


def missing_role(roles: Iterable[str]) -> str:
    """Returns the role that a layer lacks to be whole; empty where it lacks none."""
    have = set(roles)
    if have & set(FULL):
        return ""
    needed: list[str] = []
    if any(role.startswith("hada_") for role in have):
        needed = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]
        needed += ["hada_t1", "hada_t2"] if have & {"hada_t1", "hada_t2"} else []
    elif any(role.startswith("lokr_") for role in have):
        for side in ("lokr_w1", "lokr_w2"):
            if side not in have:
                needed += [f"{side}_a", f"{side}_b"]
    else:
        needed = ["down", "up"]
    return next((role for role in needed if role not in have), "")


@torch.no_grad()
def difference(part: ClosedForm, pristine: Tensor) -> Tensor:
    """Returns what the layer's weight changes by at weight 1, in float32 and the shape of `pristine`.

    Raises:
        AdapterError: the tensors do not fit each other or the weight.
    """
    try:
        _check_sizes(part.tensors, pristine)
        t = {role: tensor.float() for role, tensor in part.tensors.items()}
        full = next((t[role] for role in FULL if role in t), None)
        delta = full if full is not None else part.scale * _product(t)
        delta = delta.reshape(pristine.shape) if delta.numel() == pristine.numel() else delta
        if delta.shape != pristine.shape:
            raise ValueError(f"{tuple(delta.shape)} weights for a layer of {tuple(pristine.shape)}")
        if "magnitude" in t:  # PEFT: one for each row, in any shape
            delta = _decomposed(pristine.float(), delta, t["magnitude"].flatten())
        elif "dora_scale" in t:
            delta = _decomposed(pristine.float(), delta, t["dora_scale"])
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise AdapterError(f"a layer's factors do not fit each other ({str(error).splitlines()[0]})") from error
    return delta


def _check_sizes(tensors: Mapping[str, Tensor], pristine: Tensor) -> None:
    """Refuses what does not fit before it is multiplied out: two small factors may make a matrix of terabytes.

    Raises:
        ValueError, RuntimeError, IndexError: the product has another size than the weight, or a rank is too large.
    """
    if any(role in tensors for role in FULL):
        return
    shapes = {role: torch.empty(tensor.shape, device="meta") for role, tensor in tensors.items()}
    ranks = [side for role in ("mid", "hada_t1", "hada_t2", "lokr_t2") if role in shapes for side in shapes[role].shape]
    if max(ranks, default=0) > MOST_RANK:
        raise ValueError(f"a core of rank {max(ranks)}")
    size = _product(shapes).numel()
    if size != pristine.numel():
        raise ValueError(f"{size} weights for a layer of {tuple(pristine.shape)}")


def _product(t: Mapping[str, Tensor]) -> Tensor:
    if "hada_w1_a" in t:
        one = _factors(t["hada_w1_a"], t["hada_w1_b"], t.get("hada_t1"))
        return one * _factors(t["hada_w2_a"], t["hada_w2_b"], t.get("hada_t2"))
    if any(role.startswith("lokr_") for role in t):
        left = t["lokr_w1"] if "lokr_w1" in t else t["lokr_w1_a"] @ t["lokr_w1_b"]
        right = t["lokr_w2"] if "lokr_w2" in t else _factors(t["lokr_w2_a"], t["lokr_w2_b"], t.get("lokr_t2"))
        return torch.kron(left.reshape(*left.shape, *(1 for _ in right.shape[2:])), right.contiguous())
    down = t["down"]
    if "mid" in t:
        down = torch.einsum("abhw,bi->aihw", t["mid"], down.flatten(1))
    return t["up"].flatten(1) @ down.flatten(1)


def _factors(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    """Returns a B, or the Tucker product of `core` (r, r, kh, kw) with A (r, out) and B (r, in)."""
    if core is None:
        return a @ b.flatten(1)
    return torch.einsum("ij...,ip,jr->pr...", core, a, b)


def _decomposed(weight: Tensor, delta: Tensor, magnitude: Tensor) -> Tensor:
    """Returns the change under DoRA. `magnitude` is (out,), (out, 1, ...) for rows, or (1, in, ...) for columns."""
    moved = weight + delta
    rows = magnitude.ndim == 1 or magnitude.shape[0] == weight.shape[0]
    if rows and magnitude.numel() == weight.shape[0]:
        norm = moved.flatten(1).norm(dim=1)
        shape = (-1, *(1 for _ in weight.shape[1:]))
    elif magnitude.numel() == weight.shape[1]:
        norm = moved.transpose(0, 1).flatten(1).norm(dim=1)
        shape = (1, -1, *(1 for _ in weight.shape[2:]))
    else:
        raise ValueError(f"a magnitude of {tuple(magnitude.shape)} for weights of {tuple(weight.shape)}")
    scale = magnitude.flatten() / norm.clamp_min(torch.finfo(torch.float32).tiny)
    return moved * scale.view(shape) - weight
