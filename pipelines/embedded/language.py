"""Read English about sprites: spelling, colours, and the word of a phrase that names what is shown.

Prompts and training captions go through the same functions, so that the model is asked in the form it was taught in.
This module imports neither torch nor the training code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pipelines.embedded.colors import COLORS, SAID_FOR

FAMILIES = Path(__file__).parent / "families.txt"
"""Which sprites are called by a common word, though their caption says a rarer one."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SPELLING: Mapping[str, str] = {
    "grey": "gray", "armour": "armor", "armoured": "armored", "axes": "axe", "swords": "sword", "dagge": "dagger",
    "spea": "spear", "veichle": "vehicle", "colour": "color", "skeletal": "skeleton", "torches": "torch",
    "altars": "altar", "statues": "statue", "monsters": "monster", "shields": "shield", "runes": "rune",
    "traps": "trap", "skeletons": "skeleton", "spectrals": "spectral", "hats": "hat", "vines": "vine",
    "mushrooms": "mushroom", "potions": "potion", "gems": "gem", "crystals": "crystal", "books": "book",
    "trees": "tree", "rocks": "rock", "windows": "window", "bushes": "bush", "shoes": "shoe", "glove": "gloves",
    "boot": "boots", "coin": "coins", "bones": "bone", "morningstar": "mace", "helm": "helmet",
}  # fmt: skip
"""One spelling for each word, in captions and prompts alike."""

NOISE = _words(
    """
    a an the and of in on at to its it is tiles dngn urand ru base hand1 hand2 misc part thing spwpn ida
    thekingphoenix rpg view buff stat nonliving ego art mon dc item items
    """
)
"""Words that say nothing about the picture."""

_BREAKS = _words(
    """
    with without on in of from at facing holding standing seen leaning lying swimming coiled diagonal side top
    front back and wearing carrying casting spread by under over behind for pointing to using riding along next near
    flying sitting walking running edge border corner hanging between inside around against through
    floating going rising bending two three four five six filled stacked worn raised
    """
)

_STATES = _words("open closed covered made lit unlit overgrown pointing curling tilted casting spread crouching barred")
"""Words that stand before what is shown, or end it: "closed door", "door closed"."""

_ADJECTIVES = _words(
    """
    wooden large small big huge tiny little tall short low high round full empty plain thin thick wide narrow old new
    dark pale bright dim open lit unlit flat long curly double single broken smooth rough fat slim broad simple
    wavy spiky fluffy shaggy lumpy shiny faint dull deep two three four icy fiery metal golden upright sideways apart
    mottled plus written off near medium made mostly overgrown spread closed
    """
)

MATERIALS = _words(
    "stone iron steel gold silver leather wood oak cloth glass marble crystal bone brick "
    "metal ice bronze light parchment"
)

_NAMED_SO = _words(
    """
    ring king wing sling string spring painting drawing building lightning halfling viking awning barding bed seed speed
    reed weed shed sled red thing clothing earring pudding dumpling ling bedroll moped hatchling
    """
)
"""Words in -ed and -ing that are not participles."""

_MEASURES = _words("pair pile loaf cluster heap bunch stack piece chunk slice bowl cup set bundle group row")

_SHAPES = _words(
    """
    tile icon view sprite block piece segment pattern texture left right up down shape end half part bottom middle pair
    pile loaf cluster heap bunch stack group row mound strip marker outline
    """
)


PERSONS = _words(
    """
    adventurer alchemist amazon apprentice archer assassin bandit barbarian bard beggar berserker bishop blacksmith
    boxer boy bride builder butcher captain caveman child cleric cook cowboy crossbowman cultist dancer detective
    doctor druid dwarf elf emperor executioner explorer farmer fighter firefighter fisherman gardener geisha girl
    gladiator gnome gravedigger groom guard halfling hero heroine hood hunter innkeeper jester king knight lady lord
    lumberjack mage magician maid man martial mercenary merchant messenger miner monk musketeer necromancer ninja
    nobleman noblewoman nun nurse officer paladin peasant person pharaoh pirate portrait priest priestess prince
    princess prisoner queen ranger ringmaster rogue sailor samurai santa scholar schoolgirl shaman shepherd soldier
    sorceress spearman squire sultan superhero swordsman swordswoman teller thief tourist viking villager warlock
    warrior witch wizard woman worker
    """
)
"""People. Another skin would be wrong, so they are never repainted: dolls show them in clothes of all colours."""


@cache
def families() -> Mapping[tuple[str, str], str]:
    """Reads (kind, rare word) -> common word from families.txt."""
    table: dict[tuple[str, str], str] = {}
    for line in FAMILIES.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            said, members = line.split(" = ")
            kinds, common = said.split(": ")
            table |= {(kind, word): common for kind in kinds.split() for word in (common, *members.split())}
    return table


def split_words(text: str, without: frozenset[str] = NOISE) -> tuple[str, ...]:
    """Splits into lower-case words of letters, in one spelling, without noise."""
    found = re.findall(r"[a-z]+", text.lower().replace("'s", ""))
    return tuple(w for w in (SPELLING.get(w, w) for w in found) if w not in without and len(w) > 1)


def is_color(word: str) -> bool:
    """Returns whether the word names one of COLORS, directly or by another name."""
    return word in COLORS or word in SAID_FOR


def head_words(sentence: Sequence[str]) -> list[str]:
    """Returns the words up to what is shown: before the first preposition, without participles behind it.

    "gray granite stump on stone base" is a stump, "pair of leather boots" are boots, "brown wooden closed door" is a
    door. Empty where only colours and adjectives are said.
    """
    head: list[str] = []
    for word in sentence:
        if word == "of" and head and head[-1] in _MEASURES:
            continue
        if word in _BREAKS and any(not describes(w) for w in head):
            break
        if word in _STATES and any(not describes(w) and w not in MATERIALS for w in head):
            break
        head.append(word)
    while len(head) > 1 and (head[-1] in _SHAPES or describes(head[-1])):
        head.pop()
    return head if head and head[-1] not in NOISE | _BREAKS and not describes(head[-1]) else []


def subjects(sentence: Sequence[str]) -> list[str]:
    """Lists head words that name things, the shown one first: "gray stone skeleton archer" is archer, skeleton."""
    return [w for w in reversed(head_words(sentence)) if not describes(w) and w not in MATERIALS]


def describes(word: str) -> bool:
    """Returns whether the word is a colour, an adjective or a participle."""
    participle = word.endswith(("ing", "ed")) and len(word) > 4 and word not in _NAMED_SO
    return is_color(word) or word in _ADJECTIVES or participle
