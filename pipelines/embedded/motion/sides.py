"""The side judge: says from one cell alone which way its figure looks.

It chooses among painted sheets. The sheet network's own surprise says whether a sheet is like the ones it learned; it
does not say whether a player can tell left from right. The judge sees a single cell, as a player does.
"""

from __future__ import annotations

import torch
from torch import nn

from pipelines.embedded.motion.slots import DIRECTIONS

CHANNELS = 4
"""OKLab and opacity; a clear pixel is 0 in all of them."""


def _stage(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1),
        nn.GroupNorm(8, outside),
        nn.SiLU(),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.GroupNorm(8, outside),
        nn.SiLU(),
    )


class SideNet(nn.Module):
    """Scores the four directions for a cell of any size divisible by 4.

    A cell and its mirror image are scored together, left and right exchanged, so the answer has no preferred side.
    """

    def __init__(self, width: int = 24, dropout: float = 0.0) -> None:
        super().__init__()
        self.stages = nn.ModuleList([_stage(CHANNELS, width), _stage(width, 2 * width), _stage(2 * width, 3 * width)])
        self.drop = nn.Dropout(dropout)
        self.shape = nn.Linear(2 * 3 * width, 3 * width)
        self.out = nn.Linear(3 * width, len(DIRECTIONS))

    def _scores(self, x: torch.Tensor) -> torch.Tensor:
        for number, stage in enumerate(self.stages):
            x = stage(x if number == 0 else nn.functional.avg_pool2d(x, 2))
        half = x.shape[-1] // 2
        halves = torch.cat([x[..., :half].amax((2, 3)), x[..., half:].amax((2, 3))], 1)
        return self.out(self.drop(nn.functional.silu(self.shape(halves))))

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """Maps (batch, CHANNELS, size, size) to (batch, 4) log-probabilities of DIRECTIONS."""
        mirrored = self._scores(cells.flip(-1))[:, [0, 2, 1, 3]]
        return ((self._scores(cells) + mirrored) / 2).log_softmax(-1)


def cell_pictures(tokens: torch.Tensor, lab: torch.Tensor) -> torch.Tensor:
    """Returns cells as the judge sees them, moved to the middle columns.

    Args:
        tokens: (batch, size, size) int64 slots, 0 is clear.
        lab: (batch, SLOTS, 3) OKLab of the slots.

    Returns:
        (batch, CHANNELS, size, size) float.
    """
    batch, size, _ = tokens.shape
    flat = tokens.reshape(batch, -1, 1).expand(-1, -1, 3)
    seen = lab.gather(1, flat).view(batch, size, size, 3) - lab.new_tensor([0.3, 0.0, 0.0])
    drawn = (tokens > 0).to(lab.dtype).unsqueeze(-1)
    x = torch.cat([seen * drawn * 2, drawn], -1).permute(0, 3, 1, 2)
    columns = (tokens > 0).any(1)
    first = columns.to(torch.int8).argmax(1)
    last = size - 1 - columns.flip(1).to(torch.int8).argmax(1)
    shift = ((first + last + 1) // 2 - size // 2).view(-1, 1, 1, 1)
    place = torch.arange(size, device=tokens.device).view(1, 1, 1, size) + shift
    moved = x.gather(3, place.clamp(0, size - 1).expand(batch, CHANNELS, size, size))
    return torch.where((place >= 0) & (place < size), moved, 0)


@torch.inference_mode()
def readable(net: SideNet, sheets: torch.Tensor, lab: torch.Tensor) -> torch.Tensor:
    """Returns how surely each direction of each sheet is recognised.

    Args:
        net: in evaluation mode.
        sheets: (batch, 4, CELLS, size, size) int64 slots.
        lab: (SLOTS, 3) OKLab of the slots of all sheets.

    Returns:
        (batch, 4): mean log-probability of the true direction over the cells of each row.
    """
    batch, rows, cells, size, _ = sheets.shape
    pictures = cell_pictures(sheets.reshape(-1, size, size), lab.expand(batch * rows * cells, -1, -1))
    likely = net(pictures).view(batch, rows, cells, rows).mean(2)
    return likely.diagonal(dim1=1, dim2=2)
