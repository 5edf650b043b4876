"""Know the people who share an HTTP server: a token each, the games they may touch, their share and their limits.

Tokens are made by the server (192 random bits) and only their SHA-256 is kept, in `tokens.json` of the data folder.
Such a token needs no slow hash: it cannot be guessed from a dictionary.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.files import TEXT_LIMIT, read_bytes
from server.errors import ServerError
from server.library.store import write_atomically

FILE = "tokens.json"
NAME = r"^[a-z0-9][a-z0-9_-]{0,31}$"


class User(BaseModel):
    """A person with a token. Limits of 0 mean none."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern=NAME)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    projects: tuple[Path, ...] = ()
    share: Annotated[float, Field(gt=0, le=1000)] = 1.0
    waiting: Annotated[int, Field(ge=0)] = 16
    pixels_per_minute: Annotated[int, Field(ge=0)] = 0
    storage: Annotated[int, Field(ge=0)] = 0
    """Bytes (`server.storage`)."""

    def may_use(self, folder: Path) -> bool:
        """Returns whether the folder is one of the user's games or lies in one, links followed."""
        real = folder.resolve()
        return any(real.is_relative_to(project.resolve()) for project in self.projects)


USER: ContextVar[User | None] = ContextVar("user", default=None)
"""Whose request this thread or task works for; None: the person who started the server, who may do everything."""

_USERS = TypeAdapter(tuple[User, ...])


class Users:
    """The users of a data folder. Other processes may change the file: it is read when it has changed."""

    def __init__(self, data_dir: Path) -> None:
        self.file = data_dir / FILE
        self._read: tuple[tuple[int, int], tuple[User, ...]] | None = None

    def all(self) -> tuple[User, ...]:
        """Returns the users by name.

        Raises:
            ServerError: the file is broken.
        """
        try:
            status = self.file.stat()
        except FileNotFoundError:
            return ()
        key = (status.st_mtime_ns, status.st_size)
        if self._read is None or self._read[0] != key:
            try:
                self._read = key, _USERS.validate_json(read_bytes(self.file, TEXT_LIMIT))
            except ValidationError as error:
                raise ServerError(
                    f"{self.file} is broken ({error.error_count()} errors). Delete or correct it."
                ) from None
        return self._read[1]

    def find(self, token: str) -> User | None:
        """Returns the user with this token, comparing in constant time."""
        digest = _digest(token)
        return next((user for user in self.all() if hmac.compare_digest(user.sha256, digest)), None)

    def named(self, name: str) -> User | None:
        """Returns the user with this name."""
        return next((user for user in self.all() if user.name == name), None)

    def add(
        self,
        name: str,
        projects: Iterable[Path] = (),
        share: float = 1.0,
        waiting: int = 16,
        pixels_per_minute: int = 0,
        storage: int = 0,
    ) -> str:
        """Adds a user and returns the token, which is kept nowhere.

        Raises:
            ServerError: the name is taken or has another form, a project is not a folder, or a limit is out of range.
        """
        folders = tuple(Path(project).expanduser().absolute() for project in projects)
        for folder in folders:
            if not folder.is_dir():
                raise ServerError(f"{folder} is not a folder. Give the root of a game.")
        token = secrets.token_hex(24)
        try:
            user = User(
                name=name,
                sha256=_digest(token),
                projects=folders,
                share=share,
                waiting=waiting,
                pixels_per_minute=pixels_per_minute,
                storage=storage,
            )
        except ValidationError as error:
            fields = ", ".join(str(problem["loc"][0]) for problem in error.errors())
            raise ServerError(
                f"Out of range: {fields}. A name has 1 to 32 small letters, digits, - or _; share is above 0."
            ) from None
        with self._locked():
            if self.named(name):
                raise ServerError(f"There is a token for {name} already. Remove it first, or choose another name.")
            self._write((*self.all(), user))
        return token

    def remove(self, name: str) -> None:
        """Removes a user; the token is refused from the next request on.

        Raises:
            ServerError: there is none with this name.
        """
        with self._locked():
            kept = tuple(user for user in self.all() if user.name != name)
            if len(kept) == len(self.all()):
                raise ServerError(f"There is no token for {name}. `dgx-pixels token list` shows the names.")
            self._write(kept)

    def _locked(self) -> FileLock:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.file.with_suffix(".lock"))

    def _write(self, users: tuple[User, ...]) -> None:
        values = [user.model_dump(mode="json") for user in sorted(users, key=lambda user: user.name)]
        write_atomically(self.file, json.dumps(values, indent=1).encode())
        self.file.chmod(0o600)
        self._read = None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
