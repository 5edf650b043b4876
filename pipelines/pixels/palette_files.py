"""Palettes in files: .hex, .gpl, JASC .pal, paint.net .txt, Adobe .act and .ase, and picture strips.

One rule for transparency holds in every form: an entry with an alpha below CLEAR stands for "no pixel" and is left out;
any other entry is an opaque colour. A finished sprite's transparent pixels need no palette entry.
"""

from __future__ import annotations

import io
import os
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.errors import FileError, ImageError, PaletteError, TextError
from pipelines.files import read_bytes
from pipelines.pixels.palette import CLEAR, MOST_COLORS, Palette, parse_color
from pipelines.pixels.png import read_picture
from pipelines.pixels.quantize import pack, unpack
from pipelines.text_files import decode_text

Entry = tuple[int, int, int, int]
"""Red, green, blue and alpha, 0 to 255."""
READ_FORMS = (".hex", ".gpl", ".pal", ".txt", ".act", ".ase", ".png")
"""Endings that `read_palette` takes. `.txt` is paint.net's form, `.act` and `.ase` are Adobe's."""
WRITE_FORMS = (".hex", ".gpl", ".pal", ".png")
_MOST_BYTES = 1 << 20


def read_palette(path: Path | str) -> Palette:
    """Returns the palette in a file, in its own order. A .gpl's own name wins over the file's.

    Raises:
        PaletteError: the file cannot be read or holds no palette of a known form; it names the file and the line.
    """
    path = Path(path)
    form = path.suffix.lower()
    if not form:
        from pipelines.pixels.named_palettes import palette_names

        raise PaletteError(
            f"There is no palette '{path.name}'. Give a name ({', '.join(palette_names())}), colours as RRGGBB, or a "
            f"file ({', '.join(READ_FORMS)})."
        )
    if form not in READ_FORMS:
        raise PaletteError(
            f"{path.name}: a palette file ends in {', '.join(READ_FORMS)}. Export it in one of these forms."
        )
    try:
        data = read_bytes(path, _MOST_BYTES, path.name)
    except OSError as error:
        raise PaletteError(f"Cannot read the palette {path}: {error.strerror}. Check the path.") from error
    except FileError as error:
        raise PaletteError(f"{error} A palette file is small.") from error
    name, file = path.stem, path.name
    if form == ".png":
        return _from_strip(data, name, file)
    if form == ".act":
        return _palette(_act_entries(data, file), name, file)
    if form == ".ase":
        return _palette(_swatches(data, file), name, file)
    if data.startswith(b"RIFF"):
        raise PaletteError(f"{file} is a RIFF palette, which is binary. Save it as JASC .pal, .gpl or .hex.")
    try:
        lines = decode_text(data, file).split("\n")
    except TextError as error:
        raise PaletteError(str(error)) from error
    match form:
        case ".gpl":
            named = next((found[1] for line in lines[1:] if (found := _GPL_NAME.match(line.strip()))), name)
            return _palette(_gpl_entries(lines, file), named.strip(), file)
        case ".pal":
            return _palette(_jasc_entries(lines, file), name, file)
        case ".txt":
            return _palette(_hex_entries(lines, file, alpha_first=True), name, file)
        case _:
            return _palette(_hex_entries(lines, file, alpha_first=False), name, file)


