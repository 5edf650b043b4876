"""Making a variant the game's default: `model` and `loras` in `dgx-pixels.toml`, everything else left as it stands.

The file is the team's: comments and order stay. What was written is read back and compared before it replaces the old
file; where the file's form is not understood, nothing is written and the lines are told instead.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import TextError, explain
from pipelines.text_files import decode_text, encode_like
from server.errors import ProjectError
from server.library.store import write_atomically
from server.project.game import STYLE_FILE, Project

if TYPE_CHECKING:
    from server.features.comparisons.compare import Variant

_HEADER = re.compile(r"\s*\[")
_OURS = re.compile(r"\s*(model|loras)\s*=")


def adopt(project: Project, variant: Variant) -> Path:
    """Writes the variant into the game's style and returns the file.

    Raises:
        ProjectError: the file cannot be written, or has a form in which the lines cannot be placed safely.
    """
    path = project.root / STYLE_FILE
    try:
        original = path.read_bytes() if path.exists() else b""
        before = decode_text(original, str(path))
        lines = _lines(variant)
        after = "\n".join([*_with(before.splitlines(), lines), ""])
        wanted = _values(before) | {"model": variant.model, "loras": _stack(variant)}
        if not variant.loras:
            wanted.pop("loras", None)
        if _values(after) != wanted:
            raise ProjectError(
                f"{path} has a form that is not changed by machine. Write these lines at its top yourself: "
                + "; ".join(lines)
            )
        write_atomically(path, encode_like(after, original))
    except TextError as error:
        raise ProjectError(str(error)) from error
    except OSError as error:
        raise ProjectError(explain(error, path)) from error
    return path


def _lines(variant: Variant) -> list[str]:
    lines = [f"model = {json.dumps(variant.model)}"]
    if variant.loras:
        stack = (f"{{ name = {json.dumps(lora.name)}, weight = {lora.weight} }}" for lora in variant.loras)
        lines.append(f"loras = [{', '.join(stack)}]")
    return lines


def _stack(variant: Variant) -> list[dict[str, Any]]:
    return [{"name": lora.name, "weight": lora.weight} for lora in variant.loras]


def _values(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {"": "broken"}


def _with(old: list[str], new: list[str]) -> list[str]:
    """The file's lines without its `model` and `loras`, and the new ones before the first table."""
    top: list[str] = []
    rest: list[str] = []
    depth, skipping, in_loras, in_table = 0, False, False, False
    for line in old:
        if depth == 0 and _HEADER.match(line):
            in_table = True
            in_loras = line.strip().startswith("[[loras]]")
        if in_loras:
            continue
        if in_table:
            rest.append(line)
            continue
        if depth == 0:
            skipping = bool(_OURS.match(line))
        depth = max(0, depth + line.count("[") - line.count("]"))
        if not skipping:
            top.append(line)
    while top and not top[-1].strip():
        top.pop()
    return [*top, *new, *(["", *rest] if rest else [])]
