"""Keep what was made: one folder and one SQLite database per game, in `.dgx-pixels/` (or the user's data folder).

    library.sqlite           assets with recipe, gates and details; deployments; comparisons
    assets/<id>/<name>       the files of an asset
    history/<sha256>         bytes that a deployment replaced, for undo
    staging/                 files on their way into assets/ (see `server.deploy`)

Ids are content hashes. Several threads and several servers may use one library: rows are written in transactions, files
before the row that names them. The folder may come with a cloned game, so rows are checked (`server.library.rows`) and
symbolic links are refused (`server.library.files`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import explain
from server.errors import LibraryError
from server.library.database import Database
from server.library.files import read_below, write_atomically, write_below
from server.library.records import KINDS, Asset, AssetFile, Deployment
from server.library.rows import ASSET_ID, DIGEST, FILE_NAME, asset_of, clip, deployment_of, read_rows

if TYPE_CHECKING:
    from pipelines.records import Recipe

__all__ = ["ASSET_ID", "Library", "sha256", "write_atomically"]

logger = logging.getLogger(__name__)

DERIVED = ("tiles.ldtk", "embedded.tmx")
"""Files that follow from the others and came with a later version: they do not change an asset's id."""
_MOST_IGNORED = 20
"""How many refused rows a library remembers to name."""


def sha256(data: bytes) -> str:
    """Returns the SHA-256 of the bytes in hex."""
    return hashlib.sha256(data).hexdigest()


