"""What was made: one folder and one SQLite database a game, in `.dgx-pixels/` (or the user's data folder).

    library.sqlite           assets with recipe, gates and details; deployments
    assets/<id>/<name>       an asset's files
    history/<sha256>         bytes that a deployment replaced, for undo
    staging/                 files on their way into assets/ (see `server.deploy.deploy`)

Owns identity (content-hash ids), files and rows. Knows nothing of tools, engines or games. Safe for several threads
and several servers at once: rows are written under a lock, files before the row that names them.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import LibraryError, explain
from server.library.records import KINDS, Asset, AssetFile, DeployedFile, Deployment

if TYPE_CHECKING:
    from pipelines.records import Recipe

ASSET_ID = re.compile(r"[0-9a-f]{12}")
_FILE_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS assets (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, prompt TEXT NOT NULL, files TEXT NOT NULL, recipe TEXT NOT NULL,
    report TEXT NOT NULL, details TEXT NOT NULL, created REAL NOT NULL);
CREATE INDEX IF NOT EXISTS assets_created ON assets (created);
CREATE TABLE IF NOT EXISTS deployments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, asset_id TEXT NOT NULL, path TEXT NOT NULL, files TEXT NOT NULL,
    created REAL NOT NULL, verification TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS deployments_path ON deployments (path, id);
"""


def sha256(data: bytes) -> str:
    """The SHA-256 of the bytes in hex."""
    return hashlib.sha256(data).hexdigest()


