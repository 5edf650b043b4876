"""Sprites on disk, to learn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.records import Pixels


def sprite(seed: int, side: int = 16) -> Pixels:
    """A blob in three colours on a clear ground."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 4), np.uint8)
    picture[2:-2, 3:-3, :3] = rng.integers(0, 256, (3, 3), dtype=np.uint8)[rng.integers(0, 3, (side - 4, side - 6))]
    picture[2:-2, 3:-3, 3] = 255
    return picture


def save(path: Path, picture: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def write_metadata(folder: Path, captions: dict[str, str]) -> None:
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in captions.items()]
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
