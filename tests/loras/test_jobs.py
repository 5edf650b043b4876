"""Jobs that outlive the process that started them: one real worker, and the ways in which a worker can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from loras.errors import JobError
from loras.files import read_json, write_json
from loras.jobs import Job, Jobs, JobSpec
from loras.log import LOG, read_log
from loras.options import options_for
from loras.processes import identity, is_running
from loras.registry import read_lora
from loras.trainer import load_state
from pipelines.models.catalog import embedded_model

MOST_SECONDS = 240


def spec(sprites: Path, tmp_path: Path, **options: float) -> JobSpec:
    wanted = options_for(embedded_model(), batch=1, rank=2, **options)
    return JobSpec("mygame", str(sprites), "embedded", str(tmp_path / "loras"), wanted, prompts=("red dragon",))


def until(jobs: Jobs, job: Job, reached: int) -> Job:
    """The job when its checkpoint holds that many steps, or it has ended."""
    deadline = time.monotonic() + MOST_SECONDS
    while job.active and job.done < reached and time.monotonic() < deadline:
        job = jobs.wait(job.id, 0.2)
    return job


def stopped_job(jobs: Jobs, sprites: Path, tmp_path: Path, status: str, worker: dict[str, object]) -> str:
    """A job's folder as a worker left it."""
    job_id = "0123456789abcdef"
    folder = jobs.folder / job_id
    folder.mkdir(parents=True)
    asked = spec(sprites, tmp_path, steps=5)
    write_json(folder / "spec.json", {**asdict(asked), "created": 1.0})
    write_json(folder / "state.json", {"status": status, "done": 3, "total": 5, "worker": worker})
    return job_id


@pytest.mark.slow
def test_a_job_killed_at_work_is_resumed_and_ends_with_a_lora(sprites: Path, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    job = jobs.start(spec(sprites, tmp_path, steps=6, save_every=1, sample_every=100, validation=0.4))
    with pytest.raises(JobError, match="training 'mygame' now"):
        jobs.start(spec(sprites, tmp_path, steps=6))
    job = until(jobs, job, 2)
    assert job.status == "training", job.error
    pid = read_json(job.folder / "state.json")["worker"]["pid"]
    assert os.getsid(pid) == pid  # a session of its own: a terminal that closes does not end it
    os.kill(pid, signal.SIGKILL)
    job = jobs.wait(job.id, MOST_SECONDS)
    assert job.status == "interrupted"
    assert job.resumable

    job = jobs.wait(jobs.resume(job.id).id, MOST_SECONDS)
    assert job.status == "done", job.error
    assert job.done == 6
    assert read_lora(Path(job.result)).state == "available"
    assert job.report["taken"] == 3
    assert [Path(p).name for p in job.samples] == ["step-000000.png", "step-000006.png"]
    log = read_log(job.folder / LOG)
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in log if "validation" in line] == [0, 6]
    assert "samples/step-000006.png" in (job.folder / "page.html").read_text()
    assert list((job.folder / "tensorboard").iterdir())
    with pytest.raises(JobError, match="is done"):
        jobs.resume(job.id)
    with pytest.raises(JobError, match="There is a LoRA 'mygame'"):
        jobs.start(spec(sprites, tmp_path))


