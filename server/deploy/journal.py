"""Change several files of a game together, or none, also when the process is killed between two of them.

One deploy or undo, under a lock that all threads and processes share:

1. stage the new bytes; keep the bytes that are replaced in `history/`
2. write a row into `deploy_journal`: what each file holds before and after (SHA-256)
3. make missing folders, put or remove each file
4. in one transaction, record the deployment (or its undo), and the request that asked for it, and delete the row

A row that is found later, by any process, belongs to a change that was cut off: `recover` finishes it where every file
is as after, and else brings every file back to before. A file that somebody else changed in between is left alone. The
journal may come with a cloned game: rows are checked like requests.

A change may carry the id of the request of another machine that asked for it (`server.agent`). `applied` finds it
later, so that a request that arrives twice changes the game once.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from pipelines.errors import explain
from pipelines.files import first_link
from server.deploy.folder import AssetsFolder
from server.errors import DeployError, ServerError
from server.library.records import DeployedFile, Deployment
from server.library.rows import (
    ASSET_ID,
    DIGEST,
    FOLDER_NAME,
    BadRow,
    check_deployed_path,
    deployment_of,
    read_rows,
)
from server.library.store import Library, sha256
from server.project.game import Project

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 60.0
_POLL_SECONDS = 0.005
_STAGED_NAME = re.compile(r"[0-9a-f]{16}")
_REQUEST = re.compile(r"([0-9a-f]{32})?")
_MOST_REQUESTS = 1000
"""Requests that are remembered: one that is sent again is one of the last."""


@dataclass(frozen=True, slots=True)
class Change:
    """One file: the SHA-256 of its bytes before and after (empty: no file), and the staged file of the new bytes."""

    path: str
    before: str
    after: str
    staged: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal. `undoes` is the deployment that is taken back, 0 for a deploy; `path` is the picture's.

    `request`: 32 hex digits, or empty where the change was asked for on this machine.
    """

    id: int
    undoes: int
    asset_id: str
    path: str
    changes: tuple[Change, ...]
    folders: tuple[str, ...]
    created: float
    request: str = ""


def assets_of(game: Project) -> AssetsFolder:
    """Returns the assets folder of a game."""
    return AssetsFolder(game.root, game.style.folders.assets, game.state)


