"""Choose the canvas that a training picture is placed on, and place it there.

Pictures are enlarged by whole factors with nearest neighbour, so their pixels stay sharp. A model that draws single
pixels has one canvas. SDXL learns better from several shapes of about the same area (NovelAI's aspect buckets: sides
in steps of 64 pixels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.embedded.canvas import place
from pipelines.records import Pixels

STEP = 64
"""Pixels between two side lengths of a bucket."""
MOST_RATIO = 2.0
"""The longest side of a bucket, in shortest sides."""
WHITE = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A picture in its bucket: `image` is (height, width, 4) on the bucket's canvas; `native` is for SDXL's
    original-size conditioning, (height, width) in pixels; `shown` (height, width) in 0..1 is how opaque it was, None
    where the model draws transparency itself."""

    image: Pixels
    native: tuple[int, int]
    shown: NDArray[np.float32] | None = None


def buckets(resolution: int) -> list[tuple[int, int]]:
    """Returns (height, width) of every bucket: areas of 3/4 to 1 of resolution², sides at most MOST_RATIO apart.

    >>> buckets(256)
    [(192, 320), (256, 256), (320, 192)]
    """
    shapes = {(resolution, resolution)}
    for height in range(STEP, int(resolution * MOST_RATIO) + 1, STEP):
        width = resolution * resolution // height // STEP * STEP
        if width and 1 / MOST_RATIO <= height / width <= MOST_RATIO and height * width >= 0.75 * resolution**2:
            shapes.add((height, width))
    return sorted(shapes)


def nearest_bucket(height: int, width: int, resolution: int) -> tuple[int, int]:
    """Returns the bucket whose proportions are nearest to the picture's (of equals the larger one)."""
    ratio = np.log(height / width)
    return min(buckets(resolution), key=lambda b: (abs(np.log(b[0] / b[1]) - ratio), -b[0] * b[1]))


def fit_pixels(image: Pixels) -> Fitted | None:
    """Returns the picture on the canvas of a model that draws single pixels; None where it is larger or empty."""
    placed = place(image)
    if placed is None:
        return None
    canvas, native = placed
    return Fitted(canvas, (native, native))


def fit_canvas(image: Pixels, resolution: int) -> Fitted:
    """Returns the picture enlarged into its bucket, centred on white (what a model without transparency sees).

    Enlarged by the largest whole factor that fits. One that is larger than its bucket is made smaller by averaging.
    """
    height, width = nearest_bucket(image.shape[0], image.shape[1], resolution)
    factor = min(height // image.shape[0], width // image.shape[1])
    image = image.repeat(factor, axis=0).repeat(factor, axis=1) if factor else _shrunk(image, height, width)
    alpha = image[..., 3:].astype(np.float32) / 255
    flat = np.rint(image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    canvas = np.empty((height, width, 4), np.uint8)
    canvas[:] = WHITE
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    canvas[top : top + image.shape[0], left : left + image.shape[1], :3] = flat
    shown = np.zeros((height, width), np.float32)
    shown[top : top + image.shape[0], left : left + image.shape[1]] = alpha[..., 0]
    return Fitted(canvas, (height, width), shown)


def true_pixels(image: Pixels) -> Pixels:
    """Returns the picture at its own resolution: one that is an exact enlargement by a whole factor is taken back."""
    side = np.gcd(*image.shape[:2])
    for factor in range(min(64, int(side)), 1, -1):
        if side % factor == 0:
            small = image[::factor, ::factor]
            if np.array_equal(small.repeat(factor, axis=0).repeat(factor, axis=1), image):
                return small
    return image


def _shrunk(image: Pixels, height: int, width: int) -> Pixels:
    from PIL import Image

    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BOX))
