"""Read pictures through one guarded reader, and write PNGs through one deterministic writer.

The recipe is stored in an iTXt chunk named `dgx-pixels`, as text that this module does not parse.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from pipelines.errors import FileError, ImageError, UserError, explain
from pipelines.files import LONGEST_SIDE, PICTURE_LIMIT, open_regular, read_bytes
from pipelines.pixels.picture_parts import has_too_many_parts
from pipelines.records import Pixels

if TYPE_CHECKING:
    from pipelines.pixels.palette import Palette

logger = logging.getLogger(__name__)

RECIPE_CHUNK = "dgx-pixels"
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TGA", "TIFF")
"""What Pillow may decode: formats of pictures that artists' tools write, none of which starts another program."""
MOST_FRAMES = 256
MOST_PIXELS = 1 << 25
"""Pixels of all frames of an animation together: 128 MiB as RGBA."""


def encode_png(image: Pixels, recipe_json: str | None = None, palette: Palette | None = None) -> bytes:
    """Encodes `image` ((h, w, 4) RGBA) as a PNG file: same arguments, same bytes.

    With a `palette` that holds all its colours, and alpha 0 or 255 only, the file is indexed in the palette's own
    order, with one more index for the transparent pixels. Else it is RGBA.
    """
    info = PngInfo()
    if recipe_json is not None:
        info.add_itxt(RECIPE_CHUNK, recipe_json)
    file = io.BytesIO()
    indexed = _indexed(image, palette) if palette is not None else None
    if indexed is None:
        Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG", pnginfo=info, compress_level=9)
    else:
        indices, table, alpha = indexed
        picture = Image.fromarray(indices)
        picture.putpalette(table)
        if alpha is None:
            picture.save(file, "PNG", pnginfo=info, compress_level=9)
        else:
            picture.save(file, "PNG", pnginfo=info, compress_level=9, transparency=alpha)
    return file.getvalue()


def _indexed(image: Pixels, palette: Palette) -> tuple[np.ndarray, bytes, bytes | None] | None:
    clear = image[..., 3] == 0
    if not (clear | (image[..., 3] == 255)).all() or (clear.any() and len(palette) == 256):
        return None
    code = image[..., 0].astype(np.uint32) << 16 | image[..., 1].astype(np.uint32) << 8 | image[..., 2]
    known = palette.rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    order = np.argsort(known)
    at = np.searchsorted(known, code, sorter=order).clip(0, len(known) - 1)
    indices = order[at]
    if not (clear | (known[indices] == code)).all():
        return None
    table = palette.rgb.tobytes()
    if not clear.any():
        return indices.astype(np.uint8), table, None
    indices = np.where(clear, len(palette), indices).astype(np.uint8)
    return indices, table + bytes(3), b"\xff" * len(palette) + b"\0"


@contextmanager
def open_picture(source: Path | str | bytes, longest: int = LONGEST_SIDE) -> Iterator[Image.Image]:
    """Opens a picture without decoding it; every picture that this package reads is opened here.

    Only the formats in FORMATS are tried: Pillow would otherwise start Ghostscript for PostScript, whatever the file is
    called. A path must name a regular file. Errors inside the block that Pillow's decoders raise become ImageError.

    Raises:
        ImageError: not a picture, damaged, longer than `longest` pixels on a side, not a regular file, or too large.
    """
    name = "the picture" if isinstance(source, bytes) else Path(source).name
    try:
        # The size is checked below: Pillow's warning of a decompression bomb would only repeat it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, PICTURE_LIMIT, name)
            if has_too_many_parts(file):
                file.close()
                raise ImageError(f"{name} has more parts than any program writes. Save it again as PNG.")
            with file, Image.open(file, formats=FORMATS) as picture:
                if max(picture.size) > longest:
                    raise ImageError(_too_large(name, longest, picture.size))
                yield picture
    except UserError as error:
        if isinstance(error, FileError):
            raise ImageError(str(error)) from error
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture that can be read. Use PNG, JPEG, GIF, WebP, BMP or Aseprite."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name, longest)) from error
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {source!s}. Check the path.") from error
    except MemoryError as error:
        raise ImageError(f"There is not enough memory to open {name}. Scale it down.") from error
    except OSError as error:
        if error.errno is not None:
            raise ImageError(explain(error, name)) from error
        raise ImageError(_damaged(name, error)) from error
    except Exception as error:  # Pillow's decoders raise nearly anything for damaged files
        raise ImageError(_damaged(name, error)) from error


