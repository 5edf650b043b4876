"""`make bench-clients`: 50 people with tokens of their own at one server over HTTP, drawing with the embedded model.

    python -m tests.bench.server.clients [--clients 50] [--seconds 60] [--think 12]

Four parts, one after the other: one client alone; eight without a pause, which measures how long the device works for a
sprite; all without a pause (a fifth of them has a share of two); all with a pause for thought. The last two are
predicted by `tests.bench.scale.simulation` from what the first two measured, before they are run. JSON comes last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from prometheus_client.parser import text_string_to_metric_families

from server.users import Users
from tests.bench.scale.simulation import Kind, Outcome, Sample, Simulation, Source, constant, exponential

OPERATOR = "0123456789abcdef0123456789abcdef"
PROMPTS = ("red dragon", "blue slime", "iron sword", "green potion", "stone golem", "gold coin", "wooden chest", "bat")
PIXELS = 32 * 32
CALIBRATING = 8
RUNS = 20
"""Simulations of a part, whose answers are taken together."""


@dataclass
class Person:
    """A client with a token, and what it has seen."""

    name: str
    share: float
    token: str
    client: Client[Any] | None = None
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    in_time: int = 0
    """Answers before the part's time was over: what is asked then is answered, but its turn is no longer contested."""

    async def draw(self, seed: int) -> None:
        """Asks for one sprite, and keeps the time to the answer."""
        assert self.client is not None
        begun = time.perf_counter()
        try:
            arguments = {"prompt": random.choice(PROMPTS), "size": 32, "candidates": 1, "seed": seed}
            await self.client.call_tool("generate_sprite", arguments)
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")
            return
        self.seconds.append(time.perf_counter() - begun)

    async def keep_drawing(self, until: float, think: float, rng: random.Random) -> None:
        """Asks again and again; with `think`, after pauses of so many seconds on average."""
        if think:
            await self._pause(rng.expovariate(1 / think), until)
        while time.perf_counter() < until:
            await self.draw(rng.randrange(1 << 30))
            self.in_time += time.perf_counter() < until
            if think:
                await self._pause(rng.expovariate(1 / think), until)

    async def _pause(self, seconds: float, until: float) -> None:
        await asyncio.sleep(max(0.0, min(seconds, until - time.perf_counter())))


@dataclass(frozen=True)
class Figures:
    """The server's own figures at one moment."""

    drawn: float
    waited: float
    worked: float
    processor: float

    def __sub__(self, earlier: Figures) -> Figures:
        return Figures(
            self.drawn - earlier.drawn,
            self.waited - earlier.waited,
            self.worked - earlier.worked,
            self.processor - earlier.processor,
        )


