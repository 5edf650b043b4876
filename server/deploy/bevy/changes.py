"""Change several of a game's text files together, or none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from pipelines.files import TEXT_LIMIT, read_bytes
from server.deploy.bevy.detect import is_own
from server.errors import ProjectError
from server.library.store import write_atomically


def write_all(files: Mapping[Path, bytes | None], folders: Iterable[Path] = ()) -> Callable[[], None]:
    """Writes the files; None removes one. Where one cannot be written, those before it are restored.

    Args:
        files: what each file is to hold. Missing folders are made.
        folders: are removed afterwards where they are empty, in this order.

    Returns:
        The function that takes all of it back, byte for byte.

    Raises:
        LibraryError, FileError, OSError: the disk refuses.
    """
    done: list[tuple[Path, bytes | None]] = []
    made: list[Path] = []
    removed: list[Path] = []
    try:
        for path, data in files.items():
            before = read_bytes(path, TEXT_LIMIT) if path.is_file() else None
            if data is None:
                path.unlink(missing_ok=True)
            else:
                for folder in missing_folders(path):
                    folder.mkdir()
                    made.append(folder)
                write_atomically(path, data)
            done.append((path, before))
        for folder in folders:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
                removed.append(folder)
    except BaseException:
        _restore(done, made, removed)
        raise
    return partial(_restore, done, made, removed)


def missing_folders(path: Path) -> list[Path]:
    """Returns the folders above a path that do not exist, the outermost first."""
    return [folder for folder in path.parents if not folder.exists()][::-1]


def check_places(root: Path, files: Iterable[Path]) -> None:
    """Checks that none of the paths leads out of the game.

    Raises:
        ProjectError: one does, through a symbolic link.
    """
    for path in files:
        if not is_own(root, path):
            raise ProjectError(
                f"{path.relative_to(root)} leads out of the game by a symbolic link, which is not followed. Put a real "
                "file or folder in its place."
            )


def _restore(done: list[tuple[Path, bytes | None]], made: list[Path], removed: list[Path]) -> None:
    for folder in reversed(removed):
        folder.mkdir(exist_ok=True)
    for path, before in reversed(done):
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, before)
    for folder in reversed(made):
        if not any(folder.iterdir()):
            folder.rmdir()
