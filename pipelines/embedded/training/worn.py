"""Train the classifier of what figures wear and hold: `python -m pipelines.embedded.training.worn DATA/dolls`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from pipelines.embedded.canvas import place
from pipelines.embedded.judge import as_input, load_judge
from pipelines.embedded.worn import FILE, pool_thirds
from pipelines.pixels.png import open_picture

THINGS = (
    "apron", "axe", "bag", "bandana", "basket", "book", "bow", "broom", "cap", "cloak", "club", "coat", "crown",
    "dagger", "dress", "flowers", "hammer", "hat", "helmet", "hood", "horned helmet", "horns", "jacket", "lantern",
    "mace", "mask", "pickaxe", "pointed hat", "potion", "robe", "scepter", "scythe", "shield", "shovel", "spear",
    "staff", "straw hat", "sword", "tabard", "top hat", "torch", "trident", "wand", "whip", "wings",
)  # fmt: skip
"""What may be learned; a tag that ends so names it."""

ALSO = {"sword": ("katana", "scimitar", "rapier"), "horns": ("horned helmet",)}
"""Tags that name a thing by another word."""

FEWEST, LEAST = 30, 0.9
"""Pictures that a thing needs, and the area under the ROC curve on unseen groups below which it is left out."""


def read(folder: Path) -> tuple[Tensor, list[frozenset[str]], list[str]]:
    """Features (n, 1536), tags, and the group of each picture (its `profession`) of a folder with metadata.jsonl."""
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    judge, features = load_judge(), list[Tensor]()
    for at in range(0, len(rows), 64):
        pictures: list[np.ndarray] = []
        for row in rows[at : at + 64]:
            with open_picture(folder / row["file_name"]) as picture:
                placed = place(np.array(picture.convert("RGBA")))
            assert placed is not None, row["file_name"]
            pictures.append(placed[0])
        with torch.inference_mode():
            features.append(pool_thirds(judge.body(as_input(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)))))
    return torch.cat(features), [frozenset(row["tags"]) for row in rows], [row["profession"] for row in rows]


def shows(tags: frozenset[str], thing: str) -> bool:
    """Returns whether a picture with such tags shows the thing."""
    return any(tag == word or tag.endswith(f" {word}") for tag in tags for word in (thing, *ALSO.get(thing, ())))


def fit(features: Tensor, labels: Tensor, steps: int = 300) -> tuple[Tensor, Tensor]:
    """Fits logistic regressions (features, things), (things,) on standardised features, with weight decay."""
    generator = torch.Generator().manual_seed(0)
    mean, spread = features.mean(0), features.std(0) + 1e-3
    weight = torch.zeros(features.shape[1], labels.shape[1], requires_grad=True)
    bias = torch.zeros(labels.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], 0.01)
    for _ in range(steps):
        at = torch.randint(len(features), (512,), generator=generator)
        logits = (features[at] - mean) / spread @ weight + bias
        loss = functional.binary_cross_entropy_with_logits(logits, labels[at], reduction="none").sum(1).mean()
        loss = loss + 0.03 * weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        scaled = weight / spread[:, None]
        return scaled, bias - mean @ scaled


def area(scores: Tensor, labels: Tensor) -> float:
    """Computes the area under the ROC curve; 0 where fewer than five pictures show the thing, or all but five do."""
    true, false = int(labels.sum()), int((1 - labels).sum())
    if min(true, false) < 5:
        return 0.0
    rank = scores.argsort().argsort().float()
    return float((rank[labels > 0].mean() - (true - 1) / 2) / false)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the area of each thing on groups that were left out, learns from all, and writes what is good enough."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded.training.worn", description=__doc__)
    parser.add_argument("folder", type=Path, help="pictures with a metadata.jsonl that has tags and professions")
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args(argv)
    features, tags, groups = read(arguments.folder)
    things = [thing for thing in THINGS if sum(shows(t, thing) for t in tags) >= FEWEST]
    labels = torch.tensor([[float(shows(t, thing)) for thing in things] for t in tags])
    # three rounds: a thing that few groups have would else be seen on one side only
    areas = np.zeros((3, len(things)))
    names = sorted(set(groups))
    for turn in range(3):
        held = torch.tensor([names.index(group) % 3 == turn for group in groups])
        weight, bias = fit(features[~held], labels[~held])
        scores = features[held] @ weight + bias
        areas[turn] = [area(scores[:, i], labels[held][:, i]) for i in range(len(things))]
    means = [float(column[column > 0].mean()) if (column > 0).any() else 0.0 for column in areas.T]
    print(", ".join(f"{thing} {mean:.3f}" for mean, thing in sorted(zip(means, things, strict=True))))
    kept = [i for i, mean in enumerate(means) if mean >= LEAST]
    weight, bias = fit(features, labels[:, kept])
    tensors = {"weight": weight.half().contiguous(), "bias": bias}
    save_file(tensors, arguments.out, {"format": "pt", "things": json.dumps([things[i] for i in kept])})
    print(f"{len(kept)} of {len(things)} things are written to {arguments.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
