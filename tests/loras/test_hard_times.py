"""Datasets of any size, and disks without room: what is done, and what is said."""

from __future__ import annotations

import json
import resource
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from loras.dataset import read_dataset
from loras.errors import JobError, TrainingError
from loras.jobs import Jobs
from loras.worker import check_room
from tests.loras.pictures import save, sprite
from tests.loras.test_jobs import MOST_SECONDS, spec

MANY = 10_000


def tiny_png(number: int) -> bytes:
    """An 8x8 RGBA picture, another one for each number."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes([number & 255, number >> 8, row * 30, 255]) * 8 for row in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 6, 0, 0, 0)
    data = zlib.compress(rows, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, here and in workers: that refuses a write just where a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_ten_thousand_files_half_of_them_broken_are_read_and_the_report_stays_short(tmp_path: Path) -> None:
    for number in range(MANY):
        good = number % 2 == 0
        (tmp_path / f"goblin_{number:05}.png").write_bytes(tiny_png(number) if good else b"\x89PNG no picture")
    dataset = read_dataset(tmp_path)
    report = dataset.report()
    assert (report["taken"], report["refused"]) == (MANY // 2, MANY // 2)
    assert len(report["refused_files"]) == 50
    assert len(report["reasons"]) == 1
    assert len(json.dumps(report)) < 20_000


@pytest.mark.slow
def test_a_single_picture_is_learned_to_the_end(tmp_path: Path) -> None:
    save(tmp_path / "art" / "dragon.png", sprite(1))
    jobs = Jobs(tmp_path / "jobs")
    asked = spec(tmp_path / "art", tmp_path, steps=2, sample_every=100)
    job = jobs.wait(jobs.start(asked).id, MOST_SECONDS)
    assert job.status == "done", job.error
    assert job.report["taken"] == 1
    assert "1 picture teach" in job.report["notes"][0]


@pytest.mark.slow
def test_a_job_whose_pictures_are_broken_says_so(tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    for number in range(2):
        (tmp_path / "art" / f"{number}.png").write_bytes(b"no picture")
    jobs = Jobs(tmp_path / "jobs")
    job = jobs.wait(jobs.start(spec(tmp_path / "art", tmp_path, steps=2)).id, MOST_SECONDS)
    assert job.status == "failed"
    assert "None of the 2 pictures" in job.error


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_is_reported_and_the_job_continues_afterwards(
    sprites: Path, tmp_path: Path
) -> None:
    jobs = Jobs(tmp_path / "jobs")
    with room(300_000):  # enough for the cache and the samples, too little for a checkpoint
        job = jobs.start(spec(sprites, tmp_path, steps=3, save_every=2, sample_every=100))
    job = jobs.wait(job.id, MOST_SECONDS)
    assert job.status == "failed"
    assert "There is no room left to write" in job.error
    assert "checkpoint.pt" in job.error
    assert "free some space and resume the job" in job.error
    assert not list(job.folder.glob(".*.part"))
    assert not (job.folder / "checkpoint.pt").exists()
    job = jobs.wait(jobs.resume(job.id).id, MOST_SECONDS)
    assert (job.status, job.done) == ("done", 3), job.error


def test_too_little_room_is_reported_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10 << 20))
    weights = {"a": SimpleNamespace(numel=lambda: 1_000_000)}
    with pytest.raises(TrainingError, match=r"needs about 66 MB .* 10 MB are free. Free some space and resume"):
        check_room(tmp_path / "jobs" / "1", SimpleNamespace(weights=weights))  # pyright: ignore[reportArgumentType]


def test_a_job_that_cannot_be_written_leaves_nothing_behind(sprites: Path, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    with room(20), pytest.raises(JobError, match=r"cannot be written: .*Free some room"):
        jobs.start(spec(sprites, tmp_path, steps=2))
    assert jobs.list() == []
