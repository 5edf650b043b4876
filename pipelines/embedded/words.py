"""Prompts in the words that the embedded model knows.

Owns the way from what people write ("Pixel art of a mossy hound, 32x32") to the model's vocabulary ("mossy dog"), and
says which words are left that it does not know. Pure text: imports no torch and loads no weights.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from pipelines.embedded.captions import SPELLING

VOCABULARY = Path(__file__).parent / "checkpoint" / "tokenizer" / "tokenizer.json"
SYNONYMS = Path(__file__).parent / "synonyms.txt"

ROOM = 14
"""Words that the model reads of a prompt."""

_FILLERS = """
    a an the of and or to for in on at is it its this that these my your our his her their some any very really please
    draw make create generate design need want me us you i can could would like
    pixel pixels art pixelart sprite sprites spritesheet asset assets game games bit style styled retro rpg image
    picture icon drawing texture tileable seamless tile tiles tileset px transparent background high quality detailed
    beautiful simple nice cool single view
"""
FILLERS = frozenset(_FILLERS.split())
"""Words that say nothing about what is shown; they are left out and not reported."""

PHRASES: Mapping[str, str] = {
    "health potion": "red potion", "healing potion": "red potion", "life potion": "red potion",
    "mana potion": "blue potion", "magic potion": "blue potion", "poison potion": "green potion",
    "stamina potion": "green potion", "potion of healing": "red potion", "potion of mana": "blue potion",
    "treasure chest": "wooden chest", "gold coin": "gold coins", "camp fire": "campfire", "pick axe": "pickaxe",
    "battle axe": "axe", "war hammer": "hammer", "great sword": "sword", "long sword": "sword",
    "short sword": "sword", "cross bow": "crossbow", "bow and arrow": "bow", "spell book": "book",
    "fire ball": "fireball", "tree stump": "stump", "ice cream": "cone cream food", "polar bear": "white bear",
    "fire elemental": "fire elemental", "space ship": "airplane", "stained glass": "colorful glass window",
    "t shirt": "shirt", "top hat": "black hat", "wishing well": "well", "street lamp": "lamp post",
    "street light": "lamp post", "lamp post": "lamp post", "skull and crossbones": "skull",
}  # fmt: skip
"""Several words that mean something else than the words by themselves."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt in the model's words, and the words of the prompt that it does not know or has no room for."""

    text: str
    unknown: tuple[str, ...]


def read_prompt(prompt: str) -> Reading:
    """The prompt in known words, at most ROOM of them. A prompt with no known word is left as it is."""
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower().replace("'s", "")
    plain = _phrases().sub(lambda found: PHRASES[found.group()], " ".join(re.findall(r"[a-z]+|[0-9]+", plain)))
    known: list[str] = []
    unknown: list[str] = []
    for word in plain.split():
        if word in FILLERS or word.isdigit() or len(word) == 1:
            continue
        nearest = nearest_words(word)
        if not nearest or len(known) + len(nearest) > ROOM:
            unknown.append(word)
        elif nearest[0] not in known[-1:]:
            known += nearest
    return Reading(" ".join(known) or prompt, tuple(dict.fromkeys(unknown)))


def unknown_words(prompt: str) -> tuple[str, ...]:
    """The words of the prompt that the model has no word for."""
    return read_prompt(prompt).unknown


def nearest_words(word: str) -> tuple[str, ...]:
    """What the model knows for a lower-case word: itself, a synonym, its singular or stem, or the word it misspells.

    Empty where there is nothing near.
    """
    vocabulary = known_words()
    word = SPELLING.get(word, word)
    if word in synonyms() and (word not in vocabulary or word in _better()):
        return synonyms()[word]
    for form in (word, *_stems(word)):
        form = SPELLING.get(form, form)
        if form in vocabulary:
            return (form,)
        if form in synonyms():
            return synonyms()[form]
    close = get_close_matches(word, vocabulary, 1, 0.87) if len(word) >= 5 else []
    return tuple(close)


@cache
def known_words() -> frozenset[str]:
    """The shipped model's vocabulary."""
    words = json.loads(VOCABULARY.read_text(encoding="utf-8"))["model"]["vocab"]
    return frozenset(word for word in words if word.isalpha())


@cache
def synonyms() -> Mapping[str, tuple[str, ...]]:
    """What is said -> known words, from synonyms.txt; the first line that has a word counts."""
    table: dict[str, tuple[str, ...]] = {}
    for line in SYNONYMS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            said, meant = line.split(" = ")
            for word in said.split(", "):
                table.setdefault(word, tuple(meant.split()))
    return table


@cache
def _better() -> frozenset[str]:
    """Words that the model has seen once or twice, in an odd sense: their synonym draws what is meant."""
    return frozenset(("vial", "health", "hp", "mana", "treasure", "plate", "sphere", "gore", "seat", "pick"))


@cache
def _phrases() -> re.Pattern[str]:
    longest = sorted(PHRASES, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(map(re.escape, longest)) + r")\b")


def _stems(word: str) -> list[str]:
    """Singular, and the noun or verb behind -y, -ed, -ing, -en, -er: "daggers", "leafy", "horned", "wolves"."""
    out: list[str] = []
    for ending, instead in (
        ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""), ("y", ""), ("ed", ""), ("ed", "e"),
        ("ing", ""), ("ing", "e"), ("en", ""), ("ish", ""), ("like", ""), ("er", ""), ("man", ""), ("men", "man"),
    ):  # fmt: skip
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            out.append(word[: len(word) - len(ending)] + instead)
    return out
