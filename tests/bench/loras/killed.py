"""`make eval-lora-kill`: a training job is killed (kill -9) at random moments, and must always go on.

    python -m tests.bench.loras.killed FOLDER --out DIR [--times 20]

Prints for every kill the step it hit and the checkpoint's, and fails where more was lost than the steps since the
checkpoint, where a job could not be resumed, or where losses, weights or the LoRA file are not those of a run without a
break, to the last bit.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from loras.files import read_json
from loras.jobs import Job, Jobs, JobSpec
from loras.options import options_for
from loras.trainer import load_state

STEPS, SAVE_EVERY = 150, 2


def spec(data: Path, out: Path, name: str) -> JobSpec:
    """A small run that saves often."""
    from pipelines.models.catalog import embedded_model

    options = options_for(
        embedded_model(), steps=STEPS, batch=1, rank=2, save_every=SAVE_EVERY, sample_every=20, seed=7
    )
    return JobSpec(name, str(data), "embedded", str(out / "loras"), options, prompts=("red dragon",))


def saved(job: Job) -> int:
    """The step of the checkpoint; 0 where there is none."""
    path = job.folder / "checkpoint.pt"
    return load_state(path)["done"] if path.exists() else 0


def kill_and_resume(jobs: Jobs, job: Job, times: int, seed: int) -> bool:
    """Kills the worker at random moments and resumes, `times` times; returns whether nothing more was lost."""
    draw, fine, kills = random.Random(seed), True, 0
    while kills < times and job.active:
        # one in five anywhere in its life (starting, loading, encoding), the others while it trains
        if draw.random() < 0.8:
            while job.active and job.status != "training":
                job = jobs.wait(job.id, 0.1)
        begun, after = time.monotonic(), draw.uniform(0.0, 6.0)
        while job.active and time.monotonic() - begun < after:
            job = jobs.wait(job.id, 0.05)
        if not job.active:
            break
        where = job.status
        os.kill(read_json(job.folder / "state.json")["worker"]["pid"], signal.SIGKILL)
        job = jobs.wait(job.id, 30)
        kept = saved(job)
        lost = job.done - kept
        # the state is written a few times a second: it may be a step or two behind the checkpoint, never far ahead
        good = job.status == "interrupted" and lost <= SAVE_EVERY
        kills, fine = kills + 1, fine and good
        found = "ok" if good else "NOT ok"
        print(f"kill {kills:2} while {where}: at step {job.done}, checkpoint {kept}, {found}")
        sys.stdout.flush()
        job = jobs.resume(job.id)
    job = jobs.wait(job.id, 3600)
    print(f"{kills} kills; the job is {job.status} after {job.done} steps {job.error}")
    return fine and kills == times and job.status == "done"


def same(job: Job, twin: Job) -> bool:
    """Whether both runs learned the same to the last bit; prints of each part whether it is the same."""
    from safetensors.torch import load_file

    states = [load_state(j.folder / "checkpoint.pt") for j in (job, twin)]
    files = [load_file(j.result) for j in (job, twin)]
    weights, averages = ([list(s["weights"].values()) for s in states], [s["averages"] for s in states])
    found = {
        f"the losses of all {len(states[0]['losses'])} steps": states[0]["losses"] == states[1]["losses"],
        f"all {len(weights[0])} weight matrices": all(map(torch.equal, *weights)),
        "their moving averages": all(map(torch.equal, *averages)),
        "the LoRA file's tensors": files[0].keys() == files[1].keys()
        and all(torch.equal(files[0][name], files[1][name]) for name in files[0]),
    }
    for what, holds in found.items():
        print(f"{what}: {'the same' if holds else 'NOT the same'} as without a break")
    return all(found.values())


def main(argv: list[str] | None = None) -> int:
    """Reads the command line, runs the killed job and one without a break, and compares."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loras.killed", description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of sprites")
    parser.add_argument("--out", type=Path, default=Path("runs/eval-lora-kill"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-twin", action="store_true", help="leave out the run without a break")
    arguments = parser.parse_args(argv)
    out = arguments.out.absolute()
    jobs = Jobs(out / "jobs")
    job = jobs.start(spec(arguments.data.absolute(), out, f"killed_{int(time.time())}"))
    fine = kill_and_resume(jobs, job, arguments.times, arguments.seed)
    if fine and not arguments.without_twin:
        twin = jobs.wait(jobs.start(spec(arguments.data.absolute(), out, f"twin_{int(time.time())}")).id, 3600)
        fine = same(jobs.get(job.id), twin)
    print("All of it holds." if fine else "NOT all of it holds.")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
