"""All errors that a user may see, and the one place that turns any error into a sentence.

Every message is for the person who asked: it says what was wrong and what to do next.

UserError
├── PipelineError           (this module)
│   ├── InvalidRequest      a size, prompt, option or file that cannot be used
│   │   ├── PaletteError    a palette file or list without a usable palette
│   │   ├── FileError       a folder, a pipe or a file of gigabytes where a file of its kind is needed
│   │   ├── TextError       a text file of another encoding, or a JSON file or table with a mistake
│   │   └── ImageError      a picture that cannot be read
│   ├── ModelError          a model that is unknown, not downloaded, or not of the SDXL family
│   │   └── AdapterError    a LoRA that is unknown, damaged, or of a form that cannot be merged
│   ├── DrawingError        the model drew values that are not numbers
│   ├── OutOfMemory         the device has no room, even for half the batch
│   ├── BackendLost         the process that draws ended, or cannot be reached
│   └── Cancelled           the caller gave up; nothing was kept
├── LoraError               loras.errors
├── WorkflowError           workflows.errors
└── ServerError             server.errors
"""

from __future__ import annotations

import errno
import json
import logging
import secrets
from pathlib import Path

from pipelines.visible import clipped, visible

logger = logging.getLogger(__name__)


class UserError(Exception):
    """Base of all errors whose message is written for the user."""


class PipelineError(UserError):
    """Base of the errors of `pipelines`."""


class InvalidRequest(PipelineError):
    """The request cannot be served as it stands."""


class PaletteError(InvalidRequest):
    """A palette file or list that holds no usable palette."""


class FileError(InvalidRequest):
    """What a path names is not a regular file, or is larger than any file of its kind."""


class TextError(InvalidRequest):
    """A text file that cannot be decoded, or whose JSON or table has a mistake; it names the file and the line."""


class ImageError(InvalidRequest):
    """A picture that is broken, too large, or of a form that is not supported."""


class ModelError(PipelineError):
    """A model that cannot be found, loaded or used."""


class AdapterError(ModelError):
    """A LoRA file that cannot be found, read or merged."""


class DrawingError(PipelineError):
    """The model's output holds NaN or infinity: no picture can be made of it."""


class OutOfMemory(PipelineError):
    """The device has no room for the request."""


class BackendLost(PipelineError):
    """The process or machine that draws ended, or cannot be reached. `begun`: it may have begun with the request."""

    def __init__(self, message: str, begun: bool = True) -> None:
        super().__init__(message)
        self.begun = begun


class Cancelled(PipelineError):
    """The caller cancelled while the work was queued or running."""


def explain(error: OSError, path: Path | str | None = None) -> str:
    """Returns what an operating system's error means for the user, and what to do next.

    `path` names the file where the error itself does not, or names a temporary one.
    """
    where = str(path or error.filename or "the disk")
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return f"There is no room left to write {where}. Nothing was changed; free some space and ask again."
        case errno.EACCES | errno.EPERM:
            return f"Permission denied for {where}. Nothing was changed; check the permissions and ask again."
        case errno.EROFS:
            return f"{where} is on a read-only file system. Nothing was changed; make it writable and ask again."
        case errno.ENOENT:
            return f"{where} does not exist. Check the path and ask again."
        case errno.ENOTDIR:
            return f"A part of {where} is a file where a folder is needed. Choose another path."
        case errno.EISDIR:
            return f"{where} is a folder where a file is needed. Choose another path."
        case errno.ENAMETOOLONG:
            return f"The name {where} is too long for this file system. Choose a shorter one."
        case errno.ELOOP:
            return f"{where} is a symbolic link, or leads through one, where none is followed. Give the real path."
        case errno.EMFILE | errno.ENFILE:
            return f"Too many files are open to open {where}. Close other programs, or raise the limit (ulimit -n)."
        case _:
            return f"{where}: {error.strerror or 'it cannot be used'}. Nothing was changed."


def sentence(error: BaseException) -> str:
    """Returns the error as a message for the user; empty for an error that nobody expects.

    Expected are: `UserError`, what the operating system refuses, and what damaged or hostile input makes the parsers
    of the standard library, SQLite and pydantic raise. Control characters in the message are made visible.
    """
    return clipped(visible(_sentence(error)))


def report(error: BaseException) -> str:
    """Returns a message for the user in every case: an unexpected error is logged with an id that the message names."""
    if message := sentence(error):
        logger.debug("%s", message, exc_info=error)
        return message
    number = secrets.token_hex(4)
    logger.error("unexpected error %s", number, exc_info=error)
    return (
        f"Something unexpected went wrong (error {number}). This is a fault in dgx-pixels, not in your request. The "
        f"log (standard error of the server) has the details under {number}: please report them."
    )


def _sentence(error: BaseException) -> str:
    import csv
    import sqlite3
    import tomllib

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return explain(error)
    if isinstance(error, RecursionError):
        return "The input is nested too deeply. Give it with fewer levels of lists and objects."
    if isinstance(error, MemoryError):
        return "There is not enough memory for this request. Ask for less, or close other programs, and ask again."
    if isinstance(error, OverflowError):
        return "A number is too large to be used. Give a smaller one."
    if isinstance(error, json.JSONDecodeError):
        return f"This is not valid JSON: {error.msg} (line {error.lineno}). Correct it and ask again."
    if isinstance(error, tomllib.TOMLDecodeError):
        return f"This is not valid TOML: {error}. Correct it and ask again."
    if isinstance(error, UnicodeError):
        return "A text or a file name is not valid UTF-8. Save or name it as UTF-8 and ask again."
    if isinstance(error, csv.Error):
        return f"A CSV table cannot be read: {error}. Correct the file and ask again."
    if isinstance(error, sqlite3.Error):
        return f"The library's database cannot be used: {error}. Check the disk and the permissions, then ask again."
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "A path contains a NUL character. Give the path without it."
    return _invalid_values(error)


def _invalid_values(error: BaseException) -> str:
    from pydantic_core import ValidationError

    if not isinstance(error, ValidationError):
        return ""
    wrong = "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_url=False, include_input=False, include_context=False)[:5]
    )
    return f"Invalid values: {wrong}. Correct them and ask again."
