"""Answer /healthz and /readyz of the HTTP server, for supervisors and load balancers. Neither needs a token."""

from __future__ import annotations

from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from server.studio import Studio


def add_health(mcp: FastMCP, studio: Studio) -> None:
    """Adds /healthz (the process answers) and /readyz (503 once the engine has closed: send no more requests)."""

    @mcp.custom_route("/healthz", methods=["GET"], include_in_schema=False)
    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    @mcp.custom_route("/readyz", methods=["GET"], include_in_schema=False)
    async def ready(_: Request) -> Response:
        return PlainTextResponse("closing\n", 503) if studio.closed else PlainTextResponse("ok\n")
