"""Read files that somebody else made: regular files only, with a limit on their size.

Opening a named pipe waits for a writer, a device may never end, and a file of gigabytes fills the memory. What a
request, a game or a folder names is therefore opened without waiting and checked before a byte is read.
"""

from __future__ import annotations

import os
import stat
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import FileError, InvalidRequest
from pipelines.visible import clipped, visible

TEXT_LIMIT = 8 << 20
"""Bytes of a text file (a table, a manifest, a workflow): far more than any real one has."""
PICTURE_LIMIT = 256 << 20
"""Bytes of a picture file: 4096x4096 with 16 bits per channel, uncompressed, has 128 MiB."""

LONGEST_SIDE = 4096
"""Pixels. Larger pictures are refused before they are decoded."""

READABLE: ContextVar[tuple[Path, ...] | None] = ContextVar("readable", default=None)
"""The folders that this thread or task may read files from; None: all. Threads that anyio starts inherit it."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def user_path(text: str | Path) -> Path:
    """Returns the path that a user wrote, with `~` and `~name` replaced by the home folder.

    Raises:
        InvalidRequest: the user does not exist, or the text cannot be a path.
    """
    shown = clipped(visible(str(text)), 200)
    if "\0" in str(text):
        raise InvalidRequest(f"The path '{shown}' contains a NUL character. Give it without.")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidRequest(f"The home folder in '{shown}' is unknown. Give the whole path.") from error


def open_regular(path: Path | str, limit: int, name: str = "") -> BinaryIO:
    """Opens a regular file of at most `limit` bytes for reading; never waits for a writer. Errors call it `name`.

    Raises:
        FileError: it is a folder, pipe, socket or device, larger than `limit`, or outside of what `READABLE` names.
        OSError: as the operating system says.
    """
    name = name or str(path)
    check_readable(path, name)
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise FileError(f"{name} is {kind}. Give a regular file.")
        if status.st_size > limit:
            raise FileError(too_large(name, limit))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_readable(path: Path | str, name: str = "") -> None:
    """Refuses a file that the caller's request may not read, links followed; see `READABLE`.

    Raises:
        FileError: it lies outside.
    """
    folders = READABLE.get()
    if folders is None:
        return
    real = Path(path).resolve()
    if not any(real.is_relative_to(folder.resolve()) for folder in folders):
        raise FileError(f"{name or path} is outside of your games. Put the file into the game's folder.")


def check_lora(name: str) -> None:
    """Refuses a LoRA whose name is a path that the caller's request may not read; see `READABLE`.

    Raises:
        FileError: it lies outside.
    """
    if "/" in name or "\\" in name:
        check_readable(user_path(name), f"The LoRA {name}")


def read_bytes(path: Path | str, limit: int, name: str = "") -> bytes:
    """Returns the bytes of a regular file of at most `limit` bytes; one that grows while it is read is refused as well.

    Raises:
        FileError, OSError: as `open_regular`.
    """
    with open_regular(path, limit, name) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FileError(too_large(name or path, limit))
    return data


def too_large(path: Path | str, limit: int) -> str:
    """Returns the message for a file that is larger than `limit` bytes."""
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
    return f"{path} is larger than {size}, which is the most that is read here. Give a smaller file."


def first_link(folder: Path) -> Path | None:
    """Returns the folder itself, or the first entry in it, that is a symbolic link; None where there is none.

    For folders that may come with a cloned game and that are written to: a link would lead the writing elsewhere.
    """
    try:
        if stat.S_ISLNK(os.lstat(folder).st_mode):
            return folder
        with os.scandir(folder) as entries:
            return next((Path(entry.path) for entry in entries if entry.is_symlink()), None)
    except (FileNotFoundError, NotADirectoryError):
        return None
