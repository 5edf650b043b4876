"""Write the captions of training sprites: eight for each picture, one of them drawn at random at each step.

A caption is a list of lower-case words. The colours that it names are measured by `pipelines.embedded.colors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from pipelines.embedded.colors import SAID_FOR
from pipelines.embedded.language import MATERIALS, SPELLING, describes, families, head_words, is_color, split_words
from pipelines.embedded.words import wanted

SLOTS = 8
"""Captions a picture."""

GIVEN = 5
"""So many of them are given ones, where the metadata have any."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LOOKS = ("colours", "looks", "what it does and how it stands", "materials")
"""Sections of wanted_words.txt that list properties, not things."""


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
"""Subjects where a bow, a blade or a knife is not a weapon."""

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
    """Reads the words of one line of metadata; `tags` are separated by anything except letters.

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
    """Finds a noun's common word; if it only says "floor" or "monster", by the words before it."""
    table = families()
    if noun in _ANY | _GROUNDS and (kind, noun) not in table:
        return next((table[kind, word] for word in head if (kind, word) in table), noun)
    return table.get((kind, noun), noun)


@cache
def wanted_nouns() -> frozenset[str]:
    """Reads the common words of families.txt and the last word of each thing in wanted_words.txt."""
    entries = (entry.split() for section, things in wanted().items() if section not in _LOOKS for entry in things)
    last = {SPELLING.get(words[-1], words[-1]) for words in entries if words}
    return frozenset({*families().values(), *last})


def _noun(head: Sequence[str], said: set[str]) -> str:
    """Takes the last word; of "lava orc woman", "blue jelly monster" the one before it, if tags or name hold it too."""
    if not head:
        return ""
    at = len(head) - 1
    while at and (
        (head[at] in _ANY and head[at - 1] in said) or (head[at] in _ANYONE and head[at - 1] in said & _PEOPLE)
    ):  # fmt: skip
        if describes(head[at - 1]) or head[at - 1] in MATERIALS:
            break
        at -= 1
    return head[at]


def rename_colors(sentence: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Replaces the sentence's colour words; a colour that is not in `names` is left out."""
    out: list[str] = []
    for word in sentence:
        new = names.get(SAID_FOR.get(word, word), "") if is_color(word) else word
        if new and (not out or out[-1] != new):
            out.append(new)
    return tuple(out)


def captions(
    words: Words, colors: Sequence[str], names: Mapping[str, str] | None, rng: np.random.Generator
) -> list[tuple[str, ...]]:
    """Makes SLOTS captions of one picture.

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
