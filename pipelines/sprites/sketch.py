"""Lay a rough picture onto the canvas that a drawing begins with (image-to-image)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pipelines.pixels.matte import cut_background
from pipelines.records import Pixels

MAGENTA, WHITE, CLEAR = (255, 0, 255, 255), (255, 255, 255, 255), (0, 0, 0, 0)


def sketch_canvas(
    sketch: Pixels, canvas: tuple[int, int], size: tuple[int, int], pitch: int, background: str, draws_pixels: bool
) -> Pixels:
    """Puts the sketch in the middle of a canvas, where the sprite is drawn, as large as the sprite's window holds it.

    One background colour around an opaque sketch is cut away where the sprite is to be cut out; a model without
    transparency gets the magenta that its prompt asks for in its place.

    Args:
        sketch: (h, w, 4) RGBA, any size.
        canvas: (width, height) of the result.
        size: (width, height) of the sprite.
        pitch: canvas pixels for each of the sprite's; 0: as many as fit.
        background: "transparent" or "opaque".
        draws_pixels: whether the model draws transparency itself.
    """
    if background == "transparent" and (sketch[..., 3] == 255).all():
        cut = cut_background(sketch).image
        sketch = cut if cut[..., 3].any() else sketch
    wide, high = canvas
    scale = pitch or min(wide / size[0], high / size[1])
    window = max(1, min(wide, round(size[0] * scale))), max(1, min(high, round(size[1] * scale)))
    fit = min(window[0] / sketch.shape[1], window[1] / sketch.shape[0])
    fitted = max(1, round(sketch.shape[1] * fit)), max(1, round(sketch.shape[0] * fit))
    resample = Image.Resampling.BOX if fit < 1 else Image.Resampling.NEAREST
    # colours under transparent pixels must not bleed into their neighbours: alpha is multiplied in while resizing
    picture = Image.fromarray(sketch).convert("RGBa").resize(fitted, resample).convert("RGBA")
    filled = CLEAR if draws_pixels else MAGENTA if background == "transparent" else WHITE
    result = Image.new("RGBA", canvas, filled)
    result.alpha_composite(picture, ((wide - fitted[0]) // 2, (high - fitted[1]) // 2))
    return np.array(result)
