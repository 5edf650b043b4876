"""Keep the bytes that `palette apply --write` replaces, and put them back once.

    palette_undo/<folder's hash>/files.json    path in the folder -> SHA-256 before and after
    palette_undo/<folder's hash>/<sha256>      the bytes before

They lie in the game's `.dgx-pixels/`, or in the user's data folder where the pictures are in no game.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from server.errors import ProjectError, ServerError
from server.library.store import sha256, write_atomically

_LIST = "files.json"


def keep(folder: Path, new: Mapping[Path, bytes]) -> None:
    """Keeps what the files of `new` hold now; an earlier undo of this folder is replaced.

    Args:
        folder: the pictures' folder.
        new: the bytes that each file is about to get.
    """
    place = _place(folder)
    fresh = place.with_name(f"{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    rows = {}
    for path, data in new.items():
        before = path.read_bytes()
        (fresh / sha256(before)).write_bytes(before)
        rows[path.relative_to(folder).as_posix()] = {"before": sha256(before), "after": sha256(data)}
    write_atomically(fresh / _LIST, json.dumps({"folder": str(folder.resolve()), "files": rows}, indent=1).encode())
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)


def restore(folder: Path) -> tuple[int, tuple[str, ...]]:
    """Puts the kept bytes back where the file is still as `apply` wrote it: how many, and what was left, with why.

    Raises:
        ServerError: nothing is kept for this folder.
    """
    place = _place(folder)
    try:
        rows = json.loads((place / _LIST).read_bytes())["files"]
    except FileNotFoundError as error:
        raise ServerError(
            f"Nothing to undo: no palette was written onto {folder}, or it was undone already. Give the same folder as "
            "for apply."
        ) from error
    restored, left = 0, []
    for name, row in rows.items():
        path = folder / name
        now = sha256(path.read_bytes()) if path.is_file() else ""
        if now == row["before"]:
            continue
        if now != row["after"]:
            left.append(f"{name} was {'changed' if now else 'removed'} since: it is left as it is.")
            continue
        write_atomically(path, (place / row["before"]).read_bytes())
        restored += 1
    shutil.rmtree(place)
    return restored, tuple(left)


def _place(folder: Path) -> Path:
    from server.project.game import find_project
    from server.settings import Settings

    resolved = folder.resolve()
    try:
        project = find_project(resolved, None)
    except ProjectError:
        project = None
    home = project.state if project else Settings().data_dir
    return home / "palette_undo" / hashlib.sha256(str(resolved).encode()).hexdigest()[:16]
