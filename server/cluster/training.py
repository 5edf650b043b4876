"""Train a LoRA as a task of a Ray cluster, with a place (a GPU, or a core) of its own.

The job's folder is what it is without a cluster: spec, state, checkpoints, `cancel`. So a task that is lost is a job
that was interrupted, and resumes from its checkpoint. API: Ray 2.60, "Tasks".
"""

from __future__ import annotations

import os
from pathlib import Path


def train(folder: str) -> str:
    """Works on the job until it ends (see `loras.worker.work`), with its output in the job's log: the task itself."""
    from loras.worker import work

    log = os.open(Path(folder) / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):  # the process ends with this task
        os.dup2(log, stream)
    os.chdir(folder)
    return work(Path(folder))
