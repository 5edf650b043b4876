"""How well a checkpoint draws: `python -m tests.bench.embedded.quality [CHECKPOINT ...] --data DATA` (`make eval`).

Prints a table and writes contact sheets. Everything is counted on pictures as a user gets them:
hard alpha, sixteen colours. Without the training data the rows that need it say so and are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from pipelines.adapters.stack import WeightStack
from pipelines.embedded.architecture import CHECKPOINT, load_embedded
from pipelines.embedded.canvas import SIZE
from pipelines.embedded.colors import COLORS, color_shares, main_colors
from pipelines.embedded.judge import FOLDER, KINDS, load_judge, noun_asked
from pipelines.embedded.training.data import Sprite, read_sprites
from pipelines.embedded.training.judge import accuracy
from pipelines.embedded.words import color_asked, read_prompt
from pipelines.engine.engine import Engine
from pipelines.errors import PipelineError
from pipelines.models.catalog import embedded_model
from pipelines.models.presets import PIXEL_PRESETS, PRESETS
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import extract_palette, lock
from pipelines.records import Pixels, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites
from tests.bench.embedded.copies import NEAR, PEOPLE, PLAIN, copy_distances, near_copies

PROMPTS = (
    "green goblin", "red dragon", "blue dragon", "white skeleton warrior", "purple slime", "green orc warrior",
    "gray sword", "yellow axe", "red potion", "blue potion", "white scroll", "brown wooden door",
    "gray stone wall", "green grass floor", "red lava floor", "red ring", "yellow snake", "green zombie",
    "black spider", "cyan ice statue", "orange fire", "red demon", "green elf mage", "gray wolf",
)  # fmt: skip
"""Four seeds of each are the first sheet."""

KINDS_ASKED = {"sword axe potion scroll ring": "item", "wall floor": "tile", "door statue": "prop", "fire": "effect"}
"""What the judge should call a prompt that ends so; all others are characters."""

SMALL_PROMPTS = (
    "red potion", "gray sword", "brown wooden chest", "green tree", "blue slime", "yellow key",
    "white ghost", "red mushroom", "gray rock", "brown barrel", "knight", "blue wizard",
    "yellow coins", "gray stone wall", "green grass floor", "brown wooden door", "orange campfire", "red heart",
    "white rabbit", "brown bow", "gray pickaxe", "blue water", "brown bread", "purple crystal",
)  # fmt: skip

NOUNS = ("dragon", "goblin", "potion", "sword", "snake", "demon", "robe", "crystal", "spider", "shield")
"""Each of them in each of COLORS: 120 pictures for colour and copies."""

HELD_OUT_PROMPTS = {
    "character": (
        "blue hound", "orange wyrm with striped wings", "lime kobold with a torch", "cyan skeleton archer",
        "orange frog wearing a crown", "old wizard in a red robe and a pointed hat", "pink spider with green eyes",
        "green tiger", "black knight with a golden shield", "cyan gelatin blob wearing a crown", "blue rooster",
        "blue goblin chef", "gray stone golem with glowing eyes", "purple orc shaman holding a skull",
        "teal sea serpent", "brown dwarf miner", "green imp with bat wings flying", "cyan lion", "frozen zombie",
        "mossy treant", "scarlet witch with a black hat", "two headed purple ogre", "emerald beetle", "purple bunny",
        "orange warg",
    ),
    "item": (
        "frozen battle axe", "cyan crossbow", "wooden sword with a green gem", "rusty iron key",
        "violet elixir in a square flask", "green trident with a red handle", "white boots with purple wings",
        "emerald ring", "black tome with a red skull", "pink helmet with horns", "orange baguette",
        "purple longbow with a gold string", "silver dagger with a blue handle", "green leather gloves with spikes",
        "green wand with a star", "yellow parchment with a red seal", "dark green cloak", "bone spear",
        "purple apple", "pink amulet on a blue chain", "turquoise tower shield", "gray mining pickaxe",
    ),
    "tile": (
        "mossy blue brick wall", "cracked purple marble floor", "bubbling green lava", "yellow autumn grass",
        "green crystal wall with moss", "dark wooden floor", "deep purple ocean water", "red sandstone cobble floor",
    ),
    "prop": (
        "purple treasure chest", "overgrown gray statue", "purple oak tree with fruit", "red iron door",
        "white gravestone in ruins", "green barrel with a skull", "black oak bookshelf full of tomes",
        "pink bush with white berries",
    ),
    "effect": (
        "green fireball with a skull", "pink poison cloud", "pink lightning bolt",
    ),
}  # fmt: skip
"""By the kind that the judge should see: prompts with all of whose words no sprite is called, many of them synonyms or
of more than three words. Read as a user's prompts are (words.read_prompt), one seed each."""

