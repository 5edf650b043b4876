"""Read captions of training pictures from a metadata file, a text file beside the picture, or the file's name."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from loras.errors import DatasetError
from pipelines.errors import TextError
from pipelines.tables import Table, parse_table
from pipelines.text_files import read_text
from pipelines.visible import clipped

METADATA = ("metadata.jsonl", "metadata.csv")
SUFFIXES = (".txt", ".caption", ".TXT", ".CAPTION")
"""Endings of caption files, the first that holds text wins: `.txt` as most tools write it, `.caption` as kohya does."""

_NO_WORDS = frozenset(
    ("sprite", "sprites", "tile", "tiles", "icon", "icons", "img", "image", "assets", "texture", "textures", "final")
)


def read_metadata(file: Path) -> dict[str, str]:
    """Reads file_name -> caption from an imagefolder's metadata file (Hugging Face's `file_name` and `text`).

    `file` is a metadata.jsonl with an object per line, or a metadata.csv with a header.

    Raises:
        DatasetError: it is not text, or a line is not such an entry; it names the file and the line.
    """
    if file.is_symlink():
        raise DatasetError(f"{file} is a symbolic link, which is not followed. Put a copy of the file in its place.")
    try:
        text = read_text(file, str(file))
        if file.suffix.lower() == ".csv":
            return _from_table(parse_table(text, str(file)))
    except TextError as error:
        raise DatasetError(str(error)) from error
    captions: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            captions[str(entry["file_name"])] = " ".join(str(entry.get("text", "")).split())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DatasetError(
                f"{file}, line {number} is not an entry of a metadata.jsonl ({_wrong(error)}). A line is "
                '{"file_name": "goblin.png", "text": "green goblin with a club"}: correct or delete it.'
            ) from error
    return captions


def _wrong(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "'file_name' is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it is not JSON" if isinstance(error, ValueError) else "it is not an object"


def _from_table(table: Table) -> dict[str, str]:
    columns = table.column("file_name"), table.column("text")
    if columns[0] is None or columns[1] is None:
        raise DatasetError(
            f"{table.name}, line {table.header_line}: the header is '{clipped(', '.join(table.header), 40)}'. "
            "It needs the columns file_name and text."
        )
    return {row[columns[0]]: " ".join(row[columns[1]].split()) for row in table.rows}


def beside(picture: Path) -> str:
    """Returns the caption in the `.txt` or `.caption` file of the picture's name; empty where there is none.

    Raises:
        TextError: the file is a symbolic link, or not text in UTF-8 or UTF-16.
    """
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError, NotADirectoryError):
            file = picture.with_suffix(suffix)
            if file.is_symlink():
                raise TextError(f"{file.name} is a symbolic link, which is not followed. Put a copy in its place.")
            if caption := " ".join(read_text(file).split()):
                return caption
    return ""


def from_name(path: Path | str) -> str:
    """Makes a caption from a relative path: `monsters/red_dragon_02.png` is "red dragon", `goblin/03.png` is "goblin".

    >>> from_name("items/HealthPotion-2.png")
    'health potion'
    """
    parts = Path(path).with_suffix("").parts
    for part in reversed(parts):
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part)
        words = [w for w in re.findall(r"[a-z]+", spaced.lower()) if len(w) > 1 and w not in _NO_WORDS]
        if words:
            return " ".join(words)
    return ""


def with_trigger(trigger: str, caption: str) -> str:
    """Returns the caption with the trigger word in front, once."""
    if not trigger or trigger in re.split(r"[\s,]+", caption):
        return caption or trigger
    return f"{trigger} {caption}".strip()
