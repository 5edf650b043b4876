"""Send spans to a collector where OpenTelemetry's environment variables ask for it (`pip install dgx-pixels[traces]`).

Every process of the package calls `start_tracing` first: commands, server, the studio's engine, actors of a cluster.
docs/tracing.md lists spans and variables. API: OpenTelemetry SDK for Python 1.45.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipelines import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(__name__)

EXPORTER, PROTOCOL = "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
OTLP = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
"""Protocol -> module of its exporter; the one of grpc is a package of its own."""
PATIENCE = 1.0
"""Seconds that a process's end waits for a collector."""

_provider: TracerProvider | None = None


def start_tracing(service: str) -> None:
    """Records spans from now on, where OTEL_TRACES_EXPORTER or an OTLP endpoint is set and the SDK is installed.

    `service` is the service's name where OTEL_SERVICE_NAME is not set.
    """
    wanted = exporter_name()
    if not wanted:
        return
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        logger.info("OpenTelemetry's variables are set. For traces: pip install 'dgx-pixels[traces]'.")
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from server.version import package_version

    global _provider
    if not isinstance(trace.get_tracer_provider(), TracerProvider):  # another tool may have set one up
        exporter = _exporter(wanted)
        if exporter is None:
            return
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        _provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        _provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(_provider)
        atexit.register(stop_tracing)
    tracing.start(trace.get_tracer("dgx-pixels", package_version()))


def exporter_name() -> str:
    """Returns what the environment asks for: otlp, console or another name; "" for no traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    named = os.environ.get(EXPORTER, "").strip().lower()
    if named == "none":
        return ""
    return named or ("otlp" if any(os.environ.get(name) for name in ENDPOINTS) else "")


def _exporter(name: str) -> SpanExporter | None:
    """Returns the exporter; None, with a line in the log, where there is none of this name."""
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)  # standard output is the protocol's
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(PROTOCOL) or "http/protobuf"
    if name != "otlp" or protocol not in OTLP:
        logger.warning("No traces: %s=%s with %s=%s is unknown here.", EXPORTER, name, PROTOCOL, protocol)
        return None
    try:
        return import_module(OTLP[protocol]).OTLPSpanExporter()
    except ImportError:
        logger.warning(
            "No traces: pip install 'dgx-pixels[traces]', or for grpc opentelemetry-exporter-otlp-proto-grpc."
        )
        return None


def stop_tracing() -> None:
    """Sends what was recorded, and waits for that for `PATIENCE` at most."""
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        ending = threading.Thread(target=provider.shutdown, name="dgx-pixels-traces", daemon=True)
        ending.start()
        ending.join(PATIENCE)
