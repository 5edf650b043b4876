"""Compare variants (models, LoRA stacks): draw the same prompts and seeds with each, keep votes, rank.

A blind comparison calls its variants A, B, ... in a random order, and says which is which after a vote. Its cells are
assets of the library; comparisons, cells and votes are tables of the library's database.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import string
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import LibraryError, ServerError
from server.features.comparisons.ranking import Rank, rank
from server.features.recipes import sprite_recipe
from server.features.requests import CompareRequest, SpriteRequest
from server.features.sprites import keep_sprite
from server.library.rows import ASSET_ID, BadRow, clip, read_rows
from server.project.style import Style
from server.tally import TALLY

if TYPE_CHECKING:
    from pipelines.models.catalog import Model
    from pipelines.records import LoraWeight, OnProgress, Recipe
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST_VARIANTS, MOST_PROMPTS, MOST_SEEDS, MOST_CELLS = 8, 8, 8, 96
TIE = "tie"
FIRST_SEED = 1000
"""The first seed of a comparison that asks for none: the same prompts give the same pictures."""
_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Variant:
    """A model with a LoRA stack. `key` identifies it across comparisons: `embedded + mygame@0.8`."""

    model: str
    loras: tuple[LoraWeight, ...] = ()

    @property
    def key(self) -> str:
        """The text that `parse_variant` reads as this variant."""
        stack = (f"{lora.name}@{lora.weight:g}" for lora in self.loras)
        return " + ".join((self.model, *stack))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was drawn. `variants` are in the order shown; `cells[variant][prompt][seed]` is an asset id.

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
        """The names of the variants in a vote: A, B, ..."""
        return tuple(string.ascii_uppercase[: len(self.variants)])

    @property
    def labels(self) -> tuple[str, ...]:
        """The headings of the columns: letters alone while the comparison is blind."""
        if self.blind and not self.votes:
            return self.letters
        return tuple(f"{letter}: {v.key}" for letter, v in zip(self.letters, self.variants, strict=True))


def parse_variant(text: str, default_model: str) -> Variant:
    """Reads a variant from text: `embedded`, `embedded + mygame`, `/models/sdxl + mygame@0.8 + glow@0.5`, `+ mygame`.

    Raises:
        ServerError: a weight is not a number between -2 and 2, or a name is missing.
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
                f"'{text[:80]}' is not a variant. Write a model and LoRAs with weights of -2 to 2: "
                "'embedded + mygame@0.8'. list_models shows the names."
            )
        loras.append(LoraWeight(name.strip(), value))
    return Variant(model or default_model, tuple(loras))


