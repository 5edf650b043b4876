"""Training sheets of the walk model: cuts the walks of the character packs to cells, and splits them by outline.

The packs are those of the folder `sheets` (CC0 1.0 or public domain; its SOURCE.md names them). A sheet here is 4
directions x 3 cells (stand, step, other step): in nearly every pack frame 2 of the walk is frame 0 again.
"""

from __future__ import annotations

import argparse
import collections
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.embedded.motion.slots import CELLS, DIRECTIONS
from pipelines.pixels.oklab import to_oklab

COLORS = 32
"""Palette slots of a training sheet, the clear one (0) included."""

GROUPS = 10
"""Groups of colours that are changed together: near-black, neutral, then hues."""

WEAK_LICENCE = ("ansimuz_tiny_rpg_forest",)
"""Packs whose licence statement is in doubt; they are left out."""

PICKED = {2: (0, 1, 1), 3: (0, 1, 2), 4: (0, 1, 3), 6: (0, 1, 4)}
"""Frames that stand for (stand, step, other step) in walks of so many frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheets:
    """Sheets of one cell size.

    Attributes:
        tokens: (count, 4, CELLS, size, size) uint8, index into the sheet's palette, 0 is clear.
        palette: (count, COLORS, 3) float32 OKLab.
        groups: (count, COLORS) uint8, the colour group of each slot, below GROUPS.
        outline: (count,) int, sheets with one number share an outline.
        steps: (count,) bool, whether legs step (the others fly, hop or glide).
        names: (count,) str.
    """

    tokens: NDArray[np.uint8]
    palette: NDArray[np.float32]
    groups: NDArray[np.uint8]
    outline: NDArray[np.int64]
    steps: NDArray[np.bool_]
    names: NDArray[np.str_]

    def only(self, chosen: NDArray[np.bool_]) -> Sheets:
        """Returns the sheets where `chosen` is True."""
        return Sheets(
            self.tokens[chosen],
            self.palette[chosen],
            self.groups[chosen],
            self.outline[chosen],
            self.steps[chosen],
            self.names[chosen],
        )


def color_groups(lab: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Groups colours (n, 3): 0 near-black, 1 neutral, 2.. by hue, largest group first (one ramp shares a hue)."""
    chroma, hue = np.hypot(lab[:, 1], lab[:, 2]), np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    groups = np.ones(len(lab), np.uint8)
    dark = lab[:, 0] < 0.28
    groups[dark] = 0
    left = np.flatnonzero(~dark & (chroma >= 0.03))
    for group in range(2, GROUPS):
        if not left.size:
            break
        away = np.abs((hue[left][None] - np.arange(0, 360, 5)[:, None] + 180) % 360 - 180)
        inside = (away < 20)[int((away < 20).sum(axis=1).argmax())]
        groups[left[inside]] = group
        left = left[~inside]
    return groups


