"""The blind test: `python -m tests.bench.embedded.blind draw` writes numbered sheets, `... score` reads answers.

Someone who sees only the sheets and list.txt (all prompts, shuffled) writes answers.txt: a line `number: prompt` for
each picture that they recognise; what is left out or empty counts as not recognised. key.json says what each number is;
the one who answers must not see it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipelines.embedded.architecture import CHECKPOINT, SIZE
from pipelines.embedded.colors import color_shares, main_colors
from pipelines.embedded.judge import as_seen, match
from pipelines.embedded.words import color_asked
from pipelines.records import Pixels
from tests.bench.embedded.quality import draw, finished, load

PROMPTS = {
    "people": (
        "wizard", "old king with a crown", "queen in a purple dress", "ninja", "pirate captain", "blacksmith",
        "farmer with a straw hat", "knight with a shield", "archer", "samurai", "nun", "chef",
        "miner with a pickaxe", "police officer", "jester", "viking", "mummy", "zombie pirate", "skeleton mage",
        "bride", "santa claus", "mermaid", "astronaut", "witch with a broom", "orc warrior",
    ),
    "animals and monsters": (
        "horse", "cow", "orange cat", "penguin", "owl", "snake", "elephant", "giraffe", "butterfly", "spider",
        "octopus", "shark", "frog", "rabbit", "chicken", "red dragon", "green slime", "ghost", "bat", "fox",
        "bear", "turtle", "minotaur", "cyclops", "alien",
    ),
    "items": (
        "guitar", "golden key", "red potion", "steel sword", "bow", "pickaxe", "lantern", "treasure map",
        "crown", "hourglass", "compass", "umbrella", "camera", "scissors", "trumpet", "backpack", "bomb",
        "magnet", "helmet", "axe", "spell book", "gem", "boots", "binoculars", "shield",
    ),
    "food and plants": (
        "apple", "banana", "grapes", "pizza", "hamburger", "birthday cake", "ice cream", "carrot", "cheese",
        "bread", "fried egg", "donut", "watermelon", "mushroom", "pumpkin", "corn", "sunflower", "cactus",
        "pine tree", "palm tree", "rose", "steak", "cookie", "cherry", "mug of beer",
    ),
    "buildings and furniture": (
        "house", "castle", "church", "windmill", "lighthouse", "tent", "stone bridge", "barn", "igloo",
        "water well", "bed", "chair", "table", "bookshelf", "wooden door", "treasure chest", "barrel",
        "fireplace", "throne", "bathtub", "sofa", "grandfather clock", "campfire", "gravestone", "fountain",
    ),
    "vehicles and machines": (
        "red car", "bus", "train", "airplane", "helicopter", "sailing boat", "pirate ship", "submarine",
        "rocket", "ufo", "tank", "tractor", "bicycle", "motorcycle", "hot air balloon", "robot", "cannon",
        "wooden cart", "fire truck", "ambulance", "catapult", "television", "telephone", "computer", "drone",
    ),
}  # fmt: skip
"""By kind; none of them was looked at while the model was trained."""

_ACROSS, _ROWS, _SCALE = 6, 5, 4


def chosen(pipeline: Any, prompts: Sequence[str], native: int, candidates: int, first_seed: int = 0) -> list[Pixels]:
    """One finished picture a prompt: of `candidates` the one that the judge is surest of, the asked colour first."""
    asked = [p for p in prompts for _ in range(candidates)]
    seeds = [first_seed + k for _ in prompts for k in range(candidates)]
    pictures = [finished(p) for p in draw(pipeline, asked, seeds, native)]
    kept: list[Pixels] = []
    for at, prompt in zip(range(0, len(pictures), candidates), prompts, strict=True):
        group, color = pictures[at : at + candidates], color_asked(prompt)
        shown = match([as_seen(p) for p in group], prompt)
        sure = np.zeros(candidates) if shown is None else shown
        right = [not color or color in main_colors(color_shares(p))[:1] for p in group]
        kept.append(group[max(range(candidates), key=lambda c, s=sure, r=right: s[c] * (1.0 if r[c] else 0.6))])
    return kept


def write(pictures: Sequence[Pixels], out: Path) -> None:
    """Numbered sheets, thirty pictures each: sheet-1.png and on."""
    cell, each = SIZE * _SCALE + 12, _ACROSS * _ROWS
    for number, at in enumerate(range(0, len(pictures), each), 1):
        page = Image.new("RGB", (_ACROSS * cell, _ROWS * (cell + 12)), (104, 116, 106))
        pen = ImageDraw.Draw(page)
        for i, picture in enumerate(pictures[at : at + each]):
            x, y = i % _ACROSS * cell, i // _ACROSS * (cell + 12)
            shown = Image.fromarray(picture).resize((SIZE * _SCALE, SIZE * _SCALE), Image.Resampling.NEAREST)
            page.paste(shown, (x + 6, y + 14), shown)
            pen.text((x + 8, y + 1), str(at + i + 1), fill=(255, 255, 255))
        page.save(out / f"sheet-{number}.png")


def make(out: Path, folder: Path, preset: str | None, device: str, candidates: int, seed: int) -> None:
    """Draws every prompt at 32 and at 16 pixels and writes sheets, list.txt and key.json into out/32 and out/16."""
    pipeline = load(folder, preset, device)
    kinds = {prompt: kind for kind, prompts in PROMPTS.items() for prompt in prompts}
    for native in (SIZE, SIZE // 2):
        to = out / str(native)
        to.mkdir(parents=True, exist_ok=True)
        order = list(kinds)
        random.Random(f"{seed} {native}").shuffle(order)
        write(chosen(pipeline, order, native, candidates, seed), to)
        names = list(kinds)
        random.Random(f"list {seed}").shuffle(names)
        (to / "list.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        key = {str(i): {"prompt": prompt, "kind": kinds[prompt]} for i, prompt in enumerate(order, 1)}
        (to / "key.json").write_text(json.dumps(key, indent=1), encoding="utf-8")


def score(folder: Path) -> dict[str, tuple[int, int, list[str]]]:
    """Reads answers.txt and key.json in the folder: kind -> (recognised, asked, the prompts missed).

    Raises:
        ValueError: a line that is not `number: prompt`.
    """
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    answers: dict[str, str] = {}
    for line in (folder / "answers.txt").read_text(encoding="utf-8").splitlines():
        if line.strip():
            number, colon, said = line.partition(":")
            if not colon or number.strip() not in key:
                raise ValueError(f"{folder / 'answers.txt'}: {line!r} is not `number: prompt`.")
            answers[number.strip()] = said.strip().lower()
    table: dict[str, tuple[int, int, list[str]]] = {}
    for number, entry in key.items():
        for kind in (entry["kind"], "all"):
            right, asked, missed = table.get(kind, (0, 0, []))
            hit = answers.get(number, "") == entry["prompt"].lower()
            table[kind] = (right + hit, asked + 1, missed if hit else [*missed, entry["prompt"]])
    return table


def main(argv: list[str] | None = None) -> int:
    """Draws, or prints the table of the answers that are there."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedded.blind", description=__doc__)
    parser.add_argument("what", choices=("draw", "score"))
    parser.add_argument("--out", type=Path, default=Path("runs/blind"))
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--preset", help="turbo (default) or guided")
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args(argv)
    if arguments.what == "draw":
        make(
            arguments.out,
            arguments.checkpoint,
            arguments.preset,
            arguments.device,
            arguments.candidates,
            arguments.seed,
        )
        print(f"Sheets and list.txt are in {arguments.out}/32 and /16. Write answers.txt beside them, then score.")
        return 0
    for folder in sorted(p.parent for p in arguments.out.glob("*/answers.txt")):
        print(f"\n{folder.name} pixels\n| kind | recognised | missed |\n|---|---|---|")
        for kind, (right, asked, missed) in score(folder).items():
            print(f"| {kind} | {right} of {asked} ({100 * right / asked:.1f} %) | {', '.join(missed)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
