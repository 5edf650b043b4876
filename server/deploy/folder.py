"""Change files in a game's assets folder and nowhere else: no symbolic link is followed, every file is put in one step.

New bytes are written into `.dgx-pixels/staging/`, outside assets/ on the same file system, and renamed into place, so
that neither the game nor a crash meets half of a file. Every step of a path is opened relative to the folder before it
(openat with O_NOFOLLOW). Several files together are for `server.deploy.journal`.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.errors import explain
from server.deploy.paths import in_the_way
from server.errors import DeployError
from server.library.files import folder_below, open_folder, read_at

STAGING = "staging"
_WATCHER_DELAY = 0.15
"""Seconds until a file watcher (inotify, Bevy's) watches a folder that was made just now."""


class AssetsFolder:
    """The assets folder of a game, and its staging folder."""

    def __init__(self, root: Path, inside: str, state: Path) -> None:
        """Takes a `root` that exists, the assets folder `inside` it, and the game's `state` folder (`.dgx-pixels/`)."""
        self._root = root
        self._inside = [part for part in Path(inside).parts if part != "."]
        self._state = state

    def shown(self, path: str) -> Path:
        """Returns the file's path for messages."""
        return self._root.joinpath(*self._inside, path)

    def read(self, path: str) -> bytes | None:
        """Returns the bytes of the file; None where there is none.

        Raises:
            DeployError: a folder or the file is a symbolic link, or the file is not a regular one.
        """
        folder, _, name = path.rpartition("/")
        with _friendly(self.shown(path)):
            try:
                with self._open(folder) as descriptor:
                    return read_at(descriptor, name)
            except FileNotFoundError:
                return None

    def missing(self, paths: Iterable[str]) -> list[str]:
        """Lists folders of these files that do not exist, outer ones first, relative to assets/ ("" is assets/)."""
        found: list[str] = []
        for path in paths:
            parts = path.split("/")[:-1]
            for depth in range(len(parts) + 1):
                folder = "/".join(parts[:depth])
                with _friendly(self.shown(folder)):
                    try:
                        with self._open(folder):
                            pass
                    except FileNotFoundError:
                        if folder not in found:
                            found.append(folder)
        return found

    def stage(self, path: str, data: bytes) -> str:
        """Writes the bytes that are to become `path` into the staging folder, waits for the disk, returns the name.

        Raises:
            DeployError: the disk refuses, or staging and assets/ are on different file systems.
        """
        name = secrets.token_hex(8)
        with _friendly(self.shown(path)), folder_below(self._state, [STAGING], make=True) as staging:
            if os.fstat(staging).st_dev != self._device(path):
                raise DeployError(
                    f"{self.shown(path).parent} is on another disk than {self._state}, so that a file cannot be put "
                    "there in one step. Keep the assets folder on the game's own disk."
                )
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=staging)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
        return name

    def staged(self, name: str) -> bytes | None:
        """Returns the bytes of a staged file; None where there is none."""
        try:
            with folder_below(self._state, [STAGING]) as staging:
                return read_at(staging, name)
        except OSError:
            return None

    def place(self, name: str, path: str, *, overwrite: bool) -> None:
        """Moves a staged file to its path.

        Raises:
            DeployError: there is a file and `overwrite` is not set, or the disk refuses.
        """
        folder, _, target = path.rpartition("/")
        with _friendly(self.shown(path)), folder_below(self._state, [STAGING]) as staging, self._open(folder) as there:
            if not overwrite and _link(name, staging, target, there):
                os.unlink(name, dir_fd=staging)
            else:
                os.replace(name, target, src_dir_fd=staging, dst_dir_fd=there)

    def remove(self, path: str) -> None:
        """Removes the file, if it is there.

        Raises:
            DeployError: the disk refuses.
        """
        folder, _, name = path.rpartition("/")
        with _friendly(self.shown(path)), suppress(FileNotFoundError), self._open(folder) as there:
            os.unlink(name, dir_fd=there)

    def make_folders(self, folders: Sequence[str]) -> None:
        """Makes folders (as `missing` gives them), and waits until a running game watches them.

        Raises:
            DeployError: the disk refuses.
        """
        for folder in folders:
            with _friendly(self.shown(folder)), folder_below(self._root, self._parts(folder), make=True):
                pass
        if folders:
            time.sleep(_WATCHER_DELAY)

    def remove_folders(self, folders: Sequence[str]) -> None:
        """Removes those of the folders that are empty; assets/ itself stays."""
        for folder in reversed(folders):
            outer, _, name = folder.rpartition("/")
            if name:
                with suppress(OSError), self._open(outer) as there:
                    os.rmdir(name, dir_fd=there)

    def has_staged(self) -> bool:
        """Returns whether anything lies in the staging folder: a deploy runs, or was cut off."""
        try:
            with os.scandir(self._state / STAGING) as entries:
                return next(entries, None) is not None
        except OSError:
            return False

    def sweep(self) -> None:
        """Removes what is left in the staging folder."""
        with suppress(OSError), folder_below(self._state, [STAGING]) as staging:
            for name in os.listdir(staging):  # noqa: PTH208 - of a descriptor
                with suppress(OSError):
                    os.unlink(name, dir_fd=staging)

    def _parts(self, folder: str) -> list[str]:
        return [*self._inside, *(folder.split("/") if folder else ())]

    @contextmanager
    def _open(self, folder: str) -> Iterator[int]:
        with folder_below(self._root, self._parts(folder)) as descriptor:
            yield descriptor

    def _device(self, path: str) -> int:
        """Returns the file system of the deepest folder on the way to the file that exists."""
        descriptor = open_folder(self._root)
        try:
            for part in self._parts(path.rpartition("/")[0]):
                try:
                    deeper = open_folder(part, descriptor)
                except FileNotFoundError:
                    break
                os.close(descriptor)
                descriptor = deeper
            return os.fstat(descriptor).st_dev
        finally:
            os.close(descriptor)


def _link(name: str, staging: int, target: str, folder: int) -> bool:
    """Links the staged file to its name, which fails where a file is, in one step; False on a file system without."""
    try:
        os.link(name, target, src_dir_fd=staging, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        with suppress(FileNotFoundError):
            os.stat(target, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, "exists", target) from None
        return False
    return True


@contextmanager
def _friendly(shown: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise in_the_way(shown) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DeployError(
                f"A folder of {shown}, or the file itself, is a symbolic link, which is not followed. Use a path in a "
                "real folder."
            ) from error
        if error.errno == errno.EINVAL:
            raise DeployError(f"{shown} exists and is not a regular file. Choose another path.") from error
        raise DeployError(explain(error, shown)) from error
