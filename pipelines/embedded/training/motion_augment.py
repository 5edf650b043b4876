"""Batches for the walk model: sheets that are recoloured, mirrored, recombined and outlined on the training device.

Every change is made to all cells of a sheet alike, so a batch stays what a consistent artist could have drawn.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F

from pipelines.embedded.motion.slots import CELLS, SLOTS
from pipelines.embedded.training.motion_data import COLORS, GROUPS, Sheets

OUTLINE_SLOT = 2 * COLORS - 1
"""The slot of an outline that is drawn around a training sheet."""


class Pool:
    """Sheets of one cell size on the training device, drawn with augmentation.

    Args:
        drawn: sheets of the packs.
        made: tokens, palettes and groups of random figures.
        share_made: how much of a batch is random figures.

    Partners for recombination come from the same pack more often than not: its heads and hats have one place.
    """

    def __init__(
        self, drawn: Sheets, made: tuple[np.ndarray, np.ndarray, np.ndarray], device: str, share_made: float = 0.35
    ) -> None:
        self.device, self.size = device, drawn.tokens.shape[-1]
        count, extra = len(drawn.names), len(made[0])
        tokens, palette, groups = (
            np.concatenate([own, other])
            for own, other in zip((drawn.tokens, drawn.palette, drawn.groups), made, strict=True)
        )
        self.tokens = torch.from_numpy(tokens).to(device)
        self.palette = torch.from_numpy(palette).to(device)
        self.groups = torch.from_numpy(groups).to(device).long()
        alike = {n: int((drawn.outline == n).sum()) for n in set(drawn.outline.tolist())}
        weight = np.array(
            [
                alike[int(n)] ** -0.6 * (1.0 if step else 0.45)
                for n, step in zip(drawn.outline, drawn.steps, strict=True)
            ]
        )
        weight = np.concatenate([weight / weight.sum() * (1 - share_made), np.full(extra, share_made / max(extra, 1))])
        self.cumulative = torch.from_numpy((weight / weight.sum()).cumsum()).float().to(device)
        partners = np.concatenate([np.flatnonzero(drawn.steps), count + np.arange(extra // 4)])
        partner_weight = np.concatenate(
            [
                np.full(int(drawn.steps.sum()), 0.8 / max(drawn.steps.sum(), 1)),
                np.full(extra // 4, 0.2 / max(extra // 4, 1)),
            ]
        )
        self.partners = torch.from_numpy(partners).to(device)
        self.partner_cumulative = torch.from_numpy((partner_weight / partner_weight.sum()).cumsum()).float().to(device)
        self.recombined = (
            torch.from_numpy(np.concatenate([np.where(drawn.steps, 0.6, 0.0), np.full(extra, 0.12)])).float().to(device)
        )
        pack = np.array([name.split("/")[0] for name in drawn.names] + ["made"] * extra)
        kin = np.array(sorted(partners.tolist(), key=lambda i: str(pack[i])))
        first = {name: int(np.flatnonzero(pack[kin] == name)[0]) for name in set(pack[kin].tolist())}
        alike_count = {name: int((pack[kin] == name).sum()) for name in first}
        self.kin = torch.from_numpy(kin).to(device)
        self.kin_first = torch.tensor([first.get(name, 0) for name in pack.tolist()], device=device)
        self.kin_count = torch.tensor([alike_count.get(name, len(kin)) for name in pack.tolist()], device=device)
        self.splits = self.tokens.flatten(1).amax(1) < COLORS // 2  # there is room for a second tone of each slot
        solid = self.tokens > 0
        self.top = solid.any(-1).float().argmax(-1)  # (n, 4, CELLS): first drawn row
        columns = torch.arange(self.size, device=device).float()
        share = solid.float().sum((2, 3)).clamp(min=1e-3)  # (n, 4, size): columns of a direction
        self.middle = (share * columns).sum(-1) / share.sum(-1)  # (n, 4)

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, device=self.device)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns augmented sheets: slots (count, 4, CELLS, size, size) int64, OKLab of the slots (count, SLOTS, 3)."""
        last = len(self.tokens) - 1
        own = torch.searchsorted(self.cumulative, self._random(count)).clamp(max=last)
        other = self.partners[
            torch.searchsorted(self.partner_cumulative, self._random(count)).clamp(max=len(self.partners) - 1)
        ]
        near = self.kin[self.kin_first[own] + (self._random(count) * self.kin_count[own]).long()]
        from_pack = self._random(count) < 0.65
        other = torch.where(from_pack, near, other)
        other = torch.where(self._random(count) < self.recombined[own], other, own)
        x = self._recombine(own, other, hats=from_pack)
        lab, groups = self._recolour(own, other)
        x = self._mirror(x)
        x, lab, groups = self._two_tones(x, lab, groups, self.splits[own] & self.splits[other])
        x, lab = self._outline(x, lab, groups)
        return self._stretch(x), lab

    def _recombine(self, own: torch.Tensor, other: torch.Tensor, hats: torch.Tensor) -> torch.Tensor:
        """Puts the head of one sheet on the body of another, or (where `hats`) its hat or hair on the other's face.

        The upper part follows the lower one's bob cell by cell.
        """
        count, size, device = len(own), self.size, self.device
        a, b = self.tokens[own].long(), self.tokens[other].long()
        b = torch.where(b > 0, b + COLORS - 1, b).clamp(max=OUTLINE_SLOT - 1)
        rows = torch.arange(size, device=device)
        share = 0.48 + 0.2 * self._random(count)
        share = torch.where(hats & (self._random(count) < 0.45), 0.16 + 0.22 * self._random(count), share)
        tall_a, tall_b = size - self.top[own][:, 0, 0].float(), size - self.top[other][:, 0, 0].float()
        head_a, neck_b = (tall_a * share).round().long(), (tall_b * share).round().long()
        neck_b = self.top[other] + neck_b.view(-1, 1, 1)  # (count, 4, CELLS): first row of the body
        shift_y = neck_b - (self.top[own] + head_a.view(-1, 1, 1))
        shift_x = (self.middle[other] - self.middle[own]).round().long()  # (count, 4)
        from_y = (rows.view(1, 1, 1, size) - shift_y.unsqueeze(-1)).unsqueeze(-1).expand(-1, -1, -1, -1, size)
        from_x = (
            (rows.view(1, 1, size) - shift_x.unsqueeze(-1)).view(count, 4, 1, 1, size).expand(-1, -1, CELLS, size, -1)
        )
        inside = (from_y >= 0) & (from_y < size) & (from_x >= 0) & (from_x < size)
        head = a.gather(3, from_y.clamp(0, size - 1)).gather(4, from_x.clamp(0, size - 1))
        head = torch.where(inside, head, 0)
        body = rows.view(1, 1, 1, size, 1) >= neck_b[..., None, None]
        swapped = torch.where(body, b, head)
        return torch.where((own == other).view(-1, 1, 1, 1, 1), a, swapped)

    def _recolour(self, own: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turns, lightens and tints each group of colours together: OKLab and groups of SLOTS slots."""
        r, count = self._random, len(own)

        def changes() -> torch.Tensor:
            on = (r(count, GROUPS) < 0.6) & (r(count, 1) < 0.75)
            hue = torch.where(on, r(count, GROUPS) * 2 * math.pi, (r(count, GROUPS) - 0.5) * 0.3)
            chroma = torch.where(on, 0.4 + r(count, GROUPS) * 1.1, 0.9 + 0.2 * r(count, GROUPS))
            light = torch.where(on, (r(count, GROUPS) - 0.5) * 0.3, (r(count, GROUPS) - 0.5) * 0.06)
            contrast = torch.where(on, 0.75 + 0.5 * r(count, GROUPS), 1.0)
            tint = torch.where((on & (r(count, GROUPS) < 0.5)).unsqueeze(-1), (r(count, GROUPS, 2) - 0.5) * 0.24, 0.0)
            light[:, 0] = torch.where(r(count) < 0.4, r(count) * 0.22, 0.0)
            contrast[:, 0] = 1
            tint[:, 0] *= 0.6
            tint[:, 2:] = 0
            return torch.stack([hue, chroma, light, contrast, tint[..., 0], tint[..., 1]], -1)

        mine = changes()
        theirs = torch.where((own == other).view(-1, 1, 1), mine, changes())
        theirs[:, 0] = mine[:, 0]
        groups = [
            self.groups[own],
            self.groups[other][:, 1:-1],
            torch.zeros(count, 1 + 2, device=self.device, dtype=torch.long),
        ]
        lab = torch.cat(
            [self.palette[own], self.palette[other][:, 1:-1], torch.zeros(count, 3, 3, device=self.device)], 1
        )[:, :SLOTS]
        change = torch.cat(
            [
                mine.gather(1, groups[0].unsqueeze(-1).expand(-1, -1, 6)),
                theirs.gather(1, groups[1].unsqueeze(-1).expand(-1, -1, 6)),
                mine[:, :1].expand(-1, 3, -1),
            ],
            1,
        )[:, :SLOTS]
        group = torch.cat(groups, 1)[:, :SLOTS]
        hue, chroma, light, contrast, tint_a, tint_b = change.unbind(-1)
        value, a, b = lab.unbind(-1)
        pale = torch.where(r(count, 1) < 0.25, 0.35 + 0.6 * r(count, 1), 1.0)  # drawn keys are often pale
        contrast, chroma = contrast * pale, chroma * (0.3 + 0.7 * pale)
        level = 0.45 + 0.3 * r(count, 1)
        value = ((value - level) * contrast + level + light).clamp(0.02, 1)
        turned = torch.stack(
            [
                value,
                (a * hue.cos() - b * hue.sin()) * chroma + tint_a,
                (a * hue.sin() + b * hue.cos()) * chroma + tint_b,
            ],
            -1,
        )
        return turned, group

    def _mirror(self, x: torch.Tensor) -> torch.Tensor:
        """Mirrors half of the sheets: cells flipped, left and right and the two steps exchanged."""
        flipped = x.flip(-1)[:, [0, 2, 1, 3]][:, :, [0, 2, 1]]
        return torch.where((self._random(len(x)) < 0.5).view(-1, 1, 1, 1, 1), flipped, x)

    def _two_tones(
        self, x: torch.Tensor, lab: torch.Tensor, groups: torch.Tensor, possible: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draws some slots of some sheets in two tones: by chance, below a row, or on one side of a cell."""
        count, size, half = len(x), self.size, COLORS // 2
        chosen = possible & (self._random(count) < 0.45)
        split = (self._random(count, SLOTS) < 0.6) & chosen.view(-1, 1)
        present = torch.zeros(count, SLOTS, device=self.device).scatter_(1, x.view(count, -1), 1.0) > 0
        split &= present & (groups > 0)
        split[:, [0, OUTLINE_SLOT]] = False
        tone = torch.arange(SLOTS, device=self.device) + half
        tone = tone.clamp(max=SLOTS - 1).expand(count, -1)
        change = torch.stack(
            [
                (self._random(count, SLOTS) - 0.5) * 0.16,
                (self._random(count, SLOTS) - 0.5) * 0.04,
                (self._random(count, SLOTS) - 0.5) * 0.04,
            ],
            -1,
        )
        target = torch.where(split, tone, 0)
        fresh = torch.zeros_like(split).scatter_(1, target, True)
        fresh[:, 0] = False
        made = torch.zeros_like(lab).scatter_add_(
            1, target.unsqueeze(-1).expand(-1, -1, 3), (lab + change) * split.unsqueeze(-1)
        )
        lab = torch.where(fresh.unsqueeze(-1), made, lab)
        groups = torch.where(fresh, torch.zeros_like(groups).scatter_add_(1, target, groups * split), groups)
        rows = torch.arange(size, device=self.device).view(1, 1, 1, size, 1)
        columns = torch.arange(size, device=self.device).view(1, 1, 1, 1, size)
        mode, line = self._random(count, 1, 1, 1, 1), self._random(count, 1, 1, 1, 1)
        chance = self._random(*x.shape) < 0.15 + 0.35 * line
        below = rows >= size * (0.3 + 0.5 * line)
        aside = columns >= size * (0.35 + 0.3 * line)
        here = torch.where(mode < 0.5, chance, torch.where(mode < 0.8, below, aside))
        here &= split.gather(1, x.view(count, -1)).view(x.shape)
        return torch.where(here, x + half, x), lab, groups

    def _outline(self, x: torch.Tensor, lab: torch.Tensor, groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes the drawn outline off some, and puts an outline of 1 or 2 px in one slot around some."""
        count, size = len(x), self.size
        flat = x.view(count, -1)
        dark = (groups == 0).gather(1, flat).view(x.shape) & (x > 0)
        clear = F.pad((x == 0).float().view(count, -1, size, size), (1, 1, 1, 1), value=1.0)
        edge = (clear[..., 1:-1, :-2] + clear[..., 1:-1, 2:] + clear[..., :-2, 1:-1] + clear[..., 2:, 1:-1]).view(
            x.shape
        ) > 0
        choice = self._random(count).view(-1, 1, 1, 1, 1)
        x = torch.where((choice < 0.3) & dark & edge, 0, x)
        around = choice.clone()
        twice = self._random(count).view(-1, 1, 1, 1, 1) < 0.2
        corners = self._random(count).view(-1, 1, 1, 1) < 0.35
        for turn in range(2):
            solid = F.pad((x > 0).float().view(count, -1, size, size), (1, 1, 1, 1))
            cross = solid[..., 1:-1, :-2] + solid[..., 1:-1, 2:] + solid[..., :-2, 1:-1] + solid[..., 2:, 1:-1]
            diagonal = solid[..., :-2, :-2] + solid[..., :-2, 2:] + solid[..., 2:, :-2] + solid[..., 2:, 2:]
            near = torch.where(corners, cross + diagonal, cross).view(x.shape) > 0
            wanted = ((around > 0.1) & (around < 0.45)) & (twice if turn else torch.ones_like(twice))
            x = torch.where(wanted & near & (x == 0), OUTLINE_SLOT, x)
        shade = torch.stack(
            [self._random(count) * 0.45 + 0.03, (self._random(count) - 0.5) * 0.12, (self._random(count) - 0.5) * 0.12],
            -1,
        )
        lab = lab.clone()
        lab[:, OUTLINE_SLOT] = shade
        return x, lab

    def _stretch(self, x: torch.Tensor) -> torch.Tensor:
        """Widens or narrows by column pairs, heightens or shortens by rows, then shifts; alike in all cells."""
        count, size, device = len(x), self.size, self.device
        base = torch.arange(size, device=device).view(1, size).expand(count, size)
        solid = x > 0
        side = solid[..., 0].flatten(1).any(1) | solid[..., -1].flatten(1).any(1)
        top = solid[..., 0, :].flatten(1).any(1)
        half = torch.minimum(base, size - 1 - base)
        columns, rows = base, base
        for _ in range(1 if size == 16 else 3):
            draw, at = self._random(count), (self._random(count, 1) * (size * 0.3) + size * 0.2).long()
            grow = torch.where((draw < 0.22) & ~side, 1, 0) - torch.where(draw > 0.82, 1, 0)
            move = torch.where(half <= at, 1, 0) * grow.view(-1, 1)
            step = torch.where(base < size // 2, base + move, base - move)
            columns = columns.gather(1, step.clamp(0, size - 1))
            draw, at = self._random(count), (self._random(count, 1) * (size * 0.6) + size * 0.12).long()
            grow = torch.where((draw < 0.22) & ~top, 1, 0) - torch.where(draw > 0.82, 1, 0)
            step = base + torch.where(base <= at, 1, 0) * grow.view(-1, 1)
            lost = (step < 0) | (step >= size)
            rows = torch.where(lost, -1, rows.gather(1, step.clamp(0, size - 1)))
        shift = torch.randint(-1, 2, (count, 2), device=device) * (self._random(count, 2) < 0.5)

        def shifted(index: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
            place = base - by
            return torch.where((place >= 0) & (place < size), index.gather(1, place.clamp(0, size - 1)), -1)

        rows, columns = shifted(rows, shift[:, :1]), shifted(columns, shift[:, 1:])
        inside = (rows >= 0).view(count, 1, 1, size, 1) & (columns >= 0).view(count, 1, 1, 1, size)
        moved = x.gather(3, rows.clamp(min=0).view(count, 1, 1, size, 1).expand_as(x))
        moved = moved.gather(4, columns.clamp(min=0).view(count, 1, 1, 1, size).expand_as(x))
        return torch.where(inside, moved, 0)


def key_palette(x: torch.Tensor, lab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Changes every colour of a sheet to the nearest one that its key (cell 0, 0) has.

    Returns:
        slots like `x`, and which slots the key has: (batch, SLOTS) bool.
    """
    count = len(x)
    key = x[:, 0, 0].reshape(count, -1)
    used = torch.zeros(count, SLOTS, device=x.device).scatter_(1, key, 1.0).bool()
    used[:, 0] = False
    nearest = (torch.cdist(lab, lab) + (~used).unsqueeze(1) * 1e3).argmin(-1)
    nearest[:, 0] = 0
    return nearest.gather(1, x.reshape(count, -1)).view_as(x), used
