"""Train the part map (pipelines.embedded.motion.parts) in a minute on a GPU or some minutes on a CPU.

Parts of a doll are turned, shifted and scaled on their own before it is put together, so other poses, larger heads and
stouter bodies than the dolls' one pose are seen. Dress, hats and things in hand that are held out are measured on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipelines.embedded.motion.parts import CANVAS, MIRRORED, PART, PARTS, PartNet, encode_figures
from pipelines.embedded.training.motion_dolls import GROUPS, compose

RATE, DECAY = 2e-3, 0.01

_PIVOTS = {
    "arm_left": (11.5, 10.5),
    "held_left": (11.5, 10.5),
    "arm_right": (19.5, 10.5),
    "held_right": (19.5, 10.5),
    "leg_left": (14.0, 21.0),
    "leg_right": (17.0, 21.0),
    "head": (15.5, 9.0),
}


def dolls(arrays: dict[str, NDArray], count: int, seed: int, *, held_out: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Composes dolls: part pictures (count, GROUPS, 4, 32, 32) uint8, and the classes of whole ones (count, 32, 32)."""
    rng = np.random.default_rng(seed)
    made = [compose(arrays, rng, held_out=held_out) for _ in range(count)]
    groups = np.stack([one[0] for one in made]).transpose(0, 1, 4, 2, 3)
    return torch.from_numpy(np.ascontiguousarray(groups)), torch.from_numpy(np.stack([one[1] for one in made])).long()


def _matrices(count: int, device: str) -> torch.Tensor:
    """Makes inverse affine maps of each part: (count, GROUPS, 2, 3) in grid coordinates."""
    r = lambda *shape: torch.rand(*shape, device=device)  # noqa: E731
    angle = torch.zeros(count, len(GROUPS), device=device)
    posed = (r(count, 1) < 0.7).float()
    left, right = (r(count) * 90 - 60) * math.pi / 180, (r(count) * 90 - 30) * math.pi / 180
    index = {name: i for i, name in enumerate(GROUPS)}
    for name, turn in (("arm_left", left), ("held_left", left), ("arm_right", right), ("held_right", right)):
        angle[:, index[name]] = turn
    angle[:, index["leg_left"]], angle[:, index["leg_right"]] = (r(count) - 0.5) * 0.5, (r(count) - 0.5) * 0.5
    angle = angle * posed
    scale = torch.ones(count, len(GROUPS), 2, device=device)
    head = 1 + r(count) * 0.9 * (r(count) < 0.6)
    scale[:, index["head"]] = head.unsqueeze(1)
    stout = 0.8 + r(count) * 0.7
    scale[:, index["trunk"], 0] = stout
    scale[:, index["leg_left"], 1] = scale[:, index["leg_right"], 1] = 0.6 + 0.5 * r(count)
    pivot = torch.tensor([_PIVOTS.get(name, (15.5, 16.0)) for name in GROUPS], device=device)
    move = (r(count, len(GROUPS), 2) - 0.5) * 1.6 * posed.unsqueeze(-1)
    spread = (stout - 1).clamp(min=0) * 4
    for name, sign in (("arm_left", -1), ("held_left", -1), ("arm_right", 1), ("held_right", 1)):
        move[:, index[name], 0] += sign * spread
    cos, sin = angle.cos(), angle.sin()
    inverse = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2) / scale.unsqueeze(-1)
    middle = (CANVAS - 1) / 2
    at, to = pivot - middle, pivot - middle + move
    shift = at - torch.einsum("bgij,bgj->bgi", inverse, to)
    return torch.cat([inverse, shift.unsqueeze(-1) * 2 / CANVAS], -1)


