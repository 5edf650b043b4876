"""Comparisons: what is drawn, what a vote means, what stays hidden, and what adopting changes."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelError
from pipelines.pixels.png import read_picture
from pipelines.records import LoraWeight, no_progress
from server.errors import LibraryError, ProjectError, ServerError
from server.features.comparisons.compare import Comparison, Comparisons, Variant, compare, parse_variant, voted_pairs
from server.features.comparisons.ranking import rank
from server.features.comparisons.view import all_entries, comparison_png, vote_from_page
from server.features.recipes import sprite_recipe
from server.features.requests import SpriteRequest
from server.gallery.build import gallery_page
from server.project.adoption import adopt
from server.studio import Studio
from tests.fakes import FakeBackend

BASE, GLOW = Variant("embedded"), Variant("embedded", (LoraWeight("glow", 0.5),))


@pytest.fixture
def drawn(studio: Studio) -> Comparison:
    """Two prompts, two seeds, two variants."""
    game = studio.project()
    recipes = [
        sprite_recipe(studio, game, SpriteRequest(prompt=words))
        for words in ("red dragon", "a very long name of a sword")
    ]
    return compare(studio, game, recipes, [BASE, GLOW], [1, 2], no_progress, blind=True)


def kept(studio: Studio) -> Comparisons:
    return Comparisons(studio.library(studio.project()))


def test_every_variant_draws_the_same_prompts_and_seeds(
    studio: Studio, backend: FakeBackend, drawn: Comparison
) -> None:
    assert len(backend.requests) == 8
    asked = {(r.prompts[0], r.seeds[0], r.loras) for r in backend.requests}
    assert len(asked) == 8
    library = studio.library(studio.project())
    for v, variant in enumerate(drawn.variants):
        for row in drawn.cells[v]:
            for s, asset_id in enumerate(row):
                recipe = library.get(asset_id).recipe
                assert (recipe.loras, recipe.seed) == (variant.loras, drawn.seeds[s])


def test_a_model_of_another_family_draws_the_recipe_without_what_it_does_not_take(
    studio: Studio, backend: FakeBackend, tmp_path: Path
) -> None:
    klein = tmp_path / "klein"
    klein.mkdir()
    (klein / "model_index.json").write_text(json.dumps({"_class_name": "Flux2KleinPipeline"}))
    backend.known.add(str(klein))
    recipe = replace(
        sprite_recipe(studio, studio.project(), SpriteRequest(prompt="red dragon")),
        negative="blurry",
        preset="guided",
        steps=6,
        guidance=2.0,
    )
    compare(studio, studio.project(), [recipe], [BASE, Variant(str(klein))], [1], no_progress, blind=False)
    own, other = backend.requests
    assert (own.negative, own.preset, own.steps, own.guidance) == ("blurry", "guided", 6, 2.0)
    assert (other.negative, other.preset, other.steps, other.guidance) == ("", "", None, None)


def test_a_model_that_is_not_here_is_named_before_anything_is_drawn(studio: Studio, backend: FakeBackend) -> None:
    recipe = sprite_recipe(studio, studio.project(), SpriteRequest(prompt="red dragon"))
    with pytest.raises(ModelError, match="nowhere"):
        compare(studio, None, [recipe], [BASE, Variant("/nowhere/model")], [1], no_progress, blind=False)
    assert not backend.requests


def test_a_comparison_is_blind_until_a_vote_is_in(studio: Studio, drawn: Comparison) -> None:
    assert drawn.labels == ("A", "B")
    winner = drawn.letters[drawn.variants.index(GLOW)]
    voted = kept(studio).vote(drawn.id, winner)
    assert set(voted.labels) == {f"{winner}: embedded + glow@0.5", f"{'AB'.replace(winner, '')}: embedded"}
    assert voted.votes == {0: voted.variants.index(GLOW), 1: voted.variants.index(GLOW)}
    assert [r.key for r in kept(studio).ranking()] == [GLOW.key, BASE.key]


def test_nobody_can_peek_at_a_blind_comparison_in_the_gallery(studio: Studio, drawn: Comparison) -> None:
    library = studio.library(studio.project())
    recipe = sprite_recipe(studio, studio.project(), SpriteRequest(prompt="green goblin"))
    compare(studio, studio.project(), [recipe], [BASE, GLOW], [7], no_progress, blind=False)
    compared = {asset_id for rows in drawn.cells for row in rows for asset_id in row}
    assert kept(studio).veiled() == compared

    def recipes() -> list[dict[str, Any]]:
        page = gallery_page(library)
        data = json.loads(page.split('<script id="data" type="application/json">')[1].split("</script>")[0])
        return [asset["recipe"] for asset in data["assets"] if asset["id"] in compared]

    before = recipes()
    assert len(before) == 8
    assert all(not {"loras", "revision", "preset", "options"} & recipe.keys() for recipe in before)
    assert {recipe["model"] for recipe in before} == {"shown after the vote"}
    assert "glow" not in str(before)
    kept(studio).vote(drawn.id, "A", 0)
    assert sum(bool(recipe["loras"]) for recipe in recipes()) == 4


def test_a_second_vote_on_a_prompt_replaces_the_first(studio: Studio, drawn: Comparison) -> None:
    kept(studio).vote(drawn.id, "A", 0)
    assert kept(studio).vote(drawn.id, "b", 0).votes == {0: 1}
    assert list(voted_pairs(kept(studio).vote(drawn.id, "tie", 0))) == [(*(v.key for v in drawn.variants), 0.5)]


@pytest.mark.parametrize("winner", ["C", "", "glow"])
def test_a_vote_for_nobody_is_refused(studio: Studio, drawn: Comparison, winner: str) -> None:
    with pytest.raises(ServerError, match="Give one of A, B, or tie"):
        kept(studio).vote(drawn.id, winner)
    with pytest.raises(ServerError, match="prompts 1 to 2"):
        kept(studio).vote(drawn.id, "A", 2)
    with pytest.raises(LibraryError, match="There is no comparison"):
        kept(studio).vote("0123456789ab", "A")


def test_the_picture_and_the_page_show_every_cell(studio: Studio, drawn: Comparison) -> None:
    library = studio.library(studio.project())
    picture = read_picture(comparison_png(library, drawn))
    assert picture.shape[0] > 4 * 128
    entries = all_entries(library)
    assert [e["id"] for e in entries] == [f"{drawn.id}/0", f"{drawn.id}/1"]
    assert [[o["label"] for o in e["options"]] for e in entries] == [["A", "B"]] * 2
    assert entries[0]["options"][0]["width"] == 64  # both seeds side by side
    vote_from_page(library, entries[1]["id"], "A")
    assert all_entries(library)[1]["voted"] == "A"


def test_a_cancelled_comparison_keeps_no_row(studio: Studio) -> None:
    def stop(done: int, total: int, message: str) -> None:
        raise KeyboardInterrupt

    recipe = sprite_recipe(studio, studio.project(), SpriteRequest(prompt="red dragon"))
    with pytest.raises(KeyboardInterrupt):
        compare(studio, studio.project(), [recipe], [BASE, GLOW], [1], stop, blind=True)
    assert kept(studio).latest() == []


@pytest.mark.parametrize(("variants", "seeds"), [([BASE], [1]), ([BASE, BASE], [1]), ([BASE, GLOW], [])])
def test_too_little_to_compare_is_refused(studio: Studio, variants: list[Variant], seeds: list[int]) -> None:
    recipe = sprite_recipe(studio, studio.project(), SpriteRequest(prompt="red dragon"))
    with pytest.raises(ServerError, match="Give"):
        compare(studio, studio.project(), [recipe], variants, seeds, no_progress, blind=True)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("embedded", "embedded"),
        ("", "embedded"),
        ("+ mygame", "embedded + mygame@1"),
        ("/models/sdxl + a@0.8+b@-0.5", "/models/sdxl + a@0.8 + b@-0.5"),
    ],
)
def test_a_variant_is_read_from_text(text: str, key: str) -> None:
    variant = parse_variant(text, "embedded")
    assert variant.key == key
    assert parse_variant(variant.key, "") == variant


@pytest.mark.parametrize("text", ["embedded + a@x", "embedded +", "embedded + a@9"])
def test_a_variant_that_cannot_be_read_shows_the_form(text: str) -> None:
    with pytest.raises(ServerError, match=r"embedded \+ mygame@0\.8"):
        parse_variant(text, "embedded")


# Ranking


def test_the_strengths_of_simulated_voters_lie_in_their_intervals_as_often_as_stated() -> None:
    import numpy as np

    rng, truth = np.random.default_rng(0), {"a": 1.2, "b": 0.4, "c": -0.3, "d": -1.3}
    inside = []
    for _ in range(100):
        pairs = []
        for _ in range(120):
            a, b = rng.choice(list(truth), 2, replace=False)
            pairs.append((a, b, float(rng.random() < 1 / (1 + np.exp(truth[b] - truth[a])))))
        inside += [r.low <= truth[r.key] <= r.high for r in rank(pairs)]
    assert 0.92 < sum(inside) / len(inside) < 0.985


def test_a_variant_that_only_won_has_a_finite_strength_and_a_wide_interval() -> None:
    first, last = rank([("a", "b", 1.0)] * 3)
    assert (first.key, last.key) == ("a", "b")
    assert first.low < 0 < first.strength < first.high < 10
    assert rank([]) == []
    tied = rank([("a", "b", 0.5)] * 10)
    assert all(abs(r.strength) < 1e-9 for r in tied)


# Adoption

STYLE = """\
# our game
palette = "palette.hex"  # twelve colours
model = "old"
loras = [
    { name = "a" },  # the [first]
]

