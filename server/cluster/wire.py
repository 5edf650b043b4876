"""Write a DrawRequest and a Drawing as JSON and files, so that no pickled object travels between machines.

A message is a JSON text and a list of bytes: pictures as PNG, masks as PNG of one channel, weights as NPY. Imports no
torch.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import asdict
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.pixels.png import read_picture
from pipelines.records import Drawing, DrawRequest, LoraWeight, Region
from pipelines.tiles.joint import CornerTies

Message: TypeAlias = tuple[str, list[bytes]]
"""A JSON text, and the files that it numbers."""

PLAIN = (
    *("model", "prompts", "seeds", "width", "height", "negative", "native"),
    *("preset", "steps", "guidance", "strength", "tile_x", "tile_y", "lines", "bare_prompts"),
)
"""Fields of a request that are JSON values."""


def pack_request(request: DrawRequest, trace: str = "") -> Message:
    """Returns the request as a message; `trace` is where its spans go (a W3C traceparent).

    Raises:
        InvalidRequest: its `couple` is not a CornerTies.
    """
    values: dict[str, Any] = {name: getattr(request, name) for name in PLAIN}
    values["loras"] = [asdict(lora) for lora in request.loras]
    values |= {name: len(getattr(request, name)) for name in ("init", "mask", "references")}
    files = [_png(picture) for picture in request.init]
    files += [_png(mask.astype(np.uint8) * 255) for mask in request.mask]
    files += [_png(picture) for picture in request.references]
    if request.region is not None:
        values["region"] = request.region.prompt
        files.append(_npy(request.region.weight))
    if request.couple is not None:
        if not isinstance(request.couple, CornerTies):
            raise InvalidRequest("Pictures that are tied together in another way than corner tiles need one process.")
        values["ties"] = asdict(request.couple)
    if trace:
        values["traceparent"] = trace
    return json.dumps(values), files


def unpack_request(message: Message) -> DrawRequest:
    """Returns the request of a message that `pack_request` made."""
    values, files = json.loads(message[0]), iter(message[1])
    values.pop("traceparent", None)
    region, ties = values.pop("region", None), values.pop("ties", None)
    return DrawRequest(
        **values
        | {
            "prompts": tuple(values["prompts"]),
            "seeds": tuple(values["seeds"]),
            "bare_prompts": tuple(values["bare_prompts"]),
            "loras": tuple(LoraWeight(**lora) for lora in values["loras"]),
            "init": tuple(read_picture(file) for file in islice(files, values["init"])),
            "mask": tuple(_read_mask(file) for file in islice(files, values["mask"])),
            "references": tuple(read_picture(file) for file in islice(files, values["references"])),
            "region": None if region is None else Region(region, np.load(io.BytesIO(next(files)), allow_pickle=False)),
            "couple": None if ties is None else CornerTies(**ties),
        }
    )


def trace_of(message: Message) -> str:
    """Returns the traceparent of a message that `pack_request` made, or nothing."""
    return str(json.loads(message[0]).get("traceparent", ""))


def pack_drawing(drawing: Drawing) -> Message:
    """Returns the drawing as a message."""
    values = {name: getattr(drawing, name) for name in Drawing.__dataclass_fields__ if name != "images"}
    return json.dumps(values), [_png(image) for image in drawing.images]


def unpack_drawing(message: Message) -> Drawing:
    """Returns the drawing of a message that `pack_drawing` made."""
    values = json.loads(message[0])
    return Drawing(
        tuple(read_picture(file) for file in message[1]),
        **values | {"unknown_words": tuple(values["unknown_words"])},
    )


def _png(picture: np.ndarray) -> bytes:
    """Encodes without compression, since the device waits for it and the file lives for one message.

    Pillow tries filters all the same: 0.1 to 0.3 s for 1024x1024 beside 0.01. Source: PNG specification, 5 and 11.2.
    """
    height, width, *channels = picture.shape
    kind = {(): 0, (3,): 2, (4,): 6}[tuple(channels)]  # grey, RGB, RGBA
    rows = np.zeros((height, 1 + picture[0].size), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = picture.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, 0)), (b"IEND", b""))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        parts += [struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))]
    return b"".join(parts)


def _read_mask(data: bytes) -> np.ndarray:
    return read_picture(data)[..., 0] > 0


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
