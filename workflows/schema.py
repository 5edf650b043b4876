"""Define the form of a workflow file as pydantic models; `workflow.schema.json` is made from them."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z][a-z0-9_]*$"
JsonType = Literal["string", "integer", "number", "boolean", "list", "path", "table"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Input(_Strict):
    """One value that a run is given.

    `path` stays inside the project; `table` is a list, or the path of a CSV or JSON file of rows.
    """

    type: JsonType = Field(description="What kind of value it is.")
    default: Any = Field(default=None, description="Taken when the run gives none; without it the input is required.")
    description: str = ""

    @property
    def required(self) -> bool:
        """True where the file names no default at all (`null` is a default)."""
        return "default" not in self.model_fields_set


class Step(_Strict):
    """One operation, once or for each item of a list. Its result is `${steps.NAME...}` for the steps below it."""

    name: str = Field(pattern=NAME)
    do: str = Field(pattern=NAME, description="The operation: a tool's name, `arrange`, or `list_files`.")
    for_each: str | list[Any] | None = Field(
        default=None, description="A list or a reference to one; each item is `${item}`, its position `${index}`."
    )
    when: str | bool = Field(default=True, description="A reference; the step is left out where it is false or empty.")
    with_: dict[str, Any] = Field(default_factory=dict, alias="with", description="The operation's arguments.")


class Workflow(_Strict):
    """A whole job. Steps run in order; a reference looks up only inputs and steps above."""

    schema_: str = Field(default="", alias="$schema")
    name: str = Field(pattern=NAME)
    title: str = ""
    description: str = ""
    inputs: dict[str, Input] = Field(default_factory=dict)
    steps: list[Step] = Field(min_length=1)
    outputs: dict[str, Any] = Field(default_factory=dict, description="Names for what the run hands back.")


def json_schema() -> str:
    """Returns the published JSON Schema (2020-12) of a workflow file, as indented text with a final newline."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dgx-pixels workflow",
        **{k: v for k, v in Workflow.model_json_schema(by_alias=True).items() if k != "title"},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
