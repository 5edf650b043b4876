"""Flatten the layers of an Aseprite file into the frames that the editor shows.

The arithmetic is Aseprite's: 8-bit products rounded as `t = a * b + 128; (t + t / 256) / 256`, "normal" blending by the
alpha of both, and other modes mixed with normal where the layers below are half transparent (its "new blending method",
the default since 1.2.11). A blend mode that is not known here is refused rather than drawn as another one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ImageError
from pipelines.pixels.aseprite import Aseprite, Cel, Layer, read_aseprite
from pipelines.records import Pixels

Channel = NDArray[np.int32]
MOST_PIXELS = 1 << 25
"""Pixels of all frames, or of all layers, together."""
MOST_DRAWN = 1 << 27
"""Pixels of all cels that are drawn, those that are linked counted each time."""
_BAND = 1 << 20
"""Pixels that are blended together."""
_MODES = (
    "normal", "multiply", "screen", "overlay", "darken", "lighten", "color dodge", "color burn", "hard light",
    "soft light", "difference", "exclusion", "hue", "saturation", "color", "luminosity", "addition", "subtract",
    "divide",
)  # fmt: skip


def _product(a: Channel, b: Channel) -> Channel:
    """Multiplies 8-bit values, 255 being 1."""
    t = a * b + 128
    return (t + (t >> 8)) >> 8


def _screen(back: Channel, front: Channel) -> Channel:
    return back + front - _product(back, front)


def _hard_light(back: Channel, front: Channel) -> Channel:
    return np.where(front < 128, _product(back, front * 2), _screen(back, front * 2 - 255))


def _quotient(a: Channel, b: Channel) -> Channel:
    """Divides 8-bit values, 255 being 1; `b` is above `a`, so above 0, where the result is used."""
    return (a * 255 + b // 2) // np.maximum(b, 1)


def _color_dodge(back: Channel, front: Channel) -> Channel:
    rest = 255 - front
    return np.where(back == 0, 0, np.where(back >= rest, 255, _quotient(back, rest)))


def _color_burn(back: Channel, front: Channel) -> Channel:
    rest = 255 - back
    return np.where(back == 255, 255, np.where(rest >= front, 0, 255 - _quotient(rest, front)))


def _soft_light(back: Channel, front: Channel) -> Channel:
    b, f = back / 255, front / 255
    curve = np.where(b <= 0.25, ((16 * b - 12) * b + 4) * b, np.sqrt(b))
    mixed = np.where(f <= 0.5, b - (1 - 2 * f) * b * (1 - b), b + (2 * f - 1) * (curve - b))
    return (mixed * 255 + 0.5).astype(np.int32)


def _divide(back: Channel, front: Channel) -> Channel:
    return np.where(back == 0, 0, np.where(back >= front, 255, _quotient(back, front)))


_BLENDS: dict[int, Callable[[Channel, Channel], Channel]] = {
    1: _product,
    2: _screen,
    3: lambda back, front: _hard_light(front, back),
    4: lambda back, front: np.minimum(back, front),
    5: lambda back, front: np.maximum(back, front),
    6: _color_dodge,
    7: _color_burn,
    8: _hard_light,
    9: _soft_light,
    10: lambda back, front: np.abs(back - front),
    11: lambda back, front: back + front - 2 * _product(back, front),
    16: lambda back, front: np.minimum(back + front, 255),
    17: lambda back, front: np.maximum(back - front, 0),
    18: _divide,
}


def composite(sprite: Aseprite, frame: int, name: str = "the file") -> Pixels:
    """Returns the frame as the editor shows it: (height, width, 4) RGBA of all visible layers.

    Raises:
        ImageError: a visible layer has a blend mode that is not known.
    """
    canvas = np.zeros((sprite.height, sprite.width, 4), np.uint8)
    shown = _visible(sprite.layers, name)
    drawn = [(layer, cel) for (at, layer), cel in sprite.cels.items() if at == frame and shown[layer]]
    for layer, cel in sorted(drawn, key=lambda one: (one[0] + one[1].z, one[1].z)):
        own = sprite.layers[layer]
        if own.blend and own.blend not in _BLENDS:
            mode = _MODES[own.blend] if own.blend < len(_MODES) else f"number {own.blend}"
            raise ImageError(
                f"{name}: the layer '{own.name}' has the blend mode '{mode}', which is not read here. Flatten the "
                "layers, or set the layer to Normal."
            )
        opacity = int(_product(np.array(cel.opacity, np.int32), np.array(own.opacity, np.int32)))
        _draw(canvas, to_rgba(sprite, cel, own), cel, opacity, own.blend)
    canvas[canvas[..., 3] == 0] = 0
    return canvas


def composite_frames(data: bytes, name: str, limit: int) -> list[tuple[Pixels, int]]:
    """Flattens a file's frames (at most `limit`) to (picture, milliseconds); a still has one frame of 0 ms.

    Raises:
        ImageError: as `read_aseprite` and `composite`.
    """
    sprite = read_aseprite(data, name)
    still = len(sprite.durations) == 1
    check_size(sprite, min(limit, len(sprite.durations)), name)
    return [
        (composite(sprite, frame, name), 0 if still else duration)
        for frame, duration in enumerate(sprite.durations[:limit])
    ]


def check_size(sprite: Aseprite, pictures: int, name: str) -> None:
    """Refuses what would fill the memory or take minutes: many canvases, or many cels drawn over one another.

    Raises:
        ImageError: it says how much it is.
    """
    canvas = sprite.width * sprite.height
    if pictures > 1 and pictures * canvas > MOST_PIXELS:
        raise ImageError(
            f"{name} has {pictures} pictures of {sprite.width}x{sprite.height}, which is too much to read. Scale it "
            "down, or split it."
        )
    drawn = sum(min(cel.pixels.shape[0] * cel.pixels.shape[1], canvas) for cel in sprite.cels.values())
    if drawn > MOST_DRAWN:
        raise ImageError(
            f"The cels of {name} cover {drawn / 1e6:,.0f} million pixels; {MOST_DRAWN / 1e6:.0f} million is the most. "
            "Flatten the layers, or split it."
        )


def layer_picture(sprite: Aseprite, frame: int, layer: int) -> Pixels:
    """Returns one layer of a frame alone on the canvas, at full opacity: (height, width, 4) RGBA."""
    canvas = np.zeros((sprite.height, sprite.width, 4), np.uint8)
    if cel := sprite.cels.get((frame, layer)):
        _draw(canvas, to_rgba(sprite, cel, sprite.layers[layer]), cel, 255, 0)
    return canvas


def to_rgba(sprite: Aseprite, cel: Cel, layer: Layer) -> Pixels:
    """Returns a cel's pixels as (h, w, 4) RGBA."""
    if sprite.mode == "rgba":
        return cel.pixels
    if sprite.mode == "gray":
        return np.concatenate([np.repeat(cel.pixels[..., :1], 3, axis=-1), cel.pixels[..., 1:]], axis=-1)
    table = np.zeros((256, 4), np.uint8)
    entries = np.array(sprite.palette[:256], np.uint8).reshape(-1, 4)
    table[: len(entries)] = entries
    if not layer.background:
        table[sprite.transparent] = 0
    return table[cel.pixels]


