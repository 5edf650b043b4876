"""Merge stacks of LoRAs into the weights of a resident model, in place, over a pristine copy.

A merged stack costs nothing per step. The weights keep their storage, so CUDA graphs and compiled code stay valid. A
weight is always `pristine + sum of deltas`: the factors in the weight's dtype, one product summed in float32, rounded
once. A stack is removed by copying the pristine weight, which is bit-equal (adding and subtracting deltas is not). A
DoRA's delta is computed from the pristine weight, independent of the rest of the stack.
"""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipelines.adapters.closed_forms import (
    MOST_RANK,
    ClosedForm,
    difference,
    is_closed_form,
    missing_role,
    rank_of,
)
from pipelines.adapters.finite import check_finite
from pipelines.adapters.keys import AdapterHeader, adapter_file, aliases, read_header
from pipelines.errors import AdapterError

CACHED_ADAPTERS = 8
"""Adapters whose factors stay on the device after they were used (rank 32 on every layer of SDXL: 170 MB in fp16)."""
Site = tuple[str, str]
"""A weight: (component, dotted module name), or that with `.bias` at its end for a bias."""
_MERGED = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm)
_ROLES_OF_WEIGHT = ("diff", "w_norm")
_ROLES_OF_BIAS = ("diff_b", "b_norm")


class Merged(NamedTuple):
    """One adapter of a merged stack; `changed` is its file's modification time in ns (a run may write it again)."""

    path: str
    weight: float
    changed: int


@dataclass(frozen=True)
class Factors:
    """One layer of one adapter. `up` (out, rank) @ `down` (rank, in) * `scale` is the delta, as a matrix; `scale` is
    alpha / rank. Both in the file's dtype, on the weights' device."""

    up: Tensor
    down: Tensor
    scale: float


Part = Factors | ClosedForm


