"""From folders of sprites with metadata.jsonl to arrays that a trainer can keep on its device.

Owns reading (both forms: Hugging Face imagefolder with `file_name` and `text`, and the fuller one with tags, name,
kind, native), cleaning of the pixels, colour variants and sampling weights. Knows no model.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.embedded.architecture import SIZE, SPECIAL, TOKENS
from pipelines.embedded.colors import COLORS, main_colors, name_pixels, repaint
from pipelines.embedded.training import captions as says
from pipelines.errors import InvalidRequest
from pipelines.pixels.palette import extract_palette, lock
from pipelines.pixels.png import open_picture
from pipelines.records import Pixels

CLEAR = (128, 128, 128, 0)
"""A transparent pixel: (0, 0, 0, -1) in -1..1."""

VARIANTS = 1 + len(COLORS)
"""Pictures of one sprite: as its artist made it, and in each colour."""

HELD_OUT = 40
"""One sprite in so many is kept from training; which one depends on its file name alone."""

_GROUNDS, _COVERS = ("water", "lava", "grass", "floor", "wall", "slime", "dirt", "bricks", "patch", "ground"), 0.8
"""Such a tile that covers less of its canvas is called an edge, and drawn less often: "water" fills the canvas."""

FEW, MANY = 4, 100
"""Nouns with fewer sprites than FEW count as if they had FEW: one picture teaches no noun. See `pack` for MANY."""

_PACK_STYLE = {
    "nikoichu_1bit_icons": (("monochrome", "icon"), 0.3, "narrow last"),
    "dcss_icons": (("spell", "icon"), 0.3, "narrow first"),
}
"""Packs of icons: the words of their style, their share, and how their files are named (captions.read_words)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One sprite on the model's canvas: (32, 32, 4), hard alpha; a native 16 px sprite is doubled."""

    image: Pixels
    native: int
    words: says.Words
    source: str
    share: float = 1.0

    @property
    def held_out(self) -> bool:
        """Kept from training, to measure with."""
        return int(hashlib.sha256(self.source.encode()).hexdigest()[:8], 16) % HELD_OUT == 0


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What the trainer needs, `n` pictures: every sprite in every colour variant.

    images (n, 4, 32, 32) uint8; tokens (n, captions.SLOTS, 16) int16; weight (n,) float32, sums to 1; native (n,)
    uint8; margins (n, 2) uint8: how many clear columns a picture has on its left and right (a shift loses nothing).
    """

    images: NDArray[np.uint8]
    tokens: NDArray[np.int16]
    weight: NDArray[np.float32]
    native: NDArray[np.uint8]
    margins: NDArray[np.uint8]


def read_sprites(folders: Iterable[Path], colors: int = 0) -> list[Sprite]:
    """All sprites below the folders, in a stable order. What does not fit 32x32 and paper-doll layers are left out.

    Args:
        folders: each holds a metadata.jsonl, or folders that do.
        colors: reduce every sprite to so many colours (0 leaves them).

    Raises:
        InvalidRequest: no metadata.jsonl, or a line of it that cannot be used.
    """
    files = sorted(f for folder in folders for f in [*folder.glob("metadata.jsonl"), *folder.glob("*/metadata.jsonl")])
    if not files:
        raise InvalidRequest(
            "There is no metadata.jsonl in the data folder. Write one: a line of JSON for each picture, at least "
            '{"file_name": "goblin.png", "text": "green goblin with a club"}.'
        )
    lines = [
        (file, number, line)
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
    ]
    sprites = [sprite for sprite in _each(partial(_read_line, colors), lines) if sprite is not None]
    if not sprites:
        raise InvalidRequest("No sprite in the data folder fits 32x32 pixels.")
    return sprites


def _each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """function(item) for each, in order; on all cores where it is worth it."""
    workers = min(os.cpu_count() or 1, 16, len(items) // 500)
    if workers < 2:
        return [function(item) for item in items]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(function, items, chunksize=64))


def _read_line(colors: int, line: tuple[Path, int, str]) -> Sprite | None:
    file, number, text = line
    try:
        entry = json.loads(text)
        return _sprite(file.parent / entry["file_name"], entry, colors)
    except (ValueError, KeyError, OSError) as error:
        raise InvalidRequest(f"{file}, line {number} cannot be used: {error!r}. Mend it or leave it out.") from error


def _sprite(path: Path, entry: dict[str, object], colors: int) -> Sprite | None:
    if entry.get("kind") == "layer":
        return None
    with open_picture(path) as opened:
        image = np.array(opened.convert("RGBA"))
    placed = place(image)
    if placed is None:
        return None
    canvas, native = placed
    native = int(str(entry.get("native", native)))
    if colors:
        canvas = lock(canvas, extract_palette([canvas], colors))
    canvas[canvas[..., 3] < 128] = CLEAR
    style, share, said = _PACK_STYLE.get(str(entry.get("pack", "")), ((), 1.0, "caption"))
    tags = entry.get("tags", "")
    tags = " ".join(map(str, tags)) if isinstance(tags, list) else str(tags)
    name, kind = str(entry.get("name", "")), str(entry.get("kind", ""))
    words = says.read_words(str(entry["text"]), tags, name, kind, style, said)
    if words.noun in _GROUNDS and kind == "tile" and (canvas[..., 3] > 0).mean() < _COVERS:
        words, share = replace(words, style=(*style, "edge")), 0.3 * share
    return Sprite(canvas, native, words, f"{path.parent.name}/{path.name}", share)


def place(image: Pixels) -> tuple[Pixels, int] | None:
    """The picture on a 32x32 canvas with hard alpha, and its native size; None where it does not fit.

    Up to 16x16 it is doubled; else it stands on the canvas' ground, centred; a larger one is cut to what is drawn.
    """
    image = np.where(image[..., 3:] >= 128, image | np.array([0, 0, 0, 255], np.uint8), np.array(CLEAR, np.uint8))
    if max(image.shape[:2]) > SIZE:
        rows, columns = np.nonzero(image[..., 3])
        if not rows.size or max(np.ptp(rows), np.ptp(columns)) >= SIZE:
            return None
        image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    native = 16 if max(image.shape[:2]) <= 16 else 32
    if native == 16:
        image = image.repeat(2, axis=0).repeat(2, axis=1)
    if not image[..., 3].any():
        return None
    height, width = image.shape[:2]
    canvas = np.empty((SIZE, SIZE, 4), np.uint8)
    canvas[:] = CLEAR
    left = (SIZE - width) // 2 // 2 * 2
    canvas[SIZE - height :, left : left + width] = image
    return canvas, native


def vocabulary(sprites: Sequence[Sprite], fewest: int = 2) -> list[str]:
    """SPECIAL, then every word that at least `fewest` sprites have, the frequent first; colours always."""
    counts: Counter[str] = Counter()
    for sprite in sprites:
        w = sprite.words
        counts.update({*w.sentence, *w.tags, *w.name, *w.style, w.noun} - {""})
    known = sorted((w for w in counts if counts[w] >= fewest), key=lambda w: (-counts[w], w))
    return [*SPECIAL, *COLORS, *("left", "right"), *(w for w in known if w not in (*COLORS, "left", "right"))]


def encode(caption: Sequence[str], index: dict[str, int]) -> list[int]:
    """Token ids, TOKENS long, as the checkpoint's tokenizer gives them for the words."""
    ids = [2, *(index.get(word, 1) for word in caption[: TOKENS - 2]), 3]
    return ids + [3] * (TOKENS - len(ids))


