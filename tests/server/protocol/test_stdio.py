"""A real server process over stdio: both eras, clean output, clients that go away."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from rich.console import Console

from server.cli.demo import Wish, run
from server.protocol.app import LISTING_DELAY, create_server
from server.settings import Settings
from tests.fakes import FakeBackend

SERVER = Path(__file__).parent / "fake_server.py"
ENDLESS = "1000000000"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    return (sys.executable, str(SERVER), str(tmp_path / "data"), "4")


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["auto", pytest.param("legacy", marks=pytest.mark.slow)])
async def test_the_main_job_over_stdio(game: Path, command: tuple[str, ...], era: str) -> None:
    transport = StdioTransport(command[0], list(command[1:]), env={**os.environ}, keep_alive=False)
    async with Client(transport, mode=era) as client:
        drawn = (await client.call_tool("generate_sprite", {"prompt": "red dragon", "size": 16})).structured_content
        assert drawn
        await client.call_tool("deploy_asset", {"asset_id": drawn["asset_id"], "path": "dragon.png"})
    assert (game / "assets/dragon.png").read_bytes() == Path(drawn["paths"][0]).read_bytes()


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_demo_shows_what_it_deployed_and_can_run_again(game: Path, command: tuple[str, ...]) -> None:
    wishes = (Wish("red dragon", 32, "sprites/dragon.png"), Wish("blue imp", 16))
    for state in ("written", "identical"):
        console = Console(record=True, width=100, force_terminal=True, color_system="truecolor")
        granted = await run(wishes, game, console, command)
        assert [one.placed["state"] for one in granted] == [state] * 2
        text = console.export_text()
        assert "\u2580" * 16 in text
        assert "sprites/dragon.png" in text
        assert "sprites/blue_imp.png" in text


@contextmanager
def raw_server(folder: Path, steps: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SERVER), str(folder), steps]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def send(child: subprocess.Popen[str], **message: Any) -> None:
    assert child.stdin
    child.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    child.stdin.flush()


def hear(child: subprocess.Popen[str], **wanted: Any) -> dict[str, Any]:
    """The next message that has these values; every line before it must be a message too."""
    assert child.stdout
    for line in child.stdout:
        message = json.loads(line)
        if wanted.items() <= message.items():
            return message
    raise AssertionError(f"the server ended without {wanted}")


def begin_drawing(child: subprocess.Popen[str]) -> dict[str, Any]:
    """Handshake and a call that draws; the call's first progress notification."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    send(child, id=1, method="initialize", params=hello)
    hear(child, id=1)
    send(child, method="notifications/initialized")
    call = {"name": "generate_sprite", "arguments": {"prompt": "imp"}, "_meta": {"progressToken": "p"}}
    send(child, id=2, method="tools/call", params=call)
    return hear(child, method="notifications/progress")


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(game: Path, tmp_path: Path) -> None:
    with raw_server(tmp_path / "data", ENDLESS) as child:
        begin_drawing(child)
        assert child.stdin
        child.stdin.close()
        assert child.wait(timeout=20) == 0
    assert not list((game / "assets").iterdir())
    assert not (game / ".dgx-pixels").exists()


def test_a_cancelled_call_is_not_answered_and_the_next_one_is(game: Path, tmp_path: Path) -> None:
    with raw_server(tmp_path / "data", ENDLESS) as child:
        begin_drawing(child)
        send(child, method="notifications/cancelled", params={"requestId": 2})
        send(child, id=3, method="tools/call", params={"name": "list_assets", "arguments": {}})
        assert hear(child, id=3)["result"]["structuredContent"]["total"] == 0


def test_initialize_is_answered_after_a_probe(game: Path, tmp_path: Path) -> None:
    meta = {
        PROTOCOL_VERSION_META_KEY: "2026-07-28",
        CLIENT_INFO_META_KEY: {"name": "test", "version": "0"},
        CLIENT_CAPABILITIES_META_KEY: {},
    }
    with raw_server(tmp_path / "data", "4") as child:
        for number in (1, 2):
            send(child, id=number, method="server/discover", params={"_meta": meta})
            assert "capabilities" in hear(child, id=number)["result"]
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
        send(child, id=3, method="initialize", params=hello)
        assert hear(child, id=3)["result"]["serverInfo"]["name"] == "dgx-pixels"
        send(child, method="notifications/initialized")
        send(child, id=4, method="tools/call", params={"name": "get_status", "arguments": {}})
        assert not hear(child, id=4)["result"]["isError"]
        assert child.stdin
        child.stdin.close()
        assert child.wait(timeout=20) == 0


@pytest.mark.slow
def test_a_probe_that_stays_alone_opens_a_connection_of_the_newest_protocol(game: Path, tmp_path: Path) -> None:
    meta = {
        PROTOCOL_VERSION_META_KEY: "2026-07-28",
        CLIENT_INFO_META_KEY: {"name": "test", "version": "0"},
        CLIENT_CAPABILITIES_META_KEY: {},
    }
    with raw_server(tmp_path / "data", "4") as child:
        send(child, id=1, method="server/discover", params={"_meta": meta})
        hear(child, id=1)
        send(child, id=2, method="tools/list", params={"_meta": meta})
        assert hear(child, id=2)["result"]["resultType"] == "complete"


def test_loading_is_reported_before_anything_is_drawn(game: Path, tmp_path: Path) -> None:
    with raw_server(tmp_path / "data", ENDLESS) as child:
        assert begin_drawing(child)["params"]["message"] == "loading the model"


@pytest.mark.parametrize(("preload", "loaded"), [("auto", ["embedded"]), ("none", [])])
@pytest.mark.anyio
async def test_the_model_is_loaded_once_the_tools_are_listed(
    game: Path, settings: Settings, backend: FakeBackend, preload: str, loaded: list[str]
) -> None:
    server = create_server(settings.model_copy(update={"preload": preload}), backend)
    async with Client(server) as client:
        assert backend.resident == []
        await client.list_tools()
        async with asyncio.timeout(20):
            # the queue is first in, first out: after this drawing a preload would have been done
            while backend.resident != loaded:
                await asyncio.sleep(0.01)
            await asyncio.sleep(2 * LISTING_DELAY if not loaded else 0)
            await client.call_tool("generate_sprite", {"prompt": "imp"})
    assert backend.resident == loaded


def test_serving_loads_nothing_heavy(game: Path) -> None:
    heavy = ("torch", "diffusers", "transformers", "numpy", "PIL", "scipy", "cyclopts", "griffe", "fastmcp.client")
    code = (
        "import sys\nimport server.cli.app\nfrom server.protocol.app import create_server\ncreate_server()\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_listing_the_tools_imports_no_http_client_and_no_session_store(game: Path) -> None:
    code = (
        "import sys\nfrom server.protocol.app import create_server\nfrom server.settings import Settings\n"
        "create_server(Settings(preload='none')).run(transport='stdio', show_banner=False)\n"
        "print([m for m in ('requests', 'jsonref', 'key_value', 'beartype') if m in sys.modules], file=sys.stderr)"
    )
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "DGX_PIXELS_PROJECT": str(game)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=-1, stdout=-1, stderr=-1, text=True, cwd=game, env=environment
    ) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        for message in messages:
            child.stdin.write(json.dumps(message) + "\n")
        child.stdin.flush()
        listed = [json.loads(child.stdout.readline()) for _ in range(2)][1]
        child.stdin.close()
        imported = child.stderr.read().strip().splitlines()[-1]
    assert len(listed["result"]["tools"]) > 10
    assert imported == "[]"
