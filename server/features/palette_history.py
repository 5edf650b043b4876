"""Keep the bytes that `palette apply --write` replaces, and put them back once.

    palette_undo/<folder's hash>/files.json    path in the folder -> SHA-256 before and after
    palette_undo/<folder's hash>/<sha256>      the bytes before

They lie in the game's `.dgx-pixels/`, or in the user's data folder where the pictures are in no game. That folder may
come with a cloned game: links are refused, names and digests are checked, and the bytes are hashed when they are read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.errors import TextError, explain
from pipelines.files import PICTURE_LIMIT, first_link, read_bytes
from pipelines.text_files import decode_text, parse_json
from server.errors import ProjectError, ServerError
from server.library.files import read_below, write_atomically, write_below
from server.library.rows import DIGEST, clip
from server.library.store import sha256

_LIST = "files.json"
_HOME = "palette_undo"
_LOCK_SECONDS = 60.0


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Runs the block while no other thread or process changes pictures of the same game (or of no game).

    Raises:
        ServerError: another one has not ended within a minute, or the place of the lock is a symbolic link.
        OSError: the disk refuses.
    """
    from filelock import FileLock, Timeout

    home = _place(folder).parent
    home.mkdir(parents=True, exist_ok=True)
    if link := first_link(home):
        raise ServerError(f"{link} is a symbolic link, which is not followed. Remove it.")
    try:
        with FileLock(home / "lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise ServerError(f"Another process is changing pictures of {folder}. Try again when it has ended.") from error


def keep(folder: Path, new: Mapping[Path, bytes]) -> None:
    """Keeps what the files of `new` hold now; an earlier undo of this folder is replaced.

    Args:
        folder: the pictures' folder.
        new: the bytes that each file is about to get.

    Raises:
        ServerError: the place to keep them is a symbolic link.
        OSError: the disk refuses.
    """
    place = _place(folder)
    fresh = place.with_name(f"{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    rows = {}
    for path, data in new.items():
        before = read_bytes(path, PICTURE_LIMIT)
        write_below(fresh.parents[1], _HOME, fresh.name, sha256(before), data=before)
        rows[path.relative_to(folder).as_posix()] = {"before": sha256(before), "after": sha256(data)}
    listed = json.dumps({"folder": str(folder.resolve()), "files": rows}, indent=1).encode()
    write_below(fresh.parents[1], _HOME, fresh.name, _LIST, data=listed)
    _finish(place)
    # Two renames: a process killed between them leaves the earlier undo, which `_finish` puts back.
    if place.exists():
        place.rename(_earlier(place))
    fresh.rename(place)
    shutil.rmtree(_earlier(place), ignore_errors=True)


def restore(folder: Path) -> tuple[int, tuple[str, ...]]:
    """Puts the kept bytes back where the file is still as `apply` wrote it: how many, and what was left, with why.

    Raises:
        ServerError: nothing is kept for this folder, or its list cannot be used.
    """
    place = _place(folder)
    _finish(place)
    try:
        rows = _rows(read_below(place.parents[1], _HOME, place.name, _LIST), place)
    except FileNotFoundError as error:
        raise ServerError(
            f"Nothing to undo: no palette was written onto {folder}, or it was undone already. Give the same folder as "
            "for apply."
        ) from error
    except OSError as error:
        raise ServerError(explain(error, place / _LIST)) from error
    restored, left = 0, []
    for name, row in rows.items():
        if refused := _refused(folder, name, row):
            left.append(f"{clip(name)} {refused}: it is left as it is.")
            continue
        path = folder / name
        now = sha256(read_bytes(path, PICTURE_LIMIT)) if path.is_file() else ""
        if now == row["before"]:
            continue
        if now != row["after"]:
            left.append(f"{name} was {'changed' if now else 'removed'} since: it is left as it is.")
            continue
        try:
            kept = read_below(place.parents[1], _HOME, place.name, row["before"])
        except OSError as error:
            left.append(f"{name}: {explain(error, place / row['before'])}")
            continue
        if sha256(kept) != row["before"]:
            left.append(f"{name}: its kept bytes were changed. It is left as it is.")
            continue
        write_atomically(path, kept)
        restored += 1
    shutil.rmtree(place)
    return restored, tuple(left)


def _earlier(place: Path) -> Path:
    return place.with_name(f"{place.name}.old")


def _finish(place: Path) -> None:
    """Ends a `keep` that was killed: no picture was changed by it where the new list is not in its place."""
    earlier = _earlier(place)
    if place.exists():
        shutil.rmtree(earlier, ignore_errors=True)
    elif earlier.is_dir() and not earlier.is_symlink():
        earlier.rename(place)


def _rows(data: bytes, place: Path) -> dict[str, Any]:
    """Returns name -> row of a list, of which nothing else is checked yet."""
    try:
        found = parse_json(decode_text(data, _LIST), _LIST)
    except TextError as error:
        raise ServerError(f"{error} It lies in {place}; delete that folder if you need no undo.") from error
    rows = found.get("files") if isinstance(found, dict) else None
    if not isinstance(rows, dict):
        raise ServerError(f"{place / _LIST} is not a list of kept pictures. Delete {place}; nothing can be undone.")
    return rows


def _refused(folder: Path, name: str, row: Any) -> str:
    """Returns why a row is not used; empty where `apply` can have written it."""
    parts = PurePosixPath(name).parts
    if not name.lower().endswith(".png") or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        return "breaks the rules of names"
    digests = [row.get("before"), row.get("after")] if isinstance(row, dict) else []
    if len(digests) != 2 or not all(isinstance(one, str) and DIGEST.fullmatch(one) for one in digests):
        return "has no digest of 64 hex digits"
    if any((folder / Path(*parts[:depth])).is_symlink() for depth in range(1, len(parts) + 1)):
        return "is, or lies behind, a symbolic link"
    return ""


def _place(folder: Path) -> Path:
    """Returns where the bytes of this folder are kept.

    Raises:
        ServerError: a folder on the way is a symbolic link.
    """
    from server.project.game import find_project
    from server.settings import Settings

    resolved = folder.resolve()
    try:
        project = find_project(resolved, None)
    except ProjectError:
        project = None
    home = project.state if project else Settings().data_dir
    place = home / _HOME / hashlib.sha256(str(resolved).encode()).hexdigest()[:16]
    if link := next((path for path in (home, home / _HOME, place) if path.is_symlink()), None) or first_link(place):
        raise ServerError(f"{link} is a symbolic link, which is not followed. Remove it.")
    return place
