"""What the HTTP server tells supervisors and Prometheus, and whom."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from prometheus_client.parser import text_string_to_metric_families

from server.protocol.app import create_server
from server.protocol.http_token import OneToken
from server.settings import Settings
from tests.fakes import FakeBackend

TOKEN = "0123456789abcdef0123"
DOCS = Path(__file__).parents[3] / "docs"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(game: Path, settings: Settings) -> FastMCP:
    return create_server(settings.model_copy(update={"preload": "none"}), FakeBackend(), OneToken(TOKEN))


@pytest.fixture
async def web(server: FastMCP) -> AsyncIterator[httpx2.AsyncClient]:
    app = server.http_app(host_origin_protection=True)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8765") as client,
    ):
        yield client


async def figures(web: httpx2.AsyncClient) -> dict[tuple[str, ...], float]:
    """Name and label values -> value, of every sample at /metrics."""
    answer = await web.get("/metrics", headers=BEARER)
    assert answer.status_code == 200
    return {
        (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.anyio
async def test_health_needs_no_token(web: httpx2.AsyncClient) -> None:
    assert (await web.get("/healthz")).status_code == 200
    assert (await web.get("/readyz")).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong-token-wrong"}, {"Authorization": f"Basic {TOKEN}"}]
)
async def test_metrics_need_the_token(web: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    answer = await web.get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert "dgx_pixels" not in answer.text


@pytest.mark.anyio
async def test_reading_the_metrics_starts_no_engine(web: httpx2.AsyncClient) -> None:
    assert (await figures(web))["dgx_pixels_engine_up",] == 0
    assert (await figures(web))["dgx_pixels_engine_up",] == 0


@pytest.mark.anyio
async def test_a_drawing_and_its_deploy_are_counted(web: httpx2.AsyncClient, server: FastMCP) -> None:
    async with Client(server) as client:
        drawn = await client.call_tool("generate_sprite", {"prompt": "red dragon", "count": 2, "candidates": 1})
        asset = drawn.structured_content["asset_id"]  # pyright: ignore[reportOptionalSubscript]
        await client.call_tool("deploy_asset", {"asset_id": asset})
    seen = await figures(web)
    assert seen["dgx_pixels_tool_calls_total", "ok", "generate_sprite"] == 1
    assert seen["dgx_pixels_tool_seconds_count", "deploy_asset"] == 1
    assert seen["dgx_pixels_sprites_total", "embedded"] == 2
    assert seen["dgx_pixels_engine_drawn_total",] == 2
    assert seen["dgx_pixels_engine_steps_total",] >= 4
    assert sum(value for key, value in seen.items() if key[:2] == ("dgx_pixels_deploys_total", "written")) == 1
    assert seen["dgx_pixels_tool_calls_open",] == 0


@pytest.mark.anyio
async def test_a_refused_call_and_a_tool_that_is_not_there_are_errors(web: httpx2.AsyncClient, server: FastMCP) -> None:
    async with Client(server) as client:
        for tool, arguments in (("generate_sprite", {"prompt": "red dragon", "size": "big"}), ("no_such_tool", {})):
            with pytest.raises(ToolError):
                await client.call_tool(tool, arguments)
    seen = await figures(web)
    assert seen["dgx_pixels_tool_calls_total", "error", "generate_sprite"] == 1
    assert seen["dgx_pixels_tool_calls_total", "error", "unknown"] == 1
    assert not [key for key in seen if "no_such_tool" in key]


@pytest.mark.anyio
async def test_the_documentation_and_the_dashboard_name_the_metrics_that_there_are(
    web: httpx2.AsyncClient, server: FastMCP
) -> None:
    async with Client(server) as client:
        drawn = await client.call_tool("generate_sprite", {"prompt": "red dragon", "candidates": 1})
        assert drawn.data is not None
    text = (await web.get("/metrics", headers=BEARER)).text
    families = {family.name for family in text_string_to_metric_families(text)}
    ours = {name for name in families if name.startswith("dgx_pixels_") and not name.endswith("_created")}
    ours.add("dgx_pixels_device_free_bytes")  # the fake backend does not tell it
    documented = set(re.findall(r"`(dgx_pixels_\w+)`", (DOCS / "metrics.md").read_text()))
    assert {name.removesuffix("_total") for name in documented} == ours
    shown = set(re.findall(r"dgx_pixels_\w+", (DOCS / "monitoring" / "dashboard.json").read_text()))
    assert {re.sub("_(total|bucket|sum|count)$", "", name) for name in shown} <= ours


@pytest.mark.anyio
async def test_a_server_over_stdio_measures_nothing(game: Path, settings: Settings) -> None:
    assert "Metrics" not in {type(layer).__name__ for layer in create_server(settings, FakeBackend()).middleware}
