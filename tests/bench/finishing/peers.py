"""Runs the peers of the finishing bench on pictures in a folder. Has its own Python: it imports nothing of ours."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Known = tuple[float, int, int]


def proper(picture: np.ndarray, pitch: int | None) -> np.ndarray:
    package = importlib.import_module("proper_pixel_art")
    config = package.PixelateConfig(pixel_width=pitch)
    return np.array(package.pixelate(Image.fromarray(picture), config).image.convert("RGBA"))


def perfect(picture: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    package = importlib.import_module("perfect_pixel")
    # it reports on stdout
    with contextlib.redirect_stdout(io.StringIO()):
        _, _, native = package.get_perfect_pixel(np.ascontiguousarray(picture[..., :3]), grid_size=size)
    return np.dstack([native, np.full(native.shape[:2], 255, np.uint8)])


def nearest(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))


PEERS: dict[str, Callable[[np.ndarray, Known], np.ndarray]] = {
    "proper-pixel-art": lambda picture, known: proper(picture, None),
    "perfect-pixel": lambda picture, known: perfect(picture, None),
    "nearest": lambda picture, known: nearest(picture, known[1:]),
    "proper-pixel-art, pitch given": lambda picture, known: proper(picture, round(known[0])),
    "perfect-pixel, size given": lambda picture, known: perfect(picture, known[1:]),
}


def main(folder: Path) -> None:
    known: list[Known] = [(row[0], row[1], row[2]) for row in json.loads((folder / "known.json").read_text())]
    seconds: dict[str, list[float]] = {name: [] for name in PEERS}
    for number, (name, peer) in enumerate(PEERS.items()):
        for index, facts in enumerate(known):
            picture = np.load(folder / f"in{index}.npy")
            start = time.perf_counter()
            try:
                native = peer(picture, facts)
            except Exception as error:
                # a picture that a peer fails on counts as nothing right
                print(f"{name} failed on picture {index}: {error}", file=sys.stderr)
                native = np.zeros((1, 1, 4), np.uint8)
            seconds[name].append(time.perf_counter() - start)
            np.save(folder / f"out{number}-{index}.npy", native)
    (folder / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
