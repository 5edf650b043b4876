"""Measure every tool call, and serve the figures to Prometheus: /metrics, /healthz and /readyz of the HTTP server.

/metrics needs the extra `metrics` (prometheus_client) and a token, as the tools do. docs/metrics.md names each metric.
Nothing here is imported unless the server is started with --http.
"""

from __future__ import annotations

import time
from typing import Any

import anyio.to_thread
from fastmcp import FastMCP
from fastmcp.server.auth import AuthProvider
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import ToolResult
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from server.protocol.collectors import Made, State
from server.protocol.gpus import Gpus
from server.studio import Studio

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Upper bounds of the buckets of a tool call's seconds."""


class Metrics(Middleware):
    """Counts calls by tool and outcome, and measures how long they take."""

    def __init__(self, studio: Studio) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        for collector in (Made(), State(studio), Gpus()):
            registry.register(collector)
        self._names: frozenset[str] = frozenset()
        self._calls = Counter(
            "dgx_pixels_tool_calls",
            "Tool calls by outcome: ok, error, cancelled.",
            ["tool", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "dgx_pixels_tool_seconds", "Seconds of a tool call.", ["tool"], buckets=SECONDS, registry=registry
        )
        self._open = Gauge("dgx_pixels_tool_calls_open", "Tool calls that are being answered.", registry=registry)

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`."""
        name, outcome, begun = await self._name(context), "cancelled", time.perf_counter()
        self._open.inc()
        try:
            result = await call_next(context)
            outcome = "error" if type(result) is ToolResult and result.is_error else "ok"
        except Exception:
            outcome = "error"
            raise
        finally:
            self._open.dec()
            self._calls.labels(name, outcome).inc()
            self._seconds.labels(name).observe(time.perf_counter() - begun)
        return result

    async def _name(self, context: MiddlewareContext[Any]) -> str:
        """Returns the tool's name, or "unknown": a client must not make labels of its own."""
        if not self._names and context.fastmcp_context:
            tools = await context.fastmcp_context.fastmcp.list_tools(run_middleware=False)
            self._names = frozenset(tool.name for tool in tools)
        return context.message.name if context.message.name in self._names else "unknown"


def add_metrics(mcp: FastMCP, studio: Studio, auth: AuthProvider) -> None:
    """Measures the tools and adds /metrics, in Prometheus' text format, for those who send a token."""
    metrics = Metrics(studio)
    mcp.middleware.insert(0, metrics)  # the outermost: it sees every call, also one that another middleware refuses

    @mcp.custom_route("/metrics", methods=["GET"], include_in_schema=False)
    async def read(request: Request) -> Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or await auth.verify_token(token) is None:
            return PlainTextResponse(
                "Send a token: bearer_token_file in the scrape_config of Prometheus.\n",
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        text = await anyio.to_thread.run_sync(generate_latest, metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)