@contextmanager
def exclusive(assets: AssetsFolder, library: Library, timeout: float = _LOCK_SECONDS) -> Iterator[None]:
    """Runs the block while no other thread or process changes this game's files; repairs what a killed one left.

    Raises:
        DeployError: another deploy has not ended within `timeout` seconds, or the lock cannot be made.
    """
    from filelock import FileLock, Timeout

    library.database.make_folder()
    if link := first_link(library.folder):
        raise DeployError(f"{link} is a symbolic link, which is not followed. Put a real file or folder in its place.")
    # Threads of this process queue here, so that only one of them polls the file.
    if not library.deploying.acquire(timeout=timeout):
        raise _busy(library.folder)
    try:
        lock = FileLock(library.folder / "deploy.lock", timeout=timeout, poll_interval=_POLL_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise _busy(library.folder) from error
        except OSError as error:
            raise DeployError(explain(error, library.folder / "deploy.lock")) from error
        try:
            for entry in pending(library):
                settle(assets, library, entry)
            assets.sweep()
            yield
        finally:
            lock.release()
    finally:
        library.deploying.release()


def recover(game: Project, library: Library) -> None:
    """Finishes or takes back what a killed process left. Does nothing while a deploy runs, or in a read-only game."""
    try:
        assets = assets_of(game)
        if _any(library) or assets.has_staged():
            with exclusive(assets, library, timeout=0):
                pass
    except ServerError as error:
        logger.info("The deploy that was cut off in %s is not repaired now: %s", game.root, error)


def change(
    assets: AssetsFolder,
    library: Library,
    asset_id: str,
    path: str,
    files: Mapping[str, tuple[bytes | None, bytes | None]],
    *,
    overwrite: bool,
    undoes: int = 0,
    request: str = "",
) -> Deployment | None:
    """Changes the files, all or none, and records the deployment, or that the deployment `undoes` is undone.

    Call it inside `exclusive`.

    Args:
        path: the picture's, by which an undo finds the deployment.
        files: path -> (the bytes before, the bytes after); None: no file.
        overwrite: whether a file that appears in between may be replaced.
        request: what `applied` finds the change by; empty: nothing.

    Raises:
        DeployError, LibraryError: a file is in the way, or the disk refuses; nothing was changed then.
    """
    try:
        changes = tuple(
            Change(
                place,
                "" if before is None else library.keep(before),
                "" if after is None else sha256(after),
                "" if after is None else assets.stage(place, after),
            )
            for place, (before, after) in files.items()
        )
        folders = tuple(assets.missing(files))
        entry = _begin(library, Entry(0, undoes, asset_id, path, changes, folders, time.time(), request))
    except BaseException:
        assets.sweep()
        raise
    try:
        _apply(assets, entry, overwrite=overwrite)
        return _commit(library, entry)
    except BaseException:
        _take_back(assets, library, entry)
        raise
    finally:
        assets.sweep()


def applied(library: Library, request: str) -> tuple[str, Deployment] | None:
    """Returns what a request has changed: written, replaced or undone, and the deployment; None where it has not."""
    with library.database.read() as connection:
        if connection is None or not request:
            return None
        rows = connection.execute(
            "SELECT deployments.*, state FROM deploy_requests JOIN deployments ON deployments.id = deployment "
            "WHERE deploy_requests.id = ?",
            (request,),
        ).fetchall()
    found = read_rows(rows, deployment_of, library.refuse("deployment"))
    return (str(rows[0]["state"]), found[0]) if found else None


def pending(library: Library) -> list[Entry]:
    """Lists changes that have begun and not ended, the oldest first. Rows that break a rule are deleted and logged."""
    if not _any(library):
        return []
    bad: list[str] = []
    with library.database.read() as connection:
        rows = connection.execute("SELECT * FROM deploy_journal ORDER BY id").fetchall() if connection else []

    def refuse(row_id: str, reason: str) -> None:
        library.refuse("journal row")(row_id, reason)
        bad.append(row_id)

    entries = read_rows(rows, _entry, refuse)
    if bad:
        with library.database.write() as connection:
            connection.executemany("DELETE FROM deploy_journal WHERE id = ?", [(row_id,) for row_id in bad])
    return entries


def settle(assets: AssetsFolder, library: Library, entry: Entry) -> None:
    """Finishes a change that was cut off, where every file is as after; else brings every file back to before.

    Raises:
        DeployError, LibraryError: the disk refuses; the row stays, and the next process tries again.
    """
    now = _states(assets, entry)
    if all(now[change.path] == change.after for change in entry.changes):
        _commit(library, entry)
        logger.warning("A deploy of %s that was cut off is finished", entry.path)
        return
    changed = [c for c in entry.changes if now[c.path] == c.after != c.before]
    if all(not c.before or library.holds(c.before) for c in changed):
        _restore(assets, library, entry, changed)
        logger.warning("A deploy of %s that was cut off is taken back", entry.path)
        return
    # The earlier bytes are gone: finish with the staged ones where they are whole.
    open_ones = [c for c in entry.changes if now[c.path] == c.before != c.after]
    if all(not c.after or _digest(assets.staged(c.staged)) == c.after for c in open_ones):
        assets.make_folders(assets.missing([c.path for c in open_ones]))
        for c in open_ones:
            _apply_one(assets, c, overwrite=True)
        _commit(library, entry)
        return
    logger.warning("A deploy of %s was cut off, and neither the old nor the new bytes are whole", entry.path)
    _end(library, entry)


def _begin(library: Library, entry: Entry) -> Entry:
    with library.database.write(durable=True) as connection:
        row = connection.execute(
            "INSERT INTO deploy_journal (undoes, asset_id, path, changes, folders, created, request) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                entry.undoes,
                entry.asset_id,
                entry.path,
                json.dumps([astuple(change) for change in entry.changes]),
                json.dumps(entry.folders),
                entry.created,
                entry.request,
            ),
        ).fetchone()
    return replace(entry, id=row["id"])


def _apply(assets: AssetsFolder, entry: Entry, *, overwrite: bool) -> None:
    assets.make_folders(entry.folders)
    for one in entry.changes:
        _apply_one(assets, one, overwrite=overwrite)


def _apply_one(assets: AssetsFolder, one: Change, *, overwrite: bool) -> None:
    if one.after:
        assets.place(one.staged, one.path, overwrite=overwrite)
    else:
        assets.remove(one.path)


