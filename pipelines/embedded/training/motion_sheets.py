"""Train the walk sheet network (pipelines.embedded.motion.network) on a GPU, in minutes.

Loss: cross-entropy of hidden slots. Masks follow the sampler's cosine schedule; in a third of the sheets whole cells
are shown or hidden. Held-out outlines are only measured on: the last average of the weights is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipelines.embedded.motion.network import SheetNet
from pipelines.embedded.motion.sampling import paint_tokens
from pipelines.embedded.motion.slots import CELLS, SLOTS, slot_features
from pipelines.embedded.training.motion_augment import Pool, key_palette
from pipelines.embedded.training.motion_data import Sheets, load
from pipelines.embedded.training.motion_figures import draw_figure
from pipelines.embedded.training.motion_measure import figures, mean_figures
from pipelines.pixels.oklab import from_oklab

RATE, DECAY, DROPOUT = 6e-4, 0.03, 0.15
ROW_WEIGHTS = (0.6, 1.3, 1.3, 0.9)
"""Weight of the loss for the rows of DIRECTIONS; the side views are what a player must tell apart."""

SIZES = (16, 16, 16, 16, 24)
"""Cell sizes of consecutive steps."""


def draw_figures(count: int, size: int, workers: int, first: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    """Draws tokens, palettes and groups of `count` random figures."""
    seeds = range(first, first + count)
    draw = partial(draw_figure, size=size)
    if workers > 1:
        with get_context("fork").Pool(workers) as pool:
            made = pool.map(draw, seeds, chunksize=64)
    else:
        made = [draw(seed) for seed in seeds]
    tokens, palettes, groups = zip(*made, strict=True)
    return np.stack(tokens), np.stack(palettes), np.stack(groups)


def widened(small: Sheets, large: Sheets) -> Sheets:
    """Joins the sheets of 24 px and those of 16 px in cells of 24, feet on the bottom line."""
    spare = 24 - small.tokens.shape[-1]
    padded = np.pad(small.tokens, ((0, 0), (0, 0), (0, 0), (spare, 0), (spare // 2, spare - spare // 2)))
    return Sheets(
        np.concatenate([large.tokens, padded]),
        np.concatenate([large.palette, small.palette]),
        np.concatenate([large.groups, small.groups]),
        np.concatenate([large.outline, small.outline]),
        np.concatenate([large.steps, small.steps]),
        np.concatenate([large.names, small.names]),
    )


def hide(count: int, size: int, device: str) -> torch.Tensor:
    """Hides a cosine-distributed share of the pixels; in a third of the sheets by whole cells. Never the key."""
    share = torch.cos(math.pi / 2 * ((torch.rand(1, device=device) + torch.arange(count, device=device) / count) % 1))
    share = share.view(count, 1, 1, 1, 1).expand(count, 4, CELLS, 1, 1)
    cell, mode = torch.rand(count, 4, CELLS, 1, 1, device=device), torch.rand(count, 1, 1, 1, 1, device=device)
    by_cell = torch.where(cell < 0.3, 0.0, torch.where(cell > 0.6, 1.0, share))
    hidden = torch.rand(count, 4, CELLS, size, size, device=device) < torch.where(mode < 0.35, by_cell, share)
    hidden[:, 0, 0] = False
    return hidden


def hidden_loss(net: SheetNet, x: torch.Tensor, lab: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Computes the mean cross-entropy of the hidden pixels by ROW_WEIGHTS, in the key's colours only."""
    x, used = key_palette(x, lab)
    scores = net(x, hidden, slot_features(x[:, 0, 0], lab), used)
    loss = torch.nn.functional.cross_entropy(scores.reshape(-1, SLOTS), x.reshape(-1), reduction="none").view(x.shape)
    weight = hidden * loss.new_tensor(ROW_WEIGHTS).view(1, 4, 1, 1, 1)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


class Held:
    """One sheet of each held-out outline that steps, to be measured on."""

    def __init__(self, sheets: Sheets, held_out: NDArray[np.int64], device: str) -> None:
        at = [
            int(np.flatnonzero((sheets.outline == n) & sheets.steps)[0])
            for n in held_out
            if ((sheets.outline == n) & sheets.steps).any()
        ]
        self.names = sheets.names[at]
        self.x = torch.from_numpy(sheets.tokens[at]).long().to(device)
        lab = np.zeros((len(at), SLOTS, 3), np.float32)
        lab[:, : sheets.palette.shape[1]] = sheets.palette[at]
        self.lab = torch.from_numpy(lab).to(device)
        self.real = self._pictures(self.x)

    def _pictures(self, tokens: torch.Tensor) -> NDArray[np.uint8]:
        rgb, slots = from_oklab(self.lab.cpu().numpy()), tokens.cpu().numpy()
        colors = np.stack([rgb[i][slots[i]] for i in range(len(slots))])
        pictures = np.concatenate([colors, (slots > 0)[..., None].astype(np.uint8) * 255], -1)
        pictures[slots == 0] = 0
        return pictures

    @torch.no_grad()
    def measure(self, net: SheetNet) -> dict[str, float]:
        """Measures one painted sheet for each outline, rows left and right tied; returns mean figures and the loss."""
        net.eval()
        _, used = key_palette(self.x, self.lab)
        made = paint_tokens(net, self.x[:, 0, 0], self.lab, used, list(range(len(self.x))), mirrored=True)
        pictures = self._pictures(made)
        found = mean_figures([figures(own, real) for own, real in zip(pictures, self.real, strict=True)])
        state = torch.get_rng_state()
        torch.manual_seed(5)
        hidden = hide(len(self.x), self.x.shape[-1], "cpu").to(self.x.device)
        torch.set_rng_state(state)
        return {**found, "loss": round(float(hidden_loss(net, self.x, self.lab, hidden)), 4)}


