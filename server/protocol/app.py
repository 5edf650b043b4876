"""The MCP server: one FastMCP app over one studio, with an explicit list of tool modules.

Speaks both protocol eras. Imports nothing heavy: a client waits for this module before `initialize` is answered.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastmcp import FastMCP
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp_types import Icon

from server.protocol.arguments import Arguments
from server.protocol.questions import Questions
from server.protocol.quick import QuickFastMCP
from server.protocol.results import Results
from server.protocol.tasks import JobTasks
from server.protocol.tools.common import FriendlyErrors
from server.protocol.uploads import Uploads
from server.settings import Settings
from server.studio import Studio
from server.version import package_version

if TYPE_CHECKING:
    from fastmcp.server.auth import AuthProvider

    from pipelines.engine.backend import Backend
    from server.users import Users

TOOL_MODULES: tuple[str, ...] = (
    "server.protocol.tools.sprites",
    "server.protocol.tools.tilesets",
    "server.protocol.tools.animations",
    "server.protocol.tools.ui",
    "server.protocol.tools.pack",
    "server.protocol.tools.edit",
    "server.protocol.tools.fix",
    "server.protocol.tools.slices",
    "server.protocol.tools.comparison",
    "server.protocol.tools.workflows",
    "server.protocol.tools.assets",
    "server.protocol.tools.bevy",
    "server.protocol.tools.training",
    "server.protocol.tools.status",
    "server.protocol.tools.prompts",
)
"""Every module here has `register(mcp: FastMCP, studio: Studio) -> None`. The order is the order an assistant sees."""

ICON = Icon(
    src="data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAADAAAAAwCAMAAABg3Am1AAAAYFBMVEUAAAAocvI7g/RERnhDP1UvJis+NDc2M02wbzbl7fVeqP6T"
    "jI6m1P/Mp3rmxqxdi9UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI4kI1AAAAIHRSTlMA"
    "////////////////////AAAAAAAAAAAAAAAAAAAAAEGSIDkAAAB2SURBVHja7ZS7DoAwCEVrqa198v9/641NjU7GRTDpGQgDZ+AR"
    "jJm8Z73gvVcibAMlgnOutVZrRcw5KxFijBAQlQhElFKyB8wsLqCBUsoyQA5fVgghnNXoBJNVJQBMVpXQly0u4E3YO9i9rNDvjwbP"
    "1Z8Ik5+wA5g+C6Sv/1UKAAAAAElFTkSuQmCC",
    mime_type="image/png",
    sizes=["48x48"],
)
"""A potion that the embedded model drew, for menus."""
LISTING_DELAY = 0.2
"""Seconds between the list of tools and the loading of the model."""
EXIT_PATIENCE = 0.2
"""Seconds that the server waits for a drawing to stop when the client has left."""

INSTRUCTIONS = """\
dgx-pixels draws pixel art and puts it into a Bevy game. Start with generate_sprite (the answer shows the picture and \
gives an asset_id), look at it, then deploy_asset writes it into the game's assets/; undo_deploy takes that back. \
The game is found from the working directory; otherwise give `project`, its root folder (`/game:15703` \
names the running game's port too), to any tool. Its dgx-pixels.toml fixes palette, sizes and \
outline for everything; otherwise `palette` is a file, RRGGBB colours, a name ("pico-8") or "none", and `model` one of \
list_models. The embedded model knows a small vocabulary: when a \
result lists unknown_words, rephrase with plain nouns and colours ("red dragon", "stone floor"). details=true adds the \
gates and scores of what passed its checks. get_status says what the machine is doing."""


class PreloadOnListing(Middleware):
    """Load the model in the background once a client has listed the tools: it will draw soon, and waits for nothing."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._started = studio.settings.preload != "auto"

    async def on_list_tools(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`."""
        tools = await call_next(context)
        if not self._started:
            self._started = True
            # after a moment: importing torch holds the interpreter, and this answer has to be sent first
            asyncio.get_running_loop().call_later(LISTING_DELAY, start_preload, self._studio)
        return tools


def start_preload(studio: Studio) -> None:
    """Loads the model in a thread that the server's end does not wait for."""
    threading.Thread(target=studio.preload, name="dgx-pixels-preload", daemon=True).start()


def create_server(
    settings: Settings | None = None,
    backend: Backend | None = None,
    auth: AuthProvider | None = None,
    users: Users | None = None,
) -> FastMCP:
    """Makes the server, ready to run. `backend` replaces what draws (tests use a fake).

    With `auth` it is one for HTTP: it answers /healthz, /readyz, terminal studios on /desk, browsers on /studio and,
    where prometheus_client is installed, /metrics.
    `users` are confined to their games, and an audit file is kept.
    """
    studio = Studio(settings, backend)

    @asynccontextmanager
    async def lifespan(_: FastMCP) -> AsyncIterator[None]:
        # Nothing is loaded here: `initialize` waits for this.
        if studio.settings.preload not in ("auto", "none"):
            start_preload(studio)
        try:
            yield
        finally:
            studio.close(wait_seconds=EXIT_PATIENCE)

    mcp = QuickFastMCP(
        "dgx-pixels",
        instructions=INSTRUCTIONS,
        version=package_version(),
        icons=[ICON],
        lifespan=lifespan,
        middleware=[
            FriendlyErrors(),
            PreloadOnListing(studio),
            Results(studio),
            Uploads(studio),
            Arguments(studio),
            Questions(),
        ],
        mask_error_details=True,
        dereference_schemas=False,  # `Arguments` does it
        auth=auth,
    )
    for module in TOOL_MODULES:
        import_module(module).register(mcp, studio)
    mcp.add_extension(JobTasks(studio, users))
    if auth is not None:
        from server.protocol.health import add_health
        from server.protocol.http_desk import serve_desk
        from server.protocol.http_web import serve_web

        add_health(mcp, studio)
        serve_desk(mcp, studio, auth, users)
        serve_web(mcp, studio, auth, users)
        if find_spec("prometheus_client"):
            from server.protocol.metrics import add_metrics

            add_metrics(mcp, studio, auth)
    if users is not None:
        from server.protocol.http_agent import serve_agents
        from server.protocol.users import Confine

        serve_agents(mcp, studio, users)
        mcp.middleware.insert(0, Confine(studio.settings, users))
    return mcp
