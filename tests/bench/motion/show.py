"""Moving pictures for docs/animations.md: characters in rows, their clips in columns, all playing at the same time.

    python -m tests.bench.motion.show KEYS_FOLDER OUT.webp NAME ... [--clips walk_down,walk_left] [--method auto]

KEYS_FOLDER holds the sprites (NAME.png), as `strips draw` leaves them in OUT/keys.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.animation.making import make_clips
from pipelines.choices import FrameMethod
from pipelines.records import Pixels

_BACKDROP = (58, 66, 82)


def moving(rows: list[list[list[Pixels]]], path: Path, *, zoom: int, milliseconds: int = 130) -> None:
    """Writes clips (rows of clips of equally many frames) as one looping picture, WebP or GIF by the path's ending."""
    height = max(frame.shape[0] for row in rows for clip in row for frame in clip) + 4
    width = max(frame.shape[1] for row in rows for clip in row for frame in clip) + 4
    length = max(len(clip) for row in rows for clip in row)
    pictures = []
    for turn in range(length):
        lines = []
        for row in rows:
            cells = []
            for clip in row:
                frame = clip[turn % len(clip)]
                cell = np.zeros((height, width, 4), np.uint8)
                top, left = (height - frame.shape[0]) // 2, (width - frame.shape[1]) // 2
                cell[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
                cells.append(np.where(cell[..., 3:] > 0, cell[..., :3], np.array(_BACKDROP)).astype(np.uint8))
            lines.append(np.concatenate(cells, axis=1))
        whole = np.concatenate(lines).repeat(zoom, 0).repeat(zoom, 1)
        pictures.append(Image.fromarray(whole))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, lossless=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument(
        "--clips", default="idle_down,walk_down,walk_left,walk_right,walk_up,attack_down,attack_left,die_down"
    )
    parser.add_argument("--method", default="auto")
    parser.add_argument("--zoom", type=int, default=3)
    options = parser.parse_args()
    wanted = options.clips.split(",")
    motions = list(dict.fromkeys(clip.split("_")[0] for clip in wanted))
    directions = ("down", "left", "right", "up") if "_" in wanted[0] else ("",)
    rows = []
    for name in options.names:
        sprite = np.asarray(Image.open(options.keys / f"{name}.png").convert("RGBA"))
        method: FrameMethod = options.method
        made = make_clips(
            sprite, motions, 8, directions, method=method, words=name.replace("_", " ").removesuffix(" px")[:-3]
        )
        print(name, made.notes)
        rows.append([[sprite], *(made.frames[clip] for clip in wanted)])
    moving(rows, options.out, zoom=options.zoom)


if __name__ == "__main__":
    main()
