"""Read a workflow file and check everything that needs no run; an error names the line and the path in the file.

The checks cover names, references, their order, and the names and types of arguments. `shipped` lists the workflows of
the package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ValidationError

from pipelines.errors import TextError
from pipelines.invalid import sentence_of
from pipelines.text_files import read_text
from pipelines.visible import clipped
from workflows.errors import WorkflowError
from workflows.references import find
from workflows.schema import Step, Workflow


def shipped() -> dict[str, str]:
    """Returns name -> text of every workflow in the package, sorted by name."""
    folder = resources.files("workflows")
    files = [f for f in folder.iterdir() if f.name.endswith(".json") and not f.name.endswith(".schema.json")]
    return {f.name.removesuffix(".json"): f.read_text(encoding="utf-8") for f in sorted(files, key=lambda f: f.name)}


def read(name_or_path: str) -> tuple[Workflow, str]:
    """Returns a shipped workflow by name, or a file by path: (workflow, its text).

    Raises:
        WorkflowError: no such workflow, or one that cannot be used.
    """
    known = shipped()
    if name_or_path in known:
        text = known[name_or_path]
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise WorkflowError(f"There is no workflow '{name_or_path}'. Give a file, or one of: {', '.join(known)}.")
        try:
            text = read_text(path)
        except TextError as error:
            raise WorkflowError(str(error)) from error
    return parse(text), text


def parse(text: str) -> Workflow:
    """Returns the workflow of a file's text, checked as far as it can be without running it.

    Raises:
        WorkflowError: with the line and the path of the first mistake.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise WorkflowError(f"This is not JSON: {error.msg}.", line=error.lineno) from error
    except RecursionError as error:
        raise WorkflowError("This JSON is nested too deeply. Check that it is the right file.") from error
    except ValueError as error:  # Python converts no number of more than 4,300 digits
        raise WorkflowError("A number in it is too long. Check that it is the right file.") from error
    try:
        workflow = Workflow.model_validate(data)
        _check_references(workflow)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = path_of(first["loc"])
        raise WorkflowError(first["msg"], where=where, line=line_of(text, where)) from error
    except WorkflowError as error:
        raise WorkflowError(_bare(error), where=error.where, line=line_of(text, error.where)) from None
    return workflow


def check_operations(workflow: Workflow, forms: Mapping[str, type[BaseModel]], text: str = "") -> None:
    """Checks each step against the operations: `forms` maps a name to the pydantic model of its arguments.

    Arguments with references are checked when they have their values.

    Raises:
        WorkflowError: an unknown operation or argument, a missing one, or a value that the model refuses.
    """
    for i, step in enumerate(workflow.steps):
        where = f"steps[{i}]"
        if step.do not in forms:
            known = ", ".join(sorted(forms))
            raise WorkflowError(
                f"There is no operation '{step.do[:40]}'. Known: {known}.",
                where=f"{where}.do",
                line=line_of(text, where),
            )
        form = forms[step.do]
        for key in [name for name in step.with_ if name not in form.model_fields]:
            place = f"{where}.with.{key}"
            names = ", ".join(form.model_fields)
            raise WorkflowError(
                f"'{step.do}' takes no '{key[:40]}'. It takes: {names}.", where=place, line=line_of(text, place)
            )
        missing = [name for name, field in form.model_fields.items() if field.is_required() and name not in step.with_]
        if missing:
            raise WorkflowError(
                f"'{step.do}' needs: {', '.join(missing)}.", where=f"{where}.with", line=line_of(text, where)
            )
        try:
            form.model_validate(step.with_)
        except ValidationError as error:
            _check_literals(step, error, f"{where}.with", text)


def _check_literals(step: Step, error: ValidationError, where: str, text: str) -> None:
    """Raises the first mistake in an argument without a reference."""
    for detail in error.errors(include_url=False):
        key = str(detail["loc"][0]) if detail["loc"] else ""
        if key not in step.with_ or any(find(step.with_[key], where)):
            continue
        place = f"{where}.{key}"
        raise WorkflowError(
            f"'{key}' of '{step.do}' cannot be {clipped(json.dumps(step.with_[key]), 40)}: {sentence_of(detail)}.",
            where=place,
            line=line_of(text, place),
        )


def path_of(loc: tuple[int | str, ...]) -> str:
    """Returns a pydantic location as a path: steps[1].with.size."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")


def line_of(text: str, where: str) -> int:
    """Returns the line (from 1) where a path's value begins in JSON text; its nearest parent's where it is absent."""
    decoder = json.JSONDecoder()
    position, line = 0, 1
    for name, number in re.findall(r"([^.\[\]]+)|\[(\d+)\]", where):
        found = _child(decoder, text, position, name or int(number))
        if found is None:
            break
        position = found
        line = text.count("\n", 0, position) + 1
    return line if text else 0


def _child(decoder: json.JSONDecoder, text: str, start: int, key: str | int) -> int | None:
    """Returns where the value of `key` begins in the object or array that begins at `start`."""
    at = _skip(text, start)
    if at >= len(text) or text[at] not in "{[":
        return None
    is_object = text[at] == "{"
    at, count = _skip(text, at + 1), 0
    while at < len(text) and text[at] not in "}]":
        name: str | int = count
        if is_object:
            name, at = decoder.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        if name == key:
            return at
        _, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        if at < len(text) and text[at] == ",":
            at = _skip(text, at + 1)
        count += 1
    return None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _check_references(workflow: Workflow) -> None:
    above: set[str] = set()
    names = {step.name for step in workflow.steps}
    for i, step in enumerate(workflow.steps):
        where = f"steps[{i}]"
        if step.name in above:
            raise WorkflowError(f"Two steps are called '{step.name[:40]}'.", where=f"{where}.name")
        outside = [("for_each", step.for_each), ("when", step.when)]
        inside = [("with", step.with_)]
        for field, value in outside + inside:
            for root, parts, place in find(value, f"{where}.{field}"):
                _check_reference(workflow, root, parts, place, above, names)
                if root in ("item", "index") and (field != "with" or step.for_each is None):
                    raise WorkflowError(
                        f"'${{{root}}}' has a value only inside `with` of a for_each step.", where=place
                    )
        above.add(step.name)
    for root, parts, place in find(workflow.outputs, "outputs"):
        _check_reference(workflow, root, parts, place, above, names)


def _check_reference(
    workflow: Workflow, root: str, parts: list[str | int], place: str, above: set[str], names: set[str]
) -> None:
    if root in ("inputs", "steps") and not parts:
        raise WorkflowError(f"'${{{root}}}' needs a name: ${{{root}.NAME}}.", where=place)
    if root == "inputs" and parts[0] not in workflow.inputs:
        known = ", ".join(workflow.inputs) or "none"
        raise WorkflowError(f"There is no input '{str(parts[0])[:40]}'. Inputs: {known}.", where=place)
    if root == "steps" and parts[0] not in above:
        if parts[0] in names:
            raise WorkflowError(
                f"Step '{parts[0]}' is this step or comes later: a reference may only look up (this would be a cycle).",
                where=place,
            )
        raise WorkflowError(f"There is no step '{parts[0]}'. Steps: {', '.join(sorted(names))}.", where=place)


def _bare(error: WorkflowError) -> str:
    text = str(error)
    return text.removeprefix(f"{error.where}: ") if error.where else text