OPAQUE_PROMPTS = (
    "gray stone wall", "green grass floor", "red lava floor", "brown brick wall", "blue water", "brown dirt floor",
    "white marble floor", "gray cobblestone floor", "yellow sand floor", "purple crystal wall",
)  # fmt: skip


def load(folder: Path, preset: str | None, device: str) -> Any:
    """The stock pipeline with the preset's steps, guidance and adapter as its defaults."""
    turbo = folder / PRESETS["turbo"].lora
    chosen = PRESETS[preset or ("turbo" if turbo.exists() else "guided")]
    pipeline = load_embedded(folder=folder, device=device)
    if chosen.lora:
        WeightStack({"unet": pipeline.unet}).apply([(turbo, chosen.lora_weight)])
    return partial(pipeline, num_inference_steps=chosen.steps, guidance_scale=chosen.guidance)


def draw(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], native: int = SIZE, batch: int = 32
) -> list[Pixels]:
    """One raw picture a prompt with the stock pipeline, in the model's words: (32, 32, 4), soft alpha."""
    pictures: list[Pixels] = []
    for at in range(0, len(prompts), batch):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[at : at + batch]]
        said = [read_prompt(prompt, native).text for prompt in prompts[at : at + batch]]
        drawn = pipeline(said, generator=generators, original_size=(native, native), output_type="np").images
        pictures += list((drawn * 255).round().astype(np.uint8))
    return pictures


def finished(picture: Pixels, colors: int = 16) -> Pixels:
    """Hard alpha and at most `colors` colours."""
    hard = picture.copy()
    hard[..., 3] = np.where(picture[..., 3] >= 128, 255, 0)
    if not hard[..., 3].any():
        return np.zeros_like(hard)
    return lock(hard, extract_palette([hard], colors))


def is_speckled(picture: Pixels) -> bool:
    """Whether it is nearly empty, or strewn with loose dots: more than seven islands of one or two pixels."""
    opaque = picture[..., 3] > 0
    labels = np.zeros(opaque.shape, np.int32)
    ndimage.label(opaque, np.ones((3, 3)), output=labels)
    sizes = np.bincount(labels.ravel())[1:]
    return opaque.mean() < 0.03 or int((sizes <= 2).sum()) > 7


def has_right_ground(picture: Pixels, opaque: bool) -> bool:
    """Floors and walls fill the canvas; everything else leaves at least a tenth of it and three corners clear."""
    solid = picture[..., 3] > 0
    if opaque:
        return bool(solid.mean() > 0.97)
    corners = solid[0, 0], solid[0, -1], solid[-1, 0], solid[-1, -1]
    return bool(solid.mean() < 0.9 and sum(corners) <= 1)


def noise(picture: Pixels) -> float:
    """How far a raw picture is from its sixteen colours: mean OKLab distance over opaque pixels."""
    done = finished(picture)
    drawn = done[..., 3] > 0
    if not drawn.any():
        return 0.0
    return float(np.linalg.norm(to_oklab(picture[drawn][:, :3]) - to_oklab(done[drawn][:, :3]), axis=-1).mean())