[folders]
sprites = "sprites"
"""


@pytest.mark.parametrize(
    "before",
    ["", STYLE, 'size = 16\n\n[[loras]]\nname = "a"\n\n[[loras]]\nname = "b"\n\n[folders]\nassets = "assets"\n'],
)
def test_adopting_changes_model_and_loras_and_nothing_else(game: Path, studio: Studio, before: str) -> None:
    file = game / "dgx-pixels.toml"
    if before:
        file.write_text(before)
    adopt(studio.require_project(), GLOW)
    after = tomllib.loads(file.read_text())
    wanted = {"model": "embedded", "loras": [{"name": "glow", "weight": 0.5}]}
    assert after == {k: v for k, v in tomllib.loads(before).items() if k not in wanted} | wanted
    assert studio.require_project().style.loras[0].name == "glow"
    assert ("# twelve colours" in before) == ("# twelve colours" in file.read_text())
    adopt(studio.require_project(), BASE)
    assert "loras" not in tomllib.loads(file.read_text())


def test_adopting_keeps_the_bom_and_the_line_ends_of_the_file(game: Path, studio: Studio) -> None:
    file = game / "dgx-pixels.toml"
    file.write_bytes("\ufeff# Größe\r\nsize = 16\r\n".encode())
    adopt(studio.require_project(), GLOW)
    assert file.read_bytes().startswith("\ufeff# Größe\r\nsize = 16\r\nmodel =".encode())
    assert studio.require_project().style.size == 16


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"model" = "old"\n', '"model" = "embedded"\nloras = [{ name = "glow", weight = 0.5 }]\n'),
        (
            "# the team's\nsize = 16 # px\n\n[folders] # all\nsprites = 's'\n",
            '# the team\'s\nsize = 16 # px\nmodel = "embedded"\nloras = [{ name = "glow", weight = 0.5 }]\n\n'
            "[folders] # all\nsprites = 's'\n",
        ),
    ],
)
def test_adopting_keeps_the_form_of_the_file(game: Path, studio: Studio, before: str, after: str) -> None:
    (game / "dgx-pixels.toml").write_text(before)
    adopt(studio.require_project(), GLOW)
    assert (game / "dgx-pixels.toml").read_text() == after


def test_a_style_file_that_broke_in_between_is_left_alone(game: Path, studio: Studio) -> None:
    project = studio.require_project()
    (game / "dgx-pixels.toml").write_text("model = \n")
    with pytest.raises(ProjectError, match="not TOML"):
        adopt(project, GLOW)
    assert (game / "dgx-pixels.toml").read_text() == "model = \n"
