"""People composed of layers with exact part masks, as training data of the part map.

The layers are the CC0 paper-doll layers of the folder `tiles` (Dungeon Crawl Stone Soup; its SOURCE.md). All stand in
one pose, so the parts of base, dress and boots follow from the place of a pixel; hair, hats, weapons and cloaks are
parts as a whole.
Pictures without layers (monsters and people of the same folder) only say whether a figure walks on two legs.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.embedded.motion.parts import CANVAS, PART

SLOTS = ("wings", "cloak", "base", "legs", "boots", "body", "gloves", "hair", "head", "hand1", "hand2")
"""Slots of a doll, from back to front."""

GROUPS = ("back", "leg_left", "leg_right", "trunk", "arm_left", "arm_right", "head", "held_left", "held_right")
"""Parts that move on their own, from back to front."""

PLAIN_BASES = re.compile(
    r"^(human|demigod|elf|deep_elf|dwarf|deep_dwarf|halfling|gnome|vampire|lorc|minotaur|mummy|demonspawn|gargoyle|kobold|ghoul|tengu_wingless|draconian)"
)
_ROBE_ROW = 25

PEOPLE = (
    "man",
    "woman",
    "knight",
    "wizard",
    "human",
    "orc",
    "goblin",
    "elf",
    "dwarf",
    "skeleton",
    "zombie",
    "priest",
    "mage",
    "warrior",
    "archer",
    "king",
    "queen",
    "witch",
    "guard",
    "ogre",
    "troll",
    "vampire",
    "demon",
    "giant",
    "golem",
    "lich",
    "necromancer",
)
CREATURES = (
    "bat",
    "spider",
    "slime",
    "jelly",
    "snake",
    "dragon",
    "wolf",
    "dog",
    "cat",
    "rat",
    "fish",
    "bird",
    "worm",
    "beetle",
    "ant",
    "scorpion",
    "frog",
    "turtle",
    "crab",
    "octopus",
    "eye",
    "ooze",
    "bear",
    "horse",
    "lizard",
    "crocodile",
    "hydra",
    "naga",
    "centaur",
    "plant",
    "fungus",
    "mushroom",
    "elephant",
    "pig",
    "hog",
    "sheep",
    "yak",
    "bee",
    "wasp",
    "mosquito",
    "butterfly",
    "moth",
    "eel",
    "squid",
    "kraken",
    "vortex",
    "elemental",
    "ghost",
)


def _read(path: Path) -> NDArray[np.uint8] | None:
    from pipelines.pixels.png import read_picture

    picture = read_picture(path)
    if picture.shape != (CANVAS, CANVAS, 4):
        return None
    picture[picture[..., 3] < 128] = 0
    picture[..., 3] = np.where(picture[..., 3] > 0, 255, 0)
    return picture


def prepare(folder: Path) -> dict[str, NDArray]:
    """Reads layers by slot (RGBA, 32 x 32), and pictures that are known to show people or creatures."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    layers: dict[str, list[NDArray[np.uint8]]] = {slot: [] for slot in SLOTS}
    pictures, biped = [], []
    for row in sorted(rows, key=lambda row: row["file_name"]):
        parts = row["file_name"].split("/")
        if parts[0] == "player" and parts[1] in (*SLOTS, "drcwing"):
            slot = "wings" if parts[1] == "drcwing" else parts[1]
            if slot == "base" and not PLAIN_BASES.match(parts[-1]):
                continue
            picture = _read(folder / row["file_name"])
            if picture is not None and (picture[..., 3] > 0).sum() > 6:
                layers[slot].append(picture)
        elif row["kind"] == "character" and parts[0] != "player":
            said = set(re.findall(r"[a-z]+", f"{row['text']} {' '.join(row['tags'])}".lower()))
            person, creature = bool(said & set(PEOPLE)), bool(said & set(CREATURES))
            picture = _read(folder / row["file_name"])
            if person != creature and picture is not None:
                pictures.append(picture)
                biped.append(person)
    arrays: dict[str, NDArray] = {f"layer_{slot}": np.stack(found) for slot, found in layers.items()}
    return {**arrays, "pictures": np.stack(pictures), "biped": np.array(biped)}


def _regions() -> NDArray[np.uint8]:
    """Finds the part of each pixel of the common pose, for base, dress, trousers, boots and gloves: (32, 32)."""
    y, x = np.mgrid[:CANVAS, :CANVAS]
    part = np.full((CANVAS, CANVAS), PART["trunk"], np.uint8)
    part[(y < 9) & (np.abs(x - 15.5) < 6)] = PART["head"]
    arm = (y >= 9) & (y < 21)
    part[arm & (x <= 11)] = PART["arm_left"]
    part[arm & (x >= 20)] = PART["arm_right"]
    part[(y >= 21) & (x < 16)] = PART["leg_left"]
    part[(y >= 21) & (x >= 16)] = PART["leg_right"]
    return part


def compose(
    arrays: dict[str, NDArray], rng: np.random.Generator, *, held_out: bool | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, int]]:
    """Composes one random doll.

    Args:
        arrays: what `prepare` read.
        rng: of the choices.
        held_out: True takes every eighth dress, hat and thing in hand, False the others, None any.

    Returns:
        (GROUPS, 32, 32, 4) pictures of the parts, (32, 32) classes, and the layer chosen in each slot.
    """
    chance = {
        "wings": 0.04,
        "cloak": 0.35,
        "base": 1.0,
        "legs": 0.7,
        "boots": 0.7,
        "body": 0.95,
        "gloves": 0.35,
        "hair": 0.6,
        "head": 0.65,
        "hand1": 0.75,
        "hand2": 0.45,
    }
    region = _regions()
    whole, part = np.zeros((CANVAS, CANVAS, 4), np.uint8), np.zeros((CANVAS, CANVAS), np.uint8)
    groups = {name: np.zeros_like(whole) for name in GROUPS}
    chosen: dict[str, int] = {}
    fixed = {
        "wings": "back",
        "cloak": "back",
        "hair": "head",
        "head": "head",
        "hand1": "held_left",
        "hand2": "held_right",
    }
    for slot in SLOTS:
        if rng.random() >= chance[slot]:
            continue
        choices = arrays[f"layer_{slot}"]
        numbers = np.arange(len(choices))
        if held_out is not None and slot in ("body", "head", "hand1", "hand2"):
            numbers = numbers[(numbers % 8 == 3) == held_out]
        chosen[slot] = int(rng.choice(numbers))
        layer = choices[chosen[slot]]
        drawn = layer[..., 3] > 0
        own = np.full_like(part, PART[fixed[slot]]) if slot in fixed else region.copy()
        if slot == "body" and drawn[_ROBE_ROW:].sum() > 12:  # a robe hides the legs: what hangs down is trunk
            own[21:] = PART["trunk"]
        part[drawn], whole[drawn] = own[drawn], layer[drawn]
        for name in GROUPS:
            here = drawn & (own == PART[name])
            groups[name][here] = layer[here]
    return np.stack([groups[name] for name in GROUPS]), part, chosen


def main() -> None:
    """Reads the layers and writes the training file of the part map."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the folder `tiles` with metadata.jsonl")
    parser.add_argument("out", type=Path, help="the npz file to write")
    options = parser.parse_args()
    arrays = prepare(options.data)
    np.savez_compressed(options.out, **cast(Any, arrays))
    print({name: len(array) for name, array in arrays.items()}, f"{int(arrays['biped'].sum())} on two legs")


if __name__ == "__main__":
    main()
