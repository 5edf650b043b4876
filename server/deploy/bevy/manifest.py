"""Edit a game's Cargo.toml with tomlkit: comments, order and everything else stay as they were."""

from __future__ import annotations

from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

FEATURE = "dgx_pixels_dev"
"""The feature that compiles the dev half of the plugin."""

PARTS = ("bevy/bevy_remote", "bevy/file_watcher")
"""What the feature switches on. Features of dependencies also work where Bevy comes from the workspace."""

CRATES = {"serde": {"version": "1", "features": ["derive"]}, "serde_json": "1"}


class CannotEdit(Exception):
    """The manifest has a form that is left to the user; the message says why."""


def with_plugin(text: str) -> str:
    """Adds the feature and the crates that the plugin needs. Returns the text unchanged where nothing is missing.

    Raises:
        CannotEdit: the manifest has no plain dependency named bevy, or is not TOML.
    """
    try:
        manifest: Any = tomlkit.parse(text)
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise CannotEdit(f"Cargo.toml is not valid TOML ({error}).") from error
    dependencies = manifest.get("dependencies", {})
    if "bevy" not in dependencies:
        raise CannotEdit("Cargo.toml has no dependency that is named bevy in [dependencies].")
    try:
        changed = _features(manifest)
        for crate, needed in CRATES.items():
            changed |= _crate(dependencies, crate, needed)
        result = tomlkit.dumps(manifest) if changed else text
        read_back = tomlkit.parse(result).unwrap()
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise CannotEdit("Cargo.toml holds features or dependencies of a form that cargo does not take.") from error
    if read_back != manifest.unwrap():
        raise CannotEdit("Cargo.toml could not be changed without changing more than was asked.")
    return result


def _features(manifest: Any) -> bool:
    changed = False
    if "features" not in manifest:
        manifest["features"] = tomlkit.table()
    features = manifest["features"]
    if "default" not in features:
        features["default"] = []
    listed = features.get(FEATURE)
    if listed is None:
        features[FEATURE] = list(PARTS)
        changed = True
    else:
        for part in PARTS:
            if part not in listed:
                listed.append(part)
                changed = True
    if not _reaches(features.unwrap(), "default"):
        features["default"].append(FEATURE)
        changed = True
    return changed


def _reaches(features: dict[str, list[str]], start: str) -> bool:
    """Returns whether a feature switches the plugin's feature on, also through other features."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name == FEATURE:
            return True
        if name not in seen:
            seen.add(name)
            todo += features.get(name, [])
    return False


def _crate(dependencies: Any, crate: str, needed: Any) -> bool:
    entry = dependencies.get(crate)
    if entry is None:
        _append(dependencies, crate, needed if isinstance(needed, str) else _inline(needed))
        return True
    if isinstance(needed, str):
        return False
    if isinstance(entry, str):
        dependencies[crate] = _inline({**needed, "version": str(entry)})
        return True
    if entry.get("optional"):
        raise CannotEdit(f"{crate} is an optional dependency of the game; the plugin needs it always.")
    missing = [feature for feature in needed["features"] if feature not in entry.get("features", ())]
    if missing:
        entry["features"] = [*entry.get("features", ()), *missing]
    return bool(missing)


def _append(table: Any, key: str, value: Any) -> None:
    """Adds a key after the last one; empty lines and comments before the next table stay before that."""
    if not isinstance(table, Table):
        table[key] = value
        return
    body = table.value.body
    trailing: list[Any] = []
    while body and body[-1][0] is None:
        trailing.insert(0, body.pop())
    table[key] = value
    body.extend(trailing)


def _inline(entry: dict[str, Any]) -> Any:
    """Returns the entry as people write it: `{ version = "1", features = ["derive"] }`."""
    words = ", ".join(f'"{feature}"' for feature in entry["features"])
    return tomlkit.parse(f'entry = {{ version = "{entry["version"]}", features = [{words}] }}')["entry"]
