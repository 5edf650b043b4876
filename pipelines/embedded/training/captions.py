"""What a training sprite is called: eight captions a picture, drawn at random while training.

Owns the words; colours are read off the pixels by `colors`. A caption is a list of lower-case words. Knows no pictures'
files and no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pipelines.embedded.colors import COLORS, SAID_FOR

SLOTS = 8
"""Captions a picture."""

GIVEN = 5
"""So many of them are given ones, where the metadata have any."""

FAMILIES = Path(__file__).parent / "families.txt"
"""Which sprites are called by a common word, though their caption says a rarer one."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WANTED = Path(__file__).parents[1] / "wanted_words.txt"
_LOOKS = ("# colours", "# looks", "# what it does and how it stands", "# materials")
"""Subjects of wanted_words.txt that are no things."""

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
_MATERIALS = _words(
    "stone iron steel gold silver leather wood oak cloth glass marble crystal bone brick "
    "metal ice bronze light parchment"
)
_NAMED_SO = _words(
    """
    ring king wing sling string spring painting drawing building lightning halfling viking awning barding bed seed speed
    reed weed shed sled red thing clothing earring pudding dumpling ling bedroll moped hatchling
    """
)
"""Words in -ed and -ing that are no participles."""

_MEASURES = _words("pair pile loaf cluster heap bunch stack piece chunk slice bowl cup set bundle group row")
_SHAPES = _words(
    """
    tile icon view sprite block piece segment pattern texture left right up down shape end half part bottom middle pair
    pile loaf cluster heap bunch stack group row mound strip marker outline
    """
)
_ANY = _words("monster beast creature being figure person form animal blob puddle drop")
_ANYONE = _words("man woman lord captain body")
_PEOPLE = _words(
    "orc elf dwarf gnome kobold troll ogre goblin demon vampire mummy naga centaur minotaur halfling merfolk draconian "
    "zombie skeleton ghost giant golem"
)
_SUBJECTS = _words(
    """
    tools crafting rpg travel hats sports food warfare cosmetics weather alchemy creature archetypes weapon profession
    spell skill stat buff debuff trade medieval siege ammo restaurant eating winner award construction veichle vehicle
    person medical character mining loot nature tool
    """
)
"""Words of file names that say the subject of a set of icons, not what an icon shows."""

_APART = _words("hats cosmetics food")
"""Subjects where a bow, a blade or a knife is no weapon."""

_GROUNDS = _words("floor ground surface patch flame flames logs ration cells")


@dataclass(frozen=True, slots=True)
class Words:
    """What the metadata say about one sprite: sentence, tags and name as words, what is shown as one word, style."""

    sentence: tuple[str, ...]
    noun: str
    tags: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    kind: str = ""
    style: tuple[str, ...] = ()
    captions: tuple[tuple[str, ...], ...] = ()
    """Whole captions that the metadata give, in place of some that would be made."""


def read_words(
    text: str, tags: str = "", name: str = "", kind: str = "", style: tuple[str, ...] = (), said: str = "caption"
) -> Words:
    """The words of one line of metadata; `tags` are separated by anything that is no letter.

    A sprite of a family is called by the family's word, and has it as a tag.

    Args:
        said: what the text is: a "caption" of the picture, or words of a file's name, the "narrow last" ("weather
            campfire camping": the second is shown) or the "narrow first" ("chain lightning air").
    """
    tag_words, name_words = split_words(tags), split_words(name)
    head = head_words(split_words(text.split(",")[0], frozenset()))
    if said != "caption":
        plain = [word for word in split_words(text) if word not in _SUBJECTS]
        head = (plain[:1] if said == "narrow last" else plain[:-1]) or head
        if text.split()[0] not in _APART:
            head = next(([word] for word in plain if (kind, word) in families()), head)
    noun = _noun(head, {*tag_words, *name_words}) or next(iter((*tag_words, *name_words[-1:])), "thing")
    noun = family(kind, noun, head)
    if noun not in tag_words:
        tag_words = (*tag_words, noun)
    return Words(split_words(text), noun, tag_words, name_words, kind, style)


def family(kind: str, noun: str, head: Sequence[str] = ()) -> str:
    """The common word for a noun; what only says "a floor" or "a monster" is looked up by the words before it."""
    table = families()
    if noun in _ANY | _GROUNDS and (kind, noun) not in table:
        return next((table[kind, word] for word in head if (kind, word) in table), noun)
    return table.get((kind, noun), noun)


@cache
def families() -> Mapping[tuple[str, str], str]:
    """(kind, rare word) -> common word, from families.txt."""
    table: dict[tuple[str, str], str] = {}
    for line in FAMILIES.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            said, members = line.split(" = ")
            kinds, common = said.split(": ")
            table |= {(kind, word): common for kind in kinds.split() for word in (common, *members.split())}
    return table