def _commit(library: Library, entry: Entry) -> Deployment | None:
    """Records the deployment or the undo and deletes the row, in one transaction."""
    files = tuple(DeployedFile(c.path, c.after, c.before) for c in entry.changes)
    with library.database.write(durable=True) as connection:
        connection.execute("DELETE FROM deploy_journal WHERE id = ?", (entry.id,))
        if entry.undoes:
            connection.execute("UPDATE deployments SET undone = 1 WHERE id = ?", (entry.undoes,))
            _remember(connection, entry, "undone", entry.undoes)
            return None
        row = connection.execute(
            "INSERT INTO deployments (asset_id, path, files, created, verification) VALUES (?, ?, ?, ?, '') "
            "RETURNING id",
            (entry.asset_id, entry.path, json.dumps([astuple(file) for file in files]), entry.created),
        ).fetchone()
        _remember(connection, entry, "replaced" if any(c.before for c in entry.changes) else "written", row["id"])
    return Deployment(row["id"], entry.asset_id, files, entry.created, "", path=entry.path)


def _remember(connection: sqlite3.Connection, entry: Entry, state: str, deployment: int) -> None:
    """Records that the entry's request is done, inside the transaction that records what it did."""
    if entry.request:
        connection.execute(
            "INSERT OR REPLACE INTO deploy_requests (id, deployment, state, created) VALUES (?, ?, ?, ?)",
            (entry.request, deployment, state, time.time()),
        )
        connection.execute(
            "DELETE FROM deploy_requests WHERE id NOT IN "
            "(SELECT id FROM deploy_requests ORDER BY created DESC LIMIT ?)",
            (_MOST_REQUESTS,),
        )


def _end(library: Library, entry: Entry) -> None:
    with library.database.write() as connection:
        connection.execute("DELETE FROM deploy_journal WHERE id = ?", (entry.id,))


def _take_back(assets: AssetsFolder, library: Library, entry: Entry) -> None:
    """Brings back what a failed change has replaced. Where that fails too, the row stays for the next process."""
    try:
        now = _states(assets, entry)
        _restore(assets, library, entry, [c for c in entry.changes if now[c.path] == c.after != c.before])
    except (ServerError, OSError):
        logger.exception("A failed deploy of %s could not be taken back; the next call tries again", entry.path)


def _restore(assets: AssetsFolder, library: Library, entry: Entry, changed: Sequence[Change]) -> None:
    assets.make_folders(assets.missing([c.path for c in changed if c.before]))
    for c in changed:
        if c.before:
            assets.place(assets.stage(c.path, library.kept(c.before)), c.path, overwrite=True)
        else:
            assets.remove(c.path)
    assets.remove_folders(entry.folders)
    _end(library, entry)


def _any(library: Library) -> bool:
    with library.database.read() as connection:
        return bool(connection and connection.execute("SELECT 1 FROM deploy_journal LIMIT 1").fetchone())


def _entry(row: sqlite3.Row) -> Entry:
    """Returns the entry of a row.

    Raises:
        BadRow, ValueError, TypeError: a value breaks a rule.
    """
    changes = tuple(Change(*values) for values in json.loads(row["changes"]))
    folders = tuple(json.loads(row["folders"]))
    if not (isinstance(row["undoes"], int) and ASSET_ID.fullmatch(row["asset_id"]) and math.isfinite(row["created"])):
        raise BadRow("its asset id, its time or its deployment breaks a rule")
    check_deployed_path(row["path"])
    for one in changes:
        check_deployed_path(one.path)
        if not all(digest == "" or DIGEST.fullmatch(digest) for digest in (one.before, one.after)):
            raise BadRow("a digest is not 64 hex digits")
        if one.staged and not _STAGED_NAME.fullmatch(one.staged):
            raise BadRow("the name of a staged file breaks a rule")
    for folder in folders:
        if folder and not all(FOLDER_NAME.fullmatch(part) for part in folder.split("/")):
            raise BadRow("a folder breaks the rules of paths in assets/")
    if not _REQUEST.fullmatch(row["request"]):
        raise BadRow("the id of its request is not 32 hex digits")
    return Entry(
        row["id"], row["undoes"], row["asset_id"], row["path"], changes, folders, row["created"], row["request"]
    )


def _states(assets: AssetsFolder, entry: Entry) -> dict[str, str]:
    """Returns path -> SHA-256 of the file now; "?" if a folder, a link, a device or a huge file is there."""
    states: dict[str, str] = {}
    for one in entry.changes:
        try:
            states[one.path] = _digest(assets.read(one.path))
        except DeployError as error:
            if getattr(error.__cause__, "errno", 0) not in (errno.ELOOP, errno.EINVAL, errno.ENOTDIR, errno.EOVERFLOW):
                raise
            states[one.path] = "?"
    return states


def _digest(data: bytes | None) -> str:
    return "" if data is None else sha256(data)


def _busy(folder: Path) -> DeployError:
    return DeployError(
        f"Another deploy into {folder.parent} has not ended within {_LOCK_SECONDS:.0f} seconds. Ask again."
    )
