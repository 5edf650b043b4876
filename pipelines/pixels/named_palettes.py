"""Well-known palettes by name: PICO-8, Game Boy, ENDESGA 32 and others, with their sources in `named_palettes.json`."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("named_palettes.json")


def named_palette(name: str) -> tuple[str, ...]:
    """Looks up a palette's RRGGBB colours by its name or an alias, in any spelling; empty where none has that name."""
    return _palettes().get(_key(name), ())


def palette_names() -> tuple[str, ...]:
    """Returns the names, without aliases."""
    return tuple(json.loads(_FILE.read_text(encoding="utf-8"))["palettes"])


@cache
def _palettes() -> dict[str, tuple[str, ...]]:
    read = json.loads(_FILE.read_text(encoding="utf-8"))["palettes"]
    return {_key(name): tuple(p["colors"].split()) for key, p in read.items() for name in (key, *p["aliases"])}


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removesuffix("palette"))