class WeightStack:
    """The LoRA stack of one resident model.

    `modules` are its components by their diffusers names: unet, text_encoder, text_encoder_2. A file's parts for a
    component that is not given are left out. `pristine` is where copies of touched weights are kept; None keeps each
    beside its weight (SDXL's attention and feed-forward layers: 4.4 GB in fp16). Not safe for use by two threads.
    """

    def __init__(self, modules: Mapping[str, nn.Module], pristine: torch.device | None = None) -> None:
        self._pristine = pristine
        self._owners: dict[Site, tuple[nn.Module, str]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        for component, module in modules.items():
            layers = {n: m for n, m in module.named_modules() if isinstance(m, _MERGED)}
            for name, layer in layers.items():
                self._owners[component, name] = layer, "weight"
                if layer.bias is not None:
                    self._owners[component, f"{name}.bias"] = layer, "bias"
            self._aliases[component] = aliases(component, layers)
        self._copies: dict[Site, Tensor] = {}
        self._merged: set[Site] = set()
        self._stack: tuple[Merged, ...] = ()
        self._files: OrderedDict[tuple[str, int], dict[Site, Part]] = OrderedDict()

    @property
    def stack(self) -> tuple[Merged, ...]:
        """What is merged now: equal stacks mean equal weights, so it may be the key of what was computed with them."""
        return self._stack

    def apply(self, stack: Sequence[tuple[Path | str, float]]) -> None:
        """Makes the weights pristine + the sum of the stack's deltas, each times its weight; () takes all off.

        Every file is read and checked before a weight is written: after an AdapterError the old stack still stands.

        Raises:
            AdapterError: a file is missing, broken, of another kind (OFT, IA3, ...) or made for another model.
        """
        wanted: list[Merged] = []
        for path, weight in stack:
            if weight != 0:
                file = adapter_file(path)
                wanted.append(Merged(os.fspath(file), float(weight), file.stat().st_mtime_ns))
        if tuple(wanted) == self._stack:
            return
        parts: dict[Site, list[tuple[Part, float]]] = defaultdict(list)
        for merged in wanted:
            for site, part in self._factors(merged).items():
                parts[site].append((part, merged.weight))
        try:
            self._merge(parts)
        except BaseException:  # no room for the copies, say: no half-merged model is left behind
            self._put_back(self._merged)
            self._stack = ()
            raise
        self._stack = tuple(wanted)

    def restore(self) -> None:
        """Makes every weight bit-equal to what was loaded and frees the copies and the cached factors."""
        self._put_back(self._merged)
        self._stack = ()
        self._copies.clear()
        self._files.clear()

    @torch.no_grad()
    def _merge(self, parts: dict[Site, list[tuple[Part, float]]]) -> None:
        for site in parts.keys() - self._copies.keys():
            weight = self._weight(site)
            self._copies[site] = weight.detach().to(self._pristine or weight.device, copy=True)
        self._put_back(self._merged - parts.keys())
        # Factors of layers alike are scaled and cast together: SDXL has 794 layers and 20 shapes, and a launch for each
        # of the former costs more than the arithmetic.
        groups: dict[tuple[object, ...], list[Site]] = defaultdict(list)
        plain: dict[Site, list[tuple[Factors, float]]] = {}
        for site, layers in parts.items():
            factors = [(f, weight) for f, weight in layers if isinstance(f, Factors)]
            if len(factors) < len(layers):
                self._merged.add(site)
                self._merge_dense(site, layers)
                continue
            plain[site] = factors
            weight = self._weight(site)
            ranks = tuple((f.down.shape[0], f.down.dtype, f.up.dtype) for f, _ in factors)
            groups[weight.shape, weight.dtype, weight.device, ranks].append(site)
        for sites in groups.values():
            self._merged.update(sites)
            self._merge_alike(sites, [plain[site] for site in sites])

    def _merge_dense(self, site: Site, layers: list[tuple[Part, float]]) -> None:
        """Merges forms whose difference is a whole matrix, one layer at a time: summed in float32, rounded once."""
        weight = self._weight(site)
        pristine = self._copies[site].to(weight.device)
        total = pristine.to(torch.float32, copy=True)
        for part, strength in layers:
            if isinstance(part, Factors):
                delta = (part.up.float() @ part.down.float() * part.scale).view(weight.shape)
            else:
                delta = difference(part, pristine)
            total += strength * delta
        weight.copy_(total)

    def _merge_alike(self, sites: list[Site], parts: list[list[tuple[Factors, float]]]) -> None:
        first = self._weight(sites[0])
        ups, downs = [], []
        for layers in zip(*parts, strict=True):  # one adapter's factors in each of the layers
            scales = torch.tensor([f.scale * weight for f, weight in layers], device=first.device).view(-1, 1, 1)
            ups.append((torch.stack([f.up for f, _ in layers]).float() * scales).to(first.dtype))
            downs.append(torch.stack([f.down for f, _ in layers]).to(first.dtype))
        up, down = torch.cat(ups, dim=2), torch.cat(downs, dim=1)  # (layers, out, ranks), (layers, ranks, in)
        for site, u, d in zip(sites, up, down, strict=True):
            weight, pristine = self._weight(site), self._copies[site].to(first.device)
            if weight.ndim == 2:
                torch.addmm(pristine, u, d, out=weight)
            else:  # a convolution's, which may lie in channels_last
                weight.copy_(torch.addmm(pristine.flatten(1), u, d).view(weight.shape))

    @torch.no_grad()
    def _put_back(self, sites: set[Site]) -> None:
        for site in sites:
            self._weight(site).copy_(self._copies[site])
        self._merged = self._merged - sites

    def _weight(self, site: Site) -> Tensor:
        owner, name = self._owners[site]
        weight = getattr(owner, name)
        assert isinstance(weight, Tensor)
        return weight.detach()  # the same storage

    def _factors(self, merged: Merged) -> dict[Site, Part]:
        """Returns the adapter's factors on the weights' devices, from the cache where the file has not changed."""
        key = (merged.path, merged.changed)
        if key not in self._files:
            header = read_header(merged.path)
            check_finite(header.path)
            self._files[key] = self._read(header)
            if len(self._files) > CACHED_ADAPTERS:
                self._files.popitem(last=False)
        self._files.move_to_end(key)
        return self._files[key]

    def _read(self, header: AdapterHeader) -> dict[Site, Part]:
        from safetensors import safe_open

        layers: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for (component, layer, role), name in header.names.items():
            if component in self._aliases:
                layers[component, layer][role] = name
        strange = sorted(layer for component, layer in layers if layer not in self._aliases[component])
        if strange or not layers:
            raise AdapterError(
                f"{header.path.name} changes layers that this model does not have ({', '.join(strange[:3])}"
                f"{', ...' if len(strange) > 3 else ''}). It was made for another kind of model: use a LoRA for SDXL."
            )
        result: dict[Site, Part] = {}
        with safe_open(header.path, framework="pt") as file:
            for (component, layer), names in layers.items():
                if missing := missing_role(names):
                    raise AdapterError(
                        f"{header.path.name} holds half of layer {layer} ('{missing}' is missing). Download or export "
                        "it again."
                    )
                tensors = {role: file.get_tensor(name) for role, name in names.items()}
                for site, part in self._parts(header, (component, self._aliases[component][layer]), tensors):
                    if site in result:
                        raise AdapterError(f"{header.path.name} changes layer {site[1]} twice, under two names.")
                    result[site] = part
        return result

    def _parts(self, header: AdapterHeader, site: Site, tensors: dict[str, Tensor]) -> Iterator[tuple[Site, Part]]:
        """Yields what the tensors of one layer change: its weight, its bias, or both."""
        bias = {role: tensors.pop(role) for role in _ROLES_OF_BIAS if role in tensors}
        if bias:
            place = (site[0], f"{site[1]}.bias")
            if place not in self._owners:
                raise AdapterError(f"{header.path.name} changes the bias of layer {site[1]}, which has none here.")
            yield place, self._checked(header, place, ClosedForm(bias, 1.0))
        full = {role: tensor for role, tensor in tensors.items() if role in _ROLES_OF_WEIGHT}
        if full:  # an alpha beside a full difference means nothing
            yield site, self._checked(header, site, ClosedForm(full, 1.0))
        elif is_closed_form(tensors):
            scale = _scale(header, site, tensors)
            yield site, self._checked(header, site, ClosedForm(tensors, scale))
        elif tensors:
            weight = self._weight(site)
            up, down = _as_matrices(header, site, tensors, weight.shape)
            scale = _scale(header, site, tensors)
            yield site, Factors(up.to(weight.device), down.to(weight.device), scale)

    def _checked(self, header: AdapterHeader, site: Site, part: ClosedForm) -> ClosedForm:
        """Returns the part on the weight's device, multiplied out once: a misfit shows before a weight is written."""
        weight = self._weight(site)
        part = ClosedForm({role: tensor.to(weight.device) for role, tensor in part.tensors.items()}, part.scale)
        try:
            difference(part, weight)
        except AdapterError as error:
            raise AdapterError(
                f"{header.path.name} does not fit layer {site[1]}: {error}. It was made for another kind of model: use "
                "a LoRA for SDXL."
            ) from error
        return part


def _scale(header: AdapterHeader, site: Site, tensors: dict[str, Tensor]) -> float:
    """Returns alpha / rank: 1 where the file names no alpha or no factor has a rank; alpha / sqrt(rank) for rsLoRA."""
    component, name = site
    rank = rank_of(tensors) or header.config_ranks.get(component)
    if rank is None:
        return 1.0
    if "alpha" in tensors:
        return float(tensors["alpha"].item()) / rank
    alpha = header.alpha(component, name.replace(".", "_"))
    if alpha is None:
        return 1.0
    return alpha / (rank**0.5 if component in header.root_scaled else rank)


def _as_matrices(
    header: AdapterHeader, site: Site, tensors: dict[str, Tensor], shape: torch.Size
) -> tuple[Tensor, Tensor]:
    """Shapes (out, rank) and (rank, in * kernel) for a weight of `shape`: a linear layer's or a convolution's."""
    up, down = tensors["up"].flatten(1), tensors["down"].flatten(1)
    if "mid" in tensors:  # LoCon in Tucker form: up (out, r, 1, 1), mid (r, r, k, k), down (r, in, 1, 1)
        mid, sides = tensors["mid"].float(), (up.shape[1], down.shape[0])
        if mid.shape[:2] != sides or mid.ndim != 4 or max(sides) > MOST_RANK or down[0].numel() > shape[1]:
            raise AdapterError(
                f"{header.path.name} is damaged: the factors of layer {site[1]} do not fit each other. Download or "
                "export it again."
            )
        down = torch.einsum("abhw,bi->aihw", mid, down.float()).flatten(1)
    width = shape[1:].numel()
    if up.shape[0] != shape[0] or down.shape[1] != width or up.shape[1] != down.shape[0]:
        raise AdapterError(
            f"{header.path.name} does not fit layer {site[1]}: it changes {up.shape[0]}x{down.shape[1]} weights, the "
            f"model has {shape[0]}x{width}. It was made for another kind of model: use a LoRA for SDXL."
        )
    return up, down
