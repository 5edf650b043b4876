"""Zombies, skeletons, orcs and goblins of every trade: paper dolls of people whose skin is recoloured.

A doll's metadata name the layer of its bare body. Where the doll shows that layer's pixels it shows skin; the colours
that a race's skin has instead are learned from the dolls of that race on the same body.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.pixels.png import read_picture
from pipelines.records import Pixels

RACES = {"zombie": "zombie", "skeleton": "bone", "orc": "green", "goblin": "green"}
"""Race -> the name of its skin in the dolls' metadata."""

_NOT = frozenset(
    """
    child boy girl old_man old_woman schoolgirl angel fairy zombie skeleton_warrior skeleton_mage skeleton_pirate ghost
    mummy vampire demon orc_warrior goblin grim_reaper santa_claus red_riding_hood robin_hood caveman genie
    """.split()  # noqa: SIM905
)
"""Professions that are not a trade."""


def _body(tiles: Path, name: str) -> Pixels:
    return read_picture(tiles / "player" / "base" / f"{name}.png")


def _shows(doll: Pixels, body: Pixels) -> np.ndarray:
    """Marks where the doll shows the bare body, (h, w) bool."""
    return (doll[..., 3] > 0) & (body[..., 3] > 0) & (doll[..., :3] == body[..., :3]).all(axis=-1)


def folk(data: Path, per_race: int = 260, seed: int = 0) -> Iterator[tuple[Pixels, dict[str, Any], str]]:
    """Yields (picture, metadata, source's name) of dolls with another race's skin; `data` has dolls/ and tiles/."""
    import json

    lines = [json.loads(line) for line in (data / "dolls" / "metadata.jsonl").read_text("utf-8").splitlines()]
    bodies = {name: _body(data / "tiles", name) for name in ("human_m", "demigod_m", "demigod_f")}
    pictures: dict[str, Pixels] = {}

    def picture(line: dict[str, Any]) -> Pixels:
        name = line["file_name"]
        if name not in pictures:
            pictures[name] = read_picture(data / "dolls" / name)
        return pictures[name]

    ramps: dict[str, dict[tuple[int, ...], tuple[int, ...]]] = {}
    faces: dict[str, dict[tuple[int, int], tuple[int, ...]]] = {}
    for skin in set(RACES.values()):
        votes: dict[tuple[int, ...], Counter[tuple[int, ...]]] = defaultdict(Counter)
        face: dict[tuple[int, int], Counter[tuple[int, ...]]] = defaultdict(Counter)
        for line in lines:
            base, color = line["layers"]["base"]
            if color != skin or base not in bodies:
                continue
            doll, body = picture(line), bodies[base]
            for y, x in zip(*np.nonzero(body[..., 3]), strict=True):
                votes[tuple(body[y, x, :3])][tuple(doll[y, x, :3])] += 1
            if skin == "bone" and base == "human_m":
                for y, x in zip(*np.nonzero(body[..., 3]), strict=True):
                    if y < 10:
                        face[y, x][tuple(doll[y, x, :3])] += 1
        ramps[skin] = {old: new.most_common(1)[0][0] for old, new in votes.items()}
        faces[skin] = {at: said.most_common(1)[0][0] for at, said in face.items()}
    rng = np.random.default_rng(seed)
    usual = [
        line for line in lines
        if line["race"] == "human" and line["layers"]["base"][1] is None and line["layers"]["base"][0] in bodies
        and line["profession"].replace(" ", "_") not in _NOT
    ]  # fmt: skip
    for race, skin in RACES.items():
        males = [u for u in usual if u["layers"]["base"][0] == "human_m"] if race == "skeleton" else usual
        trades: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in males:
            if race != "skeleton" or "beard" not in line["layers"]:
                trades[line["profession"]].append(line)
        names = sorted(trades)
        for k in range(per_race):
            trade = trades[names[k % len(names)]]
            line = trade[int(rng.integers(len(trade)))]
            doll, body = picture(line).copy(), bodies[line["layers"]["base"][0]]
            skin_at = _shows(doll, body)
            if skin_at.sum() < 4:
                continue
            for y, x in zip(*np.nonzero(skin_at), strict=True):
                doll[y, x, :3] = faces[skin].get((y, x)) or ramps[skin].get(
                    tuple(doll[y, x, :3]), tuple(doll[y, x, :3])
                )
            yield doll, _renamed(line, race), f"folk/{race}_{line['file_name'].replace('/', '_')}"


def _renamed(line: dict[str, Any], race: str) -> dict[str, Any]:
    """Rewrites the doll's metadata for another race: "farmer in a brown shirt" -> "zombie farmer in a brown shirt"."""
    trade = line["profession"]

    def said(text: str) -> str:
        text = re.sub(r"\b(tanned|dark skinned|brown skinned|pale)\s+", "", text)
        text = re.sub(r"\bwith (an? )?(\w+ )*(hair|beard)\b", "", text) if race == "skeleton" else text
        text = " ".join(text.split())
        if re.search(rf"\b{trade}\b", text):
            return re.sub(rf"\b{trade}\b", f"{race} {trade}", text, count=1)
        if re.search(r"\b(man|person)\b", text):
            return re.sub(r"\b(man|person)\b", race, text, count=1)
        return f"{race} {text}"

    says: Sequence[str] = [said(text) for text in line["captions"]]
    return {
        "text": said(line["text"]), "captions": [*says, f"{race} {trade}"], "tags": [race, *line["tags"]],
        "name": f"{race} {trade}", "kind": "character", "native": 32,
    }  # fmt: skip
