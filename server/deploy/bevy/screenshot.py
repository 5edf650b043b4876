"""Take a screenshot of the running game by one of several ways, and find a sprite in it to the pixel.

The ways, best first: the dev plugin (windows and off-screen cameras), bevy_brp_extras, and the protocol's own means
(Bevy 0.19 and later, a window).
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import PipelineError
from pipelines.records import Pixels
from server.deploy.bevy.brp import BrpClient, BrpError, Discovery, Silent

if TYPE_CHECKING:
    from PIL import Image

CAPTURED = "bevy_render::view::window::screenshot::ScreenshotCaptured"
SCREENSHOT = "bevy_render::view::window::screenshot::Screenshot"
WINDOW = "bevy_window::window::PrimaryWindow"
LARGEST_ZOOM = 8
LONGEST_SIDE = 8192
MOST_PIXELS = 16 << 20
"""Pixels of the largest screenshot that is looked at (5K): searching a larger one takes longer than a deploy may."""


def ways(discovery: Discovery) -> tuple[str, ...]:
    """Returns how this game can be photographed, best first: of "plugin", "extras", "stock"."""
    offered = {
        "plugin": "dgx_pixels/screenshot" in discovery.methods,
        "extras": "brp_extras/screenshot" in discovery.methods,
        "stock": "world.observe+watch" in discovery.methods and "world.spawn_entity" in discovery.methods,
    }
    return tuple(way for way, there in offered.items() if there)


def take_screenshot(client: BrpClient, discovery: Discovery, timeout: float) -> bytes:
    """Takes a PNG of what the game shows; empty where the game offers no way, or none succeeds in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    for way in ways(discovery):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            shot = _stock(client, left) if way == "stock" else _to_file(client, *_FILES[way], deadline)
        except (BrpError, PipelineError, OSError):
            continue
        if shot:
            return shot
    return b""


_FILES = {"plugin": ("dgx_pixels/screenshot", "shot.bmp"), "extras": ("brp_extras/screenshot", "shot.png")}


def _to_file(client: BrpClient, method: str, name: str, deadline: float) -> bytes:
    """Lets the game write the picture, which the dev plugin does a few frames after it has answered."""
    with tempfile.TemporaryDirectory(prefix="dgx-pixels-") as folder:
        path = Path(folder, name)
        client.call(method, {"path": str(path)}, timeout=max(deadline - time.monotonic(), 0.01))
        while not path.exists():
            if time.monotonic() > deadline:
                raise Silent("The game took no screenshot in time.")
            time.sleep(0.005)
        return _as_png(path)


def _stock(client: BrpClient, timeout: float) -> bytes:
    """Uses the protocol's own way: spawns a screenshot of the primary window and observes the event that carries it."""
    with client.watch("world.observe+watch", {"event": CAPTURED}, timeout=timeout) as events:
        # A frame later the observer is there. Without a window the request would stay in the game for ever.
        if not client.call("world.query", {"data": {}, "filter": {"with": [WINDOW]}}, timeout=timeout):
            return b""
        client.call("world.spawn_entity", {"components": {SCREENSHOT: {"Window": "Primary"}}}, timeout=timeout)
        for captured in events:
            try:
                return _png_of(captured[0]["image"])
            except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
                return b""  # an image of a form that no Bevy is known to send
    return b""


def _png_of(image: Any) -> bytes:
    """Encodes Bevy's Image as JSON (8-bit RGBA or BGRA) as a PNG."""
    from PIL import Image

    descriptor = image["texture_descriptor"]
    size = descriptor["size"]
    pixels = np.array(image["data"], np.uint8).reshape(size["height"], size["width"], 4)
    if str(descriptor["format"]).lower().startswith("bgra"):
        pixels = pixels[..., [2, 1, 0, 3]]
    return _encode(Image.fromarray(pixels[..., :3]))


def _as_png(path: Path) -> bytes:
    """Reads the picture that the game wrote. It lies in a folder of the server's own; a link out of it is refused."""
    from pipelines.files import READABLE
    from pipelines.pixels.png import open_picture

    earlier = READABLE.set((path.parent,))
    try:
        with open_picture(path, LONGEST_SIDE) as image:
            return _encode(image.convert("RGB"))
    finally:
        READABLE.reset(earlier)


def _encode(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def read_rgba(data: bytes) -> Pixels | None:
    """Returns the picture's (height, width, 4) RGBA pixels; None if the bytes are not a picture."""
    from pipelines.errors import ImageError
    from pipelines.pixels.png import open_picture

    try:
        with open_picture(data, LONGEST_SIDE) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            return np.asarray(image.convert("RGBA"))
    except ImageError:
        return None


class Screen:
    """A screenshot in which sprites are looked for.

    Args:
        shot: (height, width, 4) RGBA.
    """

    def __init__(self, shot: Pixels) -> None:
        self._shown = _packed(shot)
        values, counts = np.unique(self._shown, return_counts=True)
        self._frequency = dict(zip(values.tolist(), counts.tolist(), strict=True))

    def find(self, sprite: Pixels) -> tuple[int, int, int] | None:
        """Returns where the sprite's opaque pixels appear exactly: (x, y, zoom), or None.

        Upright or mirrored, enlarged 1 to 8 times. A sprite that is tinted, turned, scaled by a fraction or partly
        covered is not found: None says nothing. Sprites of fewer than 8 opaque pixels or of one colour prove nothing:
        None.

        Args:
            sprite: (height, width, 4) RGBA.
        """
        opaque = np.argwhere(sprite[..., 3] == 255)
        if len(opaque) < 8 or len(np.unique(sprite[opaque[:, 0], opaque[:, 1], :3], axis=0)) < 2:
            return None
        for picture in (sprite, sprite[:, ::-1]):
            colors = _packed(picture)
            points = np.argwhere(picture[..., 3] == 255)
            # Rare colours first: they rule out nearly every place immediately.
            order = np.argsort([self._frequency.get(int(colors[y, x]), 0) for y, x in points], kind="stable")
            if self._frequency.get(int(colors[tuple(points[order[0]])]), 0) == 0:
                continue
            for zoom in range(1, LARGEST_ZOOM + 1):
                if place := _place(self._shown, colors, points[order], zoom):
                    return (*place, zoom)
        return None


def find_sprite(shot: Pixels, sprite: Pixels) -> tuple[int, int, int] | None:
    """Returns where the sprite appears exactly in the screenshot, both (height, width, 4) RGBA: see `Screen.find`."""
    return Screen(shot).find(sprite)


def _place(shown: np.ndarray, colors: np.ndarray, points: np.ndarray, zoom: int) -> tuple[int, int] | None:
    height, width = shown.shape[0] - colors.shape[0] * zoom + 1, shown.shape[1] - colors.shape[1] * zoom + 1
    if height <= 0 or width <= 0:
        return None
    y, x = points[0]
    tops, lefts = np.nonzero(shown[y * zoom : y * zoom + height, x * zoom : x * zoom + width] == colors[y, x])
    for y, x in points:
        for corner in {0, zoom - 1}:
            same = shown[tops + y * zoom + corner, lefts + x * zoom + corner] == colors[y, x]
            tops, lefts = tops[same], lefts[same]
        if not len(tops):
            return None
    return int(lefts[0]), int(tops[0])


def _packed(pixels: Pixels) -> np.ndarray:
    """Returns (height, width) uint32 of the colours."""
    r, g, b = (pixels[..., i].astype(np.uint32) for i in range(3))
    return r << 16 | g << 8 | b
