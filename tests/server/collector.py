"""A collector for OTLP over HTTP on this machine, for tests: it keeps the spans that it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Seen:
    """A span that arrived."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    events: tuple[str, ...]
    attributes: dict[str, str]


@dataclass
class Collector:
    """What has arrived, and where to send it."""

    url: str
    spans: list[Seen] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, name: str, service: str = "", count: int = 1, timeout: float = 120) -> list[Seen]:
        """Returns the spans of that name (and service) as soon as there are `count`."""

        def found() -> list[Seen]:
            return [span for span in self.spans if span.name == name and service in ("", span.service)]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(found()) >= count, timeout), f"no {name} in {self.spans}"
            return found()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a process send its spans here soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Receives spans on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            with collector.arrived:
                collector.spans += [span for part in request.resource_spans for span in _spans(part)]
                collector.arrived.notify_all()
            body = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans(part: Any) -> Iterator[Seen]:
    service = next(one.value.string_value for one in part.resource.attributes if one.key == "service.name")
    for scope in part.scope_spans:
        for span in scope.spans:
            yield Seen(
                span.name,
                service,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                tuple(event.name for event in span.events),
                {one.key: one.value.string_value for one in span.attributes},
            )
