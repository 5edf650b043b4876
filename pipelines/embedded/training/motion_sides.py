"""Trains the side judge (pipelines.embedded.motion.sides): which way does the figure of one cell look?"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipelines.embedded.motion.sides import SideNet, cell_pictures
from pipelines.embedded.motion.slots import CELLS, SLOTS
from pipelines.embedded.training.motion_augment import Pool, key_palette
from pipelines.embedded.training.motion_data import Sheets, load
from pipelines.embedded.training.motion_sheets import draw_figures

RATE, DROPOUT, MADE_SHARE = 2e-3, 0.2, 0.25


def _tokens(sheets: Sheets, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    lab = np.zeros((len(sheets.names), SLOTS, 3), np.float32)
    lab[:, : sheets.palette.shape[1]] = sheets.palette
    return torch.from_numpy(sheets.tokens).long().to(device), torch.from_numpy(lab).to(device)


@torch.no_grad()
def accuracy(net: SideNet, sheets: Sheets, device: str = "cpu") -> dict[str, float]:
    """Returns the share of cells whose direction is recognised (all, sides, front, back) and the mean loss."""
    net.eval()
    x, lab = _tokens(sheets, device)
    size, count = x.shape[-1], len(x)
    likely = net(cell_pictures(x.view(-1, size, size), lab.repeat_interleave(4 * CELLS, 0)))
    true = torch.arange(4, device=device).view(1, 4, 1).expand(count, 4, CELLS).reshape(-1)
    right = (likely.argmax(-1) == true).float().view(count, 4, CELLS).mean((0, 2)).tolist()
    loss = float(torch.nn.functional.nll_loss(likely, true))
    named = {"down": right[0], "sides": (right[1] + right[2]) / 2, "up": right[3], "all": float(np.mean(right))}
    return {**{name: round(value, 4) for name, value in named.items()}, "loss": round(loss, 4)}


def train(data: Path, out: Path, seconds: float, *, made: int = 3000, workers: int = 8, batch: int = 128) -> None:
    """Trains for so many seconds; writes out/sides.safetensors (fp16) and prints held-out figures on the way."""
    from safetensors.torch import save_file

    start = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    sheets, held_out = load(data)
    small = sheets[16]
    test: NDArray[np.bool_] = np.isin(small.outline, held_out)
    walking = small.only(test & small.steps)
    pool = Pool(small.only(~test), draw_figures(made, 16, workers), device, MADE_SHARE)
    net, average = SideNet(dropout=DROPOUT).to(device), SideNet().to(device)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.02)
    weights, averages = [p.data for p in net.parameters()], [p.data for p in average.parameters()]
    step, next_look = 0, start + seconds / 6
    while (share := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 100) * max(0.02, 1 - share)
        net.train()
        with torch.no_grad():
            x, lab = pool.batch(batch)
            x, _ = key_palette(x, lab)
            cell = torch.randint(0, CELLS, (batch,), device=device)
            true = torch.arange(4, device=device).repeat(batch)
            cells = x[torch.arange(batch, device=device), :, cell].reshape(-1, *x.shape[-2:])
            pictures = cell_pictures(cells, lab.repeat_interleave(4, 0))
        loss = torch.nn.functional.nll_loss(net(pictures), true)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        get_ema_multi_avg_fn(min(0.998, (1 + step) / (10 + step)))(averages, weights, step)
        step += 1
        if time.monotonic() > next_look:
            next_look = time.monotonic() + seconds / 6
            print(
                json.dumps(
                    {"step": step, "loss": round(float(loss.detach()), 4), **accuracy(average, walking, device)}
                ),
                flush=True,
            )
    save_file(
        {k: v.detach().half().cpu().contiguous() for k, v in average.state_dict().items()}, out / "sides.safetensors"
    )
    record = {
        "step": step,
        "parameters": sum(p.numel() for p in net.parameters()),
        **accuracy(average, walking, device),
    }
    print(json.dumps(record), flush=True)


def main() -> None:
    """Trains the side judge."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the file that motion_data wrote")
    parser.add_argument("out", type=Path, help="folder for the weights")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--figures", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train(options.data, options.out, options.seconds, made=options.figures, workers=options.workers)


if __name__ == "__main__":
    main()
