"""Read and write files below one folder without following symbolic links (openat with O_NOFOLLOW, as in openat(2)).

A library's folder may come with a cloned game, so every step below the folder is opened relative to the step before:
a link that is put there at any time is refused and never followed. Linux and macOS.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.files import PICTURE_LIMIT


def open_folder(name: str | Path, parent: int | None = None) -> int:
    """Opens a folder and returns its descriptor; `name` is relative to the descriptor `parent` where one is given.

    Raises:
        OSError: with ELOOP where `name` is a symbolic link, ENOTDIR where it is another file.
    """
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(name)) from error
        raise


@contextmanager
def folder_below(root: Path, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Yields a descriptor of the folder `parts` below `root`, closed afterwards; `make` makes what is missing.

    Raises:
        OSError: with ELOOP where a step (the root too) is a symbolic link.
    """
    if make:
        root.mkdir(parents=True, exist_ok=True)
    folder = open_folder(root)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
            deeper = open_folder(part, folder)
            os.close(folder)
            folder = deeper
        yield folder
    finally:
        os.close(folder)


def read_at(folder: int, name: str) -> bytes:
    """Reads a regular file of at most PICTURE_LIMIT bytes that lies in the folder of a descriptor.

    Raises:
        OSError: with ELOOP for a symbolic link, EINVAL for a pipe, a device or a folder, EOVERFLOW for a larger file.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", name)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > PICTURE_LIMIT:
            raise OSError(errno.EOVERFLOW, f"larger than {PICTURE_LIMIT >> 20} MiB, the most that is read here", name)
        return file.read(PICTURE_LIMIT)


def read_below(root: Path, *parts: str) -> bytes:
    """Reads the regular file `parts` below `root`. Raises OSError as `folder_below` and `read_at` do."""
    with folder_below(root, parts[:-1]) as folder:
        return read_at(folder, parts[-1])


def write_below(root: Path, *parts: str, data: bytes, sync: bool = False, through: str = "") -> None:
    """Writes the file `parts` below `root` whole or not at all; missing folders are made.

    Args:
        sync: whether to wait until the disk has the bytes.
        through: a folder below `root` where the temporary file lies; default: beside the file.

    Raises:
        OSError: the old file is untouched then, and nothing is left behind.
    """
    beside = [through] if through else parts[:-1]
    with folder_below(root, parts[:-1], make=True) as folder, folder_below(root, beside, make=True) as temporaries:
        temporary = f".{parts[-1]}.{secrets.token_hex(6)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o666, dir_fd=temporaries)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(descriptor)
            os.replace(temporary, parts[-1], src_dir_fd=temporaries, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=temporaries)
            raise


def write_atomically(path: Path, data: bytes) -> None:
    """Writes the file whole or not at all: a temporary file beside it, then renamed over it.

    Does not wait for the disk.

    Raises:
        OSError: the old file is untouched then, and nothing is left behind.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.part"
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
