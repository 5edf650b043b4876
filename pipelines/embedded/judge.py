"""A judge that is not the model: says what a sprite shows, learned from sprites that people drew.

Owns a small convolutional classifier (kind, and noun out of those with enough sprites), its training
(`python -m pipelines.embedded.judge DATA`) and its file. Used by the evaluation and to choose among candidates; it sees
hard-alpha pictures of 32x32 pixels and knows nothing of diffusion.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.embedded.architecture import SIZE
from pipelines.embedded.training.captions import families, split_words, subjects
from pipelines.embedded.training.data import VARIANTS, Sprite, all_sprites, pack, place, read_sprites
from pipelines.embedded.words import nearest_words
from pipelines.errors import PipelineError
from pipelines.records import Pixels

FOLDER = Path(__file__).parent / "judge_weights"
"""Where the shipped judge lies: model.safetensors and labels.json."""

FEWEST = 12
"""A noun needs so many sprites to be learned."""

KINDS = ("character", "item", "tile", "prop", "effect")


class Judge(nn.Module):
    """Two answers about a picture, as logits: its kind and its noun."""

    def __init__(self, nouns: Sequence[str], width: int = 64) -> None:
        super().__init__()
        self.nouns = tuple(nouns)
        w = width
        layers: list[nn.Module] = []
        for channels, out, stride in (
            (4, w, 1),
            (w, w, 1),
            (w, 2 * w, 2),
            (2 * w, 2 * w, 1),
            (2 * w, 4 * w, 2),
            (4 * w, 4 * w, 1),
        ):
            layers += [nn.Conv2d(channels, out, 3, stride, 1), nn.GroupNorm(8, out), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        self.kind, self.noun = nn.Linear(8 * w, len(KINDS)), nn.Linear(8 * w, len(nouns))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 4, 32, 32) colour times alpha and alpha, 0..1 -> logits (batch, kinds), (batch, nouns)."""
        features = self.body(pictures)
        pooled = self.drop(torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1))
        return self.kind(pooled), self.noun(pooled)

    def probabilities(self, pictures: Sequence[Pixels]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, kinds) and (n, nouns) for RGBA pictures of 32x32 pixels."""
        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            kind, noun = self(as_input(stacked.to(next(self.parameters()).device)))
        return kind.softmax(-1).cpu().numpy(), noun.softmax(-1).cpu().numpy()


def as_input(pictures: Tensor) -> Tensor:
    """(batch, 4, h, w) RGBA bytes as the judge's input."""
    values = pictures.float() / 255
    return torch.cat([values[:, :3] * values[:, 3:], values[:, 3:]], dim=1)


@cache
def load_judge() -> Judge:
    """The shipped judge, in float32 on the CPU."""
    judge = Judge(json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))["nouns"])
    judge.load_state_dict({name: value.float() for name, value in load_file(FOLDER / "model.safetensors").items()})
    return judge.eval()


def match(pictures: Sequence[Pixels], prompt: str) -> np.ndarray | None:
    """How well each picture, of any size, shows what the prompt asks for, 0..1; None where the judge has no noun."""
    judge = load_judge()
    noun = noun_asked(prompt, judge.nouns)
    if not noun:
        return None
    return judge.probabilities([as_seen(picture) for picture in pictures])[1][:, judge.nouns.index(noun)]


def noun_asked(prompt: str, nouns: Sequence[str]) -> str:
    """Which of the nouns a prompt asks for; '' where it is none of them.

    "hatchet with a skull" asks for an axe, "skeleton king" for a king or, where that is no noun, for a skeleton.
    """
    common = {word: noun for (_, word), noun in families().items()}
    for i, word in enumerate(subjects(split_words(prompt, frozenset()))):
        for near in nearest_words(word):
            if found := next((n for n in (near, common.get(near) if i == 0 else None) if n in nouns), None):
                return found
    return ""


def as_seen(picture: Pixels) -> Pixels:
    """A finished picture of any size on the judge's canvas, as training sprites stand on it."""
    placed = place(picture)
    if placed is None:  # larger, or empty
        placed = np.array(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BOX)), SIZE
    seen = placed[0].copy()
    seen[seen[..., 3] < 128] = 0
    return seen


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
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded.judge", description=__doc__)
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
