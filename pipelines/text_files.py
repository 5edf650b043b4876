"""The one reader for text files that a person's editor wrote: UTF-8 with or without BOM, UTF-16 by its BOM.

Any other encoding is refused with the file and the line, because a guess between the many 8-bit encodings would put
wrong letters into prompts and captions. Writing back keeps a file's encoding and line ends (`encode_like`).
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from pipelines.errors import FileError, TextError
from pipelines.files import TEXT_LIMIT, read_bytes

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_ADVICE = "Save the file as UTF-8 (in most editors: Save as, encoding UTF-8)."


def read_text(path: Path, name: str = "", limit: int = TEXT_LIMIT) -> str:
    r"""Returns the text of a regular file, without BOM, its line ends as `\n`.

    Args:
        path: the file.
        name: what errors call it; default: its file name.
        limit: the most bytes that are read.

    Raises:
        TextError: the bytes are not UTF-8 (or UTF-16 with a BOM), with the file and the line; or the file is not a
            regular one, or larger than `limit`.
        OSError: the file is missing or cannot be read.
    """
    try:
        data = read_bytes(path, limit, name)
    except FileError as error:
        raise TextError(str(error)) from error
    return decode_text(data, name or path.name)


def decode_text(data: bytes, name: str) -> str:
    r"""Returns the text of a file's bytes, without BOM, its line ends as `\n`.

    Raises:
        TextError: as `read_text`.
    """
    encoding, bom = _encoding(data, name)
    try:
        text = data[len(bom) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = data[len(bom) :][: error.start].decode(encoding, errors="ignore")
        wrong = f"the byte 0x{data[len(bom) + error.start]:02x} is not {encoding[:6].upper().rstrip('-')} text"
        raise TextError(f"{name}, line {_count(before)}: {wrong}. {_ADVICE}") from error
    if "\0" in text:
        line = _count(text[: text.index("\0")])
        raise TextError(f"{name}, line {line}: a zero byte, so this is not a text file in UTF-8. {_ADVICE}")
    return _unified(text)


def encode_like(text: str, original: bytes) -> bytes:
    """Encodes `text` with the encoding, the BOM and the line ends of the file that it replaces."""
    encoding, bom = _encoding(original, "")
    before = original[len(bom) :].decode(encoding, errors="ignore")
    if "\r\n" in before:
        text = text.replace("\n", "\r\n")
    return bom + text.encode(encoding)


def parse_json(text: str, name: str) -> Any:
    """Returns the value of a JSON text.

    Raises:
        TextError: it is not JSON; it names the file and the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TextError(f"{name}, line {error.lineno}: this is not JSON ({error.msg}). Correct the line.") from error
    except RecursionError as error:
        raise TextError(f"{name}: this JSON is nested too deeply. Check that it is the right file.") from error
    except ValueError as error:  # Python converts no number of more than 4,300 digits
        raise TextError(f"{name} holds a number that is too long. Check that it is the right file.") from error


def read_json(path: Path, name: str = "", limit: int = TEXT_LIMIT) -> Any:
    """Returns the value in a JSON file.

    Raises:
        TextError: it is not text, or not JSON.
        OSError: the file is missing or cannot be read.
    """
    return parse_json(read_text(path, name, limit), name or path.name)


def _encoding(data: bytes, name: str) -> tuple[str, bytes]:
    """Detects (codec, BOM) of a file."""
    if data.startswith(_UTF32):
        raise TextError(f"{name} is UTF-32 text. {_ADVICE}")
    for bom, encoding in _UTF16.items():
        if data.startswith(bom):
            return encoding, bom
    return "utf-8", codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""


def _unified(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _count(before: str) -> int:
    """Returns the number of the line that begins or continues after `before`, from 1."""
    return _unified(before).count("\n") + 1