class Library:
    """The assets and deployments of one game."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deploying = threading.Lock()
        """Held by the thread of this process that deploys or undoes (see `server.deploy.journal`)."""
        self.database = Database(folder)
        self.ignored: dict[str, str] = {}
        """Rows that break a rule and are left out: what and why."""

    # Assets

    def add(
        self,
        kind: str,
        files: Mapping[str, bytes],
        recipe: Recipe,
        report: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Asset:
        """Keeps an asset and returns it; the row of an equal asset stays as it is.

        Args:
            kind: one of `KINDS`.
            files: name -> bytes, the picture first; names are lower case (`sprite.png`, `layout.json`).
            recipe: what makes it again.
            report: gates and scores as JSON values.
            details: what only this kind has, as JSON values.

        Raises:
            LibraryError: the disk is full or may not be written; nothing is kept then.
        """
        if kind not in KINDS or not files or not all(FILE_NAME.fullmatch(name) for name in files):
            raise ValueError(f"not an asset: {kind} {list(files)}")
        entries = tuple(AssetFile(name, sha256(data), len(data)) for name, data in files.items())
        identity = recipe.to_json() + "".join(f"|{e.name}:{e.sha256}" for e in entries if e.name not in DERIVED)
        asset = Asset(
            hashlib.sha256(identity.encode()).hexdigest()[:12],
            kind,
            entries,
            recipe,
            time.time(),
            dict(report or {}),
            dict(details or {}),
        )
        self.database.make_folder()
        for name, data in files.items():
            self._write(data, "assets", asset.id, name)
        with self.database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO assets (id, kind, prompt, files, recipe, report, details, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    asset.id,
                    kind,
                    recipe.prompt,
                    json.dumps([astuple(entry) for entry in entries]),
                    recipe.to_json(),
                    json.dumps(asset.report),
                    json.dumps(asset.details),
                    asset.created,
                ),
            )
        return asset

    def get(self, asset_id: str) -> Asset:
        """Returns the asset with this id.

        Raises:
            LibraryError: the id has the wrong form, or the asset does not exist.
        """
        if not ASSET_ID.fullmatch(asset_id):
            raise LibraryError(
                f"'{clip(asset_id)}' is not an asset id: an id is 12 characters of 0-9 and a-f, as in a result's "
                "asset_id."
            )
        if asset := self.get_many([asset_id]).get(asset_id):
            return asset
        if reason := self.ignored.get(f"asset {asset_id}"):
            raise LibraryError(f"Asset {asset_id} in {self.folder} cannot be used: {reason}. Make it again.")
        raise LibraryError(f"There is no asset {asset_id} in {self.folder}. list_assets shows what there is.")

    def get_many(self, asset_ids: Iterable[str]) -> dict[str, Asset]:
        """Returns the assets with these ids, by id, in one query; unknown ids are left out."""
        with self.database.read() as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                "SELECT * FROM assets WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(asset_ids)),)
            ).fetchall()
        return {asset.id: asset for asset in read_rows(rows, asset_of, self.refuse("asset"))}

    def has(self, asset_id: str) -> bool:
        """Returns whether there is an asset with this id."""
        with self.database.read() as connection:
            return bool(connection and connection.execute("SELECT 1 FROM assets WHERE id = ?", (asset_id,)).fetchone())

    def find(self, text: str = "", kind: str = "", limit: int = 50, offset: int = 0) -> tuple[list[Asset], int]:
        """Returns the newest assets whose prompt contains `text` or whose id is `text`, and their number in all."""
        where, values = [], []
        if text:
            where.append("(prompt LIKE ? ESCAPE '\\' OR id = ?)")
            values += [f"%{_like(text)}%", text]
        if kind:
            where.append("kind = ?")
            values.append(kind)
        condition = f"WHERE {' AND '.join(where)}" if where else ""
        with self.database.read() as connection:
            if connection is None:
                return [], 0
            total = connection.execute(f"SELECT count(*) FROM assets {condition}", values).fetchone()[0]
            # The ids come from the narrow index alone; the wide rows are read for this page only.
            rows = connection.execute(
                f"SELECT * FROM assets WHERE id IN (SELECT id FROM assets {condition} "
                "ORDER BY created DESC, id LIMIT ? OFFSET ?) ORDER BY created DESC, id",
                [*values, limit, offset],
            ).fetchall()
        return read_rows(rows, asset_of, self.refuse("asset")), total

    def path(self, asset: Asset, name: str = "") -> Path:
        """Returns the path of the asset's file; of the picture where no name is given."""
        return self.folder / "assets" / asset.id / (name or asset.files[0].name)

    def read(self, asset: Asset, name: str = "") -> bytes:
        """Reads the asset's file.

        Raises:
            LibraryError: the asset has no such file, or the file was changed or removed by hand.
        """
        entry = next((e for e in asset.files if e.name == (name or asset.files[0].name)), None)
        if entry is None:
            names = ", ".join(e.name for e in asset.files)
            raise LibraryError(f"Asset {asset.id} has no file {name}. It has: {names}.")
        path = self.path(asset, entry.name)
        try:
            data = read_below(self.folder, "assets", asset.id, entry.name)
        except OSError as error:
            raise LibraryError(f"{explain(error, path)} Make the asset again with the same prompt and seed.") from error
        if sha256(data) != entry.sha256:
            raise LibraryError(f"{path} was changed after it was made. Make the asset again with the same seed.")
        return data

    # Deployments

    def keep(self, data: bytes) -> str:
        """Keeps bytes that are about to be replaced, and returns their SHA-256 (hex).

        For a deploy or undo that holds the game's lock: what a kill leaves in staging/ is swept by the next one.

        Raises:
            LibraryError: the disk refuses.
        """
        digest = sha256(data)
        self.database.make_folder()
        if not self.holds(digest):
            try:
                write_below(self.folder, "history", digest, data=data, sync=True, through="staging")
            except OSError as error:
                raise LibraryError(explain(error, self.folder / "history" / digest)) from error
        return digest

    def holds(self, digest: str) -> bool:
        """Returns whether the bytes with this SHA-256 are kept and whole."""
        try:
            return DIGEST.fullmatch(digest) is not None and sha256(read_below(self.folder, "history", digest)) == digest
        except OSError:
            return False

    def kept(self, digest: str) -> bytes:
        """Reads the bytes that `keep` kept.

        Raises:
            LibraryError: they are gone, or were changed.
        """
        path = self.folder / "history" / digest
        try:
            if not DIGEST.fullmatch(digest):
                raise LibraryError(f"'{clip(digest)}' is not a digest of kept bytes.")
            data = read_below(self.folder, "history", digest)
        except OSError as error:
            raise LibraryError(f"The earlier bytes are gone: {explain(error, path)}") from error
        if sha256(data) != digest:
            raise LibraryError(f"The earlier bytes are gone: {path} was changed. Take the file from your own backup.")
        return data

    def set_verification(self, deployment_id: int, verification: str) -> None:
        """Records what the running game made of a deployment; one of VERIFICATIONS."""
        with self.database.write() as connection:
            connection.execute("UPDATE deployments SET verification = ? WHERE id = ?", (verification, deployment_id))

    def deployments(self, path: str = "", asset_ids: Sequence[str] = (), limit: int = 50) -> list[Deployment]:
        """Returns the newest deployments that are not undone, of one path or of some assets where given.

        A row that breaks a rule is left out; `ignored` names it.
        """
        some = "AND asset_id IN (SELECT value FROM json_each(?))" if asset_ids else ""
        values = [path, *([json.dumps(list(asset_ids))] if asset_ids else [])]
        found: list[Deployment] = []
        with self.database.read() as connection:
            if connection is None:
                return []
            rows = connection.execute(
                f"SELECT * FROM deployments WHERE undone = 0 AND (? IN ('', path)) {some} ORDER BY id DESC", values
            )
            while len(found) < limit and (batch := rows.fetchmany(min(limit, 500))):
                found += read_rows(batch, deployment_of, self.refuse("deployment"))
            rows.close()
        return found[:limit]

    def close(self) -> None:
        """Closes the database; the next call opens it again."""
        self.database.close()

    def _write(self, data: bytes, *parts: str) -> None:
        try:
            write_below(self.folder, *parts, data=data)
        except OSError as error:
            raise LibraryError(explain(error, self.folder.joinpath(*parts))) from error

    def refuse(self, what: str) -> Callable[[str, str], None]:
        """Makes a function for `read_rows` that names a refused row in the log and in `ignored`."""

        def refuse(row_id: str, reason: str) -> None:
            name = f"{what} {row_id}"
            if name not in self.ignored and len(self.ignored) < _MOST_IGNORED:
                self.ignored[name] = reason
                logger.warning("%s: %s is ignored: %s", self.folder, name, reason)

        return refuse


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
