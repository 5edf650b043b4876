"""Writing inside one folder and nowhere else: path rules, walks that follow no symbolic link, atomic bundles.

Every step of a walk is opened relative to the folder before it (`openat` with O_NOFOLLOW), so that nothing that is
swapped for a link meanwhile leads outside. Knows nothing of assets or games. Linux and macOS.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.errors import DeployError, explain

_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_WATCHER_DELAY = 0.15
"""Seconds until a file watcher (inotify, Bevy's) sees a folder that was made just now."""


def check_path(path: str, suffix: str = ".png") -> str:
    """The path, if it follows the rules: relative, lower case, `[a-z0-9_]`, forward slashes, the right ending.

    Raises:
        DeployError: with a path that would do.
    """
    parts = path.split("/")
    good = (
        len(path) <= 200
        and path.endswith(suffix)
        and path.count(".") == suffix.count(".")
        and parts[0] != "assets"
        and all(_NAME.fullmatch(part) and not _RESERVED.match(part) for part in parts)
    )
    if good:
        return path
    raise DeployError(
        f"'{path[:80]}' cannot be a path in assets/. Use folders and a name of a-z, 0-9 and _, relative to assets/, "
        f"ending in {suffix}: for example '{suggest_path(path, suffix)}'."
    )


def suggest_path(text: str, suffix: str = ".png") -> str:
    """The nearest path that follows the rules."""
    text = text.replace("\\", "/").lower()
    text = text.removesuffix(suffix)
    parts = [re.sub(r"[^a-z0-9]+", "_", part).strip("_")[:40] for part in text.split("/")]
    parts = [f"{part}_" if _RESERVED.match(part) else part for part in parts if part]
    if parts and parts[0] == "assets":
        parts = parts[1:]
    return ("/".join(parts[-4:]) or "sprites/sprite") + suffix


def in_the_way(path: Path) -> DeployError:
    """The error of a file that may not be replaced."""
    return DeployError(
        f"{path} exists already and holds something else. Give overwrite=true to replace it (undo_deploy brings it "
        "back), or another path."
    )


@dataclass(frozen=True, slots=True)
class Written:
    """One file of a bundle: its new bytes, and what it held before; None means that there is no file."""

    path: str
    data: bytes | None
    previous: bytes | None

    @property
    def identical(self) -> bool:
        """Whether there is nothing to do."""
        return self.previous == self.data


class Bundle:
    """Files that go into a folder together: all of them, or none.

    with Bundle(root, "assets", staging) as bundle:
        bundle.stage("sprites/hero.png", data)      # written outside the folder, flushed to the disk
        bundle.publish(overwrite=False)             # renamed into place, in this order
    """

    def __init__(self, root: Path, inside: str, staging: Path) -> None:
        """`root` must exist; `inside` is made below it where it is missing; `staging` is outside `inside`."""
        self._root = root
        self._inside = [part for part in Path(inside).parts if part != "."]
        self._staging = staging
        self._staged: list[tuple[Written, int, str]] = []
        self._stack = ExitStack()
        self._made: list[tuple[int, str]] = []
        self._published = False

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *error: object) -> None:
        """Removes what is still staged and, where nothing was published, the folders that were made for it."""
        with self._stack:
            for _, _, temporary in self._staged:
                if temporary:
                    (self._staging / temporary).unlink(missing_ok=True)
            if not self._published:
                for folder, name in reversed(self._made):
                    try:
                        os.rmdir(name, dir_fd=folder)
                    except OSError:
                        break

    def stage(self, path: str, data: bytes | None) -> Written:
        """Reads what is there now and writes the new bytes beside, on the same file system; None: to be removed.

        Raises:
            DeployError: the way leads through a link or a file, or the disk refuses.
        """
        shown = self._root.joinpath(*self._inside, path)
        with _friendly(shown):
            folder = self._walk([*self._inside, *path.split("/")[:-1]])
            previous = _read(folder, path.rsplit("/", 1)[-1], shown)
            written = Written(path, data, previous)
            if written.identical:
                return written
            if data is None:
                self._staged.append((written, folder, ""))
                return written
            self._staging.mkdir(parents=True, exist_ok=True)
            if self._staging.stat().st_dev != os.fstat(folder).st_dev:
                raise DeployError(
                    f"{shown.parent} is on another disk than {self._staging}, so that a file cannot be put there in "
                    "one step. Keep the assets folder on the game's own disk."
                )
            temporary = secrets.token_hex(8)
            self._staged.append((written, folder, temporary))
            with (self._staging / temporary).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return written

    def publish(self, *, overwrite: bool) -> None:
        """Puts every staged file into its place; where one fails, those before it are taken back.

        Raises:
            DeployError: a file is in the way and may not be replaced, or the disk refuses.
        """
        if self._made:
            time.sleep(_WATCHER_DELAY)
        done: list[tuple[Written, int]] = []
        try:
            for written, folder, temporary in self._staged:
                name = written.path.rsplit("/", 1)[-1]
                with _friendly(self._root.joinpath(*self._inside, written.path)):
                    if written.data is None:
                        os.unlink(name, dir_fd=folder)
                    else:
                        _move(self._staging / temporary, folder, name, overwrite=overwrite)
                done.append((written, folder))
        except BaseException:
            for written, folder in reversed(done):
                self._take_back(written, folder)
            raise
        self._published = bool(done)

    def read(self, path: str) -> bytes | None:
        """What the file holds now; None where there is none."""
        shown = self._root.joinpath(*self._inside, path)
        with _friendly(shown):
            folder = self._walk([*self._inside, *path.split("/")[:-1]])
            return _read(folder, path.rsplit("/", 1)[-1], shown)

    def _walk(self, parts: list[str]) -> int:
        """A descriptor of the folder; missing ones are made."""
        folder = self._keep_open(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY))
        for part in parts:
            try:
                folder = self._keep_open(_open_folder(part, folder))
            except FileNotFoundError:
                os.mkdir(part, dir_fd=folder)
                self._made.append((folder, part))
                folder = self._keep_open(_open_folder(part, folder))
        return folder

    def _keep_open(self, descriptor: int) -> int:
        self._stack.callback(os.close, descriptor)
        return descriptor

    def _take_back(self, written: Written, folder: int) -> None:
        name = written.path.rsplit("/", 1)[-1]
        if written.previous is None:
            os.unlink(name, dir_fd=folder)
            return
        temporary = self._staging / secrets.token_hex(8)
        temporary.write_bytes(written.previous)
        os.replace(temporary, name, dst_dir_fd=folder)


def _open_folder(name: str, folder: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from error
        raise


def _read(folder: int, name: str, shown: Path) -> bytes | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DeployError(f"{shown} exists and is not a plain file. Choose another path.")
        return file.read()


def _move(source: Path, folder: int, name: str, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(source, name, dst_dir_fd=folder)
        return
    try:
        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)  # fails where a file is, in one step
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # a file system without hard links
        if _read(folder, name, source) is not None:
            raise FileExistsError(errno.EEXIST, "exists", name) from None
        os.replace(source, name, dst_dir_fd=folder)


@contextmanager
def _friendly(shown: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise in_the_way(shown) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DeployError(
                f"The way to {shown} leads through a symbolic link, which is not followed. Use a path in a real folder."
            ) from error
        raise DeployError(explain(error, shown)) from error
