"""The published JSON Schema is the one that the models make, and every shipped workflow keeps to it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from workflows.load import shipped
from workflows.schema import json_schema

PUBLISHED = resources.files("workflows").joinpath("workflow.schema.json").read_text(encoding="utf-8")


def test_the_published_schema_is_the_one_that_the_models_make() -> None:
    assert json_schema() == PUBLISHED


def test_the_published_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(PUBLISHED))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_workflow_keeps_to_the_schema(name: str) -> None:
    workflow = json.loads(shipped()[name])
    Draft202012Validator(json.loads(PUBLISHED)).validate(workflow)
    assert workflow["$schema"] == "workflow.schema.json"
    assert workflow["name"] == name
    assert workflow["description"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda w: w.update(colour="red"),
        lambda w: w["steps"][0].pop("do"),
        lambda w: w["steps"][0].update(name="Two Words"),
        lambda w: w.update(steps=[]),
        lambda w: w["inputs"]["prompt"].update(type="whole"),
    ],
)
def test_an_editor_marks_what_no_workflow_may_hold(spoil: Any) -> None:
    workflow = json.loads(shipped()["sprite"])
    spoil(workflow)
    assert not Draft202012Validator(json.loads(PUBLISHED)).is_valid(workflow)