@pytest.mark.slow
def test_a_cancel_amid_training_ends_it_within_one_step_and_loses_none(sprites: Path, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    asked = spec(sprites, tmp_path, steps=10_000, save_every=1, sample_every=10_000)
    job = until(jobs, jobs.start(asked), 2)
    pid = read_json(job.folder / "state.json")["worker"]["pid"]
    # the worker stands still while the cancel is given, so that what it had done by then is known exactly
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    done = load_state(job.folder / "checkpoint.pt")["done"]
    assert jobs.cancel(job.id, seconds=0).status == "training"
    os.kill(pid, signal.SIGCONT)
    job = jobs.wait(job.id, MOST_SECONDS)
    assert (job.status, job.resumable) == ("cancelled", True)
    kept = load_state(job.folder / "checkpoint.pt")
    # stopped within a step or while it was written down, that step is still brought to its end
    assert done <= kept["done"] <= done + 1
    assert job.done == kept["done"] == len(kept["losses"])


@pytest.mark.slow
def test_a_failure_is_reported_with_the_users_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    jobs = Jobs(tmp_path / "jobs")
    asked = replace(spec(tmp_path / "empty", tmp_path, steps=2), model="no/such/model")
    job = jobs.wait(jobs.start(asked).id, MOST_SECONDS)
    assert job.status == "failed"
    assert "no/such/model" in job.error
    assert job.resumable


def test_another_process_with_the_same_pid_is_not_the_worker(sprites: Path, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    job_id = stopped_job(jobs, sprites, tmp_path, "training", {"pid": os.getpid(), "started": "another"})
    assert jobs.get(job_id).status == "interrupted"
    mine = {"pid": os.getpid(), "started": identity(os.getpid())}
    write_json(jobs.folder / job_id / "state.json", {"status": "training", "worker": mine})
    assert jobs.get(job_id).status == "training"


def test_a_worker_that_an_earlier_version_started_is_found_again() -> None:
    """Job folders of before have the boot's id and the start in clock ticks."""
    mine = identity(os.getpid())
    assert is_running(os.getpid(), f"01234567-89ab-cdef-0123-456789abcdef:{mine}")
    assert not is_running(os.getpid(), f"01234567-89ab-cdef-0123-456789abcdef:{int(mine) + 1}")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to compare")
def test_the_start_of_a_process_is_the_number_that_linux_gives() -> None:
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    assert identity(os.getpid()) == fields[19]


def test_a_process_is_the_same_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = identity(process.pid)
        assert is_running(process.pid, started)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(process.pid, started)  # not reaped yet: a zombie does not run
    assert not is_running(process.pid, started)
    assert not is_running(0, "")


def test_cancelling_what_nobody_works_on_only_notes_it(sprites: Path, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    job_id = stopped_job(jobs, sprites, tmp_path, "training", {})
    assert jobs.cancel(job_id).status == "cancelled"
    with pytest.raises(JobError, match="cancelled already"):
        jobs.cancel(job_id)


def test_jobs_are_found_from_any_working_directory(
    sprites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = Jobs(Path("jobs"))
    job_id = stopped_job(jobs, sprites, tmp_path, "training", {})
    monkeypatch.chdir("/")
    assert jobs.get(job_id).folder == tmp_path / "jobs" / job_id


def test_a_damaged_state_file_loses_no_job(sprites: Path, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    job_id = stopped_job(jobs, sprites, tmp_path, "training", {})
    (jobs.folder / job_id / "state.json").write_text("{")
    assert jobs.get(job_id).status == "interrupted"
    assert [job.id for job in jobs.list()] == [job_id]


def test_a_spec_is_read_as_it_was_written(sprites: Path, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    job_id = stopped_job(jobs, sprites, tmp_path, "queued", {})
    assert JobSpec.read(jobs.folder / job_id / "spec.json") == spec(sprites, tmp_path, steps=5)
    (jobs.folder / job_id / "spec.json").write_text("{}")
    with pytest.raises(JobError, match="is broken"):
        JobSpec.read(jobs.folder / job_id / "spec.json")


@pytest.mark.parametrize("job_id", ["", "x", "../../etc", "0123456789abcdee"])
def test_an_unknown_job_is_reported(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(JobError, match="There is no job"):
        Jobs(tmp_path / "jobs").get(job_id)


@pytest.mark.parametrize("name", ["", "My Game", "../x", "a" * 60])
def test_a_name_that_cannot_be_a_file_is_refused(sprites: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="cannot be a LoRA's name"):
        Jobs(tmp_path / "jobs").start(replace(spec(sprites, tmp_path), name=name))
    assert Jobs(tmp_path / "jobs").list() == []


def test_a_workers_threads_sleep_while_they_wait() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = (
        "import os, sys, loras.worker\n"
        "assert 'torch' not in sys.modules\n"  # it reads the policy when it is loaded
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PASSIVE"
