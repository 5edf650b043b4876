"""What a training sprite is called: eight captions a picture, drawn at random while training.

Owns the words; colours are read off the pixels by `colors`. A caption is a list of lower-case words. Knows no files
and no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.embedded.colors import COLORS, SAID_FOR

SLOTS = 8
"""Captions a picture."""


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
    front back and wearing carrying casting spread by under over behind for pointing shaped next to using riding
    flying sitting walking running lit open closed made covered edge border corner curling overgrown hanging
    tilted floating going rising bending two three four five six filled stacked worn raised pointing
    """
)
_MEASURES = _words("pair pile loaf cluster heap bunch stack piece chunk slice bowl cup set bundle group row")
_SHAPES = _words("tile icon view sprite block piece segment pattern texture left right up down")


@dataclass(frozen=True, slots=True)
class Words:
    """What the metadata say about one sprite: sentence, tags and name as words, what is shown as one word, style."""

    sentence: tuple[str, ...]
    noun: str
    tags: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    kind: str = ""
    style: tuple[str, ...] = ()


def read_words(text: str, tags: str = "", name: str = "", kind: str = "", style: tuple[str, ...] = ()) -> Words:
    """The words of one line of metadata; `tags` are separated by anything that is no letter."""
    tag_words, name_words = split_words(tags), split_words(name)
    noun = head_noun(split_words(text, frozenset())) or next(iter((*tag_words, *name_words[-1:])), "thing")
    return Words(split_words(text), noun, tag_words, name_words, kind, style)


def split_words(text: str, without: frozenset[str] = NOISE) -> tuple[str, ...]:
    """Lower-case words of letters, in one spelling, without noise."""
    found = re.findall(r"[a-z]+", text.lower().replace("'s", ""))
    return tuple(w for w in (SPELLING.get(w, w) for w in found) if w not in without and len(w) > 1)


def is_color(word: str) -> bool:
    """Whether the word names one of COLORS, directly or by another name."""
    return word in COLORS or word in SAID_FOR


def head_noun(sentence: Sequence[str]) -> str:
    """The last word before the first preposition or participle; '' where that is only colours.

    "gray granite stump on stone base" is a stump, "pair of leather boots" are boots.
    """
    head: list[str] = []
    for word in sentence:
        if word == "of" and head and head[-1] in _MEASURES:
            continue
        if word in _BREAKS and any(not is_color(w) for w in head):
            break
        head.append(word)
    while len(head) > 1 and head[-1] in _SHAPES:
        head.pop()
    return head[-1] if head and head[-1] not in NOISE | _BREAKS and not is_color(head[-1]) else ""


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
    sentence = words.sentence if names is None else rename_colors(words.sentence, names)
    if names is not None and not any(is_color(w) for w in sentence):
        sentence = (main, *sentence)
    colored = (main, words.noun)
    forms: list[tuple[str, ...]] = [
        sentence,
        sentence,
        colored,
        (main, other),
        (main, *name),
        (*colors[:2], *shuffled[:6], *((words.noun,) if words.noun not in shuffled[:6] else ())),
        colored if names is not None else (words.noun,),
        (main, other, words.noun) if names is not None or other == words.noun else (other, words.noun),
    ]
    # a sentence may say a word twice, a list of words must not
    return [
        (*form, *words.style) if n < 2 else tuple(dict.fromkeys((*form, *words.style))) for n, form in enumerate(forms)
    ]
