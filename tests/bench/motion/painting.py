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

from pipelines.animation.figures import symmetry
from pipelines.animation.small import painted_sheet
from pipelines.embedded.motion.sides import readable
from pipelines.embedded.motion.slots import DIRECTIONS, key_slots
from pipelines.embedded.motion.weights import side_net
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


def told(cells: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Chances that the side judge recognises each direction of a sheet (4, CELLS, size, size, 4): (4,)."""
    size = cells.shape[2]
    key = key_slots(cells.reshape(-1, size, 4))
    return readable(side_net(), key.tokens.reshape(1, *cells.shape[:4]), key.lab)[0].exp().numpy()


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
    found, copied, near, rows, surprises, sides = [], [], 0, [], [], []
    start = time.process_time()
    for name in tested:
        real = walks[name]
        cells, painted = painted_sheet(real[0, 0])
        found.append(figures(cells, real))
        sides.append([told(cells), told(real)])
        copied.append(figures(np.broadcast_to(real[0, 0], real.shape), real))
        near += nearest(cells, learned) > NEAR
        surprises.append(painted.surprise)
        rows.append([real[0, 0], real, cells])
    spent = (time.process_time() - start) / len(tested)
    print(f"{len(tested)} held-out outlines, the best of three seeds each")
    print("painted", mean_figures(found))
    for name, mean in zip(("painted", "the artist's"), np.mean(sides, axis=0), strict=True):
        print(
            f"direction told by the side judge, {name}: "
            + ", ".join(f"{n} {v:.2f}" for n, v in zip(DIRECTIONS, mean, strict=True))
        )
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
            cells, painted = painted_sheet(key)
            others.append([key, cells])
            print(f"{word}: surprise {painted.surprise:.3f}, sides {painted.sides:.2f}, symmetry {symmetry(key):.2f}")
        if options.picture:
            picture(others, options.picture.with_name(f"{options.picture.stem}-foreign.png"))


if __name__ == "__main__":
    main()
