"""Shape a tool's result for the client that asked: picture, text and structured content.

Clients differ in what they pass to the model: the text, the structured content, or both. The two are the same JSON.
Some drop the picture (Codex does where there is structured content): it is also a file, whose path is in the answer,
and for those clients the answer is picture and text alone. No client gets resource links: an adapter that turns them
into image addresses makes the model's API refuse the request.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import Tool, ToolResult
from mcp_types import ContentBlock, ImageContent, ResourceLink, TextContent

from server.errors import LibraryError, ProjectError
from server.project.game import Project
from server.studio import Studio

DROPS_IMAGES = ("codex",)
"""How the names of clients begin that hide pictures from the model where there is structured content."""
MOST_PREVIEWS = 200
"""Preview files that are kept in a library; older ones are removed."""
_DETAILS = ("gates", "scores")
_SUFFIXES = {"image/png": ".png", "image/webp": ".webp", "image/bmp": ".bmp"}


class Results(Middleware):
    """Gives every result the form that `DGX_PIXELS_RESULTS` or the client's name asks for."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`."""
        given = dict(context.message.arguments or {})
        details = bool(given.pop("details", False))
        if context.message.arguments and "details" in context.message.arguments:
            context = context.copy(message=context.message.model_copy(update={"arguments": given}))
        result = await call_next(context)
        if type(result) is not ToolResult or result.is_error or result.structured_content is None:
            return result
        answer = result.structured_content if details else brief(result.structured_content)
        images = [block for block in result.content if isinstance(block, ImageContent)]
        if images:
            project = given.get("project")
            path = await anyio.to_thread.run_sync(self._save, images[0], project if isinstance(project, str) else "")
            answer = answer | {"preview": path, "preview_note": preview_note(answer)} if path else answer
        kept: list[ContentBlock] = [b for b in result.content if not isinstance(b, (ResourceLink, TextContent))]
        text = TextContent(type="text", text=json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
        plain = self._plain(context)
        return ToolResult(content=[*kept, text], structured_content=None if plain else answer, meta=result.meta)

    async def on_list_tools(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Sequence[Tool]:
        """Lists the tools with `details` where an answer has any, and without output schemas for a client that gets no
        structured content: some check one against the other.
        """
        tools = [with_details(tool) for tool in await call_next(context)]
        return [tool.model_copy(update={"output_schema": None}) for tool in tools] if self._plain(context) else tools

    def _plain(self, context: MiddlewareContext[Any]) -> bool:
        wanted = self._studio.settings.results
        if wanted != "auto":
            return wanted == "image"
        return client_name(context).startswith(DROPS_IMAGES)

    def _save(self, image: ImageContent, project: str) -> str:
        """Writes the picture into the library's folder of previews; its path, or "" where that is not possible."""
        game: Project | None = None
        with suppress(ProjectError):
            game = self._studio.project(project or None)
        data = base64.b64decode(image.data)
        folder = self._studio.library(game).folder / "previews"
        path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}{_SUFFIXES.get(image.mime_type, '.png')}"
        try:
            write_preview(path, data)
        except (OSError, LibraryError):
            return ""  # the picture itself is in the answer
        return str(path)


def client_name(context: MiddlewareContext[Any]) -> str:
    """Returns the client's name as it gave it, in lower case; empty where it gave none."""
    asked = context.fastmcp_context.request_context if context.fastmcp_context else None
    parameters = asked.session.client_params if asked else None
    return parameters.client_info.name.lower() if parameters else ""


def with_details(tool: Tool) -> Tool:
    """Gives the tool the argument `details`, where its answer has gates or scores that `brief` leaves out."""
    if not any(f'"{name}"' in json.dumps(tool.output_schema) for name in _DETAILS):
        return tool
    properties = {**tool.parameters.get("properties", {}), "details": {"type": "boolean"}}
    return tool.model_copy(update={"parameters": {**tool.parameters, "properties": properties}})


def brief(answer: dict[str, Any]) -> dict[str, Any]:
    """Returns the answer without the gates and scores of what passed its checks."""
    shown = {
        name: [brief(item) if isinstance(item, dict) else item for item in value] if isinstance(value, list) else value
        for name, value in answer.items()
    }
    if shown.get("passed"):
        shown = {name: value for name, value in shown.items() if name not in _DETAILS}
    return shown


def answer_of(result: ToolResult) -> dict[str, Any]:
    """Returns a result's values: the structured content, or the JSON of its text where a client gets that alone."""
    if result.structured_content is not None:
        return result.structured_content
    for block in result.content:
        if isinstance(block, TextContent) and block.text.startswith("{"):
            try:
                return json.loads(block.text)
            except ValueError:
                return {}
    return {}


def preview_note(answer: dict[str, Any]) -> str:
    """Writes one sentence for a client that shows no picture, and what the numbers in the picture are."""
    numbers = ""
    if len(answer.get("sprites") or ()) > 1:
        numbers = " Its numbers are the places in `sprites`, from 1."
    elif len(answer.get("shown") or ()) > 1:
        numbers = " Its numbers are the places in `shown`, from 1."
    elif "edited_from" in answer or "pitch" in answer:
        numbers = " 1 is before, 2 is after."
    return f"Open this file if no picture is shown.{numbers}"


def write_preview(path: Path, data: bytes) -> None:
    """Writes the file in one step, and removes the oldest ones beyond `MOST_PREVIEWS`.

    Raises:
        OSError, LibraryError: the folder cannot be written.
    """
    from server.library.store import write_atomically

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    files = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[:-MOST_PREVIEWS]:
        file.unlink(missing_ok=True)
