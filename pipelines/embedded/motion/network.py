"""The walk sheet network: predicts hidden palette slots of a sheet from the key and the cells that are already known.

Masked prediction as in MaskGIT (Chang et al. 2022), with the key's palette in place of a learned codebook: the score
of a slot is the product of a pixel's vector and the slot's vector. Convolutions stay within a cell; attention mixes
cells, first at the same position (fine level), then everywhere (coarse level). Any cell size divisible by 4 fits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from pipelines.embedded.motion.slots import CELLS, DIRECTIONS, FEATURES

GRID = len(DIRECTIONS) * CELLS
"""Cells of a sheet."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Sizes of the network; the defaults are the shipped one's."""

    fine: int = 96
    coarse: int = 256
    fine_blocks: int = 3
    coarse_blocks: int = 6
    slot_in: int = 12
    slot_out: int = 32
    cell: int = 96
    head: int = 32


def _slot_mlp(out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, out))


class CellBlock(nn.Module):
    """A residual block of two 3x3 convolutions, scaled and shifted by which cell of the sheet it works on."""

    def __init__(self, inside: int, outside: int, cell: int, dropout: float) -> None:
        super().__init__()
        self.norm_1, self.conv_1 = nn.GroupNorm(8, inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.norm_2, self.conv_2 = nn.GroupNorm(8, outside), nn.Conv2d(outside, outside, 3, padding=1)
        self.modulation = nn.Linear(cell, 2 * outside)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()
        nn.init.zeros_(self.conv_2.weight)

    def forward(self, x: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        """Maps x (batch * GRID, channels, h, w) and cell (batch * GRID, width) to (batch * GRID, outside, h, w)."""
        h = self.conv_1(F.silu(self.norm_1(x)))
        scale, shift = self.modulation(cell)[..., None, None].chunk(2, dim=1)
        h = self.norm_2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv_2(self.dropout(F.silu(h)))


class CellAttention(nn.Module):
    """Self-attention between the cells of a sheet: at one position (`axial`) or over all positions."""

    def __init__(self, width: int, head: int, *, axial: bool) -> None:
        super().__init__()
        self.heads, self.axial = width // head, axial
        self.norm = nn.GroupNorm(8, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Attends over x (batch * GRID, width, h, w), with place (GRID, h * w, width) added to q, k and v."""
        count, width, h, w = x.shape
        tokens = self.norm(x).view(count // GRID, GRID, width, h * w).transpose(2, 3)
        tokens = tokens + place.to(tokens.dtype)
        tokens = (
            tokens.transpose(1, 2).reshape(-1, GRID, width) if self.axial else tokens.reshape(-1, GRID * h * w, width)
        )
        q, k, v = self.qkv(tokens).view(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(tokens.shape)
        mixed = self.out(mixed)
        if self.axial:
            mixed = mixed.view(-1, h * w, GRID, width).transpose(1, 2)
        return x + mixed.reshape(-1, GRID, h * w, width).transpose(2, 3).reshape(x.shape)


def _waves(size: int, width: int, device: torch.device) -> torch.Tensor:
    """Encodes the place within a cell, relative to its size, as sine and cosine: (size * size, width)."""
    rates = math.pi * 2.0 ** torch.arange(width // 4, device=device).clamp(max=4)
    along = torch.arange(size, device=device).add(0.5).div(size).sub(0.5).unsqueeze(1) * rates
    line = torch.cat([along.sin(), along.cos()], -1)
    rows, columns = line.unsqueeze(1).expand(-1, size, -1), line.unsqueeze(0).expand(size, -1, -1)
    return torch.cat([rows, columns], -1).reshape(size * size, -1)


class SheetNet(nn.Module):
    """Scores every slot for every pixel of a walk sheet."""

    def __init__(self, widths: Widths | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        w = self.widths = widths or Widths()
        self.slot_in, self.slot_out = _slot_mlp(w.slot_in), _slot_mlp(w.slot_out)
        self.clear_in, self.hidden_in = (
            nn.Parameter(torch.randn(w.slot_in) * 0.5),
            nn.Parameter(torch.randn(w.slot_in) * 0.5),
        )
        self.clear_out = nn.Parameter(torch.randn(w.slot_out) * 0.3)
        self.cells = nn.Parameter(torch.randn(GRID, w.cell) * 0.5)
        self.cell_fine, self.cell_coarse = nn.Linear(w.cell, w.fine), nn.Linear(w.cell, w.coarse)
        self.place_fine, self.place_coarse = nn.Linear(32, w.fine), nn.Linear(32, w.coarse)
        self.enter = nn.Conv2d(12 * w.slot_in + 2, w.fine, 3, padding=1)
        block = lambda inside, outside: CellBlock(inside, outside, w.cell, dropout)  # noqa: E731
        self.down = nn.ModuleList(block(w.fine, w.fine) for _ in range(w.fine_blocks))
        self.mix_down = CellAttention(w.fine, w.head, axial=True)
        self.shrink = nn.Conv2d(w.fine, w.coarse, 2, stride=2)
        self.middle = nn.ModuleList(block(w.coarse, w.coarse) for _ in range(w.coarse_blocks))
        self.mix_middle = nn.ModuleList(CellAttention(w.coarse, w.head, axial=False) for _ in range(w.coarse_blocks))
        self.grow = nn.Conv2d(w.coarse, w.fine, 1)
        self.up = nn.ModuleList(block(w.fine * (2 if i == 0 else 1), w.fine) for i in range(w.fine_blocks))
        self.mix_up = CellAttention(w.fine, w.head, axial=True)
        self.leave = nn.Sequential(nn.GroupNorm(8, w.fine), nn.SiLU(), nn.Conv2d(w.fine, 4 * w.slot_out, 3, padding=1))

    def trunk(self, pictures: torch.Tensor) -> torch.Tensor:
        """Maps (batch * GRID, 12 * slot_in, s / 2, s / 2) to (batch * GRID, 4 * slot_out, s / 2, s / 2)."""
        count, _, half, _ = pictures.shape
        batch, quarter = count // GRID, half // 2
        line = torch.linspace(-1, 1, half, device=pictures.device, dtype=pictures.dtype)
        axes = torch.stack([line.view(-1, 1).expand(half, half), line.view(1, -1).expand(half, half)])
        cell = self.cells.repeat(batch, 1)
        fine_place = self.cell_fine(self.cells).unsqueeze(1) + self.place_fine(_waves(half, 32, pictures.device))
        coarse_place = self.cell_coarse(self.cells).unsqueeze(1) + self.place_coarse(
            _waves(quarter, 32, pictures.device)
        )
        x = self.enter(torch.cat([pictures, axes.expand(count, -1, -1, -1)], 1))
        for block in self.down:
            x = block(x, cell)
        x = fine = self.mix_down(x, fine_place)
        x = self.shrink(x)
        for block, mix in zip(self.middle, self.mix_middle, strict=True):
            x = mix(block(x, cell), coarse_place)
        x = torch.cat([F.interpolate(self.grow(x), scale_factor=2.0), fine], 1)
        for block in self.up:
            x = block(x, cell)
        return self.leave(self.mix_up(x, fine_place))

    def forward(
        self, tokens: torch.Tensor, hidden: torch.Tensor, features: torch.Tensor, used: torch.Tensor
    ) -> torch.Tensor:
        """Scores of all slots.

        Args:
            tokens: (batch, 4, CELLS, size, size) int64 slots; what stands where `hidden` is True does not matter.
            hidden: the same shape, bool.
            features: (batch, SLOTS, FEATURES) of `slot_features`.
            used: (batch, SLOTS) bool: slots of the key; others score -1e4, the clear one is always allowed.

        Returns:
            (batch, 4, CELLS, size, size, SLOTS) float32 scores (logits).
        """
        batch, size, width = len(tokens), tokens.shape[-1], self.widths.slot_in
        table = self.slot_in(features)
        table = torch.cat([self.clear_in.to(table.dtype).expand(batch, 1, -1), table[:, 1:]], 1)
        seen = table.gather(1, tokens.reshape(batch, -1, 1).expand(-1, -1, width)).view(*tokens.shape, width)
        key = seen[:, :1, :1].permute(0, 1, 2, 5, 3, 4)
        seen = torch.where(hidden.unsqueeze(-1), self.hidden_in.to(seen.dtype), seen).permute(0, 1, 2, 5, 3, 4)
        keys = key.expand(-1, *tokens.shape[1:3], -1, -1, -1)
        pictures = torch.cat([seen, keys, keys.flip(-1)], 3).reshape(batch * GRID, 3 * width, size, size)
        vectors = F.pixel_shuffle(self.trunk(F.pixel_unshuffle(pictures, 2)), 2)
        vectors = (
            vectors.view(batch, GRID, -1, size, size).permute(0, 1, 3, 4, 2).reshape(batch, -1, self.widths.slot_out)
        )
        names = self.slot_out(features)
        names = torch.cat([self.clear_out.to(names.dtype).expand(batch, 1, -1), names[:, 1:]], 1)
        scores = cast(torch.Tensor, vectors @ names.transpose(1, 2)).float() * (2 / self.widths.slot_out**0.5)
        allowed = used.clone()
        allowed[:, 0] = True
        return scores.masked_fill(~allowed.unsqueeze(1), -1e4).view(*tokens.shape, -1)