def write_palette(palette: Palette, path: Path | str) -> None:
    """Writes the form that the ending of `path` names; the old file stays whole until the new one is.

    Raises:
        PaletteError: the ending is unknown or the file cannot be written.
    """
    path = Path(path)
    rows = palette.colors
    match path.suffix.lower():
        case ".hex":
            data = "".join(f"{word}\n" for word in palette.hex).encode()
        case ".gpl":
            named = "".join(f"{r:3} {g:3} {b:3}\t{w}\n" for (r, g, b), w in zip(rows, palette.hex, strict=True))
            data = f"GIMP Palette\nName: {palette.name}\nColumns: 0\n#\n{named}".encode()
        case ".pal":
            data = f"JASC-PAL\r\n0100\r\n{len(rows)}\r\n".encode() + b"".join(b"%d %d %d\r\n" % row for row in rows)
        case ".png":
            strip = io.BytesIO()
            Image.fromarray(palette.rgb[None]).save(strip, "PNG")
            data = strip.getvalue()
        case _:
            raise PaletteError(
                f"{path.name}: a palette is written as {', '.join(WRITE_FORMS)}. Give one of these endings."
            )
    replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """Replaces the file in one step: a reader sees the old bytes or the new ones, a full disk leaves the old.

    Raises:
        PaletteError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PaletteError(
            f"Cannot write {path}: {error.strerror}. Free some space or choose another folder."
        ) from error


def _palette(entries: Iterator[Entry], name: str, file: str) -> Palette:
    """Returns the opaque entries as a palette."""
    colors = [entry[:3] for entry in entries if entry[3] >= CLEAR]
    if not colors:
        raise PaletteError(f"{file} holds no colours. Give a palette with at least one opaque colour.")
    return Palette(name, tuple(colors))


def _hex_entries(lines: list[str], file: str, *, alpha_first: bool) -> Iterator[Entry]:
    """Reads one colour a line: RRGGBB, or eight digits (RRGGBBAA; AARRGGBB in paint.net's form)."""
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if not word or word.startswith((";", "//")):
            continue
        color = parse_color(word, alpha_first=alpha_first)
        if color is None:
            eight = "AARRGGBB" if alpha_first else "RRGGBBAA"
            raise PaletteError(
                f"{file}, line {number}: '{word[:40]}' is not a colour. Write six hexadecimal digits, such as ff8800, "
                f"or eight with alpha ({eight})."
            )
        yield color


_GPL_NAME = re.compile(r"#?\s*(?:Palette )?Name:\s*(.+)")  # Lospec writes the name into a comment, GIMP into a field


def _gpl_entries(lines: list[str], file: str) -> Iterator[Entry]:
    """Reads `R G B name`; `R G B A name` after a line `Channels: RGBA`, which Aseprite writes."""
    if lines[0].strip() != "GIMP Palette":
        raise PaletteError(f"{file}, line 1: a .gpl file begins with 'GIMP Palette'. Export it again.")
    count = 3
    for number, line in enumerate(lines[1:], 2):
        text = line.strip()
        if channels := re.match(r"Channels:\s*(\w+)", text):
            count = 4 if channels[1].upper() == "RGBA" else 3
        elif text and not text.startswith("#") and not re.match(r"[A-Za-z ]+:", text):
            yield _numbers(text, count, file, number)


def _jasc_entries(lines: list[str], file: str) -> Iterator[Entry]:
    """Reads `R G B` or `R G B A`; lines that begin with `$` are fields of PaintShop Pro."""
    text = [(i, line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
    if len(text) < 3 or text[0][1] != "JASC-PAL":
        raise PaletteError(f"{file}: a JASC palette begins with 'JASC-PAL', '0100' and the number of colours.")
    colors = [(i, line) for i, line in text[3:] if not line.startswith("$")]
    # no isdigit: it takes superscripts, which int refuses
    if not re.fullmatch(r"[0-9]{1,5}", text[2][1]) or int(text[2][1]) != len(colors):
        raise PaletteError(
            f"{file}, line {text[2][0]}: it announces {text[2][1][:20]} colours, and {len(colors)} follow. "
            "Correct the number."
        )
    for number, line in colors:
        yield _numbers(line, 4 if len(line.split()) == 4 else 3, file, number)


def _numbers(line: str, count: int, file: str, number: int) -> Entry:
    fields = line.split()
    # no isdigit: it takes superscripts and other scripts' digits too
    if len(fields) < count or not all(re.fullmatch(r"[0-9]{1,3}", f) and int(f) <= 255 for f in fields[:count]):
        raise PaletteError(
            f"{file}, line {number}: '{line[:40]}' is not a colour. Write {'four' if count == 4 else 'three'} numbers "
            "from 0 to 255."
        )
    values = [int(field) for field in fields[:count]]
    return values[0], values[1], values[2], values[3] if count == 4 else 255


def _act_entries(data: bytes, file: str) -> Iterator[Entry]:
    """Reads an Adobe Color Table: 256 RGB triples, then (newer files) the number of colours and the transparent index.

    Source: "Color Table" in Adobe Photoshop File Formats Specification. Without the number, black entries at the end
    are padding.
    """
    if len(data) not in (768, 772):
        raise PaletteError(f"{file} has {len(data)} bytes; an Adobe Color Table has 768 or 772. Export it again.")
    triples = [tuple(data[i : i + 3]) for i in range(0, 768, 3)]
    count, clear = struct.unpack(">HH", data[768:]) if len(data) == 772 else (0, 0xFFFF)
    if not 0 < count <= MOST_COLORS:
        count = MOST_COLORS
        while count > 1 and len(data) == 768 and triples[count - 1] == (0, 0, 0):
            count -= 1
    for index, (r, g, b) in enumerate(triples[:count]):
        yield r, g, b, 0 if index == clear else 255


def _swatches(data: bytes, file: str) -> Iterator[Entry]:
    """Reads an Adobe Swatch Exchange file: blocks of named colours; RGB and grey ones are read.

    Layout (big-endian): "ASEF", version, number of blocks; a block is a type, its length and its content; a colour's
    content is its name (length in UTF-16 units, text), four letters for the colour model and float32 values (0 to 1).
    """
    if data[4:6] == b"\xe0\xa5":
        raise PaletteError(f"{file} is an Aseprite sprite, not an Adobe swatch file. Save its palette as .gpl or .hex.")
    if not data.startswith(b"ASEF"):
        raise PaletteError(f"{file} does not begin with 'ASEF', so it is not an Adobe swatch file. Export it again.")
    try:
        (blocks,) = struct.unpack_from(">I", data, 8)
        at = 12
        for _ in range(blocks):
            kind, length = struct.unpack_from(">HI", data, at)
            if kind == 1:
                yield _swatch(data[at + 6 : at + 6 + length], file)
            at += 6 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise PaletteError(f"{file} is cut off or damaged. Export it again.") from error


def _swatch(block: bytes, file: str) -> Entry:
    (letters,) = struct.unpack_from(">H", block)
    name = block[2 : 2 + 2 * letters].decode("utf-16-be").rstrip("\0")
    at = 2 + 2 * letters
    model = block[at : at + 4]
    counts: dict[bytes, int] = {b"RGB ": 3, b"Gray": 1, b"GRAY": 1}
    if model not in counts:
        raise PaletteError(
            f"{file}: the swatch '{name[:40]}' is in {model.decode('ascii', 'replace').strip() or 'an unknown model'}. "
            "Save the swatches in RGB."
        )
    values = struct.unpack_from(f">{counts[model]}f", block, at + 4)
    if not all(0 <= value <= 1 for value in values):
        raise PaletteError(f"{file}: the swatch '{name[:40]}' has a value outside 0 to 1. Export it again.")
    levels = [round(value * 255) for value in (values * 3 if len(values) == 1 else values)]
    return levels[0], levels[1], levels[2], 255


def _from_strip(data: bytes, name: str, file: str) -> Palette:
    """Reads a picture's different opaque colours in order: strips of any block size, as Lospec exports them."""
    try:
        picture = read_picture(data)
    except ImageError as error:
        raise PaletteError(f"{file}: {error}") from error
    unique, first = np.unique(pack(picture)[picture[..., 3] >= CLEAR], return_index=True)
    if len(unique) > MOST_COLORS:
        raise PaletteError(
            f"{file} has {len(unique)} colours, so it is not a palette strip. `palette extract` makes one."
        )
    rows = unpack(unique[np.argsort(first)])
    return _palette(((int(r), int(g), int(b), 255) for r, g, b in rows), name, file)
