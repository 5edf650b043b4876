"""LoRA stacks, merged in place into the weights of a resident model over a pristine copy.

A merged stack costs nothing per step, and because the weights keep their storage, CUDA graphs and compiled code stay
valid. A weight is always `pristine + sum of deltas`: the factors in the weight's dtype, one product summed in float32,
rounded once. Going back copies the pristine weight: removal is bit-equal (adding and subtracting deltas is not). Owns
the copies and the factors read from files; knows nothing of names in a registry, of prompts or of which device is best.
"""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipelines.adapters.keys import AdapterHeader, adapter_file, aliases, read_header
from pipelines.errors import AdapterError

CACHED_ADAPTERS = 8
"""Adapters whose factors stay on the device after they were used (rank 32 on every layer of SDXL: 170 MB in fp16)."""
Site = tuple[str, str]
"""A weight: (component, dotted module name)."""


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


class WeightStack:
    """The LoRA stack of one resident model.

    `modules` are its components by their diffusers names: unet, text_encoder, text_encoder_2. A file's parts for a
    component that is not given are left out. `pristine` is where copies of touched weights are kept; None keeps each
    beside its weight (SDXL's attention and feed-forward layers: 4.4 GB in fp16). Not safe for use by two threads.
    """

    def __init__(self, modules: Mapping[str, nn.Module], pristine: torch.device | None = None) -> None:
        self._pristine = pristine
        self._layers: dict[Site, nn.Module] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        for component, module in modules.items():
            layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
            self._layers.update({(component, name): layer for name, layer in layers.items()})
            self._aliases[component] = aliases(component, layers)
        self._copies: dict[Site, Tensor] = {}
        self._merged: set[Site] = set()
        self._stack: tuple[Merged, ...] = ()
        self._files: OrderedDict[tuple[str, int], dict[Site, Factors]] = OrderedDict()

    @property
    def stack(self) -> tuple[Merged, ...]:
        """What is merged now: equal stacks mean equal weights, so it may be the key of what was computed with them."""
        return self._stack

    def apply(self, stack: Sequence[tuple[Path | str, float]]) -> None:
        """Makes the weights pristine + the sum of the stack's deltas, each times its weight; () takes all off.

        Every file is read and checked before a weight is written: after an AdapterError the old stack still stands.

        Raises:
            AdapterError: a file is missing, broken, of another kind (DoRA, LoKr, ...) or made for another model.
        """
        wanted: list[Merged] = []
        for path, weight in stack:
            if weight != 0:
                file = adapter_file(path)
                wanted.append(Merged(os.fspath(file), float(weight), file.stat().st_mtime_ns))
        if tuple(wanted) == self._stack:
            return
        parts: dict[Site, list[tuple[Factors, float]]] = defaultdict(list)
        for merged in wanted:
            for site, factors in self._factors(merged).items():
                parts[site].append((factors, merged.weight * factors.scale))
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
    def _merge(self, parts: dict[Site, list[tuple[Factors, float]]]) -> None:
        for site in parts.keys() - self._copies.keys():
            weight = self._weight(site)
            self._copies[site] = weight.detach().to(self._pristine or weight.device, copy=True)
        self._put_back(self._merged - parts.keys())
        # Factors of layers alike are scaled and cast together: SDXL has 794 layers and 20 shapes, and a launch for each
        # of the former costs more than the arithmetic.
        groups: dict[tuple[object, ...], list[Site]] = defaultdict(list)
        for site, layers in parts.items():
            weight = self._weight(site)
            ranks = tuple((f.down.shape[0], f.down.dtype, f.up.dtype) for f, _ in layers)
            groups[weight.shape, weight.dtype, weight.device, ranks].append(site)
        for sites in groups.values():
            self._merged.update(sites)
            self._merge_alike(sites, [parts[site] for site in sites])

    def _merge_alike(self, sites: list[Site], parts: list[list[tuple[Factors, float]]]) -> None:
        first = self._weight(sites[0])
        ups, downs = [], []
        for layers in zip(*parts, strict=True):  # one adapter's factors in each of the layers
            scales = torch.tensor([scale for _, scale in layers], device=first.device).view(-1, 1, 1)
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
        weight = self._layers[site].weight
        assert isinstance(weight, Tensor)
        return weight.detach()  # the same storage

    def _factors(self, merged: Merged) -> dict[Site, Factors]:
        """The adapter's factors on the weights' devices, from the cache where the file has not changed."""
        key = (merged.path, merged.changed)
        if key not in self._files:
            self._files[key] = self._read(read_header(merged.path))
            if len(self._files) > CACHED_ADAPTERS:
                self._files.popitem(last=False)
        self._files.move_to_end(key)
        return self._files[key]

    def _read(self, header: AdapterHeader) -> dict[Site, Factors]:
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
        result: dict[Site, Factors] = {}
        with safe_open(header.path, framework="pt") as file:
            for (component, layer), names in layers.items():
                if "down" not in names or "up" not in names:
                    raise AdapterError(f"{header.path.name} holds half of layer {layer}. Download or export it again.")
                site = (component, self._aliases[component][layer])
                if site in result:
                    raise AdapterError(f"{header.path.name} changes layer {site[1]} twice, under two names.")
                weight = self._weight(site)
                tensors = {role: file.get_tensor(name) for role, name in names.items()}
                up, down = _as_matrices(header, site, tensors, weight.shape)
                result[site] = Factors(
                    up.to(weight.device), down.to(weight.device), _scale(header, component, site[1], layer, tensors)
                )
        return result


def _scale(header: AdapterHeader, component: str, name: str, layer: str, tensors: dict[str, Tensor]) -> float:
    """alpha / rank: 1 where the file names no alpha; alpha / sqrt(rank) for rsLoRA."""
    rank = tensors["down"].shape[0]
    if "alpha" in tensors:
        return float(tensors["alpha"].item()) / rank
    alpha = header.alpha(component, name.replace(".", "_"))
    if alpha is None:
        return 1.0
    return alpha / (rank**0.5 if component in header.root_scaled else rank)


def _as_matrices(
    header: AdapterHeader, site: Site, tensors: dict[str, Tensor], shape: torch.Size
) -> tuple[Tensor, Tensor]:
    """(out, rank) and (rank, in * kernel) for a weight of `shape`: a linear layer's or a convolution's."""
    up, down = tensors["up"].flatten(1), tensors["down"].flatten(1)
    if "mid" in tensors:  # LoCon in Tucker form: up (out, r, 1, 1), mid (r, r, k, k), down (r, in, 1, 1)
        mid = tensors["mid"].float()
        down = torch.einsum("abhw,bi->aihw", mid, down.float()).flatten(1)
    width = shape[1:].numel()
    if up.shape[0] != shape[0] or down.shape[1] != width or up.shape[1] != down.shape[0]:
        raise AdapterError(
            f"{header.path.name} does not fit layer {site[1]}: it changes {up.shape[0]}x{down.shape[1]} weights, the "
            f"model has {shape[0]}x{width}. It was made for another kind of model: use a LoRA for SDXL."
        )
    return up, down
