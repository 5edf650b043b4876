"""Read folders of sprites with metadata.jsonl into arrays that a trainer keeps on its device.

Two forms of metadata are read: Hugging Face imagefolder (`file_name` and `text`), and a fuller one with tags, name,
kind and native size. The pixels are cleaned, colour variants are made, and sampling weights computed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.embedded.architecture import SPECIAL, TOKENS
from pipelines.embedded.canvas import CLEAR, SIZE, place
from pipelines.embedded.colors import COLORS, main_colors, name_pixels, repaint
from pipelines.embedded.language import PERSONS
from pipelines.embedded.training import captions as says
from pipelines.embedded.training.drawn.folk import folk
from pipelines.embedded.training.drawn.things import drawings, entry, pictures
from pipelines.embedded.training.resize import resized
from pipelines.errors import InvalidRequest, PipelineError
from pipelines.pixels.palette import extract_palette, lock
from pipelines.pixels.png import open_picture
from pipelines.records import Pixels

VARIANTS = 1 + len(COLORS)
"""Pictures of one sprite: as its artist made it, and in each colour."""

HELD_OUT = 40
"""One sprite in so many is kept from training; which one depends on its file name alone."""

TILES = 3.5
"""A noun that is all tiles weighs so many times as much: tilesets need grounds that are drawn well."""

SMALL = 0.6
"""Weight of a noun's 16 px sprites beside that of its 32 px ones."""

_GROUNDS, _COVERS = ("water", "lava", "grass", "floor", "wall", "slime", "dirt", "bricks", "patch", "ground"), 0.8
"""Such a tile that covers less of its canvas is called an edge, and drawn less often: "water" fills the canvas."""

OWN = 0.6
"""Share of a repaintable sprite's weight that the artist's own colours have."""

LOOSE = 8
"""A picture with more clear pixels than this along its longer side does not fill its square: see `Sprite.loose`."""

_PACK_STYLE = {
    "nikoichu_1bit_icons": (("onebit", "icon"), 0.12, "narrow last"),
    "urizen_onebit": (("onebit", "glyph"), 0.12, "caption"),
    "kenney_1bit_14": (("onebit", "glyph"), 0.12, "caption"),
    "dcss_icons": (("spell", "icon"), 0.3, "narrow first"),
    "kenney_input_prompts": (("keyboard", "interface"), 0.2, "caption"),
    "kenney_pixel_ui": (("interface",), 0.4, "caption"),
    "kenney_emotes": (("emote",), 0.3, "caption"),
}
"""Packs of icons, glyphs and parts of a screen: the words of their style, which all their captions have so that plain
prompts never draw them, their share, and how their files are named (captions.read_words)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One sprite on the model's canvas: (32, 32, 4), hard alpha; a native 16 px sprite is doubled.

    `origin`: who made it: an artist, "doll" (composed), "drawn" (by drawn.things), "resized" (from another size).
    `painted`: in no colour but its own (skin, or its colours are drawn in turn).
    """

    image: Pixels
    native: int
    words: says.Words
    source: str
    share: float = 1.0
    origin: str = "artist"
    painted: bool = False

    @property
    def held_out(self) -> bool:
        """Kept from training, to measure with. A resized sprite goes with the one that it was made from."""
        return int(hashlib.sha256(self.source.encode()).hexdigest()[:8], 16) % HELD_OUT == 0

    @property
    def loose(self) -> int:
        """Clear pixels beside or above what is drawn, on its longer side, where they are more than LOOSE; else 0.

        The model is told it where SDXL is told the upper edge of its crop. Asked with 0 it fills the square.
        """
        if self.words.kind == "tile":
            return 0
        rows, columns = np.nonzero(self.image[..., 3])
        clear = SIZE - 1 - int(max(np.ptp(rows), np.ptp(columns)))
        return clear if clear > LOOSE else 0


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What the trainer needs, `n` pictures: every sprite in its colour variants.

    images (n, 4, 32, 32) uint8; tokens (n, captions.SLOTS, 16) int16; weight (n,) float32, sums to 1; native (n,)
    uint8; margins (n, 2) uint8: how many clear columns a picture has on its left and right (a shift loses nothing);
    loose (n,) uint8: see Sprite.loose.
    """

    images: NDArray[np.uint8]
    tokens: NDArray[np.int16]
    weight: NDArray[np.float32]
    native: NDArray[np.uint8]
    margins: NDArray[np.uint8]
    loose: NDArray[np.uint8]


def read_sprites(folders: Iterable[Path], colors: int = 0, shadows: Path | None = None) -> list[Sprite]:
    """Reads all sprites below the folders, in a stable order, without paper-doll layers and what does not fit 32x32.

    Args:
        folders: each holds a metadata.jsonl, or folders that do.
        colors: reduce every sprite to so many colours (0 leaves them).
        shadows: a file of lines {"file": its path, "mask": rows as hexadecimal numbers}: pixels to make clear, before
            anything else. Default: shadows.jsonl beside the folders, where there is one.

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
    masks = read_masks(shadows or files[0].parent.parent / "shadows.jsonl")
    sprites = [sprite for sprite in _each(partial(_read_line, colors, masks), lines) if sprite is not None]
    if not sprites:
        raise InvalidRequest("No sprite in the data folder fits 32x32 pixels.")
    return sprites


