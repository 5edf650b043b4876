"""Record which items of which steps of a run are done, one line each on disk, so that kill -9 loses none.

A run's folder holds `run.json` (the workflow and its inputs), `done.jsonl` (finished items) and `lock`. It may come
with a cloned game: symbolic links are refused, and lines of another form end the record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.errors import FileError, TextError
from pipelines.files import first_link, read_bytes
from pipelines.text_files import read_json
from workflows.errors import WorkflowError

_MOST_BYTES = 256 << 20
"""Of a run's record: a hundred thousand items of 2 kB each."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished item: its step, its position (0 for a step without for_each), and its result or its error.

    `key` says what was done (see `keys_of`): positions shift where an item above failed, and succeeds the next time.
    """

    step: str
    index: int
    key: str
    ok: bool
    result: Any = None
    error: str = ""


def keys_of(arguments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a key for each item of a step by its arguments; equal ones are counted."""
    digests = [hashlib.sha256(json.dumps(a, sort_keys=True, default=str).encode()).hexdigest()[:12] for a in arguments]
    return [f"{digest}.{digests[:i].count(digest)}" for i, digest in enumerate(digests)]


class Journal:
    """An open run. Lines are on disk before the next items begin; a torn last line is dropped."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        """Opens or makes the run's folder and takes its lock.

        Raises:
            WorkflowError: another process is at this run, or its folder cannot be used.
        """
        if link := first_link(folder.parent) or first_link(folder):
            raise WorkflowError(f"{link} is a symbolic link, which is not followed. Remove it and run again.")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = FileLock(folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise WorkflowError(
                f"Run {folder.name} is being carried out by another process: wait for it, or stop that one first."
            ) from None
        try:
            self.run = self._read_or_write_run(run)
            self._entries, valid_bytes = _read_entries(folder / "done.jsonl")
            self._file = (folder / "done.jsonl").open("ab")
        except BaseException:
            self._lock.release()
            raise
        self._file.truncate(valid_bytes)

    def _read_or_write_run(self, run: dict[str, Any]) -> dict[str, Any]:
        path = self.folder / "run.json"
        if path.exists():
            try:
                found = read_json(path, str(path))
            except (TextError, FileError) as error:
                raise WorkflowError(f"{error} Or delete the folder {self.folder}: the run starts again.") from error
            if not isinstance(found, dict) or not isinstance(found.get("inputs"), dict):
                raise WorkflowError(f"{path} is not the record of a run. Delete the folder {self.folder}.")
            return found
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps(run, ensure_ascii=False, indent=1), encoding="utf-8")
        staged.replace(path)
        return run

    def done(self, step: str, key: str) -> Entry | None:
        """Returns the successful entry of an item, if there is one; a failed item is tried again in the next run."""
        entry = self._entries.get((step, key))
        return entry if entry and entry.ok else None

    def write(self, *entries: Entry) -> None:
        """Adds a line for each in one write, and waits until they are on disk."""
        lines = bytearray()
        for entry in entries:
            line = {"step": entry.step, "index": entry.index, "key": entry.key, "ok": entry.ok}
            line |= {"result": entry.result} if entry.ok else {"error": entry.error}
            lines += json.dumps(line, ensure_ascii=False).encode() + b"\n"
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._entries |= {(entry.step, entry.key): entry for entry in entries}

    def finish(self) -> None:
        """Marks the run as complete, so that the same call later begins a new one."""
        (self.folder / "finished").touch()

    def close(self) -> None:
        self._file.close()
        self._lock.release()


def _read_entries(path: Path) -> tuple[dict[tuple[str, str], Entry], int]:
    entries: dict[tuple[str, str], Entry] = {}
    valid = 0
    if path.exists():
        try:
            data = read_bytes(path, _MOST_BYTES)
        except FileError as error:
            raise WorkflowError(f"{error} Or delete the folder {path.parent}: the run starts again.") from error
        for line in data.splitlines(keepends=True):
            try:
                item = json.loads(line)
                if not line.endswith(b"\n"):
                    break
                entries[str(item["step"]), str(item["key"])] = Entry(**item)
            except (ValueError, TypeError, KeyError, RecursionError):
                break
            valid += len(line)
    return entries, valid


def open_run(runs: Path, name: str, text: str, given: dict[str, Any], run: dict[str, Any]) -> Journal:
    """Returns the unfinished run of the same workflow text and inputs below `runs`, or a new one."""
    key = hashlib.sha256(json.dumps([text, given], sort_keys=True, default=str).encode()).hexdigest()[:10]
    number = 1
    while (runs / f"{name}-{key}-{number}" / "finished").exists():
        number += 1
    return Journal(runs / f"{name}-{key}-{number}", run)
