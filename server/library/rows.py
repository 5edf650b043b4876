"""Turn rows of a library's database into records, and refuse what breaks a rule.

The database may come with a cloned game. Each value is checked here before anything uses it: ids and digests are hex,
file names and paths follow the rules of requests, numbers are finite.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.visible import clipped, visible
from server.library.records import KINDS, VERIFICATIONS, Asset, AssetFile, DeployedFile, Deployment

if TYPE_CHECKING:
    from pipelines.records import Recipe

ASSET_ID = re.compile(r"[0-9a-f]{12}")
FILE_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
COLOR = re.compile(r"[0-9a-fA-F]{6}")
DIGEST = re.compile(r"[0-9a-f]{64}")
FOLDER_NAME = re.compile(r"[a-z0-9_]+")
RESERVED_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""Device names that Windows keeps for itself."""
DEPLOYED = ("png", "meta", "json", "aseprite", "tsx", "tmx", "ldtk", "ron", "fnt")
"""The endings of what a deploy writes: pictures, Bevy's settings beside them, layouts, Aseprite's, Tiled's, LDtk's."""
_LONGEST_PATH = 240
_LAST_SECOND = 253_402_300_799
"""31 December 9999: later times are not dates."""

R = TypeVar("R")


class BadRow(ValueError):
    """A row breaks a rule; the message says which."""


def read_rows(
    rows: Iterable[sqlite3.Row], read: Callable[[sqlite3.Row], R], refuse: Callable[[str, str], None]
) -> list[R]:
    """Reads the rows; one that breaks a rule is left out and passed to `refuse` as (its id, the reason)."""
    good: list[R] = []
    for row in rows:
        try:
            good.append(read(row))
        except (BadRow, ValueError, TypeError, KeyError, RecursionError) as error:
            reason = str(error) if isinstance(error, BadRow) else "it holds a value of the wrong type"
            refuse(clip(row["id"]), reason)
    return good


def asset_of(row: sqlite3.Row) -> Asset:
    """Reads a row of `assets`.

    Raises:
        BadRow, ValueError, TypeError: a value breaks a rule.
    """
    asset_id, kind, created = row["id"], row["kind"], row["created"]
    _check(isinstance(asset_id, str) and ASSET_ID.fullmatch(asset_id), "its id is not 12 hex digits")
    _check(kind in KINDS, "its kind is unknown")
    _check(_is_time(created), "its time is not a number of seconds")
    files = tuple(AssetFile(*entry) for entry in json.loads(row["files"]))
    _check(files, "it has no files")
    for file in files:
        _check(isinstance(file.name, str) and FILE_NAME.fullmatch(file.name), f"'{clip(file.name)}' is not a file name")
        _check(_is_digest(file.sha256), f"the digest of {file.name} is not 64 hex digits")
        _check(isinstance(file.size, int) and file.size >= 0, f"the size of {file.name} is not a number")
    return Asset(
        asset_id, kind, files, _recipe(row["recipe"]), created, _report(row["report"]), _details(row["details"])
    )


def deployment_of(row: sqlite3.Row) -> Deployment:
    """Reads a row of `deployments`.

    Raises:
        BadRow, ValueError, TypeError: a value breaks a rule.
    """
    _check(
        isinstance(row["asset_id"], str) and ASSET_ID.fullmatch(row["asset_id"]), "its asset id is not 12 hex digits"
    )
    _check(_is_time(row["created"]), "its time is not a number of seconds")
    verification = row["verification"]
    _check(verification == "" or verification in VERIFICATIONS, "its verification is unknown")
    check_deployed_path(row["path"])
    files = tuple(DeployedFile(*entry) for entry in json.loads(row["files"]))
    _check(files, "it has no files")
    for file in files:
        check_deployed_path(file.path)
        _check(_is_digest(file.sha256), f"the digest of {file.path} is not 64 hex digits")
        _check(
            file.previous == "" or _is_digest(file.previous), f"the earlier digest of {file.path} is not 64 hex digits"
        )
    return Deployment(row["id"], row["asset_id"], files, row["created"], verification, bool(row["undone"]), row["path"])