def _each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Computes function(item) for each, in order; on all cores where it is worth it."""
    workers = min(os.cpu_count() or 1, 16, len(items) // 500)
    if workers < 2:
        return [function(item) for item in items]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(function, items, chunksize=64))


def read_masks(file: Path) -> dict[str, NDArray[np.bool_]]:
    """Maps folder and name of a picture to the mask of its shadow, bool (h, w); empty without such a file."""
    if not file.exists():
        return {}
    rows = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {
        row["file"]: np.array([[bit == "1" for bit in format(int(bits, 16), f"0{SIZE}b")] for bits in row["mask"]])
        for row in rows
    }


def _read_line(colors: int, masks: dict[str, NDArray[np.bool_]], line: tuple[Path, int, str]) -> Sprite | None:
    file, number, text = line
    try:
        entry = json.loads(text)
        mask = masks.get(f"{file.parent.name}/{entry['file_name']}")
        return _sprite(file.parent / entry["file_name"], entry, colors, mask)
    except (ValueError, KeyError, OSError, PipelineError) as error:
        raise InvalidRequest(f"{file}, line {number} cannot be used: {error}. Correct it or leave it out.") from error


def _sprite(path: Path, entry: dict[str, object], colors: int, mask: NDArray[np.bool_] | None) -> Sprite | None:
    if entry.get("kind") == "layer" or entry.get("motion", "key") != "key":
        return None
    with open_picture(path) as opened:
        image = np.array(opened.convert("RGBA"))
    if mask is not None:
        image[mask] = 0
    return sprite_of(image, entry, f"{path.parent.name}/{path.name}", colors)


def sprite_of(
    image: Pixels,
    entry: Mapping[str, object],
    source: str,
    colors: int = 0,
    origin: str = "artist",
    painted: bool = False,
) -> Sprite | None:
    """Makes the sprite of a picture and its line of metadata; None where nothing is drawn."""
    large = max(image.shape[:2]) > SIZE
    placed = place(image)
    if placed is None and large and (image[..., 3] >= 128).any():
        hard = np.where(image[..., 3:] >= 128, image | np.array([0, 0, 0, 255], np.uint8), np.uint8(0)).astype(np.uint8)
        placed = place(resized(hard, SIZE - 2))
        origin = "resized" if origin == "artist" else origin
    if placed is None:
        return None
    canvas, native = placed
    native = SIZE if large else int(str(entry.get("native", native)))
    if colors:
        canvas = lock(canvas, extract_palette([canvas], colors))
    canvas[canvas[..., 3] < 128] = CLEAR
    pack_name = str(entry.get("pack", ""))
    style, share, said = _PACK_STYLE.get(pack_name, ((), 1.0, "caption"))
    tags = entry.get("tags", "")
    tags = " ".join(map(str, tags)) if isinstance(tags, list) else str(tags)
    name, kind = str(entry.get("name", "")), str(entry.get("kind", "character" if "motion" in entry else ""))
    words = says.read_words(str(entry["text"]), tags, name, kind, style, said)
    painted = painted or (kind == "character" and words.noun in PERSONS)
    given = entry.get("captions")
    if isinstance(given, list):
        words = replace(words, captions=tuple(says.split_words(str(text)) for text in given))
        painted, origin = True, "doll" if pack_name == "dolls" else origin
    if words.noun in _GROUNDS and kind == "tile" and (canvas[..., 3] > 0).mean() < _COVERS:
        words, share = replace(words, style=(*style, "edge")), 0.3 * share
    return Sprite(canvas, native, words, source, share, origin, painted)


def drawn_sprites(per_noun: tuple[int, int] = (14, 7), colors: int = 0) -> list[Sprite]:
    """Draws the things of drawn.things at 32 and at 16 px, so many of each."""
    jobs = [(number, size) for number in range(len(drawings())) for size in (SIZE, SIZE // 2)]
    return [sprite for made in _each(partial(_drawn, per_noun, colors), jobs) for sprite in made]


def _drawn(per_noun: tuple[int, int], colors: int, job: tuple[int, int]) -> list[Sprite]:
    number, size = job
    count = per_noun[size != SIZE]
    found = [
        sprite_of(drawn.image, entry(drawn), f"drawn/{number}_{size}_{k}", colors, "drawn")
        for k, drawn in enumerate(pictures(drawings()[number], size, count, number))
    ]
    return [sprite for sprite in found if sprite is not None]


def folk_sprites(data: Path, colors: int = 0) -> list[Sprite]:
    """Dolls of other races (drawn.folk), where `data` holds the dolls and the layers that they are made of."""
    if not ((data / "dolls").is_dir() and (data / "tiles" / "player").is_dir()):
        return []
    found = [sprite_of(image, line, source, colors, "doll") for image, line, source in folk(data)]
    return [sprite for sprite in found if sprite is not None]


def all_sprites(folders: Sequence[Path], colors: int = 0) -> list[Sprite]:
    """Collects what the shipped model is trained on: the folders' sprites, drawings, folk, and each in its other size.

    Args:
        folders: as for `read_sprites`; folk are made where one of them holds dolls/ and tiles/.
    """
    sprites = read_sprites(folders, colors) + drawn_sprites(colors=colors)
    sprites += [sprite for folder in folders for sprite in folk_sprites(folder, colors)]
    return sprites + in_other_sizes(sprites)


def in_other_sizes(sprites: Sequence[Sprite], few: int = 6) -> list[Sprite]:
    """Resizes sprites to the other size, where that helps to learn a thing apart from its size.

    A native 16 px sprite as one of 32; a loose one of 32 so that it fills its square; one of 32 as one of 16, up to
    `few` a noun that has no sprite of 16. Tiles, parts of a screen and one-colour glyphs are left out.
    """
    small = Counter(s.words.noun for s in sprites if s.native == SIZE // 2)
    made: list[Sprite] = []
    left: Counter[str] = Counter()
    for sprite in sprites:
        if sprite.words.style or sprite.words.kind in ("tile", "misc") or sprite.origin in ("resized", "drawn"):
            continue
        if "kenney_roguelike_characters" in sprite.source:  # composed of parts that look swollen when enlarged
            continue
        if sprite.native == SIZE // 2:
            made.append(_moved(sprite, resized(sprite.image[::2, ::2], SIZE - 2), SIZE))
        elif sprite.loose:
            made.append(_moved(sprite, resized(sprite.image, SIZE - 2), SIZE))
        if sprite.native == SIZE and not small[sprite.words.noun] and left[sprite.words.noun] < few:
            left[sprite.words.noun] += 1
            made.append(_moved(sprite, resized(sprite.image, SIZE // 2 - 1), SIZE // 2))
    return made


def _moved(sprite: Sprite, image: Pixels, native: int) -> Sprite:
    """Gives the sprite another picture, standing in the middle of the canvas, a pixel above its lower edge."""
    image = np.where(image[..., 3:] >= 128, image, np.array(CLEAR, np.uint8))
    cell = native if native == SIZE // 2 else SIZE
    canvas = np.empty((cell, cell, 4), np.uint8)
    canvas[:] = CLEAR
    height, width = image.shape[:2]
    low = cell - (cell > SIZE // 2 and height < cell)
    canvas[low - height : low, (cell - width) // 2 : (cell - width) // 2 + width] = image
    if cell != SIZE:
        canvas = canvas.repeat(2, axis=0).repeat(2, axis=1)
    return replace(sprite, image=canvas, native=native, origin="resized")


def vocabulary(sprites: Sequence[Sprite], fewest: int = 2) -> list[str]:
    """Lists SPECIAL, then every word that at least `fewest` sprites have, the frequent first; colours always."""
    counts: Counter[str] = Counter()
    for sprite in sprites:
        w = sprite.words
        given = {word for caption in w.captions for word in caption}
        counts.update({*w.sentence, *w.tags, *w.name, *w.style, *given, w.noun} - {""})
    known = sorted((w for w in counts if counts[w] >= fewest), key=lambda w: (-counts[w], w))
    return [*SPECIAL, *COLORS, *("left", "right"), *(w for w in known if w not in (*COLORS, "left", "right"))]


def encode(caption: Sequence[str], index: dict[str, int]) -> list[int]:
    """Encodes words as token ids, TOKENS long, as the checkpoint's tokenizer does."""
    ids = [2, *(index.get(word, 1) for word in caption[: TOKENS - 2]), 3]
    return ids + [3] * (TOKENS - len(ids))