@cache
def wanted_nouns() -> frozenset[str]:
    """What people ask for: the common words of families.txt and the last words of wanted_words.txt's things."""
    lines = WANTED.read_text(encoding="utf-8").split("\n\n")[1:]
    things = [lines for head, *lines in (part.strip().splitlines() for part in lines) if head not in _LOOKS]
    entries = (entry.split() for part in things for entry in " ".join(part).split(","))
    last = {SPELLING.get(words[-1], words[-1]) for words in entries if words}
    return frozenset({*families().values(), *last})


def split_words(text: str, without: frozenset[str] = NOISE) -> tuple[str, ...]:
    """Lower-case words of letters, in one spelling, without noise."""
    found = re.findall(r"[a-z]+", text.lower().replace("'s", ""))
    return tuple(w for w in (SPELLING.get(w, w) for w in found) if w not in without and len(w) > 1)


def is_color(word: str) -> bool:
    """Whether the word names one of COLORS, directly or by another name."""
    return word in COLORS or word in SAID_FOR


def head_words(sentence: Sequence[str]) -> list[str]:
    """The words up to what is shown, itself the last: before the first preposition, without participles behind it.

    "gray granite stump on stone base" is a stump, "pair of leather boots" are boots, "brown wooden closed door" is a
    door. Empty where only colours and adjectives are said.
    """
    head: list[str] = []
    for word in sentence:
        if word == "of" and head and head[-1] in _MEASURES:
            continue
        if word in _BREAKS and any(not _describes(w) for w in head):
            break
        if word in _STATES and any(not _describes(w) and w not in _MATERIALS for w in head):
            break
        head.append(word)
    while len(head) > 1 and (head[-1] in _SHAPES or _describes(head[-1])):
        head.pop()
    return head if head and head[-1] not in NOISE | _BREAKS and not _describes(head[-1]) else []


def subjects(sentence: Sequence[str]) -> list[str]:
    """The head words that name things, what is shown first: "gray stone skeleton archer" is an archer, a skeleton."""
    return [w for w in reversed(head_words(sentence)) if not _describes(w) and w not in _MATERIALS]


def _describes(word: str) -> bool:
    """Whether the word is a colour, an adjective or a participle."""
    participle = word.endswith(("ing", "ed")) and len(word) > 4 and word not in _NAMED_SO
    return is_color(word) or word in _ADJECTIVES or participle


def _noun(head: Sequence[str], said: set[str]) -> str:
    """The last word; of "lava orc woman" and "blue jelly monster", the word before it where tags or name say it too."""
    if not head:
        return ""
    at = len(head) - 1
    while at and (
        (head[at] in _ANY and head[at - 1] in said) or (head[at] in _ANYONE and head[at - 1] in said & _PEOPLE)
    ):  # fmt: skip
        if _describes(head[at - 1]) or head[at - 1] in _MATERIALS:
            break
        at -= 1
    return head[at]


def rename_colors(sentence: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The sentence with its colour words replaced; a colour that is not in `names` is left out."""
    out: list[str] = []
    for word in sentence:
        new = names.get(SAID_FOR.get(word, word), "") if is_color(word) else word
        if new and (not out or out[-1] != new):
            out.append(new)
    return tuple(out)


def captions(
    words: Words, colors: Sequence[str], names: Mapping[str, str] | None, rng: np.random.Generator
) -> list[tuple[str, ...]]:
    """SLOTS captions of one picture.

    Args:
        colors: the picture's main colours, the first one first.
        names: None for the picture as its artist made it; else what became of each colour word when it was
            repainted. A repainted picture is never described without a colour, so that "grass" alone stays green.
    """
    main = colors[0]
    said = next((w for w in words.sentence if is_color(w)), "")
    if said and names is None:  # who wrote the caption saw which colour matters
        main = SAID_FOR.get(said, said)
    colors = (main, *(c for c in colors if c != main))
    tags = [t for t in dict.fromkeys(words.tags) if not is_color(t) and t not in words.style]
    shuffled = [tags[i] for i in rng.permutation(len(tags))]
    name = tuple(w for w in words.name if not is_color(w)) or (words.noun,)
    other = shuffled[0] if shuffled else name[-1]
    colored, listed = (main, words.noun), (*colors[:2], *shuffled[:6])
    listed = listed if words.noun in listed else (*listed, words.noun)
    if names is None:
        plain = tuple(w for w in words.sentence if not is_color(w)) or (words.noun,)
        forms = [
            words.sentence,
            plain,
            colored,
            (words.noun,),
            (main, *name),
            listed,
            (words.noun,),
            (other, words.noun),
        ]
        if words.captions:
            given = [words.captions[i] for i in rng.permutation(len(words.captions))]
            more = [given[i % len(given)] for i in range(GIVEN)]
            forms = [*more, colored, (words.noun,), listed]
    else:
        sentence = rename_colors(words.sentence, names)
        if not any(is_color(w) for w in sentence):
            sentence = (main, *sentence)
        forms = [sentence, sentence, colored, (main, other), (main, *name), listed, colored, (main, other, words.noun)]
    # a sentence may say a word twice, a list of words must not
    return [
        (*form, *words.style)
        if n < GIVEN and (n < 2 or words.captions)
        else tuple(dict.fromkeys((*form, *words.style)))
        for n, form in enumerate(forms)
    ]
