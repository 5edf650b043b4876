"""Translate prompts into the vocabulary of the embedded model.

"Pixel art of a mossy hound, 32x32" becomes "mossy dog"; words that the model does not know are reported.
`python -m pipelines.embedded.words` prints how the entries of wanted_words.txt are read. Imports no torch.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pipelines.embedded.colors import SAID_FOR
from pipelines.embedded.language import PERSONS, SPELLING, families, is_color, split_words, subjects

VOCABULARY = Path(__file__).parent / "checkpoint" / "tokenizer" / "tokenizer.json"
SYNONYMS = Path(__file__).parent / "synonyms.txt"
WANTED = Path(__file__).parent / "wanted_words.txt"

ROOM = 14
"""Most words of a prompt that the model reads."""

COMMON = 1000
"""Number of the most frequent words among which a misspelled word is looked for."""

_FILLERS = """
    a an the of and or to for in on at is it its this that these my your our his her their some any very really please
    draw make create generate design need want me us you i can could would like
    pixel pixels art pixelart sprite sprites spritesheet asset assets game games bit style styled retro rpg image
    picture icon drawing texture tileable seamless tile tiles tileset px transparent background high quality detailed
    beautiful simple nice cool pretty lovely epic fantasy single view
    fresh common natural tasty juicy cozy lively material idle thing things stuff
"""
FILLERS = frozenset(_FILLERS.split())
"""Words that say nothing about the picture; they are dropped and not reported."""

PHRASES: Mapping[str, str] = {
    "health potion": "red potion", "healing potion": "red potion", "life potion": "red potion",
    "mana potion": "blue potion", "magic potion": "blue potion", "poison potion": "green potion",
    "stamina potion": "green potion", "potion of healing": "red potion", "potion of mana": "blue potion",
    "camp fire": "campfire", "pick axe": "pickaxe", "bow and arrow": "wooden bow", "cross bow": "crossbow",
    "fire elemental": "fire elemental", "space ship": "spaceship", "skull and crossbones": "skull",
    "stained glass": "colorful glass window", "cash register": "machine", "walkie talkie": "radio",
    "hang glider": "airplane", "message in a bottle": "glass bottle paper", "advent wreath": "green leaf ring",
    "venus flytrap": "plant monster", "hockey stick": "curved stick", "poker chip": "red coins",
    "play button": "green button", "pause button": "red button", "vr headset": "black glasses",
    "health bar": "red bar", "mana bar": "blue bar", "heart container": "red heart", "baseball bat": "wooden club",
    "open treasure chest": "open treasure chest", "open chest": "open treasure chest",
    "closed chest": "treasure chest", "chest": "treasure chest", "treasure chest": "treasure chest",
    "open door": "open door", "closed door": "wooden closed door", "wooden door": "wooden closed door",
    "iron door": "stone wooden closed door", "metal door": "stone wooden closed door", "door": "wooden closed door",
    "yellow hair": "blond hair", "golden hair": "blond hair", "golden haired": "blond haired",
    "yellow beard": "blond beard", "golden beard": "blond beard", "ginger beard": "red beard",
    "ginger hair": "red hair", "auburn hair": "red hair", "redhead": "woman with red hair", "brunette": "brown haired",
    "fire sword": "sword fire", "ice sword": "ice sword", "living armor": "armor", "t shirt": "shirt",
}  # fmt: skip
"""Phrases and words that the model draws better when they are worded differently."""

LARGE: Mapping[str, str] = {
    "bow": "wooden bow", "table": "wooden table", "throne": "royal throne", "tank": "battle tank",
    "airplane": "aeroplane", "plane": "aeroplane", "pine": "fir", "blond": "blonde",
}  # fmt: skip
"""Replacements at 32 pixels only: "bow" alone is sometimes drawn as a staff, "tank" as an enlarged 16 px sprite.

People of 32 px have "blonde hair" in the training data, those of 16 px "blond hair".
"""

SMALL: Mapping[str, str] = {"key": "door key", "blonde": "blond"}
"""Replacements at 16 pixels only: "key" alone is sometimes drawn as a keyboard's key."""

REWORDED: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\bwearing (?=(?:[a-z]+ ){0,3}(?:crown|hat|helmet|hood|cap|mask|turban|bandana|veil|horns)\b)"),
        "with ",
    ),
    (re.compile(r"\bwith (?:a )?crown\b"), "with gold crown"),
    (re.compile(r"\bin ((?:[a-z]+ ){1,2})cloth(?:es|ing)\b"), r"in \1"),
)
"""Wordings that the training captions do not have: there a figure wears armour and robes but is "with a gold crown",
and clothes are a thing. "man wearing a crown" was drawn as a crown, "thief in black clothes" as a heap.
"""

