"""Spoil pictures as renderers, compression and careless scaling do."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from pipelines.pixels.png import read_picture
from pipelines.records import Pixels

Damage = Callable[[Pixels, np.random.Generator], tuple[Pixels, Pixels, float]]
"""(truth, random numbers) -> (spoilt picture, the part of the truth that is in it, pitch)."""


def blow_up(truth: Pixels, pitch: float, warp: float = 0.0, phase: tuple[float, float] = (0.0, 0.0)) -> Pixels:
    """Each pixel about `pitch` wide; lines drift by up to `warp` pixels along each axis, and shift by `phase`."""
    height, width = (round(side * pitch) for side in truth.shape[:2])

    def source(length: int, cells: int, shift: float) -> np.ndarray:
        at = np.arange(length) + 0.5
        drift = warp * np.sin(2 * np.pi * at / length)
        return np.clip((at + drift + shift) / pitch, 0, cells - 1e-6).astype(np.intp)

    return truth[source(height, truth.shape[0], phase[1])[:, None], source(width, truth.shape[1], phase[0])[None]]


def resize(truth: Pixels, factor: int, how: Image.Resampling) -> Pixels:
    """Enlarge as an image editor does."""
    return np.array(Image.fromarray(truth).resize((truth.shape[1] * factor, truth.shape[0] * factor), how))


def blur(picture: Pixels, sigma: float) -> Pixels:
    return np.rint(ndimage.gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)


def add_noise(picture: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    noisy = picture.astype(np.float64)
    noisy[..., :3] += rng.normal(0, sigma, (*picture.shape[:2], 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def jpeg(picture: Pixels, quality: int) -> Pixels:
    """Compress; clear pixels become white, as JPEG has no alpha."""
    flat = np.where(picture[..., 3:] > 127, picture[..., :3], 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(flat).save(file, "JPEG", quality=quality)
    return read_picture(file.getvalue())


def sub_pixel(picture: Pixels, dx: float, dy: float) -> Pixels:
    shifted = ndimage.shift(picture.astype(np.float32), (dy, dx, 0), order=1, mode="nearest")
    return np.rint(shifted).astype(np.uint8)


def crop(picture: Pixels, pitch: float, rng: np.random.Generator) -> tuple[Pixels, tuple[slice, slice]]:
    """A window that cuts through cells; and the slice of the truth whose cells are at least half inside."""
    windows, cells = [], []
    for length in picture.shape[:2]:
        start, stop = int(rng.uniform(0, 2 * pitch)), length - int(rng.uniform(0, 0.3 * length))
        windows.append(slice(start, stop))
        cells.append(slice(math.ceil(start / pitch - 0.5), math.floor(stop / pitch + 0.5)))
    return picture[windows[0], windows[1]], (cells[0], cells[1])


def _plain(spoil: Callable[[Pixels, np.random.Generator], Pixels], low: int = 4, high: int = 16) -> Damage:
    """A whole pitch, then `spoil`."""

    def damage(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
        pitch = int(rng.integers(low, high + 1))
        return spoil(blow_up(truth, pitch), rng), truth, pitch

    return damage


def _broken_pitch(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = float(rng.uniform(7.5, 8.5))
    return blow_up(truth, pitch), truth, pitch


def _drift(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = int(rng.integers(8, 13))
    return blur(blow_up(truth, pitch, warp=4.0 * (1 if rng.random() < 0.5 else -1)), 0.7), truth, pitch


def _cropped(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = int(rng.integers(4, 17))
    picture, cells = crop(blow_up(truth, pitch), pitch, rng)
    return picture, truth[cells], pitch


def _everything(truth: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels, float]:
    pitch = float(rng.uniform(7.5, 8.5))
    picture = blow_up(truth, pitch, warp=2.0, phase=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))))
    return jpeg(add_noise(blur(picture, 1.0), 6, rng), 80), truth, pitch


DAMAGES: dict[str, Damage] = {
    "pitch 7.5-8.5": _broken_pitch,
    "blur": _plain(lambda p, rng: blur(p, float(rng.uniform(0.125, 0.31)) * p.shape[0] / 64)),
    "noise": _plain(lambda p, rng: add_noise(p, float(rng.uniform(5, 20)), rng)),
    "drift +-4 px": _drift,
    "sub-pixel phase": _plain(lambda p, rng: sub_pixel(p, *(float(v) for v in rng.uniform(-0.9, 0.9, 2)))),
    "crop": _cropped,
    "all together": _everything,
}
TREATMENTS: dict[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = {
    "x1": lambda p, factor, rng: p,
    "nearest": lambda p, factor, rng: resize(p, factor, Image.Resampling.NEAREST),
    "bilinear": lambda p, factor, rng: resize(p, factor, Image.Resampling.BILINEAR),
    "bicubic": lambda p, factor, rng: resize(p, factor, Image.Resampling.BICUBIC),
    "JPEG 60-95": lambda p, factor, rng: jpeg(resize(p, factor, Image.Resampling.NEAREST), int(rng.integers(60, 96))),
}
