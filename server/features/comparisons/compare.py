"""Comparing variants (models, LoRA stacks): the same words and seeds drawn with each, votes, ranking, adoption.

    <library>/comparisons.sqlite   comparisons, their cells (an asset each), votes

A blind comparison calls its variants A, B, ... in an order of its own, and says which is which once a vote is in. Owns
these tables and what a vote means. Knows nothing of tools, and of pictures only where they lie.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import string
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import LibraryError, ServerError
from server.features.bases import record_bases
from server.features.comparisons.ranking import Rank, rank

if TYPE_CHECKING:
    from pipelines.records import LoraWeight, OnProgress, Recipe
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST_VARIANTS, MOST_PROMPTS, MOST_SEEDS, MOST_CELLS = 8, 8, 8, 96
TIE = "tie"
_ID = re.compile(r"[0-9a-f]{12}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS comparisons (
    id TEXT PRIMARY KEY, variants TEXT NOT NULL, prompts TEXT NOT NULL, seeds TEXT NOT NULL, blind INTEGER NOT NULL,
    created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS cells (
    comparison TEXT NOT NULL REFERENCES comparisons, variant INTEGER NOT NULL, prompt INTEGER NOT NULL,
    seed INTEGER NOT NULL, asset_id TEXT NOT NULL, PRIMARY KEY (comparison, variant, prompt, seed));
CREATE TABLE IF NOT EXISTS votes (
    comparison TEXT NOT NULL REFERENCES comparisons, prompt INTEGER NOT NULL, winner INTEGER NOT NULL,
    created REAL NOT NULL, PRIMARY KEY (comparison, prompt));
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """A model with a LoRA stack. `key` names it across comparisons: `embedded + mygame@0.8`."""

    model: str
    loras: tuple[LoraWeight, ...] = ()

    @property
    def key(self) -> str:
        """The way in which `parse_variant` reads it."""
        stack = (f"{lora.name}@{lora.weight:g}" for lora in self.loras)
        return " + ".join((self.model, *stack))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was drawn: variants in the order in which they are shown; `cells[variant][prompt][seed]` is an asset id.

    `votes` maps a prompt's index to the index of its winner (-1: a tie).
    """

    id: str
    variants: tuple[Variant, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    blind: bool
    created: float
    cells: tuple[tuple[tuple[str, ...], ...], ...]
    votes: dict[int, int]

    @property
    def letters(self) -> tuple[str, ...]:
        """What the variants are called in a vote."""
        return tuple(string.ascii_uppercase[: len(self.variants)])

    @property
    def labels(self) -> tuple[str, ...]:
        """What stands above the columns: letters alone while it is blind."""
        if self.blind and not self.votes:
            return self.letters
        return tuple(f"{letter}: {v.key}" for letter, v in zip(self.letters, self.variants, strict=True))


def parse_variant(text: str, default_model: str) -> Variant:
    """A variant from words: `embedded`, `embedded + mygame`, `/models/sdxl + mygame@0.8 + glow@0.5`, `+ mygame`.

    Raises:
        ServerError: a weight is no number between -2 and 2, or a name is missing.
    """
    from pipelines.records import LoraWeight

    model, *stack = (part.strip() for part in text.split("+"))
    loras = []
    for part in stack:
        name, _, weight = part.partition("@")
        try:
            value = float(weight or 1)
        except ValueError:
            value = 99.0
        if not name.strip() or not -2 <= value <= 2:
            raise ServerError(
                f"'{text}' is no variant. Write a model and LoRAs with weights of -2 to 2: 'embedded + mygame@0.8'. "
                "list_models shows the names."
            )
        loras.append(LoraWeight(name.strip(), value))
    return Variant(model or default_model, tuple(loras))


class Comparisons:
    """The comparisons of one library."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._database = library.folder / "comparisons.sqlite"

    def add(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[str],
        seeds: Sequence[int],
        cells: Sequence[Sequence[Sequence[str]]],
        *,
        blind: bool,
    ) -> Comparison:
        """Keeps a comparison; `cells` as in Comparison.

        Raises:
            LibraryError: the disk is full or may not be written.
        """
        comparison_id = secrets.token_hex(6)
        stored = [[v.model, [[lora.name, lora.weight] for lora in v.loras]] for v in variants]
        with self._open() as connection:
            connection.execute(
                "INSERT INTO comparisons VALUES (?, ?, ?, ?, ?, ?)",
                (comparison_id, json.dumps(stored), json.dumps(prompts), json.dumps(seeds), blind, time.time()),
            )
            connection.executemany(
                "INSERT INTO cells VALUES (?, ?, ?, ?, ?)",
                [
                    (comparison_id, v, p, s, asset)
                    for v, rows in enumerate(cells)
                    for p, row in enumerate(rows)
                    for s, asset in enumerate(row)
                ],
            )
        return self.get(comparison_id)

    def get(self, comparison_id: str) -> Comparison:
        """The comparison with this id.

        Raises:
            LibraryError: there is none.
        """
        from pipelines.records import LoraWeight

        row, drawn, votes = None, [], []
        if _ID.fullmatch(comparison_id) and self._database.is_file():
            with self._open() as connection:
                row = connection.execute("SELECT * FROM comparisons WHERE id = ?", (comparison_id,)).fetchone()
                drawn = connection.execute(
                    "SELECT variant, prompt, seed, asset_id FROM cells WHERE comparison = ?", (comparison_id,)
                ).fetchall()
                votes = connection.execute(
                    "SELECT prompt, winner FROM votes WHERE comparison = ?", (comparison_id,)
                ).fetchall()
        if row is None:
            raise LibraryError(
                f"There is no comparison '{comparison_id[:40]}' in {self.library.folder}. compare_models makes one and "
                "answers its comparison_id."
            )
        _, variants, prompts, seeds, blind, created = row
        variants = tuple(Variant(m, tuple(LoraWeight(*entry) for entry in loras)) for m, loras in json.loads(variants))
        prompts, seeds = tuple(json.loads(prompts)), tuple(json.loads(seeds))
        assets = {(v, p, s): asset for v, p, s, asset in drawn}
        cells = tuple(
            tuple(tuple(assets[v, p, s] for s in range(len(seeds))) for p in range(len(prompts)))
            for v in range(len(variants))
        )
        return Comparison(comparison_id, variants, prompts, seeds, bool(blind), created, cells, dict(votes))

    def latest(self, limit: int = 20) -> list[Comparison]:
        """The newest comparisons."""
        if not self._database.is_file():
            return []
        with self._open() as connection:
            ids = connection.execute("SELECT id FROM comparisons ORDER BY created DESC LIMIT ?", (limit,)).fetchall()
        return [self.get(comparison_id) for (comparison_id,) in ids]

    def vote(self, comparison_id: str, winner: str, prompt: int | None = None) -> Comparison:
        """Records which variant is better: for one prompt, or for all of them. A second vote replaces the first.

        Args:
            winner: a letter, a variant's key, or `tie`.
            prompt: index from 0; None: every prompt.

        Raises:
            LibraryError: there is no such comparison.
            ServerError: the winner or the prompt is none of it.
        """
        comparison = self.get(comparison_id)
        index = winner_index(comparison, winner)
        if prompt is not None and not 0 <= prompt < len(comparison.prompts):
            raise ServerError(f"The comparison has prompts 1 to {len(comparison.prompts)}.")
        which = range(len(comparison.prompts)) if prompt is None else (prompt,)
        with self._open() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO votes VALUES (?, ?, ?, ?)",
                [(comparison_id, p, index, time.time()) for p in which],
            )
        return self.get(comparison_id)

    def veiled(self) -> frozenset[str]:
        """Assets of blind comparisons that nobody voted on: what drew them is not to be said yet."""
        if not self._database.is_file():
            return frozenset()
        with self._open() as connection:
            rows = connection.execute(
                "SELECT asset_id FROM cells JOIN comparisons ON comparisons.id = cells.comparison "
                "WHERE blind AND comparisons.id NOT IN (SELECT comparison FROM votes)"
            ).fetchall()
        return frozenset(asset_id for (asset_id,) in rows)

    def ranking(self) -> list[Rank]:
        """All variants that were ever voted on, the best first."""
        return rank(pair for comparison in self.latest(10_000) for pair in voted_pairs(comparison))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.library.folder.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._database, timeout=10)) as connection, connection:
                connection.executescript(_SCHEMA)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise LibraryError(
                f"The comparisons in {self._database} cannot be used: {error}. Free some room, or move the file away; "
                "a new one is made (the pictures stay)."
            ) from error


def winner_index(comparison: Comparison, winner: str) -> int:
    """The variant's index that a vote means; -1 for a tie.

    Raises:
        ServerError: none is meant.
    """
    said = winner.strip()
    if said.lower() == TIE:
        return -1
    if said.upper() in comparison.letters:
        return comparison.letters.index(said.upper())
    keys = [v.key for v in comparison.variants]
    if said in keys:
        return keys.index(said)
    raise ServerError(f"'{said[:60]}' is none of the variants. Say one of {', '.join(comparison.letters)}, or tie.")


def voted_pairs(comparison: Comparison) -> Iterator[tuple[str, str, float]]:
    """What the votes say of each two variants that were side by side: (a, b, score of a)."""
    keys = [v.key for v in comparison.variants]
    for winner in comparison.votes.values():
        if winner >= 0:
            yield from ((keys[winner], key, 1.0) for i, key in enumerate(keys) if i != winner)
        else:
            yield from ((a, b, 0.5) for i, a in enumerate(keys) for b in keys[i + 1 :])


def compare(
    studio: Studio,
    project: Project | None,
    recipes: Sequence[Recipe],
    variants: Sequence[Variant],
    seeds: Sequence[int],
    on_progress: OnProgress,
    *,
    blind: bool,
) -> Comparison:
    """Draws every recipe (one a prompt) with every variant and every seed, and keeps the sprites in the library.

    Raises:
        ServerError: too few or too many of something.
        PipelineError: a model or LoRA cannot be used, or the drawing was cancelled.
    """
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import encode_png
    from pipelines.sprites.draw import draw_sprites

    _check(recipes, variants, seeds)
    order = list(variants)
    if blind:
        secrets.SystemRandom().shuffle(order)
    library = studio.library(project)
    cells: list[list[list[str]]] = []
    rounds = len(order) * len(recipes) * len(seeds)
    for v, variant in enumerate(order):
        rows: list[list[str]] = []
        for p, recipe in enumerate(recipes):
            row: list[str] = []
            for s, seed in enumerate(seeds):
                number = (v * len(recipes) + p) * len(seeds) + s

                def part(done: int, total: int, message: str, number: int = number) -> None:
                    on_progress(number * 100 + 100 * done // max(total, 1), rounds * 100, message)

                # a palette of its own colours: a locked one would hide what the variants do with colour
                asked = replace(recipe, model=variant.model, loras=variant.loras, seed=seed, palette=())
                sprite = draw_sprites(studio.engine, asked, 1, part)[0]
                settled = record_bases(studio, sprite.recipe)
                png = encode_png(sprite.image, settled.to_json(), Palette.from_words(sprite.palette.words))
                details = {"palette": list(sprite.palette.words), "unknown_words": list(sprite.unknown_words)}
                asset = library.add("sprite", {"sprite.png": png}, settled, sprite.report.to_dict(), details)
                row.append(asset.id)
            rows.append(row)
        cells.append(rows)
    return Comparisons(library).add(order, [r.prompt for r in recipes], list(seeds), cells, blind=blind)


def _check(recipes: Sequence[Recipe], variants: Sequence[Variant], seeds: Sequence[int]) -> None:
    if not 2 <= len(variants) <= MOST_VARIANTS or len({v.key for v in variants}) < len(variants):
        raise ServerError(
            f"Give 2 to {MOST_VARIANTS} different variants, for example ['embedded', 'embedded + mygame@0.8']."
        )
    if not 1 <= len(recipes) <= MOST_PROMPTS or not 1 <= len(seeds) <= MOST_SEEDS:
        raise ServerError(f"Give 1 to {MOST_PROMPTS} prompts and 1 to {MOST_SEEDS} seeds for each.")
    cells = len(recipes) * len(variants) * len(seeds)
    if cells > MOST_CELLS:
        raise ServerError(f"{cells} pictures are too many for one comparison; the most is {MOST_CELLS}. Take fewer.")


def picture_path(library: Library, comparison: Comparison) -> Path:
    """Where the comparison's picture lies."""
    return library.folder / "comparisons" / f"{comparison.id}.png"
