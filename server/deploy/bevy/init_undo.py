"""Remember what init-game changed, and take the last change back, also after the game's files were edited further.

A record is one file, `.dgx-pixels/init-game/0001.json`, written before the game is changed: what each file held before
and after. Of a file that was edited since, the lines that init-game changed are taken back, and the rest stays. The
folder may come with a cloned game: paths are checked, and a record can only name files that init-game writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError

from pipelines.errors import FileError
from pipelines.files import TEXT_LIMIT, first_link, read_bytes
from server.deploy.bevy.changes import check_places, missing_folders, write_all
from server.deploy.bevy.diff import git_diff, take_back_lines
from server.deploy.bevy.init_game import Plan
from server.errors import ProjectError
from server.library.store import write_atomically
from server.project.game import Project

FOLDER = "init-game"
MOST_BYTES = 32 * TEXT_LIMIT
"""Of a record: it holds about six text files, before and after, in base64."""


_NAMES = ("Cargo.toml", "dgx-pixels.toml", ".gitignore", ".gitkeep")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    before: Base64Bytes | None
    after: Base64Bytes


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    files: tuple[_File, ...]
    folders: tuple[str, ...]
    """Folders that were made, the outermost first."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What taking the last run of init-game back would change. `now`: what the files hold."""

    root: Path
    record: Path
    now: dict[Path, bytes | None]
    files: dict[Path, bytes | None]
    folders: tuple[Path, ...]

    def diff(self) -> str:
        """Returns the changes as a diff that `git apply` takes in the game's root."""
        return "".join(
            git_diff(path.relative_to(self.root).as_posix(), _text(self.now[path]), _text(new))
            for path, new in self.files.items()
        )

    def apply(self) -> None:
        """Makes the changes, all or none, and forgets the record.

        Raises:
            LibraryError, FileError, OSError: the disk refuses.
        """
        write_all(self.files, self.folders)
        forget(self.record)


def remember(project: Project, plan: Plan) -> Path:
    """Writes the record of a plan that is about to be applied. Returns its path.

    Raises:
        ProjectError: the game's own folder is a symbolic link.
        LibraryError, OSError: the disk refuses.
    """
    folder = _folder(project)
    files, folders = [], []
    for path, (before, after) in plan.contents().items():
        files.append(
            {"path": path.relative_to(project.root).as_posix(), "before": _packed(before), "after": _packed(after)}
        )
        folders += [f.relative_to(project.root).as_posix() for f in missing_folders(path)]
    record = _Record.model_validate({"files": files, "folders": tuple(dict.fromkeys(folders))})
    numbers = [int(path.stem) for path in _records(folder)]
    path = folder / f"{max(numbers, default=0) + 1:04d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, record.model_dump_json().encode())
    return path


def forget(record: Path) -> None:
    """Removes a record, and the folders above it that are empty then."""
    record.unlink(missing_ok=True)
    for folder in (record.parent, record.parent.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def last_change(project: Project) -> Undo:
    """Finds what the last run of init-game changed, and how to take it back. Changes nothing.

    Raises:
        ProjectError: there is no record, it is not readable, or files were edited since in a way that cannot be merged:
            the message names them.
    """
    records = _records(_folder(project))
    if not records:
        raise ProjectError(f"init-game has changed nothing in {project.root} that is not taken back already.")
    record = _read(records[-1])
    root = project.root
    now: dict[Path, bytes | None] = {}
    files: dict[Path, bytes | None] = {}
    stuck: list[str] = []
    for file in record.files:
        path = root / file.path
        check_places(root, (path,))
        now[path] = current = _bytes(path)
        if current == file.before:
            continue
        if current == file.after:
            files[path] = file.before
            continue
        merged = take_back_lines(current, file.after, file.before) if current and file.before is not None else None
        if merged is None:
            stuck.append(file.path)
        elif merged != current:
            files[path] = merged
    if stuck:
        raise ProjectError(
            f"Edited or removed since init-game: {', '.join(stuck)}. Nothing was taken back. Undo your edits of what "
            "init-game wrote there (move a file away that it made, and put back one that it changed), then try again."
        )
    folders = tuple(root / folder for folder in reversed(record.folders))
    return Undo(root, records[-1], now, files, folders)


def _folder(project: Project) -> Path:
    folder = project.state / FOLDER
    if link := first_link(folder):
        raise ProjectError(f"{link} is a symbolic link, which is not followed. Remove it and try again.")
    return folder


def _records(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9][0-9][0-9][0-9].json") if not path.is_symlink())


def _read(path: Path) -> _Record:
    try:
        record = _Record.model_validate_json(read_bytes(path, MOST_BYTES))
    except (ValidationError, FileError, OSError) as error:
        raise ProjectError(
            f"{path} is not a record of init-game. Remove it; git restores the game's files where they are committed."
        ) from error
    named = [(file.path, False) for file in record.files] + [(folder, True) for folder in record.folders]
    for name, is_folder in named:
        if not _is_ours(name, is_folder=is_folder):
            raise ProjectError(f"{path} names {name!r}, which init-game never writes. Remove the record.")
    return record


def _is_ours(name: str, *, is_folder: bool) -> bool:
    """Returns whether init-game writes such a path: no hidden folder, none outside the game, only its kinds of file."""
    place = PurePosixPath(name)
    above = place.parts if is_folder else place.parts[:-1]
    if place.is_absolute() or not place.parts or "\\" in name or any(part.startswith(".") for part in above):
        return False
    return is_folder or place.name in _NAMES or (place.suffix == ".rs" and not place.name.startswith("."))


def _bytes(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    try:
        return read_bytes(path, TEXT_LIMIT)
    except FileError as error:
        raise ProjectError(str(error)) from error


def _packed(data: bytes | None) -> bytes | None:
    from base64 import b64encode

    return None if data is None else b64encode(data)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="replace")
