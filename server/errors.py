"""The errors of `server`. Every message is for the person who asked: it says what was wrong and what to do next.

ServerError
├── ProjectError   no game was found, or its settings file cannot be used
├── LibraryError   an asset that is unknown, or a library that cannot be written
└── DeployError    a path that is not allowed, a file that is in the way, a folder that cannot be written
"""

from __future__ import annotations

import errno
from pathlib import Path


class ServerError(Exception):
    """Base of all errors that a user may see from this package."""


class ProjectError(ServerError):
    """The game's project cannot be found or read."""


class LibraryError(ServerError):
    """The library of made assets cannot give or take what was asked."""


class DeployError(ServerError):
    """A file cannot be put into, or taken out of, the game's assets folder."""


def explain(error: OSError, path: Path | None = None) -> str:
    """What an operating system's refusal means for the user, and what to do next."""
    where = str(path or error.filename or "the disk")
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return f"There is no room left to write {where}. Nothing was changed; free some space and ask again."
        case errno.EACCES | errno.EPERM:
            return f"{where} may not be written. Nothing was changed; check the folder's permissions and ask again."
        case errno.EROFS:
            return f"{where} is on a read-only file system. Nothing was changed; make it writable and ask again."
        case errno.ENOENT:
            return f"{where} does not exist. Check the path and ask again."
        case errno.ENOTDIR:
            return f"A part of {where} is a file where a folder is needed. Choose another path."
        case errno.ENAMETOOLONG:
            return f"The name {where} is too long for this file system. Choose a shorter one."
        case _:
            return f"{where}: {error.strerror or error}. Nothing was changed."
