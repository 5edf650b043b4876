"""What the HTTP server tells supervisors and Prometheus, and whom."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from prometheus_client.parser import text_string_to_metric_families

from server.features.comparisons.compare import Comparisons, Variant
from server.library.store import Library
from server.project.game import find_project
from server.protocol.app import create_server
from server.protocol.collectors import Made
from server.protocol.gpus import Gpus
from server.protocol.http_token import OneToken
from server.settings import Settings
from server.tally import Tally
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
    before = await figures(web)
    async with Client(server) as client:
        drawn = await client.call_tool("generate_sprite", {"prompt": "red dragon", "count": 2, "candidates": 1})
        asset = drawn.structured_content["asset_id"]  # pyright: ignore[reportOptionalSubscript]
        await client.call_tool("deploy_asset", {"asset_id": asset})
    seen = await figures(web)
    assert seen["dgx_pixels_tool_calls_total", "ok", "generate_sprite"] == 1
    assert seen["dgx_pixels_tool_seconds_count", "deploy_asset"] == 1
    sprites = ("dgx_pixels_assets_total", "sprite", "embedded")
    assert seen[sprites] - before.get(sprites, 0) == 2
    assert seen["dgx_pixels_engine_drawn_total",] == 2
    assert seen["dgx_pixels_engine_steps_total",] >= 4
    deploys = [key for key in seen if key[:2] == ("dgx_pixels_deploys_total", "written")]
    assert sum(seen[key] - before.get(key, 0) for key in deploys) == 1
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
    documented = set(re.findall(r"`(dgx_pixels_\w+)`", (DOCS / "metrics.md").read_text()))
    assert {name.removesuffix("_total") for name in documented} == ours
    assert named_in("dashboard.json") == ours
    assert named_in("alerts.yml") <= ours
    assert named_in("alerts_test.yml") <= ours


def named_in(file: str) -> set[str]:
    """The families of a file's metrics."""
    names = re.findall(r"dgx_pixels_\w+", (DOCS / "monitoring" / file).read_text())
    return {re.sub("_(total|bucket|sum|count)$", "", name) for name in names}


def test_every_file_that_the_containers_mount_is_there_or_is_the_token() -> None:
    folder = DOCS / "monitoring"
    mounted = re.findall(r"- \./([\w.]+):", (folder / "docker-compose.yml").read_text())
    assert {name for name in mounted if not (folder / name).is_file()} == {"token"}
    assert "rule_files: [/etc/prometheus/alerts.yml]" in (folder / "prometheus.yml").read_text()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_promtool_accepts_the_alerts_and_their_tests() -> None:
    for command in ("check", "test"):
        file = "alerts.yml" if command == "check" else "alerts_test.yml"
        subprocess.run(["promtool", command, "rules", file], cwd=DOCS / "monitoring", check=True, capture_output=True)


@pytest.mark.anyio
async def test_what_was_made_is_counted_with_its_gates_scores_and_votes(
    web: httpx2.AsyncClient, server: FastMCP, game: Path
) -> None:
    before = await figures(web)

    def grew(*key: str) -> float:
        return seen.get(key, 0) - before.get(key, 0)

    async with Client(server) as client:
        drawn = await client.call_tool("generate_sprite", {"prompt": "red dragon", "count": 2, "candidates": 2})
        assert drawn.structured_content is not None
        sprites = [sprite["asset_id"] for sprite in drawn.structured_content["sprites"]]
        project = find_project(game, None)
        assert project is not None
        variants = [Variant("embedded"), Variant("sdxl")]
        kept = Comparisons(Library(project.state)).add(
            variants, ["red dragon"], [1], [[[sprites[0]]], [[sprites[1]]]], blind=False
        )
        await client.call_tool("record_preference", {"comparison_id": kept.id, "winner": "A"})
    seen = await figures(web)
    assert grew("dgx_pixels_assets_total", "sprite", "embedded") >= 2
    assert grew("dgx_pixels_score_count", "embedded") >= 2
    assert grew("dgx_pixels_judge_score_count", "embedded") == 2
    assert grew("dgx_pixels_votes_total", "won", "embedded") == 1
    assert grew("dgx_pixels_votes_total", "lost", "sdxl") == 1


def test_failed_gates_are_counted_by_gate_and_scores_by_class() -> None:
    tally = Tally()
    report = {"gates": {"not_empty": False, "size_exact": True}, "scores": {"score": 0.05, "recognised": 0.75}}
    tally.made("sprite", "embedded", report)
    tally.made("sheet", "sdxl", {"gates": {"not_empty": True}, "scores": {}})
    tally.voted(("a", "b"), -1)
    families = {family.name: family.samples for family in Made(tally).collect()}
    (failure,) = families["dgx_pixels_gate_failures"]
    assert (failure.labels, failure.value) == ({"model": "embedded", "gate": "not_empty"}, 1)
    judged = {
        sample.labels["le"]: sample.value for sample in families["dgx_pixels_judge_score"] if "le" in sample.labels
    }
    assert (judged["0.7"], judged["0.8"], judged["+Inf"]) == (0, 1, 1)
    assert {sample.labels["outcome"] for sample in families["dgx_pixels_votes"]} == {"tie"}


def test_a_gpu_tells_what_it_can() -> None:
    class NotSupported(Exception):
        pass

    def refuse(_: object) -> int:
        raise NotSupported

    nvml = SimpleNamespace(
        NVMLError=NotSupported,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetMemoryInfo=refuse,
        nvmlDeviceGetPowerUsage=lambda device: 100_000 + 1000 * device,
        nvmlDeviceGetTemperature=lambda device, sensor: 60 + device + sensor,
        nvmlDeviceGetUtilizationRates=lambda device: SimpleNamespace(gpu=50),
    )
    seen = {family.name: [sample.value for sample in family.samples] for family in Gpus(nvml).collect()}
    assert seen == {
        "dgx_pixels_gpu_memory_bytes": [],
        "dgx_pixels_gpu_power_watts": [100, 101],
        "dgx_pixels_gpu_celsius": [60, 61],
        "dgx_pixels_gpu_load_ratio": [0.5, 0.5],
    }


@pytest.mark.anyio
async def test_a_server_over_stdio_measures_nothing(game: Path, settings: Settings) -> None:
    assert "Metrics" not in {type(layer).__name__ for layer in create_server(settings, FakeBackend()).middleware}