def sheet(columns: Sequence[Sequence[Pixels]], scale: int = 3, across: int = 12) -> Image.Image:
    """Columns of pictures on a gray ground, `across` columns a band."""
    tall = max(len(c) for c in columns)
    bands = -(-len(columns) // across)
    cell = SIZE + 2
    canvas = Image.new("RGBA", (across * cell, bands * tall * cell), (70, 70, 80, 255))
    for i, column in enumerate(columns):
        for j, picture in enumerate(column):
            place = (i % across) * cell, (i // across * tall + j) * cell
            canvas.alpha_composite(Image.fromarray(np.ascontiguousarray(picture)), place)
    return canvas.convert("RGB").resize((canvas.width * scale, canvas.height * scale), Image.Resampling.NEAREST)


def evaluate(pipeline: Any, sprites: Sequence[Sprite], out: Path, device: str) -> dict[str, float]:
    """The table's rows by name, and sheet-32.png and sheet-16.png in `out`; `sprites` may be empty."""
    out.mkdir(parents=True, exist_ok=True)
    draw(pipeline, PROMPTS[:1], [0])  # warm
    started = time.perf_counter()
    raw = draw(pipeline, [p for p in PROMPTS for _ in range(4)], [s for p in range(len(PROMPTS)) for s in range(4)])
    seconds = (time.perf_counter() - started) / len(raw)
    started = time.perf_counter()
    draw(pipeline, PROMPTS[:1], [0])
    alone = time.perf_counter() - started
    shown = [finished(p) for p in raw]
    sheet([shown[i : i + 4] for i in range(0, len(shown), 4)]).save(out / "sheet-32.png")
    sheet([raw[i : i + 4] for i in range(0, len(raw), 4)]).save(out / "sheet-32-raw.png")

    asked = [p for p in SMALL_PROMPTS for _ in range(2)]
    columns = []
    both = [draw(pipeline, asked, [0, 1] * len(SMALL_PROMPTS), native) for native in (SIZE, 16)]
    for i in range(0, len(asked), 2):
        columns.append([finished(p) for p in (*both[0][i : i + 2], *both[1][i : i + 2])])
    small = [finished(p[1::2, 1::2]) for p in both[1]]
    sheet(columns).save(out / "sheet-16.png")

    colored = [(color, noun) for noun in NOUNS for color in COLORS]
    pictures = [finished(p) for p in draw(pipeline, [f"{c} {n}" for c, n in colored], list(range(len(colored))))]
    named = [main_colors(color_shares(p)) for p in pictures]
    opaque = [finished(p) for p in draw(pipeline, [p for p in OPAQUE_PROMPTS for _ in range(4)], list(range(4)) * 10)]
    tiles = [p for p in PROMPTS if p.endswith(("wall", "floor"))]
    clear = [p for i, p in enumerate(shown) if PROMPTS[i // 4] not in tiles] + pictures
    every = [*shown, *pictures, *opaque, *small]
    rows = {
        "colour asked is the first named %": 100
        * np.mean([c in n[:1] for (c, _), n in zip(colored, named, strict=True)]),
        "colour asked is one of the two first %": 100
        * np.mean([c in n[:2] for (c, _), n in zip(colored, named, strict=True)]),
        "right ground, sprites %": 100 * np.mean([has_right_ground(p, False) for p in clear]),
        "right ground, floors and walls %": 100 * np.mean([has_right_ground(p, True) for p in opaque]),
        "empty or speckled %": 100 * np.mean([is_speckled(p) for p in every]),
        "noise before the palette (OKLab x 1000)": 1000 * np.mean([noise(p) for p in raw]),
        "seconds a sprite, 96 in batches of 32": seconds,
        "seconds for one sprite": alone,
    }
    rows |= judged(shown, [kind_asked(p) for p in PROMPTS for _ in range(4)], pictures, [noun for _, noun in colored])
    rows |= held_out_rows(pipeline, out)
    if sprites:
        trained = [s for s in sprites if not s.held_out]
        distance = copy_distances(pictures, trained, device)
        rows["near-copies of a training sprite %"] = 100 * np.mean(distance < NEAR)
        rows["median distance to a training sprite"] = float(np.median(distance))
        for name, prompts, native in (
            ("plain nouns", PLAIN, SIZE),
            ("plain nouns, 16 px", PLAIN, 16),
            ("people", PEOPLE, SIZE),
        ):
            drawn = draw(
                pipeline, [prompt for prompt in prompts for _ in range(4)], list(range(4)) * len(prompts), native
            )
            rows[f"near-copies of a training sprite, {name} %"] = 100 * np.mean(
                near_copies([finished(picture) for picture in drawn], trained)
            )
    return {name: round(float(value), 4) for name, value in rows.items()}


def rows_by_default() -> dict[str, float]:
    """The rows of colour once more as the product draws by default: the best of several candidates."""
    model = embedded_model()
    engine = Engine(DiffusersBackend())
    try:
        named = [
            (color, main_colors(color_shares(draw_sprites(engine, recipe)[0].image)))
            for seed, (color, noun) in enumerate((color, noun) for noun in NOUNS for color in COLORS)
            for recipe in [
                Recipe("sprite", f"{color} {noun}", SIZE, SIZE, seed, candidates=model.sprite_candidates(1), colors=16)
            ]
        ]
    finally:
        engine.close()
    return {
        f"with default candidates: colour asked is {words} %": 100 * float(np.mean([c in n[:most] for c, n in named]))
        for words, most in (("the first named", 1), ("one of the two first", 2))
    }


def kind_asked(prompt: str) -> str:
    """The kind that a prompt of PROMPTS should be drawn as."""
    return next((kind for nouns, kind in KINDS_ASKED.items() if prompt.split()[-1] in nouns.split()), "character")


def judged(
    shown: Sequence[Pixels], kinds: Sequence[str], pictures: Sequence[Pixels], nouns: Sequence[str]
) -> dict[str, float]:
    """What the judge recognises, also as a share of what it recognises among people's sprites."""
    judge = load_judge()
    kind, _ = judge.probabilities(shown)
    _, noun = judge.probabilities(pictures)
    known = [(i, judge.nouns.index(n)) for i, n in enumerate(nouns) if n in judge.nouns]
    five = np.argsort(-noun, axis=1)[:, :5]
    right_kind = float(np.mean([KINDS[k] == asked for k, asked in zip(kind.argmax(axis=1), kinds, strict=True)]))
    right_noun = float(np.mean([label in five[i] for i, label in known]))
    human = json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))["held_out"]
    return {
        "kind recognised %": 100 * right_kind,
        "kind recognised, relative to people's sprites %": 100 * right_kind / human["kind"],
        "noun recognised among five %": 100 * right_noun,
        "noun recognised, relative to people's sprites %": 100 * right_noun / human["noun among five"],
    }


def held_out_rows(pipeline: Any, out: Path) -> dict[str, float]:
    """The rows of HELD_OUT_PROMPTS, and sheet-held-out.png in `out`, in the order of the prompts."""
    asked = [(prompt, kind) for kind, prompts in HELD_OUT_PROMPTS.items() for prompt in prompts]
    raw = draw(pipeline, [prompt for prompt, _ in asked], range(len(asked)))
    pictures = [finished(picture) for picture in raw]
    sheet([[picture] for picture in pictures]).save(out / "sheet-held-out.png")
    first = [color_asked(prompt) for prompt, _ in asked]
    named = [main_colors(color_shares(picture))[:1] for picture in pictures]
    nouns = [noun_asked(prompt, load_judge().nouns) for prompt, _ in asked]
    told = judged(pictures, [kind for _, kind in asked], pictures, nouns)
    rows = {
        "colour asked is the first named %": 100 * np.mean([c in n for c, n in zip(first, named, strict=True) if c]),
        "right ground %": 100
        * np.mean([has_right_ground(p, kind == "tile") for p, (_, kind) in zip(pictures, asked, strict=True)]),
    }
    return {
        f"held-out prompts: {name}": float(value) for name, value in (rows | told).items() if "relative" not in name
    }


def human_rows(sprites: Sequence[Sprite], device: str) -> dict[str, float]:
    """What the same counts say about sprites that people drew and training never saw."""
    held = [s for s in sprites if s.held_out]
    images = [np.where(s.image[..., 3:] > 0, s.image, np.zeros(4, np.uint8)) for s in held]
    distance = copy_distances(images, [s for s in sprites if not s.held_out], device)
    rows = {
        "empty or speckled %": 100 * np.mean([is_speckled(p) for p in images]),
        "noise before the palette (OKLab x 1000)": 1000 * np.mean([noise(p) for p in images]),
        "near-copies of a training sprite %": 100 * np.mean(distance < NEAR),
        "median distance to a training sprite": float(np.median(distance)),
        "kind recognised %": 100 * accuracy(load_judge(), held)["kind"],
        "noun recognised among five %": 100 * accuracy(load_judge(), held)["noun among five"],
    }
    return {name: round(float(value), 4) for name, value in rows.items()}


def main(argv: list[str] | None = None) -> int:
    """Prints a Markdown table with a column for each checkpoint; sheets and eval.json go to --out."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedded.quality", description=__doc__)
    parser.add_argument("checkpoints", nargs="*", type=Path, default=[CHECKPOINT])
    parser.add_argument("--data", nargs="*", type=Path, default=[], help="the training data, for near-copies")
    parser.add_argument("--out", type=Path, default=Path("runs/eval"))
    parser.add_argument("--preset", choices=PIXEL_PRESETS, help="default: turbo, where the checkpoint has it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args(argv)
    try:
        sprites = read_sprites(arguments.data) if arguments.data else []
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    results: dict[str, dict[str, float]] = {}
    for i, folder in enumerate(arguments.checkpoints):
        pipeline = load(folder, arguments.preset, arguments.device)
        out = arguments.out if len(arguments.checkpoints) == 1 else arguments.out / str(i)
        results[str(folder)] = evaluate(pipeline, sprites, out, arguments.device)
        if folder == CHECKPOINT and not arguments.preset:
            results[str(folder)] |= rows_by_default()
    if sprites and any(s.held_out for s in sprites):
        results["drawn by people"] = human_rows(sprites, arguments.device)
    (arguments.out / "eval.json").write_text(json.dumps(results, indent=1))
    names = list(results)
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in dict.fromkeys(row for result in results.values() for row in result):
        print(f"| {row} | {' | '.join(str(results[name].get(row, '')) for name in names)} |")
    if not sprites:
        print("\nNear-copies were not counted: pass the training data with --data to count them.")
    print(f"\nSheets are in {arguments.out}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