_PART = frozenset(("with", "holding", "wearing", "carrying"))
_OF_A_PART = re.compile(r"\b(?:with|holding|wearing|carrying|facing|seen|in)\b", re.IGNORECASE)
_SMALL_PART = re.compile(r"\beye[ds]?s?\b", re.IGNORECASE)
_VIEW = re.compile(r"\b(?:facing|seen from|from) (?:the )?(front|left|right|back|behind|side)\b")
_STANDING = PERSONS | frozenset(
    ("robot", "goblin", "orc", "skeleton", "zombie", "vampire", "demon", "angel", "fairy", "mummy")
)
"""Figures that are drawn from the front only: the views of other things would lead to a chess knight or a chair."""

_COVERS = """
    armor armour cape cloak clothes coat dress feathers fur gown jacket robe scales shirt skin suit tunic uniform
"""
_HAIR: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "orange"), "blond": ("yellow", "orange"), "white": ("white", "gray"), "gray": ("gray", "white"),
}  # fmt: skip
_TOP = frozenset(("hair", "hat", "crown", "helmet", "hood", "eyes", "horns", "roof"))
_WHOLE = frozenset(_COVERS.split())
"""What the colour after a word of _PART may be said of so that it is the picture's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt in the model's vocabulary, and the words that it does not know or has no room for."""

    text: str
    unknown: tuple[str, ...]


def read_prompt(prompt: str, native: int = 32) -> Reading:
    """Translates a prompt into at most ROOM known words. A prompt without a known word stays unchanged.

    Args:
        native: the size in pixels that is drawn, 16 or 32.
    """
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower().replace("'s", "")
    plain = _phrases().sub(lambda found: PHRASES[found.group()], " ".join(re.findall(r"[a-z]+|[0-9]+", plain)))
    for wording, instead in REWORDED:
        plain = wording.sub(instead, plain)
    known: list[str] = []
    unknown: list[str] = []
    if _STANDING.intersection(subjects(split_words(plain))):
        unknown += [view for view in _VIEW.findall(plain) if view != "front"]
        plain = _VIEW.sub("", plain)
    for word in plain.split():
        if word in FILLERS or word.isdigit() or len(word) == 1:
            continue
        nearest = nearest_words(word)
        if not nearest or len(known) + len(nearest) > ROOM:
            unknown.append(word)
        else:
            known += nearest[1:] if nearest[0] in known[-1:] else nearest
    sized = LARGE if native > 16 else SMALL
    known = " ".join(sized.get(word, word) for word in known).split()
    known = [word for i, word in enumerate(known) if word not in known[i - 1 : i]]
    return Reading(" ".join(known) or prompt, tuple(dict.fromkeys(unknown)))


def unknown_words(prompt: str) -> tuple[str, ...]:
    """Returns the words of the prompt that the model does not know."""
    return read_prompt(prompt).unknown


def color_asked(prompt: str) -> str:
    """Returns the first of the twelve colours that a prompt names for the whole picture; '' for none.

    Named directly or by a synonym. After "with", "holding" or "wearing" a colour is that of a part ("dwarf with a red
    beard") unless it is said of what covers most of a figure ("woman with a red dress").
    """
    words, part = read_prompt(prompt).text.split(), False
    for i, word in enumerate(words):
        part |= word in _PART
        if is_color(word) and (not part or not _WHOLE.isdisjoint(words[i + 1 : i + 3])):
            return SAID_FOR.get(word, word)
    return ""


def part_color_asked(prompt: str) -> tuple[tuple[str, ...], Literal["", "top", "chin"]]:
    """Returns the names of COLORS that a part of the figure should have, and where the part is ("": anywhere).

    "dwarf with a red beard" -> (("red", "orange"), "chin"): hair is seldom as red as paint. Empty where no part has a
    colour, or it is said of what covers the figure (see `color_asked`).
    """
    bare = without_parts(prompt)
    words = read_prompt(prompt[len(bare) :]).text.split() if bare else []
    for word, part in pairwise(words):
        color = "blond" if word == "blonde" else SAID_FOR.get(word, word)
        if (is_color(word) or color == "blond") and part not in _WHOLE and not is_color(part):
            names = _HAIR.get(color, (color,)) if part in ("hair", "beard") else (color,)
            return names, "chin" if part == "beard" else "top" if part in _TOP else ""
    return (), ""


def without_parts(prompt: str) -> str:
    """Returns the prompt up to the first part, view or dress that it names: "dwarf" of "dwarf with a red beard".

    '' where it names none, or nothing that the model knows comes before or after it, or only eyes: two pixels, with
    guidance for which a white rabbit turned red.
    """
    bare = _OF_A_PART.split(prompt, maxsplit=1)[0]
    said = read_prompt(bare).text
    if _SMALL_PART.search(prompt, len(bare)):
        return ""
    return bare if known_words().issuperset(said.split()) and said != read_prompt(prompt).text else ""


