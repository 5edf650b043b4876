"""Count the parts of a picture file before it is decoded: chunks, segments, frames, directories.

Pillow looks at every part in Python, so a file of millions of empty ones keeps it busy for minutes. Layouts: PNG
specification 5.3 (chunks), ITU T.81 annex B (JPEG's segments), GIF89a (blocks), TIFF 6.0 section 2 (directories).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

MOST_PARTS = 1 << 16
"""A PNG of 4096x4096 with 16 bits a channel, in chunks of 8 KiB, has 16,384."""

_MOST_SCANS = 50
"""Of a progressive JPEG, after its first. Programs write about ten; one more takes up to 0.2 s at 4096x4096."""


def has_too_many_parts(file: BinaryIO) -> bool:
    """Returns whether a PNG, JPEG, GIF or TIFF file has more than MOST_PARTS parts. The file is rewound."""
    magic = file.read(4)
    walk = next((walk for begin, walk in _WALKS.items() if magic.startswith(begin)), None)
    try:
        return walk is not None and any(number >= MOST_PARTS for number, _ in enumerate(walk(file)))
    finally:
        file.seek(0)


def _png(file: BinaryIO) -> Iterator[None]:
    file.seek(8)
    while len(head := file.read(8)) == 8:
        yield
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)


def _jpeg(file: BinaryIO) -> Iterator[None]:
    """Walks the segments before the first scan, which are looked at one by one, and scans, each counted many times.

    A progressive file goes over all of its pixels with every scan. In a scan's data 0xFF is never followed by 0xDA.
    """
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        yield
        file.seek(max(0, int.from_bytes(head[2:], "big") - 2), 1)
    last = b""
    while block := file.read(1 << 20):
        scans = (last + block).count(b"\xff\xda")
        yield from itertools.repeat(None, min(scans, _MOST_SCANS) * (MOST_PARTS // _MOST_SCANS + 1))
        last = block[-1:]


def _gif(file: BinaryIO) -> Iterator[None]:
    """Walks the frames and extensions, and each sixteenth piece of their data (255 bytes at most)."""
    file.seek(0)
    head = file.read(13)
    if len(head) == 13 and head[10] & 0x80:
        file.seek(3 << (head[10] & 7) + 1, 1)
    while kind := file.read(1):
        yield
        if kind == b",":
            image = file.read(9)
            if len(image) == 9 and image[8] & 0x80:
                file.seek(3 << (image[8] & 7) + 1, 1)
            file.seek(1, 1)
        elif kind == b"!":
            file.seek(1, 1)
        elif kind == b";":
            return
        else:
            continue
        for number in itertools.count(1):
            if (size := file.read(1)) in (b"", b"\0"):
                break
            if number % 16 == 0:
                yield
            file.seek(size[0], 1)


def _tiff(file: BinaryIO) -> Iterator[None]:
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    file.seek(4)
    while len(at := file.read(4)) == 4 and (place := struct.unpack(f"{order}I", at)[0]):
        yield
        file.seek(place)
        entries = file.read(2)
        if len(entries) < 2:
            return
        file.seek(12 * struct.unpack(f"{order}H", entries)[0], 1)


_WALKS: dict[bytes, Callable[[BinaryIO], Iterator[None]]] = {
    b"\x89PNG": _png,
    b"\xff\xd8": _jpeg,
    b"GIF8": _gif,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
}