async def figures(port: int) -> Figures:
    """Reads /metrics."""
    async with httpx2.AsyncClient() as web:
        answer = await web.get(
            f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {OPERATOR}"}, timeout=60
        )
    seen = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
    return Figures(
        seen.get("dgx_pixels_engine_drawn_total", 0),
        seen.get("dgx_pixels_engine_wait_seconds_sum", 0),
        seen.get("dgx_pixels_engine_work_seconds_sum", 0),
        seen["process_cpu_seconds_total"],
    )


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Runs `dgx-pixels serve --http` with the data folder; yields its port and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DGX_PIXELS_DATA_DIR": str(folder),
        "DGX_PIXELS_HTTP_TOKEN": OPERATOR,
        "FASTMCP_CHECK_FOR_UPDATES": "off",
    }
    command = [sys.executable, "-P", "-m", "server", "serve", "--http", "--port", str(port)]
    with subprocess.Popen(command, env=environment, cwd=folder) as process:
        try:
            for _ in range(600):
                try:
                    if httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200:
                        break
                except httpx2.TransportError:
                    time.sleep(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


class Memory:
    """Samples the server's resident memory, in MB."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.samples: list[float] = []

    async def watch(self) -> None:
        """Samples once a second until it is cancelled."""
        while True:
            self.samples.append(self._process.memory_info().rss / 1e6)
            await asyncio.sleep(1)


async def part(
    people: list[Person], port: int, process: psutil.Process, seconds: float, think: float = 0.0
) -> tuple[Figures, float, list[float]]:
    """Lets people draw for so long; returns the server's figures of that time, how long it took, and its memory."""
    for person in people:
        person.seconds.clear()
        person.in_time = 0
    memory = Memory(process)
    before, begun = await figures(port), time.perf_counter()
    watching = asyncio.create_task(memory.watch())
    async with asyncio.TaskGroup() as tasks:
        for number, person in enumerate(people):
            tasks.create_task(person.keep_drawing(begun + seconds, think, random.Random(f"{number} {think}")))
    took = time.perf_counter() - begun
    watching.cancel()
    return await figures(port) - before, took, memory.samples


def predicted(people: list[Person], work: float, outside: float, seconds: float, think: float) -> list[Outcome]:
    """Returns what the simulation says of the same people in as many seconds, RUNS times.

    `work` and `outside` are the seconds of a call on the device and elsewhere. As in the measurement nobody waits
    at the beginning, and only what is answered in time counts.
    """
    pause: Sample = exponential(think) if think else constant(0.0)
    kind = Kind("sprite", constant(work), cost=PIXELS)
    sources = [
        Source(((1.0, kind),), sum(p.share == share for p in people), share, think=pause, outside=constant(outside))
        for share in sorted({person.share for person in people})
    ]
    return [Simulation(sources, seed=seed).run(seconds) for seed in range(RUNS)]


def fairness(people: list[Person]) -> tuple[float, float]:
    """Returns the least and the most answers for a share of one, as parts of the mean."""
    each = [person.in_time / person.share for person in people]
    return min(each) / statistics.mean(each), max(each) / statistics.mean(each)


def compared(name: str, people: list[Person], took: float, model: list[Outcome]) -> dict[str, Any]:
    """Prints and returns the measured and the predicted figures of a part."""
    answers = np.array([seconds for person in people for seconds in person.seconds[: person.in_time]])
    said_answers = np.concatenate([outcome.answers for outcome in model])
    rows: dict[str, Any] = {"answers": len(answers)}
    print(f"{name}: {len(answers)} answers in {took:.1f} s")
    for what, seen, said in (
        ("answers a second", len(answers) / took, len(said_answers) / RUNS / took),
        ("seconds to the answer, median", float(np.median(answers)), float(np.median(said_answers))),
        ("seconds to the answer, p95", float(np.percentile(answers, 95)), float(np.percentile(said_answers, 95))),
    ):
        error = seen / said - 1 if said else 0.0
        rows[what] = {"measured": seen, "predicted": said, "error": error}
        print(f"  {what}: measured {seen:.3f}, predicted {said:.3f} ({100 * error:+.1f} %)")
    return rows


async def bench(options: argparse.Namespace) -> dict[str, Any]:
    """Runs all parts and prints their figures."""
    result: dict[str, Any] = {"clients": options.clients, "seconds": options.seconds, "think": options.think}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        users = Users(folder)
        people = []
        for number in range(options.clients):
            share = 2.0 if number % 5 == 4 else 1.0
            people.append(Person(f"user{number}", share, users.add(f"user{number}", share=share)))
        with server(folder) as (port, process):
            async with AsyncExitStack() as stack:
                for person in people:
                    transport = StreamableHttpTransport(f"http://127.0.0.1:{port}/mcp", auth=person.token)
                    person.client = await stack.enter_async_context(Client(transport, timeout=600))
                await people[0].draw(0)  # loads the model
                if people[0].errors:
                    raise SystemExit(people[0].errors[0])
                plain = [person for person in people if person.share == 1.0]
                for person in plain[:CALIBRATING]:  # imports and caches of their first call
                    await person.draw(1)

                seen, _, _ = await part(plain[:1], port, process, options.seconds / 12)
                alone = statistics.median(plain[0].seconds)
                outside = max(0.0, alone - seen.worked / max(seen.drawn, 1))
                print(f"alone: {alone * 1e3:.0f} ms a call, of which {outside * 1e3:.0f} outside of the device")
                seen, took, _ = await part(plain[:CALIBRATING], port, process, options.seconds / 7)
                calls = sum(len(person.seconds) for person in plain[:CALIBRATING])
                work = took / calls
                result["alone"], result["outside"], result["work"] = alone, outside, work
                print(
                    f"{CALIBRATING} clients: {calls / took:.2f} sprites a second: {work * 1e3:.0f} ms each; the device "
                    f"worked {100 * seen.worked / took:.0f} % of the time, {1e3 * seen.processor / calls:.0f} ms of "
                    "processor a sprite"
                )

                model = predicted(people, work, outside, options.seconds, 0.0)
                _, _, memory = await part(people, port, process, options.seconds)
                result["without pause"] = compared(f"{len(people)} without a pause", people, options.seconds, model)
                least, most = fairness(people)
                result["fairness"] = [least, most]
                print(f"  answers for each share: {100 * least:.0f} % to {100 * most:.0f} % of the mean")
                memory = memory[len(memory) // 4 :]  # threads and caches of the first calls
                growth = float(np.polyfit(range(len(memory)), memory, 1)[0]) * len(memory) if len(memory) > 1 else 0.0
                result["memory"] = {"least": min(memory), "most": max(memory), "growth": growth}
                print(f"  memory: {min(memory):.0f} to {max(memory):.0f} MB, growth {growth:+.1f} MB in that time")

                shorter = options.seconds * 0.35
                model = predicted(people, work, outside, shorter, options.think)
                seen, _, _ = await part(people, port, process, shorter, options.think)
                name = f"{len(people)} who think {options.think} s"
                result["with pauses"] = compared(name, people, shorter, model)
                print(f"  waiting for the device: {seen.waited / max(seen.drawn, 1):.3f} s on average")
        errors = [error for person in people for error in person.errors]
        result["errors"] = len(errors)
        print(f"errors: {len(errors)} {errors[:3]}")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        assets = sum(1 for _ in folder.rglob("sprite.png"))
        result["bytes an asset"] = size / max(assets, 1)
        print(f"storage: {size / max(assets, 1) / 1e3:.1f} kB a sprite, {assets} sprites")
    return result


def main() -> None:
    """Prints the figures of each part, then JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of the part without pauses; the others are shorter"
    )
    parser.add_argument("--think", type=float, default=12.0, help="mean seconds of a pause")
    print(json.dumps(asyncio.run(bench(parser.parse_args()))))


if __name__ == "__main__":
    main()
