"""Convert the values that a user gives for a run to the declared types, before anything runs.

Tables are read from CSV and JSON files, and paths must stay inside the project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import TextError
from pipelines.tables import TABLE_SUFFIXES, parse_table
from pipelines.text_files import parse_json, read_text
from pipelines.visible import clipped, visible
from workflows.errors import WorkflowError
from workflows.schema import Input, Workflow


def resolve_inputs(workflow: Workflow, given: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """Returns every input of the workflow with its value.

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
    """Returns the path below the project's root, with symlinks followed.

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
    raise WorkflowError(
        f"This must be of type {declared.type}, not {clipped(json.dumps(value, default=str), 40)}.", where=where
    )


def _number(value: Any, kind: type[int] | type[float], declared: Input, where: str) -> Any:
    if not isinstance(value, bool):
        try:
            number = kind(value)
            if isinstance(value, str) or number == value:
                return number
        except (TypeError, ValueError):
            pass
    raise WorkflowError(
        f"This must be of type {declared.type}, not {clipped(json.dumps(value, default=str), 40)}.", where=where
    )


def _list(value: Any, declared: Input, where: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, str):  # the command line: a JSON array, or values separated by commas
        if value.lstrip().startswith("["):
            try:
                return _list(json.loads(value), declared, where)
            except json.JSONDecodeError as error:
                raise WorkflowError(f"This is not a JSON list: {error.msg}.", where=where) from error
            except RecursionError as error:
                raise WorkflowError("This list is nested too deeply.", where=where) from error
            except ValueError as error:
                raise WorkflowError("A number in this list is too long.", where=where) from error
        return [word.strip() for word in value.split(",") if word.strip()]
    raise WorkflowError(f"This must be a list, not {clipped(json.dumps(value, default=str), 40)}.", where=where)


def _table(value: Any, declared: Input, project: Path, where: str) -> list[dict[str, Any]]:
    if isinstance(value, str) and value.lower().endswith((*TABLE_SUFFIXES, ".json")):
        return _read_table(value, project, where)
    if isinstance(value, str):
        _refuse_other_files(value, project, where)
        value = _list(value, declared, where)
    if not isinstance(value, list):
        raise WorkflowError("A table is a list of rows, or a .csv, .tsv or .json file of them.", where=where)
    return [_row(row, f"{where}[{i}]") for i, row in enumerate(value)]


def _read_table(value: str, project: Path, where: str) -> list[dict[str, Any]]:
    path = inside(value, project, where)
    try:
        text = read_text(path, value)
        rows: Any = parse_json(text, value) if path.suffix.lower() == ".json" else None
        table = None if rows is not None else parse_table(text, value)
    except OSError as error:
        raise WorkflowError(
            f"'{value}' cannot be read as a table ({error.strerror}). Give a .csv, .tsv or .json file below "
            f"{project.name}/.",
            where=where,
        ) from error
    except TextError as error:
        raise WorkflowError(str(error), where=where) from error
    if table is None:
        if not isinstance(rows, list):
            raise WorkflowError(f"{value}: a table in JSON is a list of rows: [...].", where=where)
        return [_row(row, f"{where}, {value}[{i}]") for i, row in enumerate(rows)]
    columns = clipped(visible(", ".join(table.header)), 40)
    if table.column("prompt") is None:
        raise WorkflowError(
            f"{value}, line {table.header_line}: the header is '{columns}'. Add a column named 'prompt'.", where=where
        )
    return [
        _row(row, f"{where}, {value}, line {line}", f" The header is '{columns}'.")
        for row, line in zip(table.rows, table.lines, strict=True)
    ]


def _refuse_other_files(value: str, project: Path, where: str) -> None:
    """Refuses a path as a prompt: a misspelled table would draw its own file name."""
    text = value.strip()
    if text.startswith("[") or "," in text:
        return
    try:
        exists = bool(text) and (project / text).exists()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        exists = False
    if exists or re.search(r"[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}$", text):
        raise WorkflowError(
            f"'{text}' is not a table. Give a .csv, .tsv or .json file below {project.name}/ with a column 'prompt', "
            'or the prompts themselves as a list: ["red potion", "blue potion"].',
            where=where,
        )


_KNOWN_COLUMNS = ("prompt", "name", "seed")


def _row(row: Any, where: str, header: str = "") -> dict[str, Any]:
    """Returns a row as a mapping; a plain string is a prompt, and a row without a name is named after its prompt."""
    if isinstance(row, str):
        row = {"prompt": row}
    if isinstance(row, dict):
        row = {_column(str(k)): v.strip() if isinstance(v, str) else v for k, v in row.items() if k}
    if not isinstance(row, dict) or not row.get("prompt"):
        raise WorkflowError(
            f"This row has no 'prompt'. Give it one in a column of that name, or as a plain string.{header}",
            where=where,
        )
    return {"name": file_word(str(row.get("name") or row["prompt"])), **{k: v for k, v in row.items() if k != "name"}}


def _column(name: str) -> str:
    """Returns the column's name; a known one in lower case."""
    return name.strip().lower() if name.strip().lower() in _KNOWN_COLUMNS else name


def distinct_names(texts: Sequence[str]) -> list[str]:
    """Returns a safe file name (see `file_word`) for each text; a name that is taken gets a number."""
    return _distinct([file_word(text) for text in texts])


def distinct_paths(paths: Sequence[str]) -> list[str]:
    """Makes a safe relative path for each path: folders and names by `file_word`, numbers where two would be equal."""
    return _distinct(["/".join(file_word(part) for part in path.split("/")) for path in paths])


def _distinct(words: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    names: list[str] = []
    for base in words:
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names.append(name)
    return names


def file_word(text: str) -> str:
    """Returns a word that is a safe file name: lowercase letters, digits and underscores, 48 characters at most."""
    word = "".join(c if c.isascii() and c.isalnum() else "_" for c in text.lower())
    return "_".join(part for part in word.split("_") if part)[:48].strip("_") or "item"