def _sample(pictures: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    grid = F.affine_grid(matrices, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def pose(groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dolls put together in random poses, then scaled, mirrored and recoloured as a whole.

    Args:
        groups: (batch, GROUPS, 4, 32, 32) uint8.

    Returns:
        (batch, 4, 32, 32) float in 0..1 and (batch, 32, 32) classes.
    """
    batch, device = len(groups), str(groups.device)
    moved = _sample(groups.flatten(0, 1).float() / 255, _matrices(batch, device).flatten(0, 1)).view(
        batch, len(GROUPS), 4, CANVAS, CANVAS
    )
    picture = torch.zeros(batch, 4, CANVAS, CANVAS, device=device)
    part = torch.zeros(batch, CANVAS, CANVAS, dtype=torch.long, device=device)
    for i, name in enumerate(GROUPS):
        drawn = moved[:, i, 3] > 0.5
        picture = torch.where(drawn.unsqueeze(1), moved[:, i], picture)
        part = torch.where(drawn, PART[name], part)
    r = lambda *shape: torch.rand(*shape, device=device)  # noqa: E731
    plain = r(batch) < 0.25
    sx, sy = torch.where(plain, 1.0, 0.7 + 0.55 * r(batch)), torch.where(plain, 1.0, 0.7 + 0.45 * r(batch))
    dx, dy = ((r(batch) - 0.5) * 0.3).round(decimals=2), (r(batch) - 0.7) * 0.15
    flip = torch.where(r(batch) < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(sx)
    whole = torch.stack(
        [torch.stack([flip / sx, (r(batch) - 0.5) * 0.2, dx], -1), torch.stack([zero, 1 / sy, dy], -1)], -2
    )
    stacked = _sample(torch.cat([picture, part.unsqueeze(1).float()], 1), whole)
    picture, part = stacked[:, :4], stacked[:, 4].round().long()
    swapped = torch.tensor(MIRRORED, device=device)[part]
    part = torch.where((flip < 0).view(-1, 1, 1), swapped, part)
    return recolour(picture), part


def recolour(picture: torch.Tensor) -> torch.Tensor:
    """Channels exchanged, brightness and contrast changed, fewer tones, an outline added: (batch, 4, h, w) in 0..1."""
    batch, device = len(picture), picture.device
    r = lambda *shape: torch.rand(*shape, device=device)  # noqa: E731
    alpha = (picture[:, 3:] > 0.5).float()
    orders = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]], device=device)
    order = orders[torch.where(r(batch) < 0.5, torch.randint(0, 6, (batch,), device=device), 0)]
    color = picture[:, :3].gather(1, order.view(batch, 3, 1, 1).expand(-1, -1, *picture.shape[2:]))
    color = (color - 0.5) * (0.6 + 0.8 * r(batch, 1, 1, 1)) + 0.5 + (r(batch, 3, 1, 1) - 0.5) * 0.35
    tones = torch.randint(3, 24, (batch, 1, 1, 1), device=device)
    color = torch.where(r(batch, 1, 1, 1) < 0.5, (color * tones).round() / tones, color).clamp(0, 1)
    return torch.cat([color * alpha, alpha], 1)


def measure(net: PartNet, groups: torch.Tensor, classes: torch.Tensor) -> dict[str, float]:
    """Measures intersection over union of each part, and the share of right drawn pixels, of dolls as composed."""
    picture = torch.zeros(len(groups), 4, CANVAS, CANVAS, device=groups.device)
    for i in range(len(GROUPS)):
        layer = groups[:, i].float() / 255
        picture = torch.where(layer[:, 3:] > 0.5, layer, picture)
    net.eval()
    with torch.no_grad():
        found = net(encode_figures(picture))[0]
    found[:, 0] = -1e4
    best = torch.where(picture[:, 3] > 0.5, found.argmax(1), 0)
    result = {}
    for i, name in enumerate(PARTS[1:], 1):
        either = ((best == i) | (classes == i)).sum()
        result[name] = round(float(((best == i) & (classes == i)).sum() / either.clamp(min=1)), 4)
    drawn = classes > 0
    result["right"] = round(float((best == classes)[drawn].float().mean()), 4)
    return result


def train(data: Path, out: Path, seconds: float, *, seed: int = 0, batch: int = 256, count: int = 4000) -> None:
    """Trains for so many seconds and writes parts.safetensors (fp16) and a log (parts-log.jsonl) into `out`."""
    from safetensors.torch import save_file

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    with np.load(data) as file:
        arrays = {name: file[name] for name in file.files}
    groups, _ = dolls(arrays, count, seed, held_out=False)
    groups = groups.to(device)
    test_groups, test_classes = (part.to(device) for part in dolls(arrays, 400, seed + 1, held_out=True))
    pictures = torch.from_numpy(arrays["pictures"]).to(device).permute(0, 3, 1, 2).float() / 255
    biped = torch.from_numpy(arrays["biped"]).to(device).float()
    tested = torch.arange(len(pictures), device=device) % 5 == 2
    known = torch.nonzero(~tested).squeeze(1)
    net, average = PartNet().to(device), PartNet().to(device)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    log = (out / "parts-log.jsonl").open("a")

    def say(**record: Any) -> None:
        line = json.dumps(record)
        print(line, flush=True)
        print(line, file=log, flush=True)

    def look() -> dict[str, Any]:
        found = measure(average, test_groups, test_classes)
        with torch.no_grad():
            said = average(encode_figures(pictures[tested]))[1] > 0
        return {**found, "biped": round(float((said == (biped[tested] > 0.5)).float().mean()), 4)}

    start, step = time.monotonic(), 0
    while (now := time.monotonic() - start) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * max(0.02, 0.5 + 0.5 * math.cos(math.pi * now / seconds))
        net.train()
        with torch.no_grad():
            picture, part = pose(groups[torch.randint(0, len(groups), (batch,), device=device)])
            chosen = known[torch.randint(0, len(known), (batch // 4,), device=device)]
            others = pictures[chosen]
            others = torch.where(torch.rand(len(others), 1, 1, 1, device=device) < 0.5, others.flip(-1), others)
            shift = torch.randint(-2, 3, (2,)).tolist()
            others = torch.roll(recolour(others), shift, (2, 3))
        scores, legs = net(encode_figures(torch.cat([picture, others])))
        own = scores[:batch]
        loss = F.cross_entropy(own, part, weight=_weights(device))
        truth = torch.cat([torch.ones(batch, device=device), biped[chosen]])
        weight = torch.cat([torch.full((batch,), 0.25, device=device), torch.ones(len(chosen), device=device)])
        loss = loss + 0.2 * F.binary_cross_entropy_with_logits(legs, truth, weight=weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay = min(0.998, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)([p.data for p in average.parameters()], [p.data for p in net.parameters()], step)
        step += 1
        if step % 500 == 0 or step in (1, 20):
            say(
                step=step, at=round(now, 1), loss=round(float(loss.detach()), 4), **(look() if step % 1000 == 0 else {})
            )
    say(
        step=step,
        seconds=round(time.monotonic() - start, 1),
        parameters=sum(p.numel() for p in net.parameters()),
        held=look(),
    )
    save_file(
        {name: weight.half().cpu().contiguous() for name, weight in average.state_dict().items()},
        out / "parts.safetensors",
    )


def _weights(device: str) -> torch.Tensor:
    """Weighs the classes: clear pixels are many and easy."""
    weight = torch.ones(len(PARTS), device=device)
    weight[0] = 0.2
    return weight


def main() -> None:
    """Trains the part map."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the file that motion_dolls wrote")
    parser.add_argument("out", type=Path, help="folder for weights and log")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dolls", type=int, default=4000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train(options.data, options.out, options.seconds, batch=options.batch, count=options.dolls)


if __name__ == "__main__":
    main()
