"""Read a user's files into pictures with captions that a LoRA can learn, and report what was refused and why.

The source is a folder, a Bevy game's assets, a sheet (cut by its layout file, or by a tile size and its gutters), or an
imagefolder with metadata.jsonl.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loras import captions
from loras.buckets import true_pixels
from loras.errors import DatasetError
from pipelines.animation.sheet_files import layout_of, named_layouts
from pipelines.animation.slicing import cut, slice_grid
from pipelines.errors import PipelineError, TextError
from pipelines.files import user_path
from pipelines.pixels import aseprite
from pipelines.pixels.png import read_frames, read_picture
from pipelines.records import Pixels

SUFFIXES = frozenset((".png", ".gif", ".webp", ".bmp", ".jpg", ".jpeg", ".aseprite", ".ase"))
MOST_FILES = 20_000
FEW = 10
"""Fewer pictures than this teach their subjects rather than a style."""
_HIDDEN = ("target", "node_modules", "imported_assets")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture to learn from: (h, w, 4) at its own resolution, its caption without trigger word, its origin."""

    image: Pixels
    caption: str
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What was read. `refused` is (source, why); `notes` are sentences for the user."""

    examples: tuple[Example, ...]
    refused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all pictures and captions: it changes when anything that is learned does."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(f"{example.image.shape}|{example.caption}|".encode())
            digest.update(np.ascontiguousarray(example.image).tobytes())
        return digest.hexdigest()

    def report(self) -> dict[str, Any]:
        """Returns what was taken and refused, as JSON values; of many refusals the first fifty are listed."""
        reasons: dict[str, int] = {}
        for _, why in self.refused:
            reasons[why] = reasons.get(why, 0) + 1
        return {
            "taken": len(self.examples),
            "captions": len({e.caption for e in self.examples}),
            "refused": len(self.refused),
            "reasons": reasons,
            "refused_files": [{"file": source, "why": why} for source, why in self.refused[:50]],
            "notes": list(self.notes),
            "digest": self.digest,
        }


@dataclass(slots=True)
class _Reading:
    examples: list[Example] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    seen: dict[bytes, str] = field(default_factory=dict)
    layouts: dict[Path, dict[str, Path]] = field(default_factory=dict)

    def take(self, image: Pixels, caption: str, source: str) -> None:
        """Keeps the picture, unless it is empty or the same as one before."""
        visible = image[..., 3] >= 128
        if not visible.any():
            self.refused.append((source, "nothing is drawn on it"))
            return
        image = true_pixels(image)
        key = _identity(image)
        if key in self.seen:
            self.refused.append((source, "the same picture was there already"))
            return
        self.seen[key] = source
        self.examples.append(Example(image, caption, source))


def read_dataset(source: Path, tile_size: tuple[int, int] | None = None) -> Dataset:
    """Reads everything under `source` that can be learned from.

    Args:
        source: a folder, a game's root (its assets folder is read), or one sheet.
        tile_size: (width, height) of a sheet's tiles in pixels, where no layout lies beside it.

    Raises:
        DatasetError: the source does not exist, it holds no usable picture, or too many files.
    """
    source = user_path(source)
    reading = _Reading()
    if source.is_file():
        _read_file(reading, source, source.name, "", tile_size)
    elif source.is_dir():
        _read_folder(reading, _inside(source), tile_size)
    else:
        raise DatasetError(f"There is no folder or picture {source}. Give the folder that holds the game's sprites.")
    if not reading.examples:
        raise DatasetError(_nothing(source, reading.refused))
    return Dataset(tuple(reading.examples), tuple(reading.refused), tuple(_notes(reading)))


def _inside(folder: Path) -> Path:
    """Returns the assets folder of a game, else the folder itself."""
    return folder / "assets" if (folder / "Cargo.toml").is_file() and (folder / "assets").is_dir() else folder


def _read_folder(reading: _Reading, folder: Path, tile_size: tuple[int, int] | None) -> None:
    files = list(_pictures(folder))
    if len(files) > MOST_FILES:
        raise DatasetError(
            f"{folder} holds {len(files):,} pictures; the most is {MOST_FILES:,}. A style is learned from 20 to 500: "
            "copy the best ones into a folder of their own and give that."
        )
    tables: dict[Path, dict[str, str]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        _read_file(reading, path, name, _from_metadata(path, folder, tables), tile_size)


def _pictures(folder: Path) -> Iterator[Path]:
    """Yields picture files below the folder, sorted; skips hidden and build folders, and follows no links."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir():
            if entry.name not in _HIDDEN:
                yield from _pictures(entry)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def _from_metadata(path: Path, top: Path, tables: dict[Path, dict[str, str]]) -> str:
    """Returns the caption in the nearest metadata file between the picture and `top`."""
    for folder in path.parents:
        if folder not in tables:
            files = [folder / name for name in captions.METADATA if (folder / name).is_file()]
            tables[folder] = captions.read_metadata(files[0]) if files else {}
        if caption := tables[folder].get(path.relative_to(folder).as_posix()):
            return caption
        if folder == top:
            break
    return ""