def pack(sprites: Sequence[Sprite], words: Sequence[str], variants: int = VARIANTS, seed: int = 0) -> Packed:
    """Packs every sprite as it is and, where it may be repainted, in `variants - 1` colours; weights by `weigh`."""
    index = {word: i for i, word in enumerate(words)}
    made = _each(partial(_variants, index, variants, seed), list(enumerate(sprites)))
    weight: list[float] = []
    for sprite, each in zip(sprites, weigh(sprites), strict=True):
        count = 1 if sprite.painted else variants
        weight += [each] if count == 1 else [each * OWN, *[each * (1 - OWN) / (count - 1)] * (count - 1)]
    counts = [1 if s.painted else variants for s in sprites]
    total = np.array(weight)
    return Packed(
        np.concatenate([images for images, _, _ in made]),
        np.concatenate([tokens for _, tokens, _ in made]),
        (total / total.sum()).astype(np.float32),
        np.repeat(np.array([s.native for s in sprites], np.uint8), counts),
        np.concatenate([margins for _, _, margins in made]),
        np.repeat(np.array([s.loose for s in sprites], np.uint8), counts),
    )


def weigh(sprites: Sequence[Sprite]) -> list[float]:
    """Weighs how often each sprite is shown, by noun and size.

    A noun at one size weighs the square root of how many sprites it has there, up to 150, and twice as much where
    people ask for it and there are few. In it an artist's sprite counts 1; drawn ones together as much as six artists'
    ones (and never less than a tenth of all), resized ones together as much as two. 16 px weigh SMALL of the whole.
    """
    cells: dict[tuple[str, int], list[int]] = {}
    for i, sprite in enumerate(sprites):
        cells.setdefault((sprite.words.noun, sprite.native), []).append(i)
    wanted = says.wanted_nouns()
    weight = [0.0] * len(sprites)
    for (noun, native), members in cells.items():
        of = {o: [i for i in members if sprites[i].origin == o] for o in ("artist", "doll", "drawn", "resized")}
        real = sum(sprites[i].share for i in of["artist"]) + len(of["doll"])
        drawn = max(6.0, real / 9) if of["drawn"] else 0.0
        other = min(2.0 if real + drawn else 5.0, len(of["resized"]))
        count = real + drawn + other
        whole = min(max(count, 1.0), 150.0) ** 0.5
        tiles = sum(sprites[i].words.kind == "tile" for i in members) / len(members)
        whole *= 1 + (TILES - 1) * tiles + (0.4 if len(of["doll"]) > 10 else 0.0)
        if noun in wanted:
            whole *= 1 + 1 / (1 + count / 40)
        elif not of["doll"]:
            whole *= 0.75
        if native == SIZE // 2:
            whole *= SMALL
        for origin, each in (("artist", 0.0), ("doll", 1.0), ("drawn", drawn), ("resized", other)):
            for i in of[origin]:
                part = sprites[i].share if origin == "artist" else 1.0 if origin == "doll" else each / len(of[origin])
                weight[i] = whole * part / count
    return weight


def _variants(
    index: dict[str, int], variants: int, seed: int, numbered: tuple[int, Sprite]
) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.uint8]]:
    """Returns pictures, tokens and margins of one sprite in all its colour variants."""
    number, sprite = numbered
    variants = 1 if sprite.painted else variants
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
    """Drops rare words from the captions but for the sentence: there the model learns what an unknown word is like."""
    kept = [tuple(word for word in caption if word in index) for caption in said]
    return [said[0], *(k if len(k) >= min(2, len(c)) else kept[2] for k, c in zip(kept[1:], said[1:], strict=True))]


def _renamed(before: NDArray[np.intp], after: NDArray[np.intp], counts: NDArray[np.intp]) -> dict[str, str]:
    """Maps each old colour name to the name that most of its pixels have now."""
    table = np.zeros((len(COLORS), len(COLORS)))
    np.add.at(table, (before, after), counts)
    return {COLORS[old]: COLORS[int(row.argmax())] for old, row in enumerate(table) if row.any()}
