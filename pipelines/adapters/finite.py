"""Find NaN and infinity in a safetensors file by the bits of its numbers, without torch and in parts.

A floating-point number with every exponent bit set is infinite or not a number (IEEE 754; bfloat16 is the upper half of
a float32). One such weight makes every pixel of a drawing NaN.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipelines.errors import AdapterError, FileError
from pipelines.files import open_regular

_EXPONENTS: dict[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
_CHUNK = 1 << 22
"""Bytes that are looked at in one go."""
LARGEST_FILE = 1 << 35
LARGEST_HEADER = 16 << 20
"""Bytes: a LoRA of all layers of SDXL has 2 MB. The library itself takes 100 MB, which are gigabytes as JSON values."""


def first_nonfinite(path: Path) -> str:
    """Finds the name of the first tensor with a NaN or an infinity; empty where all are finite. Takes 1 s per GB.

    Raises:
        AdapterError: the file is not a safetensors file.
        OSError: as the operating system says.
    """
    with open_regular(path, LARGEST_FILE) as file:
        length = _header_length(file, path)
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            spans = [
                (int(entry["data_offsets"][0]), int(entry["data_offsets"][1]), name, str(entry["dtype"]))
                for name, entry in header.items()
                if name != "__metadata__"
            ]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise AdapterError(f"{path.name} is not a safetensors file. Download or export it again.") from error
        for begin, end, name, dtype in sorted(spans):
            if dtype not in _EXPONENTS:
                continue
            form, mask = _EXPONENTS[dtype]
            file.seek(8 + length + begin)
            left = end - begin
            while left > 0 and (data := file.read(min(left, _CHUNK))):
                left -= len(data)
                bits = np.frombuffer(data[: len(data) // np.dtype(form).itemsize * np.dtype(form).itemsize], form)
                if ((bits & mask) == mask).any():
                    return name
    return ""


def check_header(path: Path) -> None:
    """Refuses a file whose header would fill the memory, before the safetensors library reads it.

    Raises:
        AdapterError: it is not a regular file, or its header is longer than LARGEST_HEADER.
        OSError: as the operating system says.
    """
    try:
        with open_regular(path, LARGEST_FILE, path.name) as file:
            _header_length(file, path)
    except FileError as error:
        raise AdapterError(str(error)) from error


def _header_length(file: BinaryIO, path: Path) -> int:
    length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER:
        raise AdapterError(
            f"{path.name} cannot be read: its header would have {length >> 20:,} MiB, more than any LoRA's. Download "
            "or export it again."
        )
    return length


def check_finite(path: Path) -> None:
    """Refuses a file with NaN or infinite weights.

    Raises:
        AdapterError: names the tensor.
    """
    if name := first_nonfinite(path):
        raise AdapterError(
            f"{path.name} holds weights that are not numbers (NaN or infinity, first in '{name[:120]}'), so nothing "
            "could be drawn with it. Download or export it again; a training run that diverged makes such files."
        )
