"""Turns what a user gave for a run into values of the declared types, once, before anything runs.

Owns types, tables from CSV and JSON files, and the rule that paths stay inside the project.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflows.errors import WorkflowError
from workflows.schema import Input, Workflow


def resolve_inputs(workflow: Workflow, given: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """Every input of the workflow with its value.

    Raises:
        WorkflowError: an unknown or missing input, a wrong type, a missing file, a path outside the project.
    """
    unknown = [name for name in given if name not in workflow.inputs]
    if unknown:
        names = ", ".join(workflow.inputs) or "none"
        raise WorkflowError(f"'{workflow.name}' has no input '{unknown[0]}'. Inputs: {names}.", where="inputs")
    values: dict[str, Any] = {}
    for name, declared in workflow.inputs.items():
        where = f"inputs.{name}"
        if name in given:
            values[name] = _convert(given[name], declared, project, where)
        elif declared.required:
            told = (declared.description or declared.type).rstrip(".")
            raise WorkflowError(
                f"This input is required: {told}. Give it with --set {name}=...",
                where=where,
            )
        else:
            default = declared.default
            values[name] = None if default is None else _convert(default, declared, project, where)
    return values


def inside(path: str, project: Path, where: str) -> Path:
    """The path below the project's root, with symlinks followed.

    Raises:
        WorkflowError: it leads out of the project.
    """
    root = project.resolve()
    resolved = (root / path).resolve()
    if not resolved.is_relative_to(root):
        raise WorkflowError(f"'{path}' leads out of the project. Give a path below {root.name}/.", where=where)
    return resolved


def _convert(value: Any, declared: Input, project: Path, where: str) -> Any:
    match declared.type:
        case "string":
            return _exact(value, (str,), declared, where)
        case "boolean":
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            if isinstance(value, str) and value.lower() in words:
                return words[value.lower()]
            return _exact(value, (bool,), declared, where)
        case "integer":
            return _number(value, int, declared, where)
        case "number":
            return _number(value, float, declared, where)
        case "list":
            return _list(value, declared, where)
        case "path":
            path = inside(_exact(value, (str,), declared, where), project, where)
            return path.relative_to(project.resolve()).as_posix()
        case "table":
            return _table(value, declared, project, where)


def _exact(value: Any, types: tuple[type, ...], declared: Input, where: str) -> Any:
    if isinstance(value, types):
        return value
    raise WorkflowError(f"This must be of type {declared.type}, not {json.dumps(value, default=str)}.", where=where)


def _number(value: Any, kind: type[int] | type[float], declared: Input, where: str) -> Any:
    if not isinstance(value, bool):
        try:
            number = kind(value)
            if isinstance(value, str) or number == value:
                return number
        except (TypeError, ValueError):
            pass
    raise WorkflowError(f"This must be of type {declared.type}, not {json.dumps(value, default=str)}.", where=where)


def _list(value: Any, declared: Input, where: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, str):  # the command line: a JSON array, or words with commas between
        if value.lstrip().startswith("["):
            try:
                return _list(json.loads(value), declared, where)
            except json.JSONDecodeError as error:
                raise WorkflowError(f"This is not a JSON list: {error.msg}.", where=where) from error
        return [word.strip() for word in value.split(",") if word.strip()]
    raise WorkflowError(f"This must be a list, not {json.dumps(value, default=str)}.", where=where)


def _table(value: Any, declared: Input, project: Path, where: str) -> list[dict[str, Any]]:
    rows: Any = value
    if isinstance(value, str) and value.lower().endswith((".csv", ".json")):
        path = inside(value, project, where)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise WorkflowError(
                f"'{value}' cannot be read as a table ({why}). Give a .csv or .json file below {project.name}/.",
                where=where,
            ) from error
        if path.suffix.lower() == ".csv":
            rows = list(csv.DictReader(io.StringIO(text)))
        else:
            try:
                rows = json.loads(text)
            except json.JSONDecodeError as error:
                raise WorkflowError(f"'{value}', line {error.lineno}: {error.msg}.", where=where) from error
    elif isinstance(value, str):
        rows = _list(value, declared, where)
    if not isinstance(rows, list):
        raise WorkflowError("A table is a list of rows, or a .csv or .json file of them.", where=where)
    return [_row(row, i, where) for i, row in enumerate(rows)]


def _row(row: Any, i: int, where: str) -> dict[str, Any]:
    """A row as a mapping; a bare word is a prompt, and a row without a name is named after its prompt."""
    if isinstance(row, str):
        row = {"prompt": row}
    if not isinstance(row, dict) or not row.get("prompt"):
        raise WorkflowError(
            "Each row needs a 'prompt' (a column of that name, or a plain string).", where=f"{where}[{i}]"
        )
    row = {str(k): v.strip() if isinstance(v, str) else v for k, v in row.items() if k}
    return {"name": file_word(str(row.get("name") or row["prompt"])), **{k: v for k, v in row.items() if k != "name"}}


def file_word(text: str) -> str:
    """A word that is a safe file name: lowercase letters, digits and underscores, 48 characters at most."""
    word = "".join(c if c.isascii() and c.isalnum() else "_" for c in text.lower())
    return "_".join(part for part in word.split("_") if part)[:48].strip("_") or "item"