class Comparisons:
    """The comparisons of one library, in its database."""

    def __init__(self, library: Library) -> None:
        self.library = library

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
        with self.library.database.write() as connection:
            connection.execute(
                "INSERT INTO comparisons (id, variants, prompts, seeds, blind, created) VALUES (?, ?, ?, ?, ?, ?)",
                (comparison_id, json.dumps(stored), json.dumps(prompts), json.dumps(seeds), blind, time.time()),
            )
            connection.executemany(
                "INSERT INTO comparison_cells (comparison, variant, prompt, seed, asset_id) VALUES (?, ?, ?, ?, ?)",
                [
                    (comparison_id, v, p, s, asset)
                    for v, rows in enumerate(cells)
                    for p, row in enumerate(rows)
                    for s, asset in enumerate(row)
                ],
            )
        return self.get(comparison_id)

    def get(self, comparison_id: str) -> Comparison:
        """Returns the comparison with this id.

        Raises:
            LibraryError: there is none.
        """
        if _ID.fullmatch(comparison_id) and (found := self._find("WHERE id = ?", comparison_id)):
            return found[0]
        raise LibraryError(
            f"There is no comparison '{clip(comparison_id)}' in {self.library.folder}. compare_models makes one and "
            "answers its comparison_id."
        )

    def latest(self, limit: int = 20) -> list[Comparison]:
        """Returns the newest comparisons."""
        return self._find("ORDER BY created DESC, id LIMIT ?", limit)

    def vote(self, comparison_id: str, winner: str, prompt: int | None = None) -> Comparison:
        """Records which variant is better: for one prompt, or for all of them. A second vote replaces the first.

        Args:
            winner: a letter, a variant's key, or `tie`.
            prompt: index from 0; None: every prompt.

        Raises:
            LibraryError: the comparison does not exist.
            ServerError: the comparison has no such winner or prompt.
        """
        comparison = self.get(comparison_id)
        index = winner_index(comparison, winner)
        if prompt is not None and not 0 <= prompt < len(comparison.prompts):
            raise ServerError(f"The comparison has prompts 1 to {len(comparison.prompts)}. Give one of them.")
        which = range(len(comparison.prompts)) if prompt is None else (prompt,)
        with self.library.database.write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO comparison_votes (comparison, prompt, winner, created) VALUES (?, ?, ?, ?)",
                [(comparison_id, p, index, time.time()) for p in which],
            )
        TALLY.voted(tuple(variant.key for variant in comparison.variants), index)
        return self.get(comparison_id)

    def veiled(self) -> frozenset[str]:
        """Returns the assets of blind comparisons without a vote: which model drew them must stay hidden."""
        with self.library.database.read() as connection:
            if connection is None:
                return frozenset()
            rows = connection.execute(
                "SELECT DISTINCT asset_id FROM comparison_cells JOIN comparisons ON comparisons.id = comparison "
                "WHERE blind AND comparison NOT IN (SELECT comparison FROM comparison_votes)"
            ).fetchall()
        return frozenset(row["asset_id"] for row in rows)

    def ranking(self) -> list[Rank]:
        """Ranks all variants with a vote, the best first."""
        voted = self._find("WHERE id IN (SELECT comparison FROM comparison_votes)")
        return rank(pair for comparison in voted for pair in voted_pairs(comparison))

    def _find(self, condition: str, *values: str | int) -> list[Comparison]:
        """Reads the comparisons that meet a condition, in three queries for any number. Bad rows are left out."""
        cells: dict[str, dict[tuple[int, int, int], str]] = {}
        votes: dict[str, dict[int, int]] = {}
        with self.library.database.read() as connection:
            if connection is None:
                return []
            rows = connection.execute(f"SELECT * FROM comparisons {condition}", values).fetchall()
            ids = json.dumps([row["id"] for row in rows])
            some = "WHERE comparison IN (SELECT value FROM json_each(?))"
            for row in connection.execute(f"SELECT * FROM comparison_cells {some}", (ids,)):
                key = (row["variant"], row["prompt"], row["seed"])
                cells.setdefault(row["comparison"], {})[key] = row["asset_id"]
            for row in connection.execute(f"SELECT * FROM comparison_votes {some}", (ids,)):
                votes.setdefault(row["comparison"], {})[row["prompt"]] = row["winner"]

        def read(row: sqlite3.Row) -> Comparison:
            return _comparison(row, cells.get(row["id"], {}), votes.get(row["id"], {}))

        return read_rows(rows, read, self.library.refuse("comparison"))


def _comparison(row: sqlite3.Row, drawn: Mapping[tuple[int, int, int], str], votes: dict[int, int]) -> Comparison:
    """Returns the comparison of a row, its cells and its votes.

    Raises:
        BadRow, ValueError, TypeError, KeyError: a value breaks a rule, or a cell is missing.
    """
    from pipelines.records import LoraWeight

    variants = tuple(
        Variant(str(model), tuple(LoraWeight(str(name), float(weight)) for name, weight in loras))
        for model, loras in json.loads(row["variants"])
    )
    prompts = tuple(str(prompt) for prompt in json.loads(row["prompts"]))
    seeds = tuple(int(seed) for seed in json.loads(row["seeds"]))
    if not _ID.fullmatch(row["id"]) or not 2 <= len(variants) <= MOST_VARIANTS or not prompts or not seeds:
        raise BadRow("it is not a comparison of 2 to 8 variants")
    if not all(0 <= p < len(prompts) and -1 <= winner < len(variants) for p, winner in votes.items()):
        raise BadRow("it holds a vote for a variant that it has not")
    if not all(isinstance(asset, str) and ASSET_ID.fullmatch(asset) for asset in drawn.values()):
        raise BadRow("it names an asset whose id is not 12 hex digits")
    cells = tuple(
        tuple(tuple(drawn[v, p, s] for s in range(len(seeds))) for p in range(len(prompts)))
        for v in range(len(variants))
    )
    return Comparison(row["id"], variants, prompts, seeds, bool(row["blind"]), float(row["created"]), cells, votes)


def winner_index(comparison: Comparison, winner: str) -> int:
    """Returns the index of the variant that a vote names; -1 for a tie.

    Raises:
        ServerError: the vote names none.
    """
    text = winner.strip()
    if text.lower() == TIE:
        return -1
    if text.upper() in comparison.letters:
        return comparison.letters.index(text.upper())
    keys = [v.key for v in comparison.variants]
    if text in keys:
        return keys.index(text)
    raise ServerError(
        f"'{clip(text)}' is not one of the variants. Give one of {', '.join(comparison.letters)}, or tie."
    )


