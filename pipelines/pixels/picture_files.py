"""Know what a picture file holds beside its first frame's pixels, and write animations."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageCms

from pipelines.errors import ImageError
from pipelines.pixels.png import open_picture
from pipelines.records import Pixels

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a picture file holds.

    `bits`: bits of a channel. `profile`: its ICC profile, or None. `loop`: whether an animation starts again. `turned`:
    EXIF data say that it is shown turned or mirrored.
    """

    format: str
    frames: int
    bits: int
    profile: bytes | None
    loop: bool
    turned: bool = False


def file_facts(data: bytes) -> FileFacts:
    """Returns the facts of a picture file; those of a plain picture where Pillow cannot read it."""
    try:
        with open_picture(data) as picture:
            info = picture.info
            # A GIF without the field plays once; APNG and WebP write 0 for endless.
            return FileFacts(
                picture.format or "",
                int(getattr(picture, "n_frames", 1)),
                _bits(data, picture.mode),
                info.get("icc_profile") or None,
                info.get("loop", 1) == 0,
                picture.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1),
            )
    except ImageError:
        return FileFacts("", 1, 8, None, True)


def _bits(data: bytes, mode: str) -> int:
    """Bits of a channel: byte 24 of a PNG is its bit depth (PNG specification, 11.2.2)."""
    if data.startswith(PNG_MAGIC) and len(data) > 24:
        return data[24]
    return 16 if mode.startswith("I") else 32 if mode == "F" else 8


def to_srgb(picture: Pixels, profile: bytes) -> tuple[Pixels, str | None]:
    """Converts `picture` ((h, w, 4) RGBA) from its colour profile to sRGB where they differ; names the profile too.

    The name is empty where the profile is sRGB already, None where it cannot be used for RGB.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = (ImageCms.getProfileDescription(source) or "unnamed").strip()
        if "srgb" in name.lower().replace(" ", ""):
            return picture, ""
        flat = Image.fromarray(np.ascontiguousarray(picture[..., :3]))
        converted = ImageCms.profileToProfile(flat, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture, None
    if converted is None:
        return picture, None
    return np.dstack([np.asarray(converted), picture[..., 3]]), name


def encode_animation(frames: Sequence[Pixels], milliseconds: Sequence[int], loop: bool, *, gif: bool) -> bytes:
    """Returns the frames ((h, w, 4) RGBA) as a GIF or an APNG file.

    A GIF has one palette for all frames; they need alpha 0 or 255 and at most 255 colours (see `fits_gif`).
    """
    file = io.BytesIO()
    times = [max(1, time) for time in milliseconds]
    # an animation that ends: GIF leaves the field out, APNG plays once
    repeat = {"loop": 0} if loop else {} if gif else {"loop": 1}
    if gif:
        pictures = _indexed(frames)
        pictures[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=times,
            disposal=2,
            optimize=False,
            transparency=255,
            **repeat,
        )
    else:
        pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
        pictures[0].save(
            file, "PNG", save_all=True, append_images=pictures[1:], duration=times, disposal=0, blend=0, **repeat
        )
    return file.getvalue()


def fits_gif(frames: Sequence[Pixels]) -> bool:
    """Returns whether a GIF can hold the frames exactly: hard alpha, at most 255 colours together."""
    pixels = np.concatenate([frame.reshape(-1, 4) for frame in frames])
    hard = bool(np.isin(pixels[:, 3], (0, 255)).all())
    return hard and len(np.unique(pixels[pixels[:, 3] > 0], axis=0)) <= 255


def _indexed(frames: Sequence[Pixels]) -> list[Image.Image]:
    """Returns the frames with one palette; index 255 is transparent."""
    codes = [frame.astype(np.uint32) @ np.array([65536, 256, 1, 0], np.uint32) for frame in frames]
    drawn = np.concatenate([code[frame[..., 3] > 0] for code, frame in zip(codes, frames, strict=True)])
    colors = np.unique(drawn)
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1)
    pictures = []
    for code, frame in zip(codes, frames, strict=True):
        index = np.where(frame[..., 3] > 0, np.searchsorted(colors, code).clip(0, 254), 255).astype(np.uint8)
        picture = Image.fromarray(index)
        picture.putpalette(table.tobytes())
        picture.info["transparency"] = 255
        pictures.append(picture)
    return pictures
