"""Read the chunks of PNG files, and carry those of one file over to another (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib

from pipelines.errors import ImageError

MAGIC = b"\x89PNG\r\n\x1a\n"
_COLOR_SPACE = (b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"sBIT")
"""They say what the values mean, so they hold for changed values too."""
_OF_THE_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def read_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Reads (type, content) of each chunk, in order.

    Raises:
        ImageError: the bytes are not a PNG file, or it ends within a chunk.
    """
    if not data.startswith(MAGIC):
        raise ImageError("This is not a PNG file. Save the picture as PNG.")
    chunks, at = [], len(MAGIC)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if at + 12 + length > len(data):
            break
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks or chunks[-1][0] != b"IEND":
        raise ImageError("The PNG file is cut off. Save the picture again.")
    return chunks


def carry_chunks(data: bytes, source: bytes) -> bytes:
    """Adds to the PNG file `data` the texts, colour space and other chunks of `source` that changed pixels allow.

    A chunk whose type ends in a small letter is safe to copy (PNG specification, 5.4). Chunks that `data` has already
    are not doubled.
    """
    own = read_chunks(data)
    has = {kind for kind, _ in own}
    carried = [
        (kind, content)
        for kind, content in read_chunks(source)
        if kind not in has and kind not in _OF_THE_PICTURE and (kind in _COLOR_SPACE or kind[3:4].islower())
    ]
    first, rest = own[0], own[1:]
    return MAGIC + b"".join(_chunk(kind, content) for kind, content in (first, *carried, *rest))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
