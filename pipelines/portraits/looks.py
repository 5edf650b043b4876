"""Read a portrait's prompt: who is shown, with which skin, hair, headgear and clothes.

What the prompt leaves open follows the seed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.effects.ramps import ramp_name


@dataclass(frozen=True, slots=True)
class Look:
    """What a bust shows. Colours are names of `pipelines.effects.ramps.RAMPS`, skins of `pipelines.portraits.board`."""

    skin: str = "light"
    hair: str = "short"
    hair_color: str = "brown"
    beard: str = ""
    hat: str = ""
    hat_color: str = "blue"
    cloth: str = "blue"
    eyes: str = "brown"
    ears: str = ""
    armor: bool = False
    slight: bool = False
    stern: bool = False
    tusks: bool = False
    fangs: bool = False
    patch: bool = False
    scar: bool = False


_WHO: Mapping[str, Mapping[str, Any]] = {
    "knight paladin guard soldier warrior": {"hat": "helmet", "hat_color": "gray", "armor": True, "stern": True},
    "wizard mage sorcerer warlock": {"hat": "wizard", "beard": "long", "hair": "long", "hair_color": "white"},
    "witch sorceress": {"hat": "wizard", "hat_color": "purple", "hair": "long", "slight": True, "cloth": "purple"},
    "king emperor": {"hat": "crown", "beard": "short", "cloth": "red"},
    "queen princess": {"hat": "crown", "hair": "long", "slight": True, "cloth": "pink"},
    "prince": {"hat": "crown", "cloth": "blue", "beard": ""},
    "pirate buccaneer": {"hat": "bandana", "hat_color": "red", "patch": True, "beard": "short", "skin": "tan"},
    "viking barbarian": {"hat": "horned", "beard": "long", "hair_color": "orange", "hair": "long", "stern": True},
    "dwarf": {"hat": "horned", "beard": "long", "hair_color": "orange", "hair": "long"},
    "girl woman lady maid waitress nurse barmaid heroine": {"hair": "long", "slight": True},
    "grandmother granny": {"hair": "bun", "hair_color": "gray", "slight": True},
    "boy child kid": {"hair": "spiky", "beard": ""},
    "man person human villager merchant innkeeper blacksmith adventurer hero sailor bard": {},
    "elder grandfather": {"hair": "bald", "beard": "long", "hair_color": "white"},
    "elf ranger archer": {
        "ears": "pointed",
        "hair": "long",
        "hair_color": "yellow",
        "cloth": "green",
        "eyes": "green",
        "beard": "",
    },
    "goblin imp": {
        "skin": "green",
        "ears": "large",
        "hair": "bald",
        "stern": True,
        "eyes": "yellow",
        "cloth": "brown",
        "beard": "",
    },
    "orc ogre troll": {
        "skin": "green",
        "tusks": True,
        "hair": "bald",
        "stern": True,
        "armor": True,
        "eyes": "red",
        "beard": "",
    },
    "zombie": {
        "skin": "green",
        "hair": "short",
        "hair_color": "black",
        "scar": True,
        "cloth": "brown",
        "eyes": "white",
        "beard": "",
    },
    "vampire dracula": {
        "skin": "pale",
        "fangs": True,
        "hair": "short",
        "hair_color": "black",
        "eyes": "red",
        "cloth": "black",
        "beard": "",
    },
    "skeleton skull lich": {"skin": "bone", "hair": "bald", "cloth": "black", "beard": ""},
    "demon devil": {
        "skin": "red",
        "hat": "horns",
        "hair": "bald",
        "stern": True,
        "eyes": "yellow",
        "cloth": "black",
        "beard": "",
    },
    "thief rogue assassin bandit": {"hat": "hood", "hat_color": "black", "cloth": "black", "stern": True},
    "monk priest cleric hermit": {"hat": "hood", "hat_color": "brown", "cloth": "brown"},
    "ninja": {"hat": "mask", "hat_color": "black", "cloth": "black", "stern": True, "beard": ""},
    "farmer": {"hat": "straw", "cloth": "red", "skin": "tan"},
    "chef cook baker": {"hat": "chef", "cloth": "white", "beard": ""},
}
"""Words for who somebody is -> traits; later lines win."""

_TRAITS: Mapping[str, Mapping[str, Any]] = {
    "old": {"hair_color": "white"},
    "young": {"beard": ""},
    **{key: {"stern": True} for key in ("angry", "evil", "stern", "fierce")},
    **{name: {name: True} for name in ("scar", "patch", "fangs", "tusks", "armor")},
    "bald": {"hair": "bald"},
    **{key: {"hat": "hood"} for key in ("hood", "hooded")},
    **{key: {"hat": "mask"} for key in ("mask", "masked")},
    **{name: {"hat": name} for name in ("helmet", "crown", "bandana", "horns")},
}
_HATS = ("hat", "hood", "helmet", "bandana", "mask", "cap")
_CLOTHES = ("robe", "dress", "shirt", "coat", "armor", "cloak", "tunic")
_HAIR = ("long", "short", "spiky")
_SKIN = {"pale": "pale", "dark": "brown", "tanned": "tan", "brown": "brown", "black": "brown", "green": "green"}
_HAIR_COLORS = {"blond": "yellow", "blonde": "yellow", "ginger": "orange"}
_FILLERS: frozenset[str] = frozenset(
    (
        "portrait",
        "bust",
        "headshot",
        "face",
        "head",
        "avatar",
        "of",
        "a",
        "an",
        "the",
        "with",
        "in",
        "and",
        "eye",
        "wearing",
    )
)
_PORTRAIT = re.compile(r"\b(portrait|bust|headshot|avatar|face|head)\b")
_PEOPLE = frozenset(word for names in _WHO for word in names.split())


def is_portrait(prompt: str) -> bool:
    """Returns whether a prompt asks for the face of somebody who can be drawn from parts."""
    text = prompt.lower()
    return bool(_PORTRAIT.search(text)) and not _PEOPLE.isdisjoint(re.findall(r"[a-z]+", text))


def look_of(prompt: str, seed: int) -> tuple[Look, tuple[str, ...]]:
    """Returns the look that a prompt names, and those of its words that say nothing to it."""
    words = re.findall(r"[a-z]+", prompt.lower())
    random = np.random.default_rng(seed)
    look = Look(
        skin=str(random.choice(["light", "light", "tan", "brown"])),
        hair=str(random.choice(["short", "short", "spiky", "bald"])),
        hair_color=str(random.choice(["brown", "black", "yellow", "orange", "gray"])),
        cloth=str(random.choice(["blue", "green", "red", "brown", "purple"])),
        hat_color=str(random.choice(["blue", "purple", "red", "green"])),
        eyes=str(random.choice(["brown", "blue", "green"])),
        beard=str(random.choice(["", "", "short"])),
    )
    known: set[str] = {*_FILLERS}
    for names, traits in _WHO.items():
        if said := set(names.split()) & set(words):
            known |= said
            look = replace(look, **{"beard": "", **traits} if traits.get("slight") else traits)
    for word in words:
        if traits := _TRAITS.get(word):
            known.add(word)
            look = replace(look, **traits)
        if word in ("beard", "bearded"):
            known.add(word)
            look = replace(look, beard=look.beard or "short")
        if word == "hat":
            known.add(word)
            look = replace(look, hat=look.hat or "wizard")
    for first, second in zip(words, [*words[1:], ""], strict=True):
        known |= _colored(look, first, second)[1]
        look = _colored(look, first, second)[0]
    return look, tuple(dict.fromkeys(word for word in words if word not in known))


def _colored(look: Look, first: str, second: str) -> tuple[Look, set[str]]:
    """Reads two neighbouring words ("red hair", "blue robe"); returns the look, and the words that were read."""
    color = _HAIR_COLORS.get(first) or ramp_name(first)
    if second in ("hair", "beard"):
        if first in _HAIR:
            return replace(look, **{"beard": first} if second == "beard" else {"hair": first}), {first, second}
        return replace(look, hair_color=color or look.hair_color), {first, second} if color else {second}
    if second in ("skin", "skinned") and first in _SKIN:
        return replace(look, skin=_SKIN[first]), {first, second}
    if not color:
        return look, set()
    if second == "eyes":
        return replace(look, eyes=color), {first, second}
    if second in _HATS:
        return replace(look, hat_color=color), {first, second}
    if second == "crown":
        return look, {first, second}
    with_cloth = look.hat in ("wizard", "hood", "mask")
    return replace(look, cloth=color, hat_color=color if with_cloth else look.hat_color), {first} | (
        {second} if second in _CLOTHES else set()
    )
