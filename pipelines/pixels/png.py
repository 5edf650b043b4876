"""Pictures in and out of files: a guarded reader for whatever a user has, one deterministic PNG writer.

The recipe travels in an iTXt chunk named `dgx-pixels`. Knows nothing of what a recipe says.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from pipelines.errors import ImageError
from pipelines.records import Pixels

if TYPE_CHECKING:
    from pipelines.pixels.palette import Palette

RECIPE_CHUNK = "dgx-pixels"
LONGEST_SIDE = 4096
"""Pixels. Larger pictures are refused before they are decoded."""
MOST_FRAMES = 256


def encode_png(image: Pixels, recipe_json: str | None = None, palette: Palette | None = None) -> bytes:
    """`image` ((h, w, 4) RGBA) as a PNG file: same arguments, same bytes.

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


def read_picture(source: Path | str | bytes) -> Pixels:
    """The picture (an animation's first frame) as (h, w, 4) RGBA, upright, 8 bits a channel.

    Raises:
        ImageError: not a picture, broken, or longer than 4096 pixels on a side.
    """
    return read_frames(source, limit=1)[0][0]


def read_frames(source: Path | str | bytes, limit: int = MOST_FRAMES) -> list[tuple[Pixels, int]]:
    """All frames (at most `limit`) as (picture, milliseconds); a still has one frame of 0 ms.

    Raises:
        ImageError: as `read_picture`.
    """
    name = "the picture" if isinstance(source, bytes) else Path(source).name
    if (sprite := _aseprite(source)) is not None:
        from pipelines.animation.compositing import composite_frames

        return composite_frames(sprite, name, limit)
    try:
        # a bomb is refused below by its own size; Pillow's warning would only repeat it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
                return _frames(picture, name, limit)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture that can be read. Use PNG, JPEG, GIF, WebP, BMP or Aseprite."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name)) from error
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {source!s}. Check the path.") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, KeyError, IndexError, OverflowError) as error:
        # Pillow's readers raise all of these for damaged files
        raise ImageError(f"{name} is broken: {error}. Save it again as PNG.") from error


def _aseprite(source: Path | str | bytes) -> bytes | None:
    """The bytes of an Aseprite file; None for any other picture."""
    if not isinstance(source, bytes):
        if Path(source).suffix.lower() not in (".aseprite", ".ase"):
            return None
        try:
            source = Path(source).read_bytes()
        except OSError:
            return None  # Pillow's errors follow
    return source if source[4:6] == b"\xe0\xa5" and len(source) >= 128 else None


def _frames(picture: Image.Image, name: str, limit: int) -> list[tuple[Pixels, int]]:
    if max(picture.size) > LONGEST_SIDE:
        raise ImageError(_too_large(name, picture.size))
    count = min(getattr(picture, "n_frames", 1), limit)
    frames = []
    for index in range(count):
        if index:
            picture.seek(index)
        frames.append((_rgba(picture), int(picture.info.get("duration", 0) or 0) if count > 1 else 0))
    return frames


def _rgba(picture: Image.Image) -> Pixels:
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I") or upright.mode == "F":
        # 16 and 32 bits a channel: Pillow would clip at 255 instead of scaling
        values = np.asarray(upright, np.float64)
        top = 65535.0 if upright.mode != "F" or values.max() > 1 else 1.0
        gray = Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8))
        return np.array(gray.convert("RGBA"))
    return np.array(upright.convert("RGBA"))


def _too_large(name: str, size: tuple[int, int] | None = None) -> str:
    measured = f" ({size[0]}x{size[1]})" if size else ""
    return f"{name} is too large{measured}: {LONGEST_SIDE} pixels is the longest side. Crop it or scale it down."


def read_recipe(data: bytes) -> str | None:
    """The recipe's JSON that `encode_png` stored, or None where there is none.

    Raises:
        ImageError: the bytes are not a picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                text = picture.info.get(RECIPE_CHUNK)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"This is not a picture that can be read: {error}") from error
    return None if text is None else str(text)
