"""Take one palette from a folder of pictures, or put one onto it: only where the file can be written back whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.files import PICTURE_LIMIT, read_bytes
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
    """The pictures that change, how many stay, and those that are left out, each with the reason."""

    changes: tuple[Change, ...]
    unchanged: int
    skipped: tuple[str, ...]


def pictures(folder: Path) -> list[Path]:
    """Returns all PNG files under `folder` (`.PNG` too), sorted; hidden folders and symbolic links are left out.

    Raises:
        ServerError: no folder, no PNG file in it, or more than 5,000.
    """
    if not folder.is_dir():
        raise ServerError(f"There is no folder {folder}. Give the folder of the game's pictures, such as assets/.")
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == ".png"
        and path.is_file()
        and not path.is_symlink()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise ServerError(f"There is no PNG file in {folder}. Give the folder of the game's pictures, such as assets/.")
    if len(found) > MOST_FILES:
        raise ServerError(f"{folder} holds {len(found):,} PNG files; {MOST_FILES:,} is the most. Give a folder inside.")
    return found


def extract(folder: Path, colors: int, name: str = "") -> tuple[Palette, tuple[str, ...]]:
    """Returns the palette of all pictures under `folder` together, and which could not be read.

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
    """Returns what the palette makes of every picture under `folder`; with `write`, the files too.

    Alpha, texts (recipes among them) and colours under clear pixels stay. Left out, with the reason: animations, 16
    bits a channel, normal maps, pictures that are turned by their EXIF data, and what cannot be read. The bytes before
    are kept for one `undo`.

    Raises:
        ServerError: as `pictures`.
        OSError: a file cannot be replaced; those before it are, and `undo` puts them back.
    """
    import numpy as np

    from pipelines.errors import ImageError
    from pipelines.pixels.oklab import to_oklab
    from pipelines.pixels.palette import lock
    from pipelines.pixels.png import read_picture

    changes: list[Change] = []
    unchanged, skipped = 0, []
    for path in pictures(folder):
        try:
            before = read_picture(path)
        except ImageError as error:
            skipped.append(str(error))
            continue
        reason = _left_out(path, before)
        if reason:
            skipped.append(f"{path.relative_to(folder)}: {reason}")
            continue
        after = lock(before, palette)
        drawn = before[..., 3] > 0
        after[~drawn] = before[~drawn]
        if np.array_equal(before, after):
            unchanged += 1
            continue
        moved = np.linalg.norm(to_oklab(before[drawn, :3]) - to_oklab(after[drawn, :3]), axis=-1).mean()
        changes.append(Change(path, before, after, float(moved)))
    if write and changes:
        _write(folder, changes, palette)
    return Applied(tuple(changes), unchanged, tuple(skipped))


def undo(folder: Path) -> tuple[int, tuple[str, ...]]:
    """Puts back the files that the last `apply` with `write` replaced: how many, and those left as they are, with why.

    Raises:
        ServerError: nothing was replaced in this folder, or it was undone.
        OSError: a file cannot be written.
    """
    from server.features.palette_history import exclusive, restore

    with exclusive(folder):
        return restore(folder)


def _left_out(path: Path, picture: Pixels) -> str:
    """Says why a file cannot be written back whole, or should not be; empty where it can."""
    from pipelines.errors import ImageError
    from pipelines.pixels.normal_maps import looks_like_normal_map, named_normal_map
    from pipelines.pixels.picture_files import file_facts
    from pipelines.pixels.png_chunks import read_chunks

    data = read_bytes(path, PICTURE_LIMIT)
    facts = file_facts(data)
    if facts.format != "PNG":
        return f"it is {facts.format or 'another form'} under the name of a PNG. Save it as PNG."
    try:
        kinds = [kind for kind, _ in read_chunks(data)]
    except ImageError as error:
        return str(error)
    if facts.frames > 1 or b"acTL" in kinds:
        return f"it is an animation of {facts.frames} frames. `dgx-pixels fix` puts one palette onto all of them."
    if facts.bits > 8:
        return "it has 16 bits a channel (heights or other data), which a palette would cut to 8."
    if named_normal_map(path.stem) or looks_like_normal_map(picture):
        return "it is a normal map: its colours are directions."
    if facts.turned:
        return "it is turned by its EXIF data. Save it upright first."
    return ""


def _write(folder: Path, changes: list[Change], palette: Palette) -> None:
    """Replaces the files, after their bytes were kept."""
    from pipelines.pixels.png import encode_png
    from pipelines.pixels.png_chunks import carry_chunks
    from server.features.palette_history import exclusive, keep
    from server.library.store import write_atomically

    with exclusive(folder):
        new: dict[Path, bytes] = {}
        for change in changes:
            # an indexed file has no colours under its clear pixels
            hidden = bool(change.after[change.after[..., 3] == 0].any())
            png = encode_png(change.after, None, None if hidden else palette)
            new[change.path] = carry_chunks(png, read_bytes(change.path, PICTURE_LIMIT))
        keep(folder, new)
        for path, data in new.items():
            write_atomically(path, data)


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