class Library:
    """The assets and deployments of one game."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._database = folder / "library.sqlite"
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    # Assets

    def add(
        self,
        kind: str,
        files: Mapping[str, bytes],
        recipe: Recipe,
        report: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Asset:
        """Keeps an asset and returns it; one that is there already is returned as it is.

        Args:
            kind: one of `KINDS`.
            files: name -> bytes, the picture first; names are lower case (`sprite.png`, `layout.json`).
            recipe: what makes it again.
            report: gates and scores as JSON values.
            details: what only this kind knows, as JSON values.

        Raises:
            LibraryError: the disk is full or may not be written; nothing is kept then.
        """
        if kind not in KINDS or not files or not all(_FILE_NAME.fullmatch(name) for name in files):
            raise ValueError(f"not an asset: {kind} {list(files)}")
        entries = tuple(AssetFile(name, sha256(data), len(data)) for name, data in files.items())
        identity = recipe.to_json() + "".join(f"|{e.name}:{e.sha256}" for e in entries)
        asset = Asset(
            hashlib.sha256(identity.encode()).hexdigest()[:12],
            kind,
            entries,
            recipe,
            time.time(),
            dict(report or {}),
            dict(details or {}),
        )
        folder = self.folder / "assets" / asset.id
        with self._write(folder) as connection:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                write_atomically(folder / name, data)
            connection.execute(
                "INSERT OR IGNORE INTO assets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    asset.id,
                    kind,
                    recipe.prompt,
                    json.dumps([[e.name, e.sha256, e.size] for e in entries]),
                    recipe.to_json(),
                    json.dumps(asset.report),
                    json.dumps(asset.details),
                    asset.created,
                ),
            )
        return asset

    def get(self, asset_id: str) -> Asset:
        """The asset with this id.

        Raises:
            LibraryError: the id has the wrong form, or there is no such asset.
        """
        if not ASSET_ID.fullmatch(asset_id):
            raise LibraryError(
                f"'{asset_id[:40]}' is no asset id: an id is 12 characters of 0-9 and a-f, as in a result's asset_id."
            )
        with self._read() as connection:
            row = connection and connection.execute("SELECT * FROM assets WHERE id = ?", (asset_id,)).fetchone()
        if not row:
            raise LibraryError(f"There is no asset {asset_id} in {self.folder}. list_assets shows what there is.")
        return _asset(row)

    def has(self, asset_id: str) -> bool:
        """Whether there is an asset with this id."""
        with self._read() as connection:
            return bool(connection and connection.execute("SELECT 1 FROM assets WHERE id = ?", (asset_id,)).fetchone())

    def find(self, words: str = "", kind: str = "", limit: int = 50, offset: int = 0) -> tuple[list[Asset], int]:
        """The newest assets whose prompt or id holds `words`, and how many there are in all."""
        where, values = "(prompt LIKE ? ESCAPE '\\' OR id = ?)", [f"%{_like(words)}%", words]
        if kind:
            where, values = f"{where} AND kind = ?", [*values, kind]
        with self._read() as connection:
            if connection is None:
                return [], 0
            total = connection.execute(f"SELECT count(*) FROM assets WHERE {where}", values).fetchone()[0]
            rows = connection.execute(
                f"SELECT * FROM assets WHERE {where} ORDER BY created DESC, id LIMIT ? OFFSET ?",
                [*values, limit, offset],
            ).fetchall()
        return [_asset(row) for row in rows], total

    def path(self, asset: Asset, name: str = "") -> Path:
        """Where the asset's file lies; the picture where no name is given."""
        return self.folder / "assets" / asset.id / (name or asset.files[0].name)

    def read(self, asset: Asset, name: str = "") -> bytes:
        """The bytes of the asset's file.

        Raises:
            LibraryError: the asset has no such file, or the file was changed or removed by hand.
        """
        entry = next((e for e in asset.files if e.name == (name or asset.files[0].name)), None)
        if entry is None:
            names = ", ".join(e.name for e in asset.files)
            raise LibraryError(f"Asset {asset.id} has no file {name}. It has: {names}.")
        path = self.path(asset, entry.name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LibraryError(f"{explain(error, path)} Make the asset again with the same prompt and seed.") from error
        if sha256(data) != entry.sha256:
            raise LibraryError(f"{path} was changed after it was made. Make the asset again with the same seed.")
        return data

    # Deployments

    def keep(self, data: bytes) -> str:
        """Keeps bytes that are about to be replaced, and returns their SHA-256 (hex)."""
        digest = sha256(data)
        path = self.folder / "history" / digest
        with self._write(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_atomically(path, data)
        return digest

    def kept(self, digest: str) -> bytes:
        """The bytes that `keep` kept.

        Raises:
            LibraryError: they are gone.
        """
        path = self.folder / "history" / digest
        try:
            return path.read_bytes()
        except OSError as error:
            raise LibraryError(f"The earlier bytes are gone: {explain(error, path)}") from error

    def record_deployment(self, asset_id: str, files: Sequence[DeployedFile]) -> Deployment:
        """Notes what is about to be put into assets/; the picture is the first of the files."""
        created = time.time()
        with self._write(self.folder) as connection:
            row = connection.execute(
                "INSERT INTO deployments (asset_id, path, files, created, verification) VALUES (?, ?, ?, ?, '') "
                "RETURNING id",
                (asset_id, files[0].path, json.dumps([astuple(file) for file in files]), created),
            ).fetchone()
        return Deployment(row[0], asset_id, tuple(files), created, "")

    def forget_deployment(self, deployment_id: int) -> None:
        """Takes back the note of a deployment that did not happen."""
        with self._write(self.folder) as connection:
            connection.execute("DELETE FROM deployments WHERE id = ?", (deployment_id,))

    def update_deployment(
        self, deployment_id: int, *, verification: str | None = None, undone: bool | None = None
    ) -> None:
        """Changes what is known of a deployment."""
        with self._write(self.folder) as connection:
            connection.execute(
                "UPDATE deployments SET verification = coalesce(?, verification), undone = coalesce(?, undone) "
                "WHERE id = ?",
                (verification, undone, deployment_id),
            )

    def deployments(self, path: str = "", asset_ids: Sequence[str] = (), limit: int = 50) -> list[Deployment]:
        """The newest deployments that are not undone, of one path or of some assets where given."""
        places = ",".join("?" * len(asset_ids))
        with self._read() as connection:
            if connection is None:
                return []
            rows = connection.execute(
                "SELECT id, asset_id, files, created, verification, undone FROM deployments "
                f"WHERE undone = 0 AND (? IN ('', path)) {f'AND asset_id IN ({places})' if places else ''} "
                "ORDER BY id DESC LIMIT ?",
                (path, *asset_ids, limit),
            ).fetchall()
        return [
            Deployment(
                key,
                asset,
                tuple(DeployedFile(*file) for file in json.loads(files)),
                created,
                verification,
                bool(undone),
            )
            for key, asset, files, created, verification, undone in rows
        ]

    # Connections

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection | None]:
        """A connection to read with; None where nothing was ever kept (reading makes no folder)."""
        if not self._database.is_file():
            yield None
            return
        with self._friendly(self.folder), self._lock:
            yield self._connect()

    @contextmanager
    def _write(self, path: Path) -> Iterator[sqlite3.Connection]:
        """A connection to write with; all of the block's rows are kept, or none."""
        with self._friendly(path), self._lock:
            if not self._database.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self.folder / ".gitignore", b"*\n")
            with self._connect() as connection:
                yield connection

    def _connect(self) -> sqlite3.Connection:
        """The open connection, or a new one where the file was removed or replaced under it."""
        try:
            status = self._database.stat()
            identity = (status.st_dev, status.st_ino)
        except FileNotFoundError:
            identity = None
        if self._connection is None or identity != self._identity:
            from filelock import FileLock

            self.close()
            # One opens at a time: SQLite does not wait, but says "locked", when two change the journal mode at once.
            with FileLock(self.folder / "library.lock", timeout=10):
                self._connection = sqlite3.connect(self._database, timeout=10, check_same_thread=False)
                # WAL with NORMAL: a commit waits for no disk; after a power cut the last rows may miss, never break.
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.executescript(_SCHEMA)
            status = self._database.stat()
            self._identity = (status.st_dev, status.st_ino)
        return self._connection

    def close(self) -> None:
        """Closes the database; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _friendly(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LibraryError(explain(error, path)) from error
        except sqlite3.Error as error:
            raise LibraryError(
                f"The library {self._database} cannot be used: {error}. If the disk has room and the folder may be "
                "written, move library.sqlite away; a new one is made (the pictures stay)."
            ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Writes the file whole or not at all: a temporary file beside it, then renamed over it.

    Does not wait for the disk: whoever reads checks a hash.

    Raises:
        OSError: as the operating system says; the old file is untouched and nothing is left behind.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.part"
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _asset(row: tuple[Any, ...]) -> Asset:
    from pipelines.records import Recipe

    asset_id, kind, _, files, recipe, report, details, created = row
    return Asset(
        asset_id,
        kind,
        tuple(AssetFile(*entry) for entry in json.loads(files)),
        Recipe.from_json(recipe),
        created,
        json.loads(report),
        json.loads(details),
    )


def _like(words: str) -> str:
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
