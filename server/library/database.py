"""The SQLite connection of a library: opened when first used, migrated, shared by all threads of a process.

Several servers may have the same file open (WAL). A library that may not be written is read from a copy in memory, so
that what was made can be listed in a read-only game.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pipelines.errors import explain
from pipelines.files import first_link
from server.errors import LibraryError
from server.library.files import folder_below, read_at, write_below
from server.library.migrations import migrate

logger = logging.getLogger(__name__)

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_BUSY_SECONDS = 10
"""How long to wait for another process that writes."""

_LONGEST_VALUE = 16 << 20
"""Bytes of one row: the layout of the largest sheet has 1 MiB. A hundred megabytes of JSON would fill the memory."""


class Database:
    """`library.sqlite` in a folder. Rows are `sqlite3.Row`: columns are read by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "library.sqlite"
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, ...] | None = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """Yields a connection to read with; None where nothing was ever kept (reading makes no folder).

        Raises:
            LibraryError: the database cannot be used.
        """
        with self._friendly(), self._lock:
            if self._identify() is None:
                yield None
                return
            yield self._open()

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Yields a connection inside a transaction: all of the block's rows are kept, or none.

        Args:
            durable: whether the commit waits until the disk has the rows.

        Raises:
            LibraryError: the database cannot be used, or may not be written.
        """
        with self._friendly(), self._lock:
            self.make_folder()
            connection = self._open()
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def make_folder(self) -> None:
        """Makes the library's folder, which keeps itself out of git, where it is missing.

        Raises:
            LibraryError: the disk refuses.
        """
        with self._friendly():
            if not self._path.is_file():
                self._folder.mkdir(parents=True, exist_ok=True)
                write_below(self._folder, ".gitignore", data=b"*\n")

    def close(self) -> None:
        """Closes the database; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _identify(self) -> tuple[int, ...] | None:
        try:
            status = self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if self._writable():
            return status.st_dev, status.st_ino
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def _writable(self) -> bool:
        return os.access(self._folder, os.W_OK) and (not self._path.exists() or os.access(self._path, os.W_OK))

    def _open(self) -> sqlite3.Connection:
        """Returns the open connection, or a new one if the file was removed or replaced."""
        identity = self._identify()
        if self._connection is None or identity is None or identity != self._identity:
            self.close()
            if link := first_link(self._folder):
                raise LibraryError(
                    f"{link} is a symbolic link, which is not followed. Put a real file or folder in its place (with "
                    "the same content), or remove the link."
                )
            _refuse_odd_files(self._path)
            _refuse_super_journal(self._path)
            self._connection = self._connect() if self._writable() else self._copy()
            self._identity = self._identify()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        from filelock import FileLock, Timeout

        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            # One process opens at a time: SQLite does not wait, but answers "locked", when two set the journal mode.
            with FileLock(self._folder / "library.lock", timeout=_BUSY_SECONDS):
                _prepare(connection)
                # WAL with NORMAL: a commit does not wait for the disk; a power cut may lose the last rows.
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection, self._folder)
        except Timeout as error:
            connection.close()
            raise LibraryError(
                f"Another process has been opening {self._path} for {_BUSY_SECONDS} seconds. Ask again."
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _copy(self) -> sqlite3.Connection:
        """Returns a copy in memory, migrated there."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            for mode in ("mode=ro", "immutable=1"):  # the second where SQLite may not even make its -shm file
                try:
                    with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?{mode}", uri=True)) as source:
                        source.backup(connection)
                    break
                except sqlite3.OperationalError:
                    if mode == "immutable=1":
                        raise
            _prepare(connection)
            migrate(connection, self._folder)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _friendly(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LibraryError(explain(error, self._folder)) from error
        except sqlite3.Error as error:
            raise LibraryError(self._explain(error)) from error

    def _explain(self, error: sqlite3.Error) -> str:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_FULL:
                return (
                    f"There is no room left to write {self._path}. Nothing was changed; free some space and ask again."
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                return (
                    f"{self._path} may not be written. Nothing was changed; check the folder's permissions and ask "
                    "again."
                )
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return f"Another process has been writing {self._path} for {_BUSY_SECONDS} seconds. Ask again."
            case _:
                return (
                    f"The library {self._path} cannot be used: {error}. Move library.sqlite away; a new one is made "
                    "(the pictures stay)."
                )


def _refuse_odd_files(path: Path) -> None:
    """Refuses pipes, devices and folders in the place of the database's files: SQLite would wait for a writer."""
    for ending in ("", "-wal", "-shm", "-journal"):
        file = path.with_name(path.name + ending)
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(file.lstat().st_mode):
                raise LibraryError(f"{file} is a folder, pipe or device. Delete it; a new library is made.")


def _refuse_super_journal(path: Path) -> None:
    """Refuses a rollback journal that names a super-journal: SQLite would delete the file of that name anywhere.

    Our own never name one (sqlite.org/fileformat.html, "The Rollback Journal"; pager_delsuper in pager.c). Such a
    journal can only come with a game that somebody prepared.
    """
    journal = path.with_name(f"{path.name}-journal")
    try:
        with folder_below(journal.parent, []) as folder:
            ends = read_at(folder, journal.name)[-len(_JOURNAL_MAGIC) :]
    except FileNotFoundError:
        return
    if ends == _JOURNAL_MAGIC:
        raise LibraryError(f"{journal} names another file, which SQLite would delete. Delete {journal.name}.")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA trusted_schema = OFF")  # functions in a foreign schema do nothing
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
