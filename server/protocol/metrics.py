"""Measure every tool call, and serve the figures to Prometheus: /metrics, /healthz and /readyz of the HTTP server.

/metrics needs the extra `metrics` (prometheus_client) and a token, as the tools do. docs/metrics.md names each metric.
Nothing here is imported unless the server is started with --http.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import accumulate
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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipelines.engine.seconds import BOUNDS, Seconds
from server.protocol.results import answer_of
from server.studio import Studio

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Upper bounds of the buckets of a tool call's seconds."""


class Metrics(Middleware):
    """Counts calls by tool and outcome, and reads what was drawn, deployed and voted for from their answers."""

    def __init__(self, studio: Studio) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(State(studio))
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
        self._sprites = Counter("dgx_pixels_sprites", "Sprites in answers.", ["model"], registry=registry)
        self._gates = Counter(
            "dgx_pixels_gate_failures", "Sprites that a gate failed.", ["model", "gate"], registry=registry
        )
        self._doubtful = Counter(
            "dgx_pixels_doubtful_sprites", "Sprites in which the judge does not see the noun.", ["model"],
            registry=registry,
        )  # fmt: skip
        self._deploys = Counter(
            "dgx_pixels_deploys", "Deploys and undos by state and the game's answer.", ["state", "verification"],
            registry=registry,
        )  # fmt: skip
        self._votes = Counter("dgx_pixels_votes", "Votes in comparisons by winner.", ["winner"], registry=registry)

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
        if type(result) is ToolResult:
            self._read(name, answer_of(result), context.message.arguments or {})
        return result

    async def _name(self, context: MiddlewareContext[Any]) -> str:
        """Returns the tool's name, or "unknown": a client must not make labels of its own."""
        if not self._names and context.fastmcp_context:
            tools = await context.fastmcp_context.fastmcp.list_tools(run_middleware=False)
            self._names = frozenset(tool.name for tool in tools)
        return context.message.name if context.message.name in self._names else "unknown"

    def _read(self, tool: str, answer: dict[str, Any], arguments: dict[str, Any]) -> None:
        """Counts what the answer tells."""
        model = str(answer.get("model", ""))
        for sprite in answer.get("sprites", []):
            self._sprites.labels(model).inc()
            if sprite.get("doubtful"):
                self._doubtful.labels(model).inc()
            for gate, held in sprite.get("gates", {}).items():
                if not held:
                    self._gates.labels(model, gate).inc()
        if tool in ("deploy_asset", "undo_deploy"):
            self._deploys.labels(answer.get("state", ""), answer.get("verification", "")).inc()
        if tool == "record_preference":
            letter = str(arguments.get("winner", "")).strip().upper()
            self._votes.labels(answer.get("variants", {}).get(letter, "tie")).inc()


class State(Collector):
    """Reads the engine, the machine and the training jobs when Prometheus asks. Loads nothing."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def describe(self) -> Iterable[Metric]:
        """Returns nothing: the names depend on what is loaded."""
        return []

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield from _engine(self._studio.engine.status() if self._studio.awake else {})
        if self._studio.awake:
            yield from _durations(*self._studio.engine.durations())
        yield from _training(self._studio)


def _engine(status: dict[str, Any]) -> Iterable[Metric]:
    yield GaugeMetricFamily("dgx_pixels_engine_up", "1 once the engine has been asked for.", value=float(bool(status)))
    if not status:
        return
    yield GaugeMetricFamily("dgx_pixels_engine_busy", "1 while it draws or loads.", status["state"] == "busy")
    yield GaugeMetricFamily("dgx_pixels_engine_queue", "Requests that wait.", len(status["queued"]))
    for name, text in (
        ("drawn", "Pictures drawn, candidates included."),
        ("steps", "Denoise steps taken."),
        ("cancelled", "Requests cancelled."),
        ("failed", "Requests failed."),
    ):
        yield CounterMetricFamily(f"dgx_pixels_engine_{name}", text, value=status[name])
    if "free_megabytes" in status:
        free = GaugeMetricFamily("dgx_pixels_device_free_bytes", "Free memory of the device.", labels=["device"])
        free.add_metric([status["device"]], status["free_megabytes"] * 1e6)
        yield free
    resident = GaugeMetricFamily("dgx_pixels_model_bytes", "Memory of each resident model.", labels=["model"])
    for model in status.get("resident", []):
        resident.add_metric([model["model"]], model["megabytes"] * 1e6)
    yield resident


def _durations(waits: dict[str, Seconds], works: dict[str, Seconds]) -> Iterable[Metric]:
    for name, text, kind in (
        ("wait", "Seconds that a drawing waited for a device.", waits),
        ("work", "Seconds that a device worked for a drawing.", works),
    ):
        family = HistogramMetricFamily(f"dgx_pixels_engine_{name}_seconds", text, labels=["model"])
        for model, seconds in kind.items():
            below = list(accumulate(seconds.counts))
            buckets = [(str(bound), count) for bound, count in zip((*BOUNDS, "+Inf"), below, strict=True)]
            family.add_metric([model], buckets, seconds.total)
        yield family


def _training(studio: Studio) -> Iterable[Metric]:
    labels = ["job", "name", "model"]
    loss = GaugeMetricFamily("dgx_pixels_training_loss", "Loss of a running job.", labels=labels)
    done = GaugeMetricFamily("dgx_pixels_training_steps_done", "Steps that a running job has taken.", labels=labels)
    pace = GaugeMetricFamily("dgx_pixels_training_steps_per_second", "Pace of a running job.", labels=labels)
    for job in studio.jobs.list():
        if job.active:
            key = [job.id, job.name, job.model]
            loss.add_metric(key, job.loss)
            done.add_metric(key, job.done)
            pace.add_metric(key, job.steps_per_second)
    yield from (loss, done, pace)


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
