"""Measure what a user of a shared server keeps, and hold it to a limit.

Counted are the files of the user's folder (library, uploads, previews, what is kept of games on other machines) and of
the user's training jobs. Games in folders of this machine are not: they are their own.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.engine.turns import OWNER
from server.errors import ServerError

if TYPE_CHECKING:
    from server.users import User

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_PATIENCE = 50
"""A measurement is believed for so many times the time that it took: measuring costs 2 % of the time at most."""


@dataclass(frozen=True, slots=True)
class _Measured:
    when: float
    took: float
    size: int


_MEASURED: dict[tuple[Path, str], _Measured] = {}
_LOCK = threading.Lock()


def parse_size(text: str) -> int:
    """Returns the bytes of a size such as 500MB or 1.5 GB (powers of 1000); empty or 0: 0.

    Raises:
        ServerError: the text is not a size.
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?B?)", text.strip().upper() or "0")
    unit = found and (found[2] if found[2] in _UNITS else f"{found[2]}B")
    if not found or unit not in _UNITS:
        raise ServerError(f"'{text}' is not a size. Write for example 500MB or 2GB.")
    return int(float(found[1]) * _UNITS[unit])


def shown_size(size: int) -> str:
    """Returns a number of bytes to read: 12 MB, 1.5 GB."""
    unit = next((unit for unit in ("GB", "MB", "KB") if size >= _UNITS[unit]), "B")
    number = size / _UNITS[unit]
    return f"{number:.1f} {unit}" if unit != "B" and number < 10 else f"{number:.0f} {unit}"


def used(user: str, data_dir: Path) -> int:
    """Returns the bytes that a user keeps now."""
    from loras.jobs import Jobs

    started = time.monotonic()
    size = sum(map(_size, (data_dir / "users" / user, *Jobs(data_dir / "jobs", user).folders())))
    with _LOCK:
        now = time.monotonic()
        _MEASURED[data_dir, user] = _Measured(now, now - started, size)
    return size


def check_storage() -> None:
    """Refuses to begin what keeps more files, where the request's user has no room left.

    Raises:
        ServerError: says how much is kept and what to do.
    """
    OWNER.get().room()


def check_room(user: User, data_dir: Path) -> None:
    """Refuses a user whose storage is full. A user who is refused was measured just now: what is deleted is free.

    Raises:
        ServerError: as `check_storage`.
    """
    if not user.storage:
        return
    with _LOCK:
        known = _MEASURED.get((data_dir, user.name))
    fresh = known and time.monotonic() - known.when < _PATIENCE * known.took
    size = known.size if known and fresh else used(user.name, data_dir)
    if size >= user.storage and fresh:
        size = used(user.name, data_dir)
    if size >= user.storage:
        raise ServerError(
            f"Your storage is full: {shown_size(size)} of {shown_size(user.storage)} (pictures and training jobs). Ask "
            f"the person who runs the server to delete some of users/{user.name} in the data folder, or to add your "
            "token with a larger --storage."
        )


def _size(folder: Path) -> int:
    """Returns the bytes of all files below a folder; what vanishes meanwhile is left out."""
    size, waiting = 0, [str(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with suppress(OSError):
                        size += entry.stat(follow_symlinks=False).st_size
    return size
