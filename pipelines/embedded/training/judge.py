"""Train the judge on sprites that people drew: `python -m pipelines.embedded.training.judge DATA`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from pipelines.embedded.judge import FOLDER, KINDS, Judge, as_input
from pipelines.embedded.training.data import VARIANTS, Sprite, all_sprites, pack, read_sprites
from pipelines.errors import PipelineError

FEWEST = 12
"""Sprites that a noun needs to be learned."""


def accuracy(judge: Judge, sprites: Sequence[Sprite]) -> dict[str, float]:
    """Shares of sprites whose kind, noun, or noun among five the judge names; others' labels are left out."""
    kind, noun = judge.probabilities([s.image for s in sprites])
    kinds = [(i, KINDS.index(s.words.kind)) for i, s in enumerate(sprites) if s.words.kind in KINDS]
    nouns = [(i, judge.nouns.index(s.words.noun)) for i, s in enumerate(sprites) if s.words.noun in judge.nouns]
    five = np.argsort(-noun, axis=1)[:, :5]
    return {
        "kind": float(np.mean([kind[i].argmax() == label for i, label in kinds])),
        "noun": float(np.mean([five[i, 0] == label for i, label in nouns])),
        "noun among five": float(np.mean([label in five[i] for i, label in nouns])),
        "sprites": len(kinds),
    }


def teach(sprites: Sequence[Sprite], steps: int, device: torch.device, batch: int = 512) -> Judge:
    """Trains a judge on the sprites that are not held out, in all colours, mirrored and moved; parts of a screen and
    one-colour glyphs are left out."""
    kept = [s for s in sprites if not s.held_out and not s.words.style]
    counts = Counter(s.words.noun for s in kept)
    nouns = sorted(noun for noun, count in counts.items() if count >= FEWEST)
    packed = pack(kept, [])
    images = torch.from_numpy(packed.images).to(device)
    shown = [1 if s.painted else VARIANTS for s in kept]
    number = {noun: i for i, noun in enumerate(nouns)}

    def labels(of: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.repeat(np.array(of), shown)).to(device)

    kind = labels([KINDS.index(s.words.kind) if s.words.kind in KINDS else -1 for s in kept])
    noun = labels([number.get(s.words.noun, -1) for s in kept])
    odds = torch.from_numpy(packed.weight).to(device).double().cumsum(0)
    torch.manual_seed(0)
    judge = Judge(nouns).to(device).train()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        index = torch.searchsorted(odds, torch.rand(batch, device=device).double() * odds[-1]).clamp(
            max=len(images) - 1
        )
        pictures = as_input(images[index])
        pictures = torch.where(torch.rand(batch, 1, 1, 1, device=device) < 0.5, pictures.flip(-1), pictures)
        padded, (dy, dx) = functional.pad(pictures, (3, 3, 3, 3)), torch.randint(0, 7, (2,)).tolist()
        pictures = padded[:, :, dy : dy + 32, dx : dx + 32]
        pictures = pictures + 0.03 * torch.randn_like(pictures)
        said_kind, said_noun = judge(pictures)
        loss = functional.cross_entropy(said_kind, kind[index], ignore_index=-1, label_smoothing=0.05)
        loss = loss + functional.cross_entropy(said_noun, noun[index], ignore_index=-1, label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return judge.eval()


def main(argv: list[str] | None = None) -> int:
    """Teaches a judge, prints its accuracy on sprites it never saw, and writes it."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded.training.judge", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--all", action="store_true", help="also drawings, folk of other races, other sizes")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args(argv)
    try:
        sprites = (all_sprites if arguments.all else read_sprites)(arguments.data, 16)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    judge = teach(sprites, arguments.steps, torch.device(arguments.device))
    result = accuracy(judge, [s for s in sprites if s.held_out])
    print(f"{len(judge.nouns)} nouns; on sprites it never saw: {result}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.half().cpu().contiguous() for k, v in judge.state_dict().items()}, arguments.out / "model.safetensors"
    )
    labels = {"kinds": KINDS, "nouns": judge.nouns, "held_out": result}
    (arguments.out / "labels.json").write_text(json.dumps(labels, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