def voted_pairs(comparison: Comparison) -> Iterator[tuple[str, str, float]]:
    """Yields (a, b, score of a) for each two variants that a vote compared."""
    keys = [v.key for v in comparison.variants]
    for winner in comparison.votes.values():
        if winner >= 0:
            yield from ((keys[winner], key, 1.0) for i, key in enumerate(keys) if i != winner)
        else:
            yield from ((a, b, 0.5) for i, a in enumerate(keys) for b in keys[i + 1 :])


def compare_models(
    studio: Studio, request: CompareRequest, on_progress: OnProgress, *, project: str | None = None
) -> Comparison:
    """Draws the prompts with each variant, from the first seed on, with the game's style but without its palette.

    Raises:
        ServerError: a variant cannot be read; see `compare`.
        PipelineError: see `compare`.
    """
    game = studio.project(project)
    default = studio.model(game.style if game else Style())
    variants = [parse_variant(text, default) for text in request.variants]
    first = FIRST_SEED if request.seed is None else request.seed
    recipes = [
        sprite_recipe(
            studio, game, SpriteRequest(prompt=prompt, size=request.size, seed=first, palette="none", candidates=1)
        )
        for prompt in request.prompts
    ]
    seeds = range(first, first + max(0, request.count))
    return compare(studio, game, recipes, variants, seeds, on_progress, blind=request.blind)


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
    """Draws every recipe (one per prompt) with every variant and every seed, and keeps the sprites in the library.

    Raises:
        ServerError: too few or too many variants, prompts or seeds.
        PipelineError: a model or LoRA cannot be used, or the drawing was cancelled.
    """
    from pipelines.files import check_lora
    from pipelines.models.catalog import find_model
    from pipelines.sprites.draw import draw_sprites

    _check(recipes, variants, seeds)
    models = {variant.model: find_model(variant.model) for variant in variants}  # one that is missing is named now
    for variant in variants:
        for lora in variant.loras:
            check_lora(lora.name)
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

                # no locked palette: it would hide what the variants do with colour
                asked = suited(replace(recipe, loras=variant.loras, seed=seed, palette=()), models[variant.model])
                sprite = draw_sprites(studio.engine, asked, 1, part)[0]
                row.append(keep_sprite(studio, library, sprite).asset.id)
            rows.append(row)
        cells.append(rows)
    return Comparisons(library).add(order, [r.prompt for r in recipes], list(seeds), cells, blind=blind)


def suited(recipe: Recipe, model: Model) -> Recipe:
    """Gives a recipe to another model, without what that model does not take.

    A preset that it has not is left out; for a model of another family also steps and guidance, whose scales differ,
    and a negative prompt where its pipeline takes none.
    """
    from pipelines.models.catalog import find_model
    from pipelines.models.families import FAMILIES

    changes: dict[str, Any] = {"model": model.id}
    if recipe.preset not in model.presets:
        changes["preset"] = ""
    if find_model(recipe.model).family != model.family:
        changes |= {"steps": 0, "guidance": 0.0}
    family = FAMILIES.get(model.family)
    if family and not family.negative:
        changes["negative"] = ""
    return replace(recipe, **changes)


def _check(recipes: Sequence[Recipe], variants: Sequence[Variant], seeds: Sequence[int]) -> None:
    if not 2 <= len(variants) <= MOST_VARIANTS or len({v.key for v in variants}) < len(variants):
        raise ServerError(
            f"Give 2 to {MOST_VARIANTS} different variants, for example ['embedded', 'embedded + mygame@0.8']."
        )
    if not 1 <= len(recipes) <= MOST_PROMPTS or not 1 <= len(seeds) <= MOST_SEEDS:
        raise ServerError(f"Give 1 to {MOST_PROMPTS} prompts and 1 to {MOST_SEEDS} seeds for each.")
    cells = len(recipes) * len(variants) * len(seeds)
    if cells > MOST_CELLS:
        raise ServerError(f"{cells} pictures are too many for one comparison: the most is {MOST_CELLS}. Give fewer.")


def picture_path(library: Library, comparison: Comparison) -> Path:
    """Returns the path of the comparison's picture."""
    return library.folder / "comparisons" / f"{comparison.id}.png"