def _read_file(reading: _Reading, path: Path, name: str, caption: str, tile_size: tuple[int, int] | None) -> None:
    """Takes a picture or the tiles of a sheet; `caption` is what a metadata file says."""
    try:
        caption = caption or captions.beside(path) or captions.from_name(name)
    except (TextError, OSError) as error:
        reading.refused.append((name, f"its caption cannot be read: {error}"))
        return
    try:
        if path.parent not in reading.layouts:
            reading.layouts[path.parent] = named_layouts(path.parent)
        if path.suffix.lower() in aseprite.SUFFIXES:
            frames = read_frames(path)
            for index, (frame, _) in enumerate(frames):
                if frame[..., 3].any() or len(frames) == 1:
                    reading.take(frame, caption, f"{name}#{index}" if len(frames) > 1 else name)
            return
        layout = layout_of(path, reading.layouts[path.parent])
        image = read_picture(path)
        if layout is None and tile_size is None:
            reading.take(image, caption, name)
            return
        slices = layout or slice_grid(image, path.name, tile_size)
        for index, piece in enumerate(cut(image, slices)):
            if piece[..., 3].any():  # the rest of a row is often empty: not a refusal
                reading.take(piece, caption, f"{name}#{index}")
    except PipelineError as error:
        reading.refused.append((name, _why(error, path)))
    except OSError as error:
        reading.refused.append((name, f"it cannot be read: {error.strerror}"))


def _why(error: PipelineError, path: Path) -> str:
    """Returns the reason without the file's name, so that a thousand files with one fault are one reason."""
    said = str(error)
    return f"it {said.removeprefix(path.name).strip()}" if said.startswith(f"{path.name} ") else said


def _identity(image: Pixels) -> bytes:
    """Returns a hash of what is to be seen: the same for another margin or other colours under transparent pixels."""
    visible = image[..., 3] >= 128
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    shown = np.where(visible[box][..., None], image[box], 0).astype(np.uint8)
    return hashlib.sha256(f"{shown.shape}".encode() + shown.tobytes()).digest()


def _notes(reading: _Reading) -> list[str]:
    notes = []
    taken = len(reading.examples)
    if taken < FEW:
        notes.append(
            f"{taken} picture{'s' if taken > 1 else ''} teach what is shown more than how it is drawn. 20 to 50 "
            "different ones make a style."
        )
    if nameless := sum(not e.caption for e in reading.examples):
        notes.append(
            f"{nameless} pictures have no caption (their names say nothing). Name the files by what they show, or put "
            "a text file of the same name beside each."
        )
    return notes


def _nothing(source: Path, refused: list[tuple[str, str]]) -> str:
    if not refused:
        return f"{source} holds no pictures ({', '.join(sorted(SUFFIXES))}). Give the folder with the game's sprites."
    name, why = refused[0]
    return f"None of the {len(refused)} pictures in {source} can be used; {name}: {why}. Correct or replace them."