def pack(sprites: Sequence[Sprite], words: Sequence[str], variants: int = VARIANTS, seed: int = 0) -> Packed:
    """Every sprite as it is and repainted in `variants - 1` of the twelve colours.

    Weights: a noun's sprites share count^0.5, less where there are under FEW, twice as much where people ask for it
    (captions.asked_for) and there are under MANY; the picture as its artist made it has 0.35 of a sprite's weight.
    """
    index = {word: i for i, word in enumerate(words)}
    nouns = Counter(sprite.words.noun for sprite in sprites)
    made = _each(partial(_variants, index, variants, seed), list(enumerate(sprites)))
    share = np.full(variants, 0.65 / max(1, variants - 1))
    share[0] = 0.35
    asked = says.asked_for()
    scarce = {noun for noun, count in nouns.items() if noun in asked and count < MANY}
    each = [s.share * max(FEW, nouns[s.words.noun]) ** -0.5 * (1 + (s.words.noun in scarce)) for s in sprites]
    weight = np.array(each)[:, None] * share
    return Packed(
        np.concatenate([images for images, _, _ in made]),
        np.concatenate([tokens for _, tokens, _ in made]),
        (weight / weight.sum()).astype(np.float32).ravel(),
        np.repeat(np.array([s.native for s in sprites], np.uint8), variants),
        np.concatenate([margins for _, _, margins in made]),
    )


def _variants(
    index: dict[str, int], variants: int, seed: int, numbered: tuple[int, Sprite]
) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.uint8]]:
    """Pictures, tokens and margins of one sprite in all its colour variants."""
    number, sprite = numbered
    rng = np.random.default_rng((seed, number))
    images = np.empty((variants, 4, SIZE, SIZE), np.uint8)
    tokens = np.empty((variants, says.SLOTS, TOKENS), np.int16)
    opaque = sprite.image[..., 3] > 0
    drawn = np.flatnonzero(opaque.any(axis=0))
    unique, inverse = np.unique(sprite.image[opaque][:, :3], axis=0, return_inverse=True)
    before = name_pixels(unique)
    counts = np.bincount(inverse.ravel(), minlength=len(unique))
    colors = [COLORS[i] for i in rng.permutation(len(COLORS))]
    for v in range(variants):
        new = repaint(unique, counts, colors[v - 1], rng) if v else unique
        picture = sprite.image.copy()
        picture[opaque, :3] = new[inverse.ravel()]
        images[v] = picture.transpose(2, 0, 1)
        after = name_pixels(new)
        names = _renamed(before, after, counts) if v else None
        shares = np.bincount(after, counts, len(COLORS)) / counts.sum()
        seen = main_colors(shares)
        if v and colors[v - 1] in seen[:2]:
            seen.sort(key=lambda color: color != colors[v - 1])
        said = says.captions(sprite.words, seen, names, rng)
        tokens[v] = [encode(caption, index) for caption in _known(said, index)]
    margins = np.tile(np.array([drawn[0], SIZE - 1 - drawn[-1]], np.uint8), (variants, 1))
    return images, tokens, margins


def _known(said: list[tuple[str, ...]], index: dict[str, int]) -> list[tuple[str, ...]]:
    """The captions without rare words, but for the sentence: there the model learns what an unknown word is like."""
    kept = [tuple(word for word in caption if word in index) for caption in said]
    return [said[0], *(k if len(k) >= min(2, len(c)) else kept[2] for k, c in zip(kept[1:], said[1:], strict=True))]


def _renamed(before: NDArray[np.intp], after: NDArray[np.intp], counts: NDArray[np.intp]) -> dict[str, str]:
    """Old colour name -> the name that most of its pixels have now."""
    table = np.zeros((len(COLORS), len(COLORS)))
    np.add.at(table, (before, after), counts)
    return {COLORS[old]: COLORS[int(row.argmax())] for old, row in enumerate(table) if row.any()}
