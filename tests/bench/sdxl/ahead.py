"""Compile the bench's shapes ahead, in several processes, so that the bench itself finds the code in the cache.

A process takes about a minute a shape, nearly all of it on one core. Each draws with a model of its own; what they
leave is inductor's cache on disk. Nothing is timed while they run.

    python -m tests.bench.sdxl.ahead --size full step:2:1024 decode:1:1024
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from tests.bench.measure import Results
from tests.bench.sdxl import variants
from tests.bench.sdxl.rig import PLANS, Rig

Shapes = tuple[str, ...]
"""Calls as kind:rows:side; the kinds are step, step8 (in float8), decode, any (a step whose code serves any shape) and
variants.WAYS."""


def start(size: str, groups: list[Shapes], folder: Path | None) -> list[subprocess.Popen[bytes]]:
    """One process a group; what they print goes into files of `folder`."""
    processes = []
    for i, shapes in enumerate(groups):
        command = [sys.executable, "-m", "tests.bench.sdxl.ahead", "--size", size, *shapes]
        if folder is None:
            processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            continue
        with (folder / f"ahead{i}.txt").open("wb") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
    return processes


def finish(processes: list[subprocess.Popen[bytes]], seconds: float) -> str:
    """Waits for them, and ends those that take longer; says how it went."""
    until = time.perf_counter() + seconds
    codes: list[object] = []
    for process in processes:
        try:
            codes.append(process.wait(max(0.0, until - time.perf_counter())))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            codes.append("ended")
    return f"exit codes {codes}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=tuple(PLANS), default="full")
    parser.add_argument("shapes", nargs="+")
    options = parser.parse_args()
    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    float8 = any(shape.startswith("step8") for shape in options.shapes)
    rig = Rig(PLANS[options.size], device, dtype, Results("ahead"), float8=float8)
    print(f"built {time.perf_counter() - began:.0f} s", flush=True)
    for shape in options.shapes:
        kind, rows, side = shape.split(":")
        if kind == "any":
            variants.any_shape(rig, [(int(rows), int(side))])
            continue
        if kind in variants.WAYS:
            variants.way(rig, kind, int(rows), int(side), timed=False)
            print(f"{shape} {time.perf_counter() - began:.0f} s", flush=True)
            continue
        with torch.inference_mode():
            if kind != "decode":
                rig.step(*rig.inputs(int(rows), int(side)))
            else:
                rig.fast.decode(rig.latents(int(rows), int(side)))
        rig.warm()
        print(f"{shape} {time.perf_counter() - began:.0f} s {rig.fast.state()}", flush=True)


if __name__ == "__main__":
    main()
