"""A deploy's screenshot with an enlarged crop around the picture that was deployed, to look at its pixels."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageDraw

from pipelines.records import Pixels
from server.deploy.bevy.screenshot import Screen, read_rgba

SMALLEST_SIDE = 48
"""Pixels of the screen that the crop shows at least."""
PATIENCE = 0.5
"""Seconds that the search for the frames of a sheet may take."""
_FRAME = (255, 210, 63)


def with_closeup(screenshot: bytes, files: Mapping[str, bytes]) -> bytes:
    """Returns the screenshot, and beside it an enlarged crop around a deployed picture where that is found in it.

    Args:
        screenshot: a PNG; empty: so is the result.
        files: what was deployed, path in assets/ -> bytes. Of a sheet each frame is looked for.

    Returns:
        A PNG; the screenshot as it is where nothing is found or the crop would not be enlarged.
    """
    shot = read_rgba(screenshot) if screenshot else None
    if shot is None:
        return screenshot
    screen, deadline = Screen(shot), time.monotonic() + PATIENCE
    for picture in _pictures(files):
        if place := screen.find(picture):
            x, y, zoom = place
            height, width = (side * zoom for side in picture.shape[:2])
            return _beside(shot, (x + width // 2, y + height // 2), max(width, height)) or screenshot
        if time.monotonic() > deadline:
            break
    return screenshot


def _pictures(files: Mapping[str, bytes]) -> Iterator[Pixels]:
    """Yields the pictures that the game draws whole: the frames of sheets, the other pictures as they are."""
    framed: set[str] = set()
    for path, data in files.items():
        if path.endswith(".sheet.json"):
            sheet = json.loads(data)
            image = str(PurePosixPath(path).parent / sheet["image"])
            framed.add(image)
            pixels = read_rgba(files.get(image, b""))
            if pixels is not None:
                yield from _frames(pixels, *sheet["tile_size"])
    for path, data in files.items():
        if path.endswith(".png") and path not in framed and (pixels := read_rgba(data)) is not None:
            yield pixels


def _frames(sheet: Pixels, width: int, height: int) -> Iterator[Pixels]:
    for y in range(0, sheet.shape[0] - height + 1, height):
        for x in range(0, sheet.shape[1] - width + 1, width):
            yield sheet[y : y + height, x : x + width]


def _beside(shot: Pixels, middle: tuple[int, int], size: int) -> bytes:
    """Puts the square around `middle` beside the screenshot, as high as it; empty where that does not double it."""
    height, width = shot.shape[:2]
    side = min(max(2 * size, SMALLEST_SIDE), height, width)
    zoom = height // side
    if zoom < 2:
        return b""
    left, top = (int(np.clip(m - side // 2, 0, most - side)) for m, most in zip(middle, (width, height), strict=True))
    crop = Image.fromarray(shot[top : top + side, left : left + side]).resize(
        (side * zoom, side * zoom), Image.Resampling.NEAREST
    )
    picture = Image.new("RGB", (width + 4 + crop.width, height))
    picture.paste(Image.fromarray(shot), (0, 0))
    picture.paste(crop, (width + 4, 0))
    # the frame lies outside what it marks
    ImageDraw.Draw(picture).rectangle((left - 1, top - 1, left + side, top + side), outline=_FRAME)
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()
