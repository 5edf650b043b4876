"""Bench of a local Ray cluster: sprites a second beside one process, the cost of a request, and actors that are killed.

    python -m tests.bench.cluster.throughput [--sprites 60] [--actors 2 4] [--kills 50 --killed-sprites 500]

Every sprite of every arm is compared with the one that one process drew: same recipe, same bytes. JSON comes last.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from pipelines.engine.engine import Engine
from pipelines.records import DrawRequest
from server.backends import local_backend
from server.cluster.lanes import RayLane
from server.settings import Settings

CLIENTS = 16


def request(seed: int) -> DrawRequest:
    """Returns a plain sprite of the embedded model."""
    return DrawRequest("embedded", ("red dragon",), (seed,), 32, 32)


def digest(engine: Engine, seed: int) -> str:
    """Draws a sprite and returns the hash of its canvas."""
    return hashlib.sha256(engine.draw(request(seed)).images[0].tobytes()).hexdigest()


def batches(engine: Engine, count: int = 8) -> list[str]:
    """Returns the hashes of batches of eight, which free actors share, at the model's guidance and at 3."""
    hashes = []
    for index in range(count):
        seeds = tuple(range(8 * index, 8 * index + 8))
        batch = DrawRequest("embedded", ("red dragon",) * 8, seeds, 32, 32, guidance=3.0 if index % 2 else None)
        hashes += [hashlib.sha256(image.tobytes()).hexdigest() for image in engine.draw(batch).images]
    return hashes


def throughput(engine: Engine, sprites: int) -> tuple[float, float, list[str]]:
    """Returns sprites a second with many clients, median seconds of one request alone, and the hashes."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda seed: digest(engine, seed), range(CLIENTS)))  # every actor loads its model
        begun = time.perf_counter()
        hashes = list(pool.map(lambda seed: digest(engine, seed), range(sprites)))
        pace = sprites / (time.perf_counter() - begun)
    alone = []
    for seed in range(15):
        begun = time.perf_counter()
        digest(engine, seed)
        alone.append(time.perf_counter() - begun)
    return pace, statistics.median(alone), hashes


def kill_actors(engine: Engine, lanes: list[RayLane], sprites: int, kills: int) -> dict[str, Any]:
    """Draws with many clients while actors are killed at random; returns what was lost or differs."""
    truth = [digest(engine, seed) for seed in range(8)]
    over, killed = threading.Event(), 0

    def killer() -> None:
        nonlocal killed
        rng = random.Random(0)
        while killed < kills and not over.wait(rng.uniform(0.1, 0.6)):
            process = rng.choice(lanes).describe().get("process")
            with suppress(ProcessLookupError):  # it was killed a moment ago, and the actor has not told another yet
                if process:
                    os.kill(process, signal.SIGKILL)
                    killed += 1

    thread = threading.Thread(target=killer)
    thread.start()
    failed, wrong, drawn = [], 0, 0
    with ThreadPoolExecutor(CLIENTS) as pool:
        for index, one in enumerate(pool.map(lambda at: _attempt(engine, at % 8), range(sprites))):
            drawn += 1
            if len(one) != 64:
                failed.append(one)
            elif one != truth[index % 8]:
                wrong += 1
    over.set()
    thread.join()
    return {"sprites": drawn, "kills": killed, "failed": failed[:3], "lost": len(failed), "wrong": wrong}


def _attempt(engine: Engine, seed: int) -> str:
    try:
        return digest(engine, seed)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Prints a row for each arm, then JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sprites", type=int, default=60)
    parser.add_argument("--actors", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--killed-sprites", type=int, default=500)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        catalog = local_backend(_no_loras, settings)
        truth, whole = [], []
        for threads in (torch.get_num_threads(), 1):  # an actor has one thread, and sums depend on their number
            torch.set_num_threads(threads)  # for threads that begin from now on
            single = Engine(local_backend(_no_loras, settings, fixed_rows=threads == 1))
            pace, alone, truth = throughput(single, options.sprites)
            print(f"one process, {threads} threads: {pace:.2f} sprites a second, one alone {alone * 1e3:.0f} ms")
            result[f"one process, {threads} threads"] = {"pace": pace, "alone": alone}
            whole = batches(single)
            single.close()
        import ray  # pyright: ignore[reportMissingImports]

        for actors in options.actors:
            ray.init(num_cpus=actors, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
            lanes = [RayLane(settings, catalog, {"num_cpus": 1}) for _ in range(actors)]
            engine = Engine(*lanes)
            pace, alone, hashes = throughput(engine, options.sprites)
            same = hashes == truth
            print(f"{actors} actors: {pace:.2f} sprites a second, one alone {alone * 1e3:.0f} ms, same bytes: {same}")
            parted = sum(a != b for a, b in zip(whole, batches(engine), strict=True))
            print(f"{actors} actors: {parted} of {len(whole)} sprites of parted batches differ from undivided ones")
            result[f"{actors} actors"] = {"pace": pace, "alone": alone, "same": same, "parted differ": parted}
            if options.kills and actors == options.actors[-1]:
                result["kills"] = kill_actors(engine, lanes, options.killed_sprites, options.kills)
                print(f"kills: {result['kills']}")
            engine.close()
            ray.shutdown()
    print(json.dumps(result))


def _no_loras() -> Any:
    raise AssertionError("the bench uses no LoRAs")


if __name__ == "__main__":
    main()
