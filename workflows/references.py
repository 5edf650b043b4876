"""Resolve references: `${inputs.size}`, `${steps.draw[0].asset_id}`, `${item.prompt}`, `${index}`. No code is run.

A string that is one reference becomes the value itself; a reference inside a longer string becomes its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.visible import clipped
from workflows.errors import WorkflowError

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_PATH = re.compile(r"^(inputs|steps|item|index)((?:\.[A-Za-z_][A-Za-z0-9_-]*|\[\d+\])*)$")
_PART = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]")


def find(value: Any, where: str) -> Iterator[tuple[str, list[str | int], str]]:
    """Yields every reference in a JSON value: (root, parts, where it stands).

    Raises:
        WorkflowError: a `${...}` that is not a reference.
    """
    if isinstance(value, str):
        for inner in _REFERENCE.findall(value):
            root, parts = parse(inner, where)
            yield root, parts, where
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from find(item, f"{where}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from find(item, f"{where}[{i}]")


def parse(text: str, where: str) -> tuple[str, list[str | int]]:
    """Parses `steps.draw[0].id` into ("steps", ["draw", 0, "id"])."""
    match = _PATH.match(text.strip())
    if not match:
        raise WorkflowError(
            f"'${{{text[:40]}}}' is not a reference. "
            "Write ${inputs.NAME}, ${steps.NAME.FIELD}, ${item.FIELD} or ${index}.",
            where=where,
        )
    parts: list[str | int] = [name or int(number) for name, number in _PART.findall(match[2])]
    return match[1], parts


def resolve(value: Any, scope: Mapping[str, Any], where: str) -> Any:
    """Returns the value with every reference replaced from `scope` (keys: inputs, steps, item, index).

    Raises:
        WorkflowError: a reference that leads nowhere; the message names what there is.
    """
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return _look_up(whole[1], scope, where)
        return _REFERENCE.sub(lambda m: _text(_look_up(m[1], scope, where)), value)
    if isinstance(value, Mapping):
        return {key: resolve(item, scope, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope, f"{where}[{i}]") for i, item in enumerate(value)]
    return value


def _look_up(text: str, scope: Mapping[str, Any], where: str) -> Any:
    root, parts = parse(text, where)
    if root not in scope:
        raise WorkflowError(f"'${{{root}}}' has a value only inside a step with for_each.", where=where)
    found: Any = scope[root]
    for depth, part in enumerate(parts):
        try:
            found = found[_spelled(found, part)]
        except (KeyError, IndexError, TypeError):
            so_far = root + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts[:depth])
            has = clipped(", ".join(map(str, found)), 40) if isinstance(found, Mapping) else type(found).__name__
            raise WorkflowError(
                f"'${{{text[:40]}}}': {so_far[:40]} has no '{str(part)[:40]}' (it is: {has}).", where=where
            ) from None
    return found


def _spelled(found: Any, part: str | int) -> Any:
    """Returns the key as a table's header spells it: `${item.size}` finds a column `Size`."""
    if isinstance(found, Mapping) and isinstance(part, str) and part not in found:
        return next((key for key in found if isinstance(key, str) and key.casefold() == part.casefold()), part)
    return part


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
