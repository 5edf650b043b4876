"""Real styles: two games' 32x32 sprites, read from Debian's packages of them.

    apt-get download angband angband-data (or crossfire-client-images); for f in *.deb; do dpkg-deb -x $f FOLDER; done

David Gervais' tiles for Angband (CC BY 3.0) are one artist's; Crossfire's (GPL) are many people's. No model here was
trained on them (its sources are all CC0), and none of them is kept in the project. A folder of anybody's own sprites
with metadata.jsonl does as well. This module finds pictures and names in those files.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.records import Pixels

SIDE = 32
SHEET = "usr/share/angband/xtra/graf/32x32.png"
IMAGES = "usr/share/games/crossfire-client/crossfire.base"
_PLACES, _NAMES = "etc/angband/pref/graf-dvg.prf", "etc/angband/edit/monster.txt"
_OBJECTS = {"sword", "polearm", "hafted", "bow", "digger", "shield", "helm", "crown", "boots", "gloves", "cloak"}
"""Kinds of object whose tile shows what the name says; a potion's or scroll's look is drawn by lot."""
_THINGS = {"monster", "player", "weapon", "armour", "food", "potion", "jewel", "talisman", "light", "readable"}
"""Crossfire's folders of things that stand on the ground; the others hold grounds, walls and parts of buildings."""


def real_sprites(folder: Path) -> list[tuple[Pixels, str]]:
    """Pictures (32, 32, 4) with hard alpha and their words, in an order that depends on the pictures alone.

    Raises:
        SystemExit: the folder holds neither unpacked packages nor a metadata.jsonl.
    """
    if (folder / SHEET).exists():
        found = _gervais(folder)
    elif (folder / IMAGES).exists():
        found = _crossfire(folder / IMAGES)
    elif (folder / "metadata.jsonl").exists():
        found = _imagefolder(folder)
    else:
        raise SystemExit(
            f"{folder} holds none of {SHEET}, {IMAGES} and metadata.jsonl. Give a folder of 32x32 sprites."
        )
    kept: dict[str, tuple[Pixels, str]] = {}
    for image, words in found:
        image = np.where(image[..., 3:] >= 128, image | np.array([0, 0, 0, 255], np.uint8), np.uint8(0))
        if image.shape == (SIDE, SIDE, 4) and 0.1 <= float((image[..., 3] == 0).mean()) < 0.9:
            kept.setdefault(hashlib.sha256(image.tobytes()).hexdigest(), (image, words))
    return [kept[digest] for digest in sorted(kept)]


def _gervais(folder: Path) -> Iterator[tuple[Pixels, str]]:
    with Image.open(folder / SHEET) as opened:
        sheet = np.array(opened.convert("RGBA"))
    monsters = {
        found[1]: found[2]
        for line in (folder / _NAMES).read_text(encoding="utf-8", errors="replace").splitlines()
        if (found := re.fullmatch(r"N:(\d+):(.+)", line))
    }
    for line in (folder / _PLACES).read_text(encoding="utf-8", errors="replace").splitlines():
        # R:<number of a monster>:<row>:<column> and K:<kind>:<name of an object>:<row>:<column>, from 0x80 on
        if found := re.fullmatch(r"R:(\d+):0x(\w\w):0x(\w\w)", line):
            words, at = monsters.get(found[1], ""), (found[2], found[3])
        elif (found := re.fullmatch(r"K:([^:]+):([^:]+):0x(\w\w):0x(\w\w)", line)) and found[1] in _OBJECTS:
            words, at = found[2], (found[3], found[4])
        else:
            continue
        row, column = (int(number, 16) - 0x80 for number in at)
        cell = sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        yield cell, " ".join(re.findall(r"[a-z]+", words.lower()))


def _crossfire(file: Path) -> Iterator[tuple[Pixels, str]]:
    """The first picture of each name; the others are its movements. A head names each PNG: IMAGE <bytes> <path>."""
    data, seen = file.read_bytes(), set[str]()
    for head in re.finditer(rb"IMAGE (\d+) \./arch/(\w+)/(\S*?)(\w+)\.\w+\n", data):
        kind, name = head[2].decode(), head[4].decode()
        if kind not in _THINGS or name in seen:
            continue
        seen.add(name)
        with Image.open(io.BytesIO(data[head.end() : head.end() + int(head[1])])) as opened:
            yield np.array(opened.convert("RGBA")), " ".join(re.findall(r"[a-z]{2,}", name.lower().replace("_", " ")))


def _imagefolder(folder: Path) -> Iterator[tuple[Pixels, str]]:
    for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        with Image.open(folder / entry["file_name"]) as opened:
            yield np.array(opened.convert("RGBA")), str(entry["text"])
