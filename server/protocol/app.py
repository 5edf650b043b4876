"""The MCP server: one FastMCP app over one studio, with an explicit list of tool modules.

Speaks both protocol eras. Imports nothing heavy: a client waits for this module before `initialize` is answered.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from fastmcp import FastMCP

from server.protocol.quick import QuickFastMCP
from server.protocol.tasks import JobTasks
from server.protocol.tools.common import FriendlyErrors
from server.settings import Settings
from server.studio import Studio

if TYPE_CHECKING:
    from fastmcp.server.auth import AuthProvider

    from pipelines.engine.backend import Backend

TOOL_MODULES: tuple[str, ...] = (
    "server.protocol.tools.sprites",
    "server.protocol.tools.tilesets",
    "server.protocol.tools.animations",
    "server.protocol.tools.edit",
    "server.protocol.tools.fix",
    "server.protocol.tools.comparison",
    "server.protocol.tools.workflows",
    "server.protocol.tools.assets",
    "server.protocol.tools.bevy",
    "server.protocol.tools.training",
    "server.protocol.tools.status",
    "server.protocol.tools.prompts",
)
"""Every module here has `register(mcp: FastMCP, studio: Studio) -> None`. The order is the order an assistant sees."""

INSTRUCTIONS = """\
dgx-pixels draws pixel art and puts it into a Bevy game. Start with generate_sprite (the answer shows the picture and \
gives an asset_id), look at it, then deploy_asset writes it into the game's assets/; undo_deploy takes that back. \
The game is found from the working directory; name it with `project` otherwise. Its dgx-pixels.toml fixes palette, \
sizes and outline for everything. The embedded model knows a small vocabulary: when a result lists unknown_words, \
rephrase with plain nouns and colours ("red dragon", "stone floor"). get_status says what the machine is doing."""


def package_version() -> str:
    """This package's version."""
    try:
        return version("dgx-pixels")
    except PackageNotFoundError:
        return "0+unknown"


def create_server(
    settings: Settings | None = None, backend: Backend | None = None, auth: AuthProvider | None = None
) -> FastMCP:
    """The server, ready to run. `backend` replaces what draws (tests use a fake)."""
    studio = Studio(settings, backend)

    @asynccontextmanager
    async def lifespan(_: FastMCP) -> AsyncIterator[None]:
        # Nothing is loaded here: `initialize` waits for this.
        if studio.settings.preload:
            threading.Thread(target=studio.preload, name="dgx-pixels-preload", daemon=True).start()
        try:
            yield
        finally:
            studio.close()

    mcp = QuickFastMCP(
        "dgx-pixels",
        instructions=INSTRUCTIONS,
        version=package_version(),
        lifespan=lifespan,
        middleware=[FriendlyErrors()],
        mask_error_details=True,
        auth=auth,
    )
    for module in TOOL_MODULES:
        import_module(module).register(mcp, studio)
    mcp.add_extension(JobTasks(studio))
    return mcp
