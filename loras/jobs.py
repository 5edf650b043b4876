"""Run training jobs that outlive the process that started them. Each job has a folder and a process of its own session.

    <folder>/<id>/spec.json     the request (never changes)
                  state.json    progress and worker (replaced in one step, by the worker)
                  cancel        its presence asks the worker to stop
                  log.txt       the output of the worker
                  ...           the worker's files (see `loras.worker`)
    <folder>/device.lock        held by the one worker that trains; the others wait

A job's worker is a process of this machine, or of a cluster's (see `server.cluster.training`), whose folder is shared.

`Jobs` starts, finds, stops and resumes jobs without importing torch. Several servers may use one folder. On a server
that several people share, a job belongs to the one who started it, and to the others it does not exist.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loras.errors import JobError
from loras.files import read_json, write_json
from loras.options import TrainOptions
from loras.processes import identity, is_running

ACTIVE = ("queued", "preparing", "training", "exporting")
ENDED = ("done", "failed", "cancelled", "interrupted")
"""`interrupted`: the worker was killed, or the machine went down; only the steps since the last checkpoint are lost."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
_ID = re.compile(r"[0-9a-f]{16}")
_POLL = 0.1
SILENCE = 600.0
"""Seconds without a word of a worker on another machine after which it is taken for dead."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was asked. `dataset` is a path, `tile_size` (width, height) of a sheet's tiles or None; `prompts` are drawn
    as samples (empty: the first captions); the LoRA goes to `output`/`name`.safetensors."""

    name: str
    dataset: str
    model: str
    output: str
    options: TrainOptions
    trigger: str = ""
    tile_size: tuple[int, int] | None = None
    prompts: tuple[str, ...] = ()
    owner: str = ""

    @staticmethod
    def read(path: Path) -> JobSpec:
        """Returns the spec that `Jobs.start` wrote.

        Raises:
            JobError: the file is broken.
        """
        data = read_json(path)
        try:
            options = data.pop("options")
            data.pop("created")
            options["targets"] = tuple(options["targets"])
            tile = data.pop("tile_size")
            prompts = tuple(data.pop("prompts"))
            return JobSpec(
                **data, options=TrainOptions(**options), tile_size=tuple(tile) if tile else None, prompts=prompts
            )
        except (KeyError, TypeError) as error:
            raise JobError(f"{path} is broken ({error}). Start a new job.") from error


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. `status` is one of ACTIVE or ENDED; steps count from 0; seconds are of training alone."""

    id: str
    folder: Path
    name: str
    status: str
    done: int = 0
    total: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    eta_seconds: float | None = None
    steps_per_second: float = 0.0
    message: str = ""
    error: str = ""
    result: str = ""
    samples: tuple[str, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    model: str = ""
    owner: str = ""

    @property
    def active(self) -> bool:
        """Whether it is being worked on."""
        return self.status in ACTIVE

    @property
    def resumable(self) -> bool:
        """Whether `resume` would go on with it."""
        return self.status in ("failed", "cancelled", "interrupted")


class Jobs:
    """The jobs in one folder (it need not exist), of one owner where one is named; None: of all.

    `start_worker` replaces what starts the worker of a job's folder, `start_here`.
    """

    def __init__(
        self, folder: Path, owner: str | None = None, start_worker: Callable[[Path], None] | None = None
    ) -> None:
        self._start_worker = start_worker or start_here
        self.folder = folder.absolute()  # a worker's working directory is its job's folder
        self._owner = owner

    def start(self, spec: JobSpec) -> Job:
        """Begins a job and returns immediately.

        Raises:
            JobError: the name cannot be a file's, is taken, or the folder cannot be written.
        """
        if not NAME.fullmatch(spec.name):
            raise JobError(
                f"'{spec.name[:60]}' cannot be a LoRA's name: use a-z, 0-9, - and _, at most 48 characters, for "
                "example 'mygame'."
            )
        if Path(spec.output, f"{spec.name}.safetensors").exists():
            raise JobError(
                f"There is a LoRA '{spec.name}' in {spec.output} already. Give another name (for example "
                f"'{spec.name}_2'), or move that file away first."
            )
        everybody = Jobs(self.folder).list()
        if twin := next((j for j in everybody if j.active and j.name == spec.name), None):
            if not self._may_use(twin.owner):
                raise JobError(f"Another user is training '{spec.name}' now. Give another name.")
            raise JobError(f"Job {twin.id} is training '{spec.name}' now. Follow it with get_job, or cancel it first.")
        job_id = secrets.token_hex(8)
        folder = self.folder / job_id
        try:
            folder.mkdir(parents=True)
            write_json(folder / "spec.json", {**asdict(spec), "owner": self._owner or "", "created": time.time()})
            self._start_worker(folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise JobError(f"The job's folder {folder} cannot be written: {error.strerror}. Free some room.") from error
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """Returns the job as it stands now.

        Raises:
            JobError: there is none with this id, or it is another owner's.
        """
        folder = self.folder / job_id
        spec = read_json(folder / "spec.json") if _ID.fullmatch(job_id) and folder.is_dir() else None
        if spec is None or not self._may_use(spec.get("owner", "")):
            raise JobError(f"There is no job '{job_id[:40]}'. get_job without an id lists all jobs.")
        # The worker is checked before its last message is read: a worker that is gone writes no more.
        before = read_json(folder / "state.json")
        alive = _is_alive(before)
        state = read_json(folder / "state.json")
        if not alive and state.get("worker") != before.get("worker"):
            alive = _is_alive(state)
        status = state.get("status", "queued")
        message = state.get("message", "")
        if status in ACTIVE and not alive:
            status = "interrupted"
            message = (
                "The worker was killed, or the machine went down. Resume the job: it continues from its last "
                "checkpoint."
            )
        return Job(
            id=job_id,
            folder=folder,
            name=spec.get("name", ""),
            status=status,
            done=state.get("done", 0),
            total=state.get("total") or spec.get("options", {}).get("steps", 0),
            loss=state.get("loss", 0.0),
            seconds=state.get("seconds", 0.0),
            eta_seconds=state.get("eta_seconds") if status in ACTIVE else None,
            steps_per_second=state.get("steps_per_second", 0.0),
            message=message,
            error=state.get("error", ""),
            result=state.get("result", ""),
            samples=tuple(str(p) for p in sorted((folder / "samples").glob("*.png"))),
            report=read_json(folder / "report.json"),
            created=spec.get("created", 0.0),
            model=str(spec.get("model", "")),
            owner=str(spec.get("owner", "")),
        )

    def list(self) -> list[Job]:
        """Returns all jobs, the newest first."""
        return sorted((self.get(folder.name) for folder in self.folders()), key=lambda job: -job.created)

    def folders(self) -> Sequence[Path]:
        """Returns the folders of the jobs."""
        if not self.folder.is_dir():
            return []
        found = [f for f in self.folder.iterdir() if _ID.fullmatch(f.name) and f.is_dir()]
        return [f for f in found if self._may_use(read_json(f / "spec.json").get("owner", ""))]

    def _may_use(self, owner: object) -> bool:
        return self._owner is None or owner == self._owner

    def wait(self, job_id: str, seconds: float, on_change: Callable[[Job], None] = lambda job: None) -> Job:
        """Returns the job when it has ended or `seconds` are over; `on_change` is called at least every half second.

        Raises:
            JobError: there is none with this id.
        """
        deadline = time.monotonic() + seconds
        while True:
            job = self.get(job_id)
            on_change(job)
            left = deadline - time.monotonic()
            if not job.active or left <= 0:
                return job
            time.sleep(min(0.4, max(left, 0)))

    def cancel(self, job_id: str, seconds: float = 10.0) -> Job:
        """Asks the worker to stop within one step, and waits for that up to `seconds`.

        Raises:
            JobError: there is no such job, or it has ended already.
        """
        job = self.get(job_id)
        if job.status in ("done", "failed", "cancelled"):
            raise JobError(f"Job {job_id} is {job.status} already; there is nothing to cancel.")
        (job.folder / "cancel").touch()
        job = self.wait(job_id, seconds)
        if job.status == "interrupted":  # nobody is there to hear it
            state = read_json(job.folder / "state.json")
            write_json(job.folder / "state.json", {**state, "status": "cancelled", "message": "Cancelled."})
            job = self.get(job_id)
        return job

    def resume(self, job_id: str) -> Job:
        """Goes on with a job that was interrupted, cancelled or failed.

        Raises:
            JobError: there is no such job, it runs, or it is done.
        """
        from filelock import FileLock

        job = self.get(job_id)
        with FileLock(job.folder / "launch.lock", timeout=10):
            job = self.get(job_id)
            if not job.resumable:
                raise JobError(f"Job {job_id} is {job.status}; only one that has stopped can be resumed.")
            (job.folder / "cancel").unlink(missing_ok=True)
            self._start_worker(job.folder)
        return self.get(job_id)


def this_process(pid: int = 0) -> dict[str, Any]:
    """Returns what state.json says of a worker: this process, or the one with that pid on this machine."""
    pid = pid or os.getpid()
    return {"pid": pid, "started": identity(pid), "host": platform.node()}


def _is_alive(state: dict[str, Any]) -> bool:
    worker = state.get("worker") or {}
    if worker.get("host", platform.node()) != platform.node():
        return time.time() - state.get("updated", 0.0) < SILENCE
    return is_running(worker.get("pid", 0), worker.get("started", ""))


def queue(folder: Path, worker: dict[str, Any], message: str) -> None:
    """Writes the state of a job whose worker is about to begin or to go on."""
    state = read_json(folder / "state.json")
    kept = {k: state[k] for k in ("done", "total", "loss", "seconds", "cpu_seconds") if k in state}
    write_json(folder / "state.json", {**kept, "status": "queued", "worker": worker, "message": message})


def start_here(folder: Path) -> None:
    """Starts the worker in a session of its own: closing the server or its terminal does not touch it."""
    here = Path(__file__).resolve().parents[1]
    paths = [str(here), os.environ.get("PYTHONPATH", "")]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "loras.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
            start_new_session=True,
        )
    # The worker waits for the end of its input, so that this state cannot come after one of its own.
    assert process.stdin is not None
    try:
        queue(folder, this_process(process.pid), "Starting.")
    finally:
        process.stdin.close()
    # Reaped when it ends, so that it never stays as a zombie of a long-lived server.
    threading.Thread(target=process.wait, name="dgx-pixels-job", daemon=True).start()
