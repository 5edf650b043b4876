"""The versions of a library's database: each function brings it from one `PRAGMA user_version` to the next.

To change the tables, append a function to MIGRATIONS; never edit one that was released. A function gets a connection
inside a transaction and the library's folder (None where the tables are made in memory to compare with).
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path

from server.errors import LibraryError

logger = logging.getLogger(__name__)

_MOST_ROWS = 1 << 53

Migration = Callable[[sqlite3.Connection, Path | None], None]


def _assets_and_deployments(connection: sqlite3.Connection, _: Path | None) -> None:
    """Creates the tables of libraries that had no version yet, where they are missing."""
    _execute(
        connection,
        "CREATE TABLE IF NOT EXISTS assets ("
        " id TEXT PRIMARY KEY, kind TEXT NOT NULL, prompt TEXT NOT NULL, files TEXT NOT NULL, recipe TEXT NOT NULL,"
        " report TEXT NOT NULL, details TEXT NOT NULL, created REAL NOT NULL)",
        "CREATE INDEX IF NOT EXISTS assets_created ON assets (created)",
        "CREATE TABLE IF NOT EXISTS deployments ("
        " id INTEGER PRIMARY KEY AUTOINCREMENT, asset_id TEXT NOT NULL, path TEXT NOT NULL, files TEXT NOT NULL,"
        " created REAL NOT NULL, verification TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0)",
        "CREATE INDEX IF NOT EXISTS deployments_path ON deployments (path, id)",
    )


def _indexes_of_lists(connection: sqlite3.Connection, _: Path | None) -> None:
    """Adds an index that answers list_assets without the wide rows, and one for the deployments of some assets."""
    _execute(
        connection,
        "DROP INDEX IF EXISTS assets_created",
        "CREATE INDEX assets_listed ON assets (created DESC, id, kind, prompt)",
        "CREATE INDEX deployments_asset ON deployments (asset_id, id)",
    )


def _comparisons(connection: sqlite3.Connection, folder: Path | None) -> None:
    """Takes over the rows of comparisons.sqlite. The old file stays where it is and is not read again."""
    _execute(
        connection,
        "CREATE TABLE comparisons ("
        " id TEXT PRIMARY KEY, variants TEXT NOT NULL, prompts TEXT NOT NULL, seeds TEXT NOT NULL,"
        " blind INTEGER NOT NULL, created REAL NOT NULL)",
        "CREATE TABLE comparison_cells ("
        " comparison TEXT NOT NULL REFERENCES comparisons, variant INTEGER NOT NULL, prompt INTEGER NOT NULL,"
        " seed INTEGER NOT NULL, asset_id TEXT NOT NULL, PRIMARY KEY (comparison, variant, prompt, seed))",
        "CREATE TABLE comparison_votes ("
        " comparison TEXT NOT NULL REFERENCES comparisons, prompt INTEGER NOT NULL, winner INTEGER NOT NULL,"
        " created REAL NOT NULL, PRIMARY KEY (comparison, prompt))",
        "CREATE INDEX comparisons_created ON comparisons (created DESC)",
    )
    old = folder / "comparisons.sqlite" if folder else None
    if old is None or old.is_symlink() or not old.is_file():
        return
    try:
        # A connection of its own: a file that came with a game is never attached to the library.
        with closing(sqlite3.connect(f"{old.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as source:
            if _schema(source) != _schema_of_old_comparisons():
                logger.warning("%s has a form that dgx-pixels did not make: its comparisons are left out", old)
                return
            for table, into, columns in (
                ("comparisons", "comparisons", 6),
                ("cells", "comparison_cells", 5),
                ("votes", "comparison_votes", 4),
            ):
                rows = source.execute(f"SELECT * FROM {table}").fetchall()
                connection.executemany(f"INSERT OR IGNORE INTO {into} VALUES ({','.join('?' * columns)})", rows)
    except sqlite3.Error as error:
        logger.warning("%s cannot be read (%s): its comparisons are left out", old, error)


@cache
def _schema_of_old_comparisons() -> frozenset[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _execute(
            connection,
            "CREATE TABLE comparisons (id TEXT PRIMARY KEY, variants TEXT NOT NULL, prompts TEXT NOT NULL,"
            " seeds TEXT NOT NULL, blind INTEGER NOT NULL, created REAL NOT NULL)",
            "CREATE TABLE cells (comparison TEXT NOT NULL REFERENCES comparisons, variant INTEGER NOT NULL,"
            " prompt INTEGER NOT NULL, seed INTEGER NOT NULL, asset_id TEXT NOT NULL,"
            " PRIMARY KEY (comparison, variant, prompt, seed))",
            "CREATE TABLE votes (comparison TEXT NOT NULL REFERENCES comparisons, prompt INTEGER NOT NULL,"
            " winner INTEGER NOT NULL, created REAL NOT NULL, PRIMARY KEY (comparison, prompt))",
        )
        return _schema(connection)


def _deploy_journal(connection: sqlite3.Connection, _: Path | None) -> None:
    """Adds the journal, a row for each deploy or undo that has begun and not ended (see `server.deploy.journal`)."""
    _execute(
        connection,
        "CREATE TABLE deploy_journal ("
        " id INTEGER PRIMARY KEY AUTOINCREMENT, undoes INTEGER NOT NULL, asset_id TEXT NOT NULL, path TEXT NOT NULL,"
        " changes TEXT NOT NULL, folders TEXT NOT NULL, created REAL NOT NULL)",
    )


def _deploy_requests(connection: sqlite3.Connection, _: Path | None) -> None:
    """Adds the requests of other machines that were applied, so that one that arrives twice changes nothing again."""
    _execute(
        connection,
        "ALTER TABLE deploy_journal ADD COLUMN request TEXT NOT NULL DEFAULT ''",
        "CREATE TABLE deploy_requests ("
        " id TEXT PRIMARY KEY, deployment INTEGER NOT NULL, state TEXT NOT NULL, created REAL NOT NULL)",
    )


MIGRATIONS: tuple[Migration, ...] = (
    _assets_and_deployments,
    _indexes_of_lists,
    _comparisons,
    _deploy_journal,
    _deploy_requests,
)


def migrate(connection: sqlite3.Connection, folder: Path | None) -> None:
    """Brings the database to the newest version, one transaction per step, and checks its tables before and after.

    Raises:
        LibraryError: a newer dgx-pixels made the database, or its tables are not those that dgx-pixels makes.
        sqlite3.Error: the file is not a database, is locked, or cannot be written.
    """
    while True:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= version <= len(MIGRATIONS):
            raise LibraryError(
                f"{folder} was made by a newer dgx-pixels (library version {version}; this one reads up to "
                f"{len(MIGRATIONS)}). Update dgx-pixels."
            )
        check_schema(connection, version, folder)
        if version == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken this step while we waited for the lock.
            if connection.execute("PRAGMA user_version").fetchone()[0] == version:
                MIGRATIONS[version](connection, folder)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def check_schema(connection: sqlite3.Connection, version: int, folder: Path | None) -> None:
    """Refuses a database that holds anything else than the tables and indexes of this version.

    A database that comes with a cloned game could hold triggers, or views in the place of tables.

    Raises:
        LibraryError: with the name of what does not belong there.
    """
    found = _schema(connection)
    if version == 0 and not found:
        return
    wanted = _schema_of(max(version, 1))
    odd = sorted(f"{kind} {name}" for kind, name, _ in found ^ wanted)
    if odd:
        named = ", ".join(_printable(item) for item in odd[:3])
        raise LibraryError(
            f"{folder} has a library.sqlite that dgx-pixels did not make in this form ({named}). Move library.sqlite "
            "away; a new one is made (the pictures stay)."
        )
    _check_numbers(connection, folder)


def _check_numbers(connection: sqlite3.Connection, folder: Path | None) -> None:
    """Refuses numbers of rows that leave none for the next row: SQLite would answer that the disk is full."""
    tables = {name for kind, name, _ in _schema(connection) if kind == "table"}
    for table in {"deployments", "deploy_journal"} & tables:
        counted = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()[0]
        largest = connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0]
        if any(isinstance(number, int) and number > _MOST_ROWS for number in (counted, largest)):
            raise LibraryError(
                f"{folder} has a library.sqlite whose {table} are numbered up to the end. Move library.sqlite away; a "
                "new one is made (the pictures stay)."
            )


def _schema(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return frozenset(
        (str(kind), str(name), re.sub(r"\s+|IF NOT EXISTS", "", str(sql)))
        for kind, name, sql in rows
        if not (str(name).startswith("sqlite_") and str(kind) in ("table", "index"))
    )


@cache
def _schema_of(version: int) -> frozenset[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for step in MIGRATIONS[:version]:
            step(connection, None)
        return _schema(connection)


def _execute(connection: sqlite3.Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement)  # executescript would commit the transaction


def _printable(text: str) -> str:
    return json.dumps(text[:40]).strip('"')