def to_tokens(sheet: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Turns (4, CELLS, size, size, 4) RGBA into tokens, palette and colour groups; merges colours beyond COLORS."""
    opaque = sheet[..., 3] > 127
    colors, inverse, counts = np.unique(sheet[opaque][:, :3], axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    if len(colors) >= COLORS:
        kept = colors[np.argsort(-counts)[: COLORS - 1]]
        near = np.linalg.norm(to_oklab(colors)[:, None] - to_oklab(kept)[None], axis=-1).argmin(axis=1)
        inverse, colors = near[inverse], kept
    tokens = np.zeros(opaque.shape, np.uint8)
    tokens[opaque] = inverse + 1
    palette, groups = np.zeros((COLORS, 3), np.float32), np.zeros(COLORS, np.uint8)
    lab = to_oklab(colors)
    palette[1 : len(colors) + 1], groups[1 : len(colors) + 1] = lab, color_groups(lab)
    return tokens, palette, groups


def read_walks(folder: Path) -> dict[int, dict[str, NDArray[np.uint8]]]:
    """Walks in four directions: cell size 16 or 24 -> name -> (4, CELLS, size, size, 4) RGBA.

    Walks of 32 px are cut to 24 around their feet where no pixel is lost; others are left out.
    """
    from pipelines.pixels.png import read_picture

    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    walks: dict[str, dict[str, dict]] = collections.defaultdict(dict)
    for row in rows:
        if row["view"] == "topdown" and row["motion"] in ("walk", "fly") and row["pack"] not in WEAK_LICENCE:
            walks[row["character"]].setdefault(row["direction"], row)
    found: dict[int, dict[str, NDArray[np.uint8]]] = {16: {}, 24: {}}
    for name, views in sorted(walks.items()):
        if any(direction not in views for direction in DIRECTIONS):
            continue
        size = views["down"]["size"][0]
        cells = np.zeros((4, CELLS, size, size, 4), np.uint8)
        for r, direction in enumerate(DIRECTIONS):
            strip = read_picture(folder / views[direction]["file_name"])
            for c, frame in enumerate(PICKED[views[direction]["frames"]]):
                cells[r, c] = strip[:, frame * size : (frame + 1) * size]
        cells[cells[..., 3] < 128] = 0
        if size == 32:
            inner = cells[:, :, 8:, 4:28]
            if (inner[..., 3] > 0).sum() < (cells[..., 3] > 0).sum():
                continue
            cells, size = inner, 24
        found[size][name] = np.ascontiguousarray(cells)
    return found


def legs_step(cells: NDArray[np.uint8]) -> bool:
    """Returns whether the two steps of a walk differ at the legs and hardly above, in at least three directions."""
    size = cells.shape[2]
    low, high = size * 10 // 16, size * 9 // 16
    differ = (cells[:, 1] != cells[:, 2]).any(axis=-1)
    stepping = (differ[:, low:].sum(axis=(1, 2)) >= 3) & (differ[:, :high].sum(axis=(1, 2)) < 40 * (size / 16) ** 2)
    return bool(stepping.sum() >= 3)


def by_outline(cells: list[NDArray[np.uint8]], tolerance: int = 36) -> NDArray[np.int64]:
    """Numbers the distinct outlines of sheets (cells of 16 or 24): linked where at most `tolerance` pixels differ."""
    flat = []
    for sheet in cells:
        alpha = sheet[..., 3] > 0
        spare = 24 - alpha.shape[-1]
        flat.append(np.pad(alpha, ((0, 0), (0, 0), (spare, 0), (spare // 2, spare - spare // 2))).reshape(-1))
    drawn = np.array(flat, np.float32)
    apart = drawn @ (1 - drawn).T + (1 - drawn) @ drawn.T
    number = np.arange(len(cells))
    for i in range(len(cells)):
        for j in np.flatnonzero(apart[i, :i] <= tolerance):
            number[number == number[i]] = number[j]
    return number


def prepare(folder: Path, held_out: int = 28, seed: int = 1) -> tuple[dict[int, Sheets], NDArray[np.int64]]:
    """Returns all sheets by cell size, and the numbers of the outlines that are held out (most of them step, 16 px)."""
    walks = read_walks(folder)
    names = [(size, name) for size in walks for name in walks[size]]
    cells = [walks[size][name] for size, name in names]
    outline = by_outline(cells)
    steps = np.array([legs_step(sheet) for sheet in cells])
    coded = [to_tokens(sheet) for sheet in cells]
    made = {}
    for size in walks:
        at = [i for i, (own, _) in enumerate(names) if own == size]
        made[size] = Sheets(
            np.stack([coded[i][0] for i in at]),
            np.stack([coded[i][1] for i in at]),
            np.stack([coded[i][2] for i in at]),
            outline[at],
            steps[at],
            np.array([names[i][1] for i in at]),
        )
    small = made[16]
    pack = np.array([name.split("/")[0] for name in small.names])
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for wanted, share in (
        ("ninja_adventure", 0.5),
        ("mini_world_sprites", 0.21),
        ("tiny_characters_set", 0.11),
        ("kenney_rpg_urban", 0.04),
        ("puny_characters", 0.04),
    ):
        numbers = sorted({int(n) for n in small.outline[(pack == wanted) & small.steps]})
        chosen += rng.permutation(numbers)[: max(1, round(held_out * share))].tolist()
    gliding = sorted({int(n) for n in small.outline[~small.steps]} - {int(n) for n in small.outline[small.steps]})
    chosen += rng.permutation(gliding)[:3].tolist()
    return made, np.array(sorted(chosen), np.int64)


def save(path: Path, made: dict[int, Sheets], held_out: NDArray[np.int64]) -> None:
    """Writes the sheets as one compressed npz; `load` reads it."""
    arrays: dict[str, NDArray] = {"held_out": held_out}
    for size, sheets in made.items():
        for field in ("tokens", "palette", "groups", "outline", "steps", "names"):
            arrays[f"{field}_{size}"] = getattr(sheets, field)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **cast(Any, arrays))


def load(path: Path) -> tuple[dict[int, Sheets], NDArray[np.int64]]:
    """Loads what `save` wrote."""
    with np.load(path) as file:
        made = {
            size: Sheets(
                *(file[f"{field}_{size}"] for field in ("tokens", "palette", "groups", "outline", "steps", "names"))
            )
            for size in (16, 24)
        }
        return made, file["held_out"]


def main() -> None:
    """Reads the packs and writes the training file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the folder `sheets` with metadata.jsonl")
    parser.add_argument("out", type=Path, help="the npz file to write")
    options = parser.parse_args()
    made, held_out = prepare(options.data)
    save(options.out, made, held_out)
    for size, sheets in made.items():
        test = np.isin(sheets.outline, held_out)
        print(
            f"{size} px: {len(test)} sheets, {len(set(sheets.outline))} outlines, {int(sheets.steps.sum())} step; held"
            " out"
            f" {int(test.sum())} sheets of {len(set(sheets.outline[test]))} outlines; to learn from"
            f" {len(set(sheets.outline[sheets.steps & ~test]))} outlines that step"
        )


if __name__ == "__main__":
    main()
