"""Figures of the shipped sheet model on held-out outlines: likeness to the artist's sheet, near-copies, time, memory.

    python -m tests.bench.motion.painting DATA/sheets [--picture FILE.png] [--packs DATA/packs]

Held out are whole outlines (all recolourings of one drawing), never single characters.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.animation.figures import MIRROR_SYMMETRY, symmetry
from pipelines.embedded.motion.sampling import Painted, paint_walk
from pipelines.embedded.motion.weights import sheet_net
from pipelines.embedded.training.motion_data import prepare, read_walks
from pipelines.embedded.training.motion_measure import figures, mean_figures

NEAR = 0.97
"""Outline likeness of the eleven painted cells to a training sheet from which a painting counts as a near-copy."""

FOREIGN = (
    "woman",
    "knight",
    "wizard",
    "ranger",
    "viking",
    "lizardman",
    "skeleton",
    "goblin",
    "orc",
    "hag",
    "vampire",
    "barbarian",
)
"""Characters of packs that were not learned from, front views: the first picture that each word finds."""


def paint(key: NDArray[np.uint8], seed: int = 0) -> list[Painted]:
    """Three sheets of a key as the product paints them, the least surprising first."""
    return paint_walk(sheet_net(), key, mirrored=symmetry(key) >= MIRROR_SYMMETRY, seed=seed)


def nearest(cells: NDArray[np.uint8], learned: NDArray[np.bool_]) -> float:
    """The largest outline likeness (intersection over union) of a sheet's painted cells to a learned sheet's."""
    own = (cells[..., 3] > 0).reshape(12, -1)[1:]
    others = learned.reshape(len(learned), 12, -1)[:, 1:]
    both, either = (own & others).sum((1, 2)), (own | others).sum((1, 2))
    return float((both / np.maximum(either, 1)).max())


def foreign_keys(packs: Path) -> dict[str, NDArray[np.uint8]]:
    """Front views of 16 px from tiny_creatures and kenney_tiny_dungeon."""
    from PIL import Image

    rows = [json.loads(line) for line in (packs / "metadata.jsonl").read_text().splitlines()]
    rows = [
        row
        for row in rows
        if row.get("pack") in ("kenney_tiny_dungeon", "tiny_creatures") and row["kind"] == "character"
    ]
    found = {}
    for word in FOREIGN:
        for row in rows:
            if word in row["text"].split() and "right" not in row["text"]:
                found[word] = np.asarray(Image.open(packs / row["file_name"]).convert("RGBA"))
                break
    return found


def picture(rows: list[list[NDArray[np.uint8]]], path: Path, columns: int = 3, zoom: int = 3) -> None:
    """Sheets (4, 3, s, s, 4) and keys (s, s, 4) of each row side by side, `columns` rows beside one another."""
    from PIL import Image

    backdrop = np.array([120, 130, 140], np.uint8)

    def flat(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if cells.ndim == 5:
            _, _, size, _, _ = cells.shape
            cells = cells.transpose(0, 2, 1, 3, 4).reshape(4 * size, 3 * size, 4)
        high = 4 * rows[0][0].shape[-2]
        spare = high - cells.shape[0]
        cells = np.pad(cells, ((spare // 2 + 2, spare - spare // 2 + 2), (3, 3), (0, 0)))
        return np.where(cells[..., 3:] > 0, cells[..., :3], backdrop).astype(np.uint8)

    lines = [np.concatenate([flat(cells) for cells in row], axis=1) for row in rows]
    lines += [np.zeros_like(lines[0])] * (-len(lines) % columns)
    blocks = [
        np.concatenate([np.pad(line, ((1, 1), (3, 3), (0, 0))) for line in lines[i : i + columns]], axis=1)
        for i in range(0, len(lines), columns)
    ]
    whole = Image.fromarray(np.concatenate(blocks))
    whole.resize((whole.width * zoom, whole.height * zoom), Image.Resampling.NEAREST).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheets", type=Path)
    parser.add_argument("--packs", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    made, held_out = prepare(options.sheets)
    walks = read_walks(options.sheets)[16]
    small = made[16]
    learned = small.only(~np.isin(small.outline, held_out)).tokens > 0
    tested = []
    for number in held_out:
        at = np.flatnonzero((small.outline == number) & small.steps)
        if at.size:
            tested.append(str(small.names[at[0]]))
    found, copied, near, rows, surprises = [], [], 0, [], []
    start = time.process_time()
    for name in tested:
        real = walks[name]
        painted = paint(real[0, 0])
        found.append(figures(painted[0].cells, real))
        copied.append(figures(np.broadcast_to(real[0, 0], real.shape), real))
        near += nearest(painted[0].cells, learned) > NEAR
        surprises.append(painted[0].surprise)
        rows.append([real[0, 0], real, painted[0].cells])
    spent = (time.process_time() - start) / len(tested)
    print(f"{len(tested)} held-out outlines, the least surprising of three seeds each")
    print("painted", mean_figures(found))
    print("key copied", mean_figures(copied))
    print(f"near-copies of a learned sheet (outline likeness over {NEAR}): {near}")
    print(f"processor seconds for a sheet with three seeds: {spent:.2f}")
    print("surprise", {"median": round(float(np.median(surprises)), 3), "largest": round(max(surprises), 3)})
    print(f"largest memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    if options.picture:
        picture(rows, options.picture)
    if options.packs:
        others = []
        for word, key in foreign_keys(options.packs).items():
            painted = paint(key)
            others.append([key, painted[0].cells, painted[1].cells])
            print(f"{word}: surprise {painted[0].surprise:.3f}, symmetry {symmetry(key):.2f}")
        if options.picture:
            picture(others, options.picture.with_name(f"{options.picture.stem}-foreign.png"))


if __name__ == "__main__":
    main()
