"""Run the peers of the finishing bench on pictures in a folder. Has a Python of its own and imports nothing of ours."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def proper(picture: np.ndarray, file: Path) -> np.ndarray:
    package = importlib.import_module("proper_pixel_art")
    return np.array(package.pixelate(Image.fromarray(picture), package.PixelateConfig()).image.convert("RGBA"))


def perfect(picture: np.ndarray, file: Path) -> np.ndarray:
    package = importlib.import_module("perfect_pixel")
    # it reports on stdout
    with contextlib.redirect_stdout(io.StringIO()):
        _, _, native = package.get_perfect_pixel(np.ascontiguousarray(picture[..., :3]))
    return np.dstack([native, np.full(native.shape[:2], 255, np.uint8)])


def unfake(picture: np.ndarray, file: Path) -> np.ndarray:
    package = importlib.import_module("unfake")
    logging.disable(logging.INFO)
    with contextlib.redirect_stdout(io.StringIO()):
        return np.array(package.process_image_sync(str(file), max_colors=64)["image"].convert("RGBA"))


def snapper(picture: np.ndarray, file: Path, program: str) -> np.ndarray:
    out = file.with_suffix(".out.png")
    subprocess.run([program, str(file), str(out), "64"], check=True, capture_output=True)
    return np.array(Image.open(out).convert("RGBA"))


def main(folder: Path, name: str, program: str = "") -> None:
    peers: dict[str, Callable[[np.ndarray, Path], np.ndarray]] = {
        "proper-pixel-art": proper,
        "perfect-pixel": perfect,
        "unfake": unfake,
        "pixel-snapper": lambda picture, file: snapper(picture, file, program),
    }
    files = sorted(folder.glob("in*.png"))
    seconds = []
    work = folder / name
    work.mkdir()
    for file in files:
        picture = np.array(Image.open(file))
        start = time.perf_counter()
        try:
            native = peers[name](picture, file)
        except Exception:
            # a picture that a peer fails on counts as nothing right
            native = np.zeros((1, 1, 4), np.uint8)
        seconds.append(time.perf_counter() - start)
        np.save(work / f"{file.stem}.npy", native)
    (work / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
