"""Spans of OpenTelemetry: which there are, where they go, and that nothing of it is there unless it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipelines import tracing
from pipelines.records import DrawRequest
from server import tracing as edge
from server.cluster.painter import Painter
from server.cluster.wire import pack_request, unpack_drawing
from server.deploy.deploy import deploy
from server.desk.child import Child
from server.desk.remote import RemoteDesk
from server.features.requests import SpriteRequest
from server.features.sprites import generate_sprites
from server.studio import Studio
from tests.server.collector import collecting

SERVER = Path(__file__).parent / "protocol" / "traced_server.py"
CHILD = Path(__file__).parent / "terminal" / "fake_child.py"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def recorded() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.start(provider.get_tracer("tests"))
    yield exporter
    tracing.start(None)
    provider.shutdown()


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def test_a_drawing_has_spans_for_the_queue_the_device_finishing_and_saving(
    studio: Studio, recorded: InMemorySpanExporter
) -> None:
    with tracing.span("call"):
        generate_sprites(studio, SpriteRequest(prompt="red dragon", candidates=1), lambda *_: None)
    (call,), (draw,), (queue,), (device,) = (named(recorded, name) for name in ("call", "draw", "queue", "device"))
    assert parent_of(draw) == id_of(call)
    assert {parent_of(queue), parent_of(device)} == {id_of(draw)}
    assert queue.start_time is not None
    assert queue.end_time is not None
    assert queue.start_time <= queue.end_time
    assert [event.attributes["done"] for event in device.events if event.attributes] == [1, 2, 3, 4]
    assert dict(draw.attributes or {}) == {"model": "embedded", "pictures": 1, "width": 32, "height": 32}
    assert {parent_of(span) for name in ("finish", "save") for span in named(recorded, name)} == {id_of(call)}


def test_a_deploy_has_a_span_with_the_games_answer_below_it(studio: Studio, recorded: InMemorySpanExporter) -> None:
    drawn = generate_sprites(studio, SpriteRequest(prompt="red dragon", candidates=1), lambda *_: None)
    deploy(studio, drawn.sprites[0].asset.id)
    (placed,), (proof,) = named(recorded, "deploy"), named(recorded, "verify")
    assert parent_of(proof) == id_of(placed)
    assert dict(proof.attributes or {}) == {"verification": "game_not_running"}


def test_a_drawing_that_fails_says_so_in_its_span(studio: Studio, recorded: InMemorySpanExporter) -> None:
    with pytest.raises(Exception, match="no model"):
        studio.engine.draw(DrawRequest("nothing", ("red dragon",), (1,), 32, 32))
    for name in ("draw", "device"):
        (span,) = named(recorded, name)
        assert span.status.description
        assert "nothing" in span.status.description


def test_an_actor_continues_the_trace_that_its_message_names(tmp_path: Path, recorded: InMemorySpanExporter) -> None:
    painter = Painter(f'{{"data_dir": "{tmp_path}"}}', "tests.server.cluster.actors:make_fake")
    request = DrawRequest("embedded", ("red dragon",), (1,), 32, 32)
    with tracing.span("device"):
        answer = painter.draw("1", pack_request(request, tracing.to_send()))
    assert unpack_drawing(answer).steps == 4
    (device,), (actor,) = named(recorded, "device"), named(recorded, "actor")
    assert parent_of(actor) == id_of(device)
    assert [event.name for event in actor.events] == ["step"] * 4


@pytest.mark.anyio
async def test_a_server_sends_the_call_and_its_parts_to_the_collector_below_the_clients_span(
    game: Path, tmp_path: Path
) -> None:
    with collecting() as collector:
        environment = {**os.environ, **collector.environment}
        transport = StdioTransport(sys.executable, [str(SERVER), str(tmp_path / "data")], env=environment)
        async with Client(transport) as client:
            await client.call_tool(
                "generate_sprite", {"prompt": "red dragon", "candidates": 1}, meta={"traceparent": PARENT}
            )
        (call,) = collector.wait_for("tools/call generate_sprite")
        (draw,), (device,) = collector.wait_for("draw"), collector.wait_for("device")
    assert (call.trace, call.parent, call.service) == (TRACE, CALLER, "dgx-pixels")
    assert (draw.trace, device.trace, device.parent) == (TRACE, TRACE, draw.id)
    assert device.events == ("step",) * 3


def test_the_studios_engine_continues_the_trace_of_the_studio(
    game: Path, tmp_path: Path, recorded: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DGX_PIXELS_DATA_DIR", str(tmp_path / "data"))
        child = Child([sys.executable, str(CHILD)], str(game))
        with closing(RemoteDesk(child.address, str(game), child.close)) as desk:
            desk.draw({"prompt": "red dragon", "candidates": 1}, 1, lambda *_: None)
            (draw,) = collector.wait_for("draw", "dgx-pixels-studio")
    (asked,) = named(recorded, "studio draw")
    assert asked.context is not None
    assert (int(draw.trace, 16), int(draw.parent, 16)) == (asked.context.trace_id, asked.context.span_id)


def test_nothing_of_opentelemetry_is_imported_by_what_draws(tmp_path: Path) -> None:
    program = (
        "import sys, server.desk.child, server.cluster.painter, pipelines.engine.engine, server.deploy.deploy\n"
        "from server.tracing import start_tracing\n"
        "start_tracing('dgx-pixels')\n"
        "from pipelines import tracing\n"
        "with tracing.span('a'), tracing.within(tracing.here()): tracing.waited('b', 0, None)\n"
        "assert not tracing.to_send()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("variables", "exporter"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, ""),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, ""),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, ""),
    ],
)
def test_traces_begin_where_the_standard_variables_ask_for_them(
    variables: dict[str, str], exporter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert edge.exporter_name() == exporter


def test_a_protocol_without_its_package_is_named_in_the_log(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    program = "from server.tracing import start_tracing; start_tracing('dgx-pixels')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert "opentelemetry-exporter-otlp-proto-grpc" in done.stderr


def test_a_collector_that_is_away_costs_a_log_line_and_no_call(tmp_path: Path, game: Path) -> None:
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "DGX_PIXELS_DATA_DIR": str(tmp_path),
    }
    program = (
        "from server.tracing import start_tracing; start_tracing('dgx-pixels')\n"
        "from pipelines import tracing\n"
        "with tracing.span('a'): print('done')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    assert done.stdout.strip() == "done"


def test_a_command_is_one_trace(game: Path, tmp_path: Path) -> None:
    with collecting() as collector:
        environment = {**os.environ, **collector.environment, "DGX_PIXELS_DATA_DIR": str(tmp_path / "data")}
        command = [sys.executable, "-P", "-m", "server", "workflows"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        (span,) = collector.wait_for("dgx-pixels workflows")
    assert (span.service, span.parent) == ("dgx-pixels", "")