def save_parts(net: SheetNet, out: Path, largest: int = 15_500_000) -> None:
    """Writes the weights in fp16 as sheet-0.safetensors, sheet-1.safetensors ..., none over `largest` bytes."""
    from safetensors.torch import save_file

    parts: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, weight in net.state_dict().items():
        half = weight.detach().half().cpu().contiguous()
        if size + half.numel() * 2 > largest:
            parts.append({})
            size = 0
        parts[-1][name] = half
        size += half.numel() * 2
    for i, part in enumerate(parts):
        save_file(part, out / f"sheet-{i}.safetensors.partial")
    for i in range(len(parts)):
        (out / f"sheet-{i}.safetensors.partial").replace(out / f"sheet-{i}.safetensors")


def _compile(net: SheetNet, pools: dict[int, Pool], batch: int, device: str) -> None:
    """Compiles the trunk, and tries both cell sizes; a compiler that fails costs speed, not the run."""
    plain = net.trunk
    net.trunk = cast(Any, torch.compile(plain, dynamic=False))
    try:
        for size, pool in pools.items():
            count = batch if size == 16 else batch // 2
            x, lab = pool.batch(count)
            with torch.autocast(device, torch.bfloat16):
                loss = hidden_loss(net, x, lab, hide(count, size, device))
            loss.backward()
        net.zero_grad(set_to_none=True)
    except Exception as error:  # the compiler's own errors have no common base
        print(f"torch.compile failed, going on without: {error}", flush=True)
        net.trunk = plain


def train(
    data: Path,
    out: Path,
    seconds: float,
    *,
    seed: int = 0,
    batch: int = 256,
    made: int = 9000,
    made_share: float = 0.35,
    workers: int = 16,
) -> None:
    """Trains for so many seconds; writes the weights that did best on held-out outlines and a log into `out`.

    The score is the mean of the side views' outline likeness and the share of right colours.
    """
    start = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    sheets, held_out = load(data)
    learned = {size: part.only(~np.isin(part.outline, held_out)) for size, part in sheets.items()}
    learned[24] = widened(learned[16], learned[24])
    pools = {
        16: Pool(learned[16], draw_figures(made, 16, workers), device, made_share),
        24: Pool(learned[24], draw_figures(made // 3, 24, workers, made), device, made_share),
    }
    held = Held(sheets[16], held_out, device)
    seen = Held(learned[16], np.unique(learned[16].outline[learned[16].steps])[::3], device)
    net, average = SheetNet(dropout=DROPOUT).to(device), SheetNet().to(device)
    average.load_state_dict(net.state_dict())
    if device == "cuda":
        _compile(net, pools, batch, device)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=DECAY, fused=device == "cuda"
    )
    weights, averages = [p.data for p in net.parameters()], [p.data for p in average.parameters()]
    log = (out / "sheet-log.jsonl").open("a")

    def say(**record: Any) -> None:
        line = json.dumps(record)
        print(line, flush=True)
        print(line, file=log, flush=True)

    say(parameters=sum(p.numel() for p in net.parameters()), device=device, ready=round(time.monotonic() - start, 1))

    def look(**record: Any) -> None:
        nonlocal best
        found = held.measure(average)
        say(**record, at=round(time.monotonic() - start, 1), held=found, seen=seen.measure(average))
        if (score := (found["sides"] + found["colour"]) / 2) > best:
            best = score
            save_parts(average, out)

    step, best = 0, 0.0
    began = time.monotonic()
    next_look = began + max(60.0, seconds * 0.2)
    while (now := time.monotonic()) < start + seconds:
        share = (now - began) / (start + seconds - began)
        rate = (
            RATE
            * min(1, (step + 1) / 300)
            * (1 if share < 0.45 else max(0.02, 0.5 + 0.5 * math.cos(math.pi * (share - 0.45) / 0.55)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        size = SIZES[step % len(SIZES)]
        count = batch if size == 16 else batch // 2
        net.train()
        with torch.no_grad():
            x, lab = pools[size].batch(count)
            hidden = hide(count, size, device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = hidden_loss(net, x, lab, hidden)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        get_ema_multi_avg_fn(min(0.999, (1 + step) / (10 + step)))(averages, weights, step)
        step += 1
        if step in (1, 5, 20, 50) or step % 200 == 0:
            say(step=step, at=round(time.monotonic() - start, 1), loss=round(float(loss.detach()), 4))
        if time.monotonic() > next_look:
            next_look = time.monotonic() + max(40.0, seconds * 0.08)
            look(step=step, rate=rate)
    look(step=step)


def main(run: Callable[..., None] = train) -> None:
    """Trains the walk sheet network."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the file that motion_data wrote")
    parser.add_argument("out", type=Path, help="folder for weights and log")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--figures", type=int, default=9000)
    parser.add_argument("--made-share", type=float, default=0.35, help="share of random figures in a batch")
    parser.add_argument("--workers", type=int, default=16)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    run(
        options.data,
        options.out,
        options.seconds,
        seed=options.seed,
        batch=options.batch,
        made=options.figures,
        made_share=options.made_share,
        workers=options.workers,
    )


if __name__ == "__main__":
    main()
