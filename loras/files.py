"""Write files whole or not at all, also when the power fails."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pipelines.errors import FileError
from pipelines.files import READABLE, TEXT_LIMIT, read_bytes


@contextmanager
def synced(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that takes the place of `path` when the block ends well, after the disk has it.

    Raises:
        OSError: as the operating system says; `path` is as it was, and nothing is left behind.
    """
    part = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # writing to an open file, the system names none
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file in one step, without waiting for the disk (it is written many times a minute)."""
    part = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        part.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Returns a JSON file's object; empty where there is none, or where it is broken.

    For files that this package made: a user of a shared server need not be allowed to name them (`READABLE`).
    """
    token = READABLE.set(None)
    try:
        value = json.loads(read_bytes(path, TEXT_LIMIT))
    except (OSError, ValueError, FileError, RecursionError):
        return {}
    finally:
        READABLE.reset(token)
    return value if isinstance(value, dict) else {}


def sweep(folder: Path) -> None:
    """Removes what a killed writer left behind."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
