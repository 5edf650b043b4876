"""Values of the desk as JSON: records, tuples, maps, pictures and bytes are objects with a tag."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from server.desk.desk import Batch, Contest, Finding, Home, Piece, Place, Placed, Shown, Training

TAG = "@"
RECORDS = {kind.__name__: kind for kind in (Batch, Contest, Finding, Home, Piece, Place, Placed, Shown, Training)}


def pack(value: object) -> Any:
    """Returns the value as what `json.dumps` takes.

    Raises:
        TypeError: it is of a type that the desk does not use.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [pack(item) for item in value]
        case tuple():
            return {TAG: "tuple", "items": [pack(item) for item in value]}
        case Mapping():
            return {TAG: "map", "items": {str(key): pack(item) for key, item in value.items()}}
        case bytes():
            return {TAG: "bytes", "base64": base64.b64encode(value).decode()}
    name = type(value).__name__
    if is_dataclass(value) and name in RECORDS:
        return {TAG: name, **{field.name: pack(getattr(value, field.name)) for field in fields(value)}}
    if name == "ndarray":
        picture = cast("Any", value)
        data = base64.b64encode(zlib.compress(picture.tobytes(), 1)).decode()
        return {TAG: "pixels", "shape": list(picture.shape), "zlib": data}
    raise TypeError(f"The desk has no form for a {name}.")


def unpack(value: Any) -> Any:
    """Returns what `pack` was given.

    Raises:
        ValueError: it is not an answer of `pack`.
    """
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    tag = value.get(TAG)
    try:
        match tag:
            case "tuple":
                return tuple(unpack(item) for item in value["items"])
            case "map":
                return {key: unpack(item) for key, item in value["items"].items()}
            case "bytes":
                return base64.b64decode(value["base64"])
            case "pixels":
                import numpy as np

                data = zlib.decompress(base64.b64decode(value["zlib"]))
                return np.frombuffer(data, np.uint8).reshape(value["shape"])
            case str() if tag in RECORDS:
                return RECORDS[tag](**{name: unpack(item) for name, item in value.items() if name != TAG})
    except (KeyError, TypeError, AttributeError, zlib.error) as error:
        raise ValueError(f"A value of the desk is damaged: {error}.") from error
    raise ValueError(f"The desk has no form with the tag {tag!r}.")
