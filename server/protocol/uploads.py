"""Take pictures that a client sends as bytes: a `data:` URI (RFC 2397) in place of a path, in any argument.

A client on another machine has no file that the server can read. The bytes become a file in the library's `uploads/`,
named by their hash, and the argument becomes its path; what reads it checks it as any other picture.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastmcp.exceptions import ToolError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from server.protocol.results import write_preview
from server.storage import check_storage
from server.studio import Studio

MOST_BYTES = 4 << 20
"""Of one picture. A PNG of 1024x1024 pixels has 2 MB at most as a rule."""
_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+[;,]")
SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp"}


class Uploads(Middleware):
    """Keeps pictures in arguments as files of the library, before the arguments are read."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`."""
        given = context.message.arguments or {}
        if any(_is_picture(value) for value in _values(given)):
            kept = await anyio.to_thread.run_sync(self._keep_all, given)
            context = context.copy(message=context.message.model_copy(update={"arguments": kept}))
        return await call_next(context)

    def _keep_all(self, given: dict[str, Any]) -> dict[str, Any]:
        check_storage()
        project = given.get("project")
        game = self._studio.project(project if isinstance(project, str) and project else None)
        folder = self._studio.library(game).folder / "uploads"

        def kept(value: Any) -> Any:
            if isinstance(value, list):
                return [kept(entry) for entry in value]
            return str(_keep(value, folder)) if _is_picture(value) else value

        return {name: kept(value) for name, value in given.items()}


def _keep(uri: str, folder: Path) -> Path:
    """Writes the picture of a data URI into the folder.

    Raises:
        ToolError: another media type, no base64, or more than MOST_BYTES.
    """
    head, _, body = uri.partition(",")
    kind, _, coding = head.removeprefix("data:").partition(";")
    if kind not in SUFFIXES or coding != "base64":
        raise ToolError(
            f"A picture in an argument starts with one of: {', '.join(f'data:{k};base64,' for k in SUFFIXES)}"
        )
    if len(body) > MOST_BYTES * 4 // 3 + 4:
        raise ToolError(f"The picture has more than {MOST_BYTES >> 20} MB. Send a smaller one, or give a path.")
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError as error:  # binascii.Error is one; letters that are not ASCII raise another
        raise ToolError(f"The picture's base64 is broken ({error}). Encode it again, without line breaks.") from None
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}{SUFFIXES[kind]}"
    write_preview(path, data)
    return path


def _values(given: dict[str, Any]) -> list[Any]:
    return [entry for value in given.values() for entry in (value if isinstance(value, list) else [value])]


def _is_picture(value: Any) -> bool:
    return isinstance(value, str) and _URI.match(value) is not None