def check_deployed_path(path: object) -> None:
    """Checks a stored path by the rules of `server.deploy.paths.check_path`, for all files that a deploy writes.

    Raises:
        BadRow: it is absolute, leads upwards, has an empty part, or an ending that no deploy writes.
    """
    name = clip(path)
    _check(isinstance(path, str) and 0 < len(path) <= _LONGEST_PATH, f"'{name}' is not a path")
    *folders, last = str(path).split("/")
    good = (
        all(FOLDER_NAME.fullmatch(part) and not RESERVED_NAME.match(part) for part in folders)
        and FILE_NAME.fullmatch(last)
        and not RESERVED_NAME.match(last)
        and last.rpartition(".")[2] in DEPLOYED
        and (folders or ["x"])[0] != "assets"
    )
    _check(good, f"'{name}' breaks the rules of paths in assets/")


def clip(value: object, most: int = 40) -> str:
    """Returns the value as text of at most `most` characters, control characters made visible."""
    return clipped(visible(str(value)[: most + 1]), most)


def _check(good: object, reason: str) -> None:
    if not good:
        raise BadRow(reason)


def _is_time(value: object) -> bool:
    return isinstance(value, float) and 0 <= value <= _LAST_SECOND


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text, parse_constant=lambda _: None)  # NaN and Infinity are not JSON: pages cannot read them
    _check(isinstance(value, dict), "its report or details is not an object")
    return value


def _report(text: str) -> dict[str, Any]:
    """Reads a report; gates or scores of another form are left out."""
    report = _object(text)
    return report | {name: {} for name in ("gates", "scores") if not isinstance(report.get(name, {}), dict)}


def _details(text: str) -> dict[str, Any]:
    """Reads details; of the palette and the unknown words only what is a colour or a text is kept."""
    details = _object(text)
    for name, pattern in (("palette", COLOR), ("unknown_words", None)):
        if name in details:
            listed = details[name] if isinstance(details[name], list) else []
            texts = [value for value in listed if isinstance(value, str)]
            details[name] = [value for value in texts if pattern is None or pattern.fullmatch(value)]
    return details


def _are_colors(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(color, str) and COLOR.fullmatch(color) for color in value)


def _recipe(text: str) -> Recipe:
    from pipelines.errors import InvalidRequest
    from pipelines.records import Recipe

    try:
        recipe = Recipe.from_json(text)
    except InvalidRequest as error:
        raise BadRow(f"its recipe cannot be read: {clip(error, 120)}") from error
    _check(_plausible(recipe), "its recipe holds a value of the wrong type")
    return recipe


def _plausible(recipe: Recipe) -> bool:
    texts = (recipe.kind, recipe.prompt, recipe.negative, recipe.model, recipe.revision, recipe.preset, recipe.outline)
    numbers = (recipe.width, recipe.height, recipe.seed, recipe.steps, recipe.colors, recipe.candidates)
    weights = [lora.weight for lora in recipe.loras] + [recipe.guidance]
    return (
        all(isinstance(text, str) for text in (*texts, *recipe.palette, *(lora.name for lora in recipe.loras)))
        and all(isinstance(number, int) for number in numbers)
        and all(isinstance(weight, (int, float)) and math.isfinite(weight) for weight in weights)
        and _are_colors(recipe.palette)
        and isinstance(recipe.options, dict)
        and _texts(recipe.options.get("warnings", []), list)
        and _texts(recipe.options.get("lora_bases", {}), dict)
    )


def _texts(value: object, kind: type[list[Any]] | type[dict[str, Any]]) -> bool:
    values = value.values() if isinstance(value, dict) else value
    return isinstance(value, kind) and all(isinstance(text, str) for text in values)  # pyright: ignore