def _visible(layers: tuple[Layer, ...], name: str) -> list[bool]:
    """Returns whether each layer is drawn: all groups around it are visible too, and it holds pixels of its own."""
    shown: list[bool] = []
    around: list[bool] = []  # the groups that are open, outermost first
    for layer in layers:
        del around[layer.level :]
        visible = layer.visible and all(around)
        if layer.group:
            if visible and (layer.opacity < 255 or layer.blend):
                raise ImageError(
                    f"{name}: the group '{layer.name}' has an opacity or a blend mode of its own, which is not read "
                    "here. Flatten the group, or set it to Normal and 255."
                )
            around.append(visible)
        shown.append(visible and not layer.group and not layer.reference)
    return shown


def _draw(canvas: Pixels, picture: Pixels, cel: Cel, opacity: int, blend: int) -> None:
    """Draws a cel onto the canvas in place; what lies outside is cut off."""
    height, width = canvas.shape[:2]
    left, top = max(0, cel.x), max(0, cel.y)
    right, bottom = min(width, cel.x + picture.shape[1]), min(height, cel.y + picture.shape[0])
    if left >= right or top >= bottom:
        return
    # A band at a time: the products of a whole picture of 4096x4096 would take 1.7 GB.
    rows = max(1, _BAND // (right - left))
    for first in range(top, bottom, rows):
        last = min(first + rows, bottom)
        front = picture[first - cel.y : last - cel.y, left - cel.x : right - cel.x]
        canvas[first:last, left:right] = _blended(canvas[first:last, left:right], front, opacity, blend)


def _blended(below: Pixels, above: Pixels, opacity: int, blend: int) -> NDArray[np.int32]:
    """Returns `above` drawn over `below`, both (h, w, 4) RGBA; the values are 0 to 255."""
    front, back = above.astype(np.int32), below.astype(np.int32)
    plain = _normal(back, front, opacity)
    if not blend:
        return plain
    back_alpha = back[..., 3:]
    mixed = _normal(back, np.concatenate([_BLENDS[blend](back[..., :3], front[..., :3]), front[..., 3:]], -1), opacity)
    front_alpha = _product(front[..., 3:], np.array(opacity, np.int32))
    merged = _merged(_merged(plain, mixed, back_alpha), mixed, _product(back_alpha, front_alpha))
    return np.where(back_alpha == 0, plain, merged)


def _normal(back: Channel, front: Channel, opacity: int) -> Channel:
    """Returns `front` over `back`, (h, w, 4) each."""
    front_alpha = _product(front[..., 3:], np.array(opacity, np.int32))
    back_alpha, color = back[..., 3:], front[..., :3]
    alpha = front_alpha + back_alpha - _product(back_alpha, front_alpha)
    change = (color - back[..., :3]) * front_alpha
    # C's integer division, which rounds towards zero
    over = back[..., :3] + np.sign(change) * (np.abs(change) // np.maximum(alpha, 1))
    rgb = np.where(back_alpha == 0, color, np.where(front[..., 3:] == 0, back[..., :3], over))
    return np.concatenate([np.clip(rgb, 0, 255), alpha], axis=-1)


def _merged(one: Channel, other: Channel, weight: Channel) -> Channel:
    """Returns a mean of two pictures, `weight` of 255 being the other's; colours of clear pixels do not count."""
    mean = one + _product(other - one, weight)
    rgb = np.where(one[..., 3:] == 0, other[..., :3], np.where(other[..., 3:] == 0, one[..., :3], mean[..., :3]))
    return np.concatenate([rgb, mean[..., 3:]], axis=-1)
