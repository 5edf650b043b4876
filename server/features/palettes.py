"""One palette over a whole folder of art: taken from it, or put onto it. Each file is replaced at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import ServerError

if TYPE_CHECKING:
    from pipelines.pixels.palette import Palette
    from pipelines.records import Pixels

MOST_FILES = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One picture of the folder under the palette. `moved`: mean OKLab distance of its drawn pixels (0.06 shows)."""

    path: Path
    before: Pixels
    after: Pixels
    moved: float


@dataclass(frozen=True, slots=True)
class Applied:
    """The pictures that change, how many stay, and those that could not be read, each with the reason."""

    changes: tuple[Change, ...]
    unchanged: int
    skipped: tuple[str, ...]


def pictures(folder: Path) -> list[Path]:
    """All PNG files under `folder`, sorted; hidden folders and symbolic links are left out.

    Raises:
        ServerError: no folder, no PNG file in it, or more than 5,000.
    """
    if not folder.is_dir():
        raise ServerError(f"There is no folder {folder}. Give the folder of the game's pictures, such as assets/.")
    found = [
        path
        for path in sorted(folder.rglob("*.png"))
        if path.is_file()
        and not path.is_symlink()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise ServerError(f"There is no PNG file in {folder}. Give the folder of the game's pictures, such as assets/.")
    if len(found) > MOST_FILES:
        raise ServerError(f"{folder} holds {len(found):,} PNG files; {MOST_FILES:,} is the most. Give a folder inside.")
    return found


def extract(folder: Path, colors: int, name: str = "") -> tuple[Palette, tuple[str, ...]]:
    """The palette of all pictures under `folder` together, and which could not be read.

    Raises:
        ServerError: as `pictures`, or none of them can be read.
        PaletteError: `colors` is not 1 to 256.
    """
    from pipelines.pixels.palette import extract_palette

    read, skipped = _read(pictures(folder))
    if not read:
        raise ServerError(f"None of the PNG files in {folder} can be read: {skipped[0]}")
    return extract_palette([picture for _, picture in read], colors, name or folder.name), skipped


def apply(folder: Path, palette: Palette, *, write: bool = False) -> Applied:
    """What the palette makes of every picture under `folder`; with `write`, the files too. Alpha and recipes stay.

    Raises:
        ServerError: as `pictures`.
        LibraryError: a file cannot be replaced; those before it are.
    """
    import numpy as np

    from pipelines.pixels.oklab import to_oklab
    from pipelines.pixels.palette import lock
    from pipelines.pixels.png import encode_png, read_recipe
    from server.library.store import write_atomically

    changes: list[Change] = []
    read, skipped = _read(pictures(folder))
    for path, before in read:
        after = lock(before, palette)
        drawn = before[..., 3] > 0
        if np.array_equal(before[drawn], after[drawn]):
            continue
        moved = np.linalg.norm(to_oklab(before[drawn, :3]) - to_oklab(after[drawn, :3]), axis=-1).mean()
        changes.append(Change(path, before, after, float(moved)))
    if write:
        for change in changes:
            recipe = read_recipe(change.path.read_bytes())
            write_atomically(change.path, encode_png(change.after, recipe, palette))
    return Applied(tuple(changes), len(read) - len(changes), skipped)


def _read(paths: list[Path]) -> tuple[list[tuple[Path, Pixels]], tuple[str, ...]]:
    from pipelines.errors import ImageError
    from pipelines.pixels.png import read_picture

    read, skipped = [], []
    for path in paths:
        try:
            read.append((path, read_picture(path)))
        except ImageError as error:
            skipped.append(str(error))
    return read, tuple(skipped)
