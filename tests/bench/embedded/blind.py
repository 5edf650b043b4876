"""The blind test: `python -m tests.bench.embedded.blind draw` writes numbered sheets, `... score` reads answers.

Each of the folders 32-a, 32-b, 16-a and 16-b has every prompt once, half of them drawn with one candidate and half with
as many as the product draws by default. Someone who sees only the sheets and list.txt (all prompts, shuffled) writes
answers.txt: a line `number: prompt` for each picture that they recognise; what is left out or empty counts as not
recognised. In the folder attributes, questions.txt has a question for each number instead of a list. key.json says what
each number is; the one who answers must not see it. The folders a and b of a size are for two people.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from pipelines.engine.engine import Engine
from pipelines.models.catalog import find_model
from pipelines.records import Pixels, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites
from tests.bench.embedded.attributes import ATTRIBUTES, QUESTIONS

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

_ACROSS, _ROWS, _SIDE = 6, 5, 128


def drawn(engine: Engine, prompts: Sequence[str], size: int, seed: int, candidates: int) -> list[Pixels]:
    """One sprite of size x size pixels for each prompt, as the product draws it; the seeds count up from `seed`."""
    recipes = [
        Recipe("sprite", p, size, size, seed + i, candidates=candidates, colors=16) for i, p in enumerate(prompts)
    ]
    return [draw_sprites(engine, recipe)[0].image for recipe in recipes]


def write(pictures: Sequence[Pixels], out: Path) -> None:
    """Numbered sheets, thirty pictures each: sheet-1.png and on."""
    cell, each = _SIDE + 12, _ACROSS * _ROWS
    for number, at in enumerate(range(0, len(pictures), each), 1):
        page = Image.new("RGB", (_ACROSS * cell, _ROWS * (cell + 12)), (104, 116, 106))
        pen = ImageDraw.Draw(page)
        for i, picture in enumerate(pictures[at : at + each]):
            x, y = i % _ACROSS * cell, i // _ACROSS * (cell + 12)
            shown = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            page.paste(shown, (x + 6, y + 14), shown)
            pen.text((x + 8, y + 1), str(at + i + 1), fill=(255, 255, 255))
        page.save(out / f"sheet-{number}.png")


def make(engine: Engine, out: Path, seed: int) -> None:
    """Draws every prompt at 32 and at 16 pixels, and the attributes; writes sheets, lists or questions, and keys."""
    candidates = find_model("embedded").sprite_candidates(1)
    kinds = {prompt: kind for kind, prompts in PROMPTS.items() for prompt in prompts}
    names = list(kinds)
    for size in (32, 16):
        arms = {
            f"best of {n}": dict(zip(names, drawn(engine, names, size, seed, n), strict=True)) for n in (1, candidates)
        }
        first = set(random.Random(f"{seed} {size}").sample(names, len(names) // 2))
        for half in "ab":
            order = random.Random(f"{seed} {size} {half}").sample(names, len(names))
            arm = {name: list(arms)[(name in first) == (half == "a")] for name in names}
            to = _folder(out / f"{size}-{half}")
            write([arms[arm[name]][name] for name in order], to)
            shuffled = random.Random(f"list {seed} {size} {half}").sample(names, len(names))
            (to / "list.txt").write_text("\n".join(shuffled) + "\n", encoding="utf-8")
            _write_key(to, [{"prompt": p, "answer": p, "kind": kinds[p], "arm": arm[p]} for p in order])
    order = random.Random(f"attributes {seed}").sample(list(ATTRIBUTES), len(ATTRIBUTES))
    to = _folder(out / "attributes")
    write(drawn(engine, order, 32, seed, candidates), to)
    asked = [f"{i}: {QUESTIONS[ATTRIBUTES[p][0]]}" for i, p in enumerate(order, 1)]
    (to / "questions.txt").write_text("\n".join(asked) + "\n", encoding="utf-8")
    arm_of_all = f"best of {candidates}"
    _write_key(
        to, [{"prompt": p, "answer": ATTRIBUTES[p][1], "kind": ATTRIBUTES[p][0], "arm": arm_of_all} for p in order]
    )


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write_key(folder: Path, entries: Sequence[dict[str, str]]) -> None:
    key = {str(i): entry for i, entry in enumerate(entries, 1)}
    (folder / "key.json").write_text(json.dumps(key, indent=1), encoding="utf-8")


def score(folder: Path) -> dict[tuple[str, str], tuple[int, int, list[str]]]:
    """Reads answers.txt and key.json in the folder: (arm, kind) -> (right, asked, the prompts missed).

    Several things that are held are joined with +; the answer is right if it has all that were asked for.

    Raises:
        ValueError: a line that is not `number: answer`.
    """
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    answers: dict[str, str] = {}
    for line in (folder / "answers.txt").read_text(encoding="utf-8").splitlines():
        if line.strip():
            number, colon, said = line.partition(":")
            if not colon or number.strip() not in key:
                raise ValueError(f"{folder / 'answers.txt'}: {line!r} is not `number: answer`.")
            answers[number.strip()] = said.strip().lower()
    table: dict[tuple[str, str], tuple[int, int, list[str]]] = {}
    for number, entry in key.items():
        hit = set(entry["answer"].lower().split("+")) <= set(answers.get(number, "").split("+"))
        for kind in (entry["kind"], "all"):
            right, asked, missed = table.get((entry["arm"], kind), (0, 0, []))
            table[entry["arm"], kind] = (right + hit, asked + 1, missed if hit else [*missed, entry["prompt"]])
    return table


def main(argv: list[str] | None = None) -> int:
    """Draws, or prints the table of the answers that are there."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedded.blind", description=__doc__)
    parser.add_argument("what", choices=("draw", "score"))
    parser.add_argument("--out", type=Path, default=Path("runs/blind"))
    parser.add_argument("--seed", type=int, default=1000)
    arguments = parser.parse_args(argv)
    if arguments.what == "draw":
        engine = Engine(DiffusersBackend())
        try:
            make(engine, arguments.out, arguments.seed)
        finally:
            engine.close()
        print(f"Sheets, lists and questions are in the folders of {arguments.out}. Write answers.txt beside each.")
        return 0
    for folder in sorted(p.parent for p in arguments.out.glob("*/answers.txt")):
        print(f"\n{folder.name}\n| drawn | kind | right | missed |\n|---|---|---|---|")
        for (arm, kind), (right, asked, missed) in sorted(score(folder).items()):
            print(f"| {arm} | {kind} | {right} of {asked} ({100 * right / asked:.1f} %) | {', '.join(missed)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