def read_picture(source: Path | str | bytes) -> Pixels:
    """Returns the picture (an animation's first frame) as (h, w, 4) RGBA, upright, 8 bits per channel.

    Raises:
        ImageError: not a picture, damaged, or longer than 4096 pixels on a side.
    """
    return read_frames(source, limit=1)[0][0]


def read_frames(source: Path | str | bytes, limit: int = MOST_FRAMES) -> list[tuple[Pixels, int]]:
    """Returns all frames (at most `limit`) as (picture, milliseconds); a still has one frame of 0 ms.

    Raises:
        ImageError: as `read_picture`, or the frames have more than MOST_PIXELS pixels together.
    """
    name = "the picture" if isinstance(source, bytes) else Path(source).name
    if (sprite := _aseprite(source)) is not None:
        from pipelines.pixels.compositing import composite_frames

        return composite_frames(sprite, name, limit)
    with open_picture(source) as picture:
        return _frames(picture, name, limit)


def _aseprite(source: Path | str | bytes) -> bytes | None:
    """Returns the bytes of an Aseprite file; None for any other picture."""
    if not isinstance(source, bytes):
        if Path(source).suffix.lower() not in (".aseprite", ".ase"):
            return None
        try:
            source = read_bytes(source, PICTURE_LIMIT)
        except (OSError, FileError):
            return None  # the errors of `open_picture` follow
    return source if source[4:6] == b"\xe0\xa5" and len(source) >= 128 else None


def _frames(picture: Image.Image, name: str, limit: int) -> list[tuple[Pixels, int]]:
    # the further pictures of a camera's JPEG (MPO) are previews and depth maps
    count = 1 if limit == 1 or picture.format == "MPO" else min(getattr(picture, "n_frames", 1), limit)
    width, height = picture.size
    if count > 1 and count * width * height > MOST_PIXELS:
        raise ImageError(
            f"{name} has {count} frames of {width}x{height}, which is too much to read. Scale it down, or split it."
        )
    frames = []
    for index in range(count):
        if index:
            picture.seek(index)
            if picture.size != (width, height):  # checked before it is decoded: a later page may be of any size
                raise ImageError(
                    f"Picture {index + 1} in {name} is {picture.width}x{picture.height}, the first one "
                    f"{width}x{height}. Save each as a file of its own."
                )
        frames.append((_rgba(picture), int(picture.info.get("duration", 0) or 0) if count > 1 else 0))
    return frames


def _rgba(picture: Image.Image) -> Pixels:
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I") or upright.mode == "F":
        # 16 and 32 bits a channel: Pillow would clip at 255 instead of scaling
        values = np.nan_to_num(np.asarray(upright, np.float32), nan=0, posinf=65535, neginf=0)
        top = 65535.0 if upright.mode != "F" or values.max() > 1 else 1.0
        gray = Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8))
        return np.array(gray.convert("RGBA"))
    return np.array(upright.convert("RGBA"))


def _too_large(name: str, longest: int, size: tuple[int, int] | None = None) -> str:
    measured = f" ({size[0]}x{size[1]})" if size else ""
    return f"{name} is too large{measured}: {longest} pixels is the longest side. Crop it or scale it down."


def _damaged(name: str, error: Exception) -> str:
    logger.debug("%s cannot be decoded", name, exc_info=error)
    return f"{name} is damaged: it cannot be decoded as a picture. Save it again as PNG."


def read_recipe(source: Path | bytes) -> str | None:
    """Returns the recipe's JSON that `encode_png` stored in a file or its bytes; None where there is none.

    Raises:
        ImageError: the bytes are not a picture.
    """
    with open_picture(source) as picture:
        text = picture.info.get(RECIPE_CHUNK)
    return None if text is None else str(text)
