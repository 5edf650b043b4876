"""`make bench-server`: seconds from spawning the server to `initialize` answered, beside a bare FastMCP server; to the
first sprite; and milliseconds of a tool call outside the engine. Prints a table and one line of JSON; tests nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BARE = "from fastmcp import FastMCP\nFastMCP('bare').run(show_banner=False, log_level='WARNING')\n"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "0"}},
}


def start_seconds(command: list[str], folder: str) -> tuple[float, float]:
    """Seconds from the spawn to the first line of the answer, and processor seconds of the server's whole short life.

    The second is the steadier one on a machine that has other work.
    """
    used = processor_seconds()
    environment = {**os.environ, "FASTMCP_CHECK_FOR_UPDATES": "off"}
    begun = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(json.dumps(HELLO).encode() + b"\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
        seconds = time.perf_counter() - begun
        assert "serverInfo" in answer["result"], answer
        child.stdin.close()
        child.wait(timeout=30)
    return seconds, processor_seconds() - used


def first_sprite(rounds: int = 3) -> dict[str, list[float]]:
    """Seconds of a real server with the embedded model, from a process that has nothing loaded.

    `listed`: from the answer to tools/list to the first sprite, asked for immediately; `begun`: from the spawn;
    `silent`: the longest time without a message after the call; `exit`: from the client's leaving to the process's
    end; `processor`: of the whole life.
    """
    found: dict[str, list[float]] = {name: [] for name in ("listed", "begun", "silent", "exit", "processor")}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            used, begun = processor_seconds(), time.perf_counter()
            environment = {**os.environ, "DGX_PIXELS_DATA_DIR": folder, "FASTMCP_CHECK_FOR_UPDATES": "off"}
            command = [sys.executable, "-P", "-m", "server", "serve"]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            ) as child:
                _ask(child, HELLO)
                _ask(child, {"jsonrpc": "2.0", "method": "notifications/initialized"})
                _ask(child, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
                listed = time.perf_counter()
                call = {"name": "generate_sprite", "arguments": {"prompt": "red dragon"}, "_meta": {"progressToken": 1}}
                gaps = _ask(child, {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call})
                drawn = time.perf_counter()
                assert child.stdin
                child.stdin.close()
                child.wait(timeout=60)
                found["exit"].append(time.perf_counter() - drawn)
            found["listed"].append(drawn - listed)
            found["begun"].append(drawn - begun)
            found["silent"].append(max(gaps))
            found["processor"].append(processor_seconds() - used)
    return found


def _ask(child: subprocess.Popen[bytes], message: dict[str, Any]) -> list[float]:
    """Sends the message and waits for its answer where it has an id; the seconds between what came."""
    assert child.stdin
    assert child.stdout
    child.stdin.write(json.dumps(message).encode() + b"\n")
    child.stdin.flush()
    gaps, last = [0.0], time.perf_counter()
    while "id" in message:
        line = child.stdout.readline()
        gaps.append(time.perf_counter() - last)
        last = time.perf_counter()
        if json.loads(line).get("id") == message["id"]:
            break
    return gaps


def processor_seconds() -> float:
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare_starts(rounds: int = 15) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Starts (see `start_seconds`) of the bare server and of ours, turn by turn."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bare.py").write_text(BARE)
        commands = ([sys.executable, "bare.py"], [sys.executable, "-P", "-m", "server", "serve"])
        for command in commands:
            start_seconds(command, folder)  # caches warm
        pairs = [[start_seconds(command, folder) for command in commands] for _ in range(rounds)]
    return [bare for bare, _ in pairs], [ours for _, ours in pairs]


async def call_milliseconds(rounds: int = 40) -> tuple[list[float], list[float]]:
    """Milliseconds that generate_sprite and deploy_asset take on a backend that draws immediately, with finishing."""
    from fastmcp import Client

    from server.protocol.app import create_server
    from server.settings import Settings
    from tests.fakes import FakeBackend

    with tempfile.TemporaryDirectory() as folder:
        game = Path(folder) / "game"
        (game / "assets" / "sprites").mkdir(parents=True)
        (game / "Cargo.toml").write_text('[package]\nname = "game"\n[dependencies]\nbevy = "0.19"\n')
        settings = Settings(project=game, data_dir=Path(folder))
        draws: list[float] = []
        deploys: list[float] = []
        async with Client(create_server(settings, FakeBackend(steps=1))) as client:
            for seed in range(-3, rounds):
                begun = time.perf_counter()
                answer = await client.call_tool("generate_sprite", {"prompt": "imp", "seed": seed + 3, "size": 32})
                drawn = time.perf_counter()
                arguments = {
                    "asset_id": (answer.structured_content or {})["asset_id"],
                    "path": f"sprites/s{seed + 3}.png",
                }
                await client.call_tool("deploy_asset", arguments)
                if seed >= 0:
                    draws.append((drawn - begun) * 1000)
                    deploys.append((time.perf_counter() - drawn) * 1000)
    return draws, deploys


def main() -> None:
    """Prints the table."""
    bare, ours = compare_starts()
    ratios = [[o[i] / b[i] for o, b in zip(ours, bare, strict=True)] for i in range(2)]
    first = first_sprite()
    draws, deploys = asyncio.run(call_milliseconds())
    rows = [
        ("bare FastMCP server to initialize", [wall for wall, _ in bare], "s"),
        ("dgx-pixels to initialize", [wall for wall, _ in ours], "s"),
        ("ratio of neighbours", ratios[0], ""),
        ("bare FastMCP server, processor", [used for _, used in bare], "s"),
        ("dgx-pixels, processor", [used for _, used in ours], "s"),
        ("ratio of neighbours, processor", ratios[1], ""),
        ("tools listed -> first sprite", first["listed"], "s"),
        ("start -> first sprite", first["begun"], "s"),
        ("longest silence of that call", first["silent"], "s"),
        ("client leaves -> exit", first["exit"], "s"),
        ("start -> first sprite, processor", first["processor"], "s"),
        ("generate_sprite outside the backend", draws, "ms"),
        ("deploy_asset", deploys, "ms"),
    ]
    print(f"{'':38}{'least':>9}{'median':>9}{'most':>9}")
    for name, values, unit in rows:
        print(f"{name:38}{min(values):9.3f}{statistics.median(values):9.3f}{max(values):9.3f} {unit}")
    print(json.dumps({name: round(statistics.median(values), 4) for name, values, _ in rows}))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