def nearest_words(word: str) -> tuple[str, ...]:
    """Finds known words for a lower-case word: itself, a synonym, its singular or stem, or the word that it misspells.

    Returns:
        The words; empty where none is near.
    """
    return _near(SPELLING.get(word, word))[0]


@cache
def known_words() -> frozenset[str]:
    """Returns the vocabulary of the shipped model."""
    return frozenset(_ranked())


@cache
def synonyms() -> Mapping[str, tuple[str, ...]]:
    """Reads other word -> known words from synonyms.txt; a word's first line counts. Empty: nothing is near."""
    return {word: meant for word, (meant, _) in _table().items()}


@cache
def _near(word: str) -> tuple[tuple[str, ...], str]:
    """Finds the nearest words, and how: "known", "synonym", "form", "spelling", or "" where there are none."""
    known, table = known_words(), _table()
    if word in table and (word not in known or table[word][1]):
        return table[word][0], "synonym" if table[word][0] else ""
    if word in known:
        return (word,), "known"
    if word in _common():
        return (_common()[word],), "synonym"
    for form in _stems(word):
        form = SPELLING.get(form, form)
        if form in table and (form not in known or table[form][1]):
            return table[form][0], "synonym" if table[form][0] else ""
        if form in known:
            return (form,), "form"
    close = get_close_matches(word, _ranked()[:COMMON], 1, 0.87) if len(word) >= 5 else []
    return tuple(close), "spelling" if close else ""


@cache
def _ranked() -> tuple[str, ...]:
    """Returns the vocabulary, the frequent words first."""
    ids: dict[str, int] = json.loads(VOCABULARY.read_text(encoding="utf-8"))["model"]["vocab"]
    return tuple(word for word in sorted(ids, key=ids.__getitem__) if word.isalpha())


@cache
def _table() -> Mapping[str, tuple[tuple[str, ...], bool]]:
    """Returns what is said -> known words, and whether they hold for a word that the model knows, too."""
    table: dict[str, tuple[tuple[str, ...], bool]] = {}
    for line in SYNONYMS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            said, meant = line.removeprefix("! ").split(" = ")
            for word in said.split(", "):
                table.setdefault(word, (tuple(meant.replace("?", "").split()), line.startswith("! ")))
    return table


@cache
def _common() -> Mapping[str, str]:
    """Returns the rare words of captions.families -> the common one, where the model knows it."""
    return {word: common for (_, word), common in families().items() if common in known_words()}


@cache
def _phrases() -> re.Pattern[str]:
    longest = sorted(PHRASES, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(map(re.escape, longest)) + r")\b")


def _stems(word: str) -> list[str]:
    """Lists the singular, and the word behind -y, -ed, -ing, -en, -er: "daggers", "leafy", "horned", "wolves"."""
    out: list[str] = []
    for ending, instead in (
        ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""), ("y", ""), ("ed", ""), ("ed", "e"),
        ("ing", ""), ("ing", "e"), ("en", ""), ("ish", ""), ("like", ""), ("er", ""), ("man", ""), ("men", "man"),
    ):  # fmt: skip
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            out.append(word[: len(word) - len(ending)] + instead)
    return out


def wanted() -> dict[str, tuple[str, ...]]:
    """Reads wanted_words.txt: section -> entries."""
    subjects = re.split(r"\n\n+", WANTED.read_text(encoding="utf-8").strip())[1:]
    return {
        head.removeprefix("# "): tuple(entry.strip() for entry in " ".join(lines).split(","))
        for head, *lines in (subject.splitlines() for subject in subjects)
    }


def how_read(prompt: str) -> str:
    """Returns how a prompt is read: "unknown" if a word of it is, else as its word that is read most loosely."""
    if unknown_words(prompt):
        return "unknown"
    found = [_near(SPELLING.get(word, word))[1] for word in re.findall("[a-z]+", prompt.lower()) if word not in FILLERS]
    return max(found, key=READINGS.index, default="known") if all(found) else "synonym"  # a phrase: no word by itself


READINGS = ("known", "form", "spelling", "synonym", "unknown")


def main() -> int:
    """Prints for each section of wanted_words.txt how its entries are read, and which are unknown."""
    total: Counter[str] = Counter()
    print(f"| | entries | {' | '.join(READINGS)} | |\n|---|{'---|' * (len(READINGS) + 2)}")
    for subject, entries in wanted().items():
        read = {entry: how_read(entry) for entry in entries}
        counts = Counter(read.values())
        total += counts
        unknown = ", ".join(entry for entry, how in read.items() if how == "unknown")
        print(f"| {subject} | {len(entries)} | {' | '.join(str(counts[how]) for how in READINGS)} | {unknown} |")
    shares = (f"{total[how]} ({100 * total[how] / total.total():.1f} %)" for how in READINGS)
    print(f"| all | {total.total()} | {' | '.join(shares)} | |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
