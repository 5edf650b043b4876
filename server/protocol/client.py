"""Ask a server as an assistant does: a client over stdio for commands that show the main job."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmcp import Client
from fastmcp.client.progress import ProgressHandler
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError

from server.errors import ServerError


@dataclass(frozen=True, slots=True)
class Connection:
    """An open session with a server."""

    client: Client[Any]

    async def call(
        self, tool: str, arguments: dict[str, Any], on_progress: ProgressHandler | None = None
    ) -> dict[str, Any]:
        """Calls a tool and returns its structured answer.

        Raises:
            ServerError: the tool answers with an error.
        """
        try:
            answer = await self.client.call_tool(tool, arguments, progress_handler=on_progress)
        except ToolError as error:
            raise ServerError(str(error)) from error
        return answer.structured_content or {}

    async def read(self, uri: str) -> bytes:
        """Reads a binary resource; empty bytes where the resource is text."""
        content = (await self.client.read_resource(uri))[0]
        return base64.b64decode(getattr(content, "blob", ""))


@asynccontextmanager
async def connect(command: tuple[str, ...], project: Path) -> AsyncIterator[Connection]:
    """Starts a server for the game at `project`, and stops it at the end of the block."""
    environment = {**os.environ, "DGX_PIXELS_PROJECT": str(project)}
    transport = StdioTransport(command[0], list(command[1:]), env=environment, keep_alive=False)
    async with Client(transport) as client:
        yield Connection(client)
