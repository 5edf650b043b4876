"""Compile the bench's shapes ahead, in several processes, so that the bench itself finds the code in the cache.

A process takes about a minute a shape, nearly all of it on one core. Each draws with a model of its own; what they
leave is inductor's cache on disk. Nothing is timed while they run.

    python -m tests.bench.sdxl.ahead --size full step:2:1024 decode:1:1024
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch

from pipelines.engine.hardware import free_bytes
from pipelines.sdxl import graphs
from tests.bench.measure import Results
from tests.bench.sdxl.beside import draw, request, write_extras
from tests.bench.sdxl.rig import PLANS, Rig

Shapes = tuple[str, ...]
"""Calls as kind:rows:side; the kinds are step, step8 (in float8), beside (a step with a reference and lines) and
decode."""
MEMORY = 14e9
"""Bytes that one process may take."""


def start(size: str, groups: list[Shapes], folder: Path | None) -> list[subprocess.Popen[bytes]]:
    """One process a group, or fewer where memory is short; what they print goes into files of `folder`."""
    most = max(1, int(free_bytes("cuda") / MEMORY))
    environment = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "4"}  # of each process; torch takes one a core
    processes = []
    for i, shapes in enumerate([sum(groups[i::most], ()) for i in range(min(most, len(groups)))]):
        command = [sys.executable, "-m", "tests.bench.sdxl.ahead", "--size", size, *shapes]
        if folder is None:
            processes.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            )
            continue
        with (folder / f"ahead{i}.txt").open("wb") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment))
    return processes


def finish(processes: list[subprocess.Popen[bytes]], until: float) -> str:
    """Waits for them until then (`time.perf_counter`), and ends those that take longer; says how it went."""
    codes: list[object] = []
    for process in processes:
        try:
            codes.append(process.wait(max(0.0, until - time.perf_counter())))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            codes.append("ended")
    return f"exit codes {codes}"


def _capture(rig: Rig, kind: str, rows: int, side: int) -> None:
    if kind == "beside":
        with tempfile.TemporaryDirectory() as folder:
            write_extras(rig, Path(folder))
            draw(rig, request(rig, 1, side, 1, True, 2, guidance=7.5 if rows == 2 else 1.0))
    else:
        with torch.inference_mode():
            if kind == "decode":
                rig.fast.decode(rig.latents(rows, side))
            else:
                rig.step(*rig.inputs(rows, side))
    rig.warm()


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
        with mock.patch.object(graphs, "can_halve", return_value=False):  # a process of its own compiles the halves
            _capture(rig, kind, int(rows), int(side))
        print(f"{shape} {time.perf_counter() - began:.0f} s {rig.fast.state()}", flush=True)


if __name__ == "__main__":
    main()
