"""What clients see of every tool, a JSON file for each. `make contract` writes them; a change shows in the diff."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from fastmcp import Client

from server.protocol.app import create_server

FOLDER = Path(__file__).parent / "contract"


def contract() -> dict[str, str]:
    """The JSON text of each tool by its name: title, description, input and output schema."""

    async def ask() -> dict[str, str]:
        async with Client(create_server()) as client:
            tools = await client.list_tools()
        fields = ("name", "title", "description", "input_schema", "output_schema")
        return {
            tool.name: json.dumps(tool.model_dump(mode="json", include=set(fields)), indent=2, ensure_ascii=False)
            + "\n"
            for tool in tools
        }

    return asyncio.run(ask())


def write() -> None:
    """Replaces the files by what the tools are now."""
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, text in contract().items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
