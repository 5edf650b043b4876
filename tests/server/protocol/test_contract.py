"""The tools that clients see change only together with the files in contract/ (`make contract` writes them)."""

from __future__ import annotations

import json

from tests.server.protocol.tool_contract import FOLDER, contract


def test_tools_are_as_they_were_written_down() -> None:
    kept = {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert contract() == kept, "run `make contract` and look at the diff"


def test_descriptions_say_when_to_use_the_tool_and_give_an_example() -> None:
    for name, text in contract().items():
        description = json.loads(text)["description"]
        assert description.startswith("Use when"), name
        assert f"{name}(" in description, name
        first = description.split("\n")[0]
        assert first.rstrip().endswith((".", ":", "?")), f"{name}: the first sentence is one line"
