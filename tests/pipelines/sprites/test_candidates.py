"""Which candidate is kept: the one that shows what the prompt asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipelines.engine.backend import OnStep
from pipelines.engine.engine import Engine
from pipelines.records import Drawing, DrawRequest, Pixels, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.candidates import is_doubtful
from pipelines.sprites.draw import candidate_seed, draw_sprites
from tests.fakes import FakeBackend

POTION = Recipe("sprite", "red potion", 32, 32, 5, candidates=3)
SEEDS = [candidate_seed(POTION.seed, c) for c in range(4)]


class Pictures(FakeBackend):
    """Draws these pictures in turn for any request."""

    def __init__(self, *pictures: Pixels) -> None:
        super().__init__()
        self.pictures = pictures

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        drawn = super().draw(request, on_step)
        return replace(drawn, images=tuple(self.pictures[i % len(self.pictures)] for i in range(len(drawn.images))))


@pytest.fixture(scope="module")
def drawn() -> Iterator[dict[str, Pixels]]:
    """What the embedded model draws."""
    engine = Engine(DiffusersBackend("cpu"))
    prompts = ("red dragon", "red potion", "blue potion", "warrior with axe and shield", "queen with flowers")
    yield dict(zip(prompts, engine.draw(DrawRequest("embedded", prompts, (1,) * 5, 32, 32)).images, strict=True))
    engine.close()


def kept(recipe: Recipe, *pictures: Pixels) -> tuple[int, dict[str, float]]:
    """Which of the pictures is kept as the recipe's sprite, and its scores."""
    engine = Engine(Pictures(*pictures))
    (sprite,) = draw_sprites(engine, replace(recipe, candidates=len(pictures)))
    engine.close()
    return sprite.scores.index(max(sprite.scores)), sprite.report.scores


def test_the_candidate_that_shows_the_noun_is_kept(drawn: dict[str, Pixels]):
    dragon, potion = drawn["red dragon"], drawn["red potion"]
    assert kept(POTION, dragon, dragon, potion)[0] == 2
    assert kept(replace(POTION, prompt="crimson elixir"), dragon, potion, dragon)[0] == 1
    assert kept(replace(POTION, prompt="red dragon"), potion, dragon, potion)[0] == 1


def test_the_candidate_in_the_colour_that_is_asked_for_is_kept(drawn: dict[str, Pixels]):
    red, blue = drawn["red potion"], drawn["blue potion"]
    assert kept(POTION, blue, red)[0] == 1
    at, scores = kept(replace(POTION, prompt="azure potion"), red, blue)
    assert at == 1
    assert scores["color"] == 1
    assert scores["recognised"] > 0.5


def test_the_candidate_that_holds_what_is_asked_for_is_kept(drawn: dict[str, Pixels]):
    warrior, queen = drawn["warrior with axe and shield"], drawn["queen with flowers"]
    at, scores = kept(replace(POTION, prompt="woman with an axe and a shield"), queen, warrior)
    assert (at, scores["worn"]) == (1, 1.0)
    assert kept(replace(POTION, prompt="soldier in a dress"), warrior, queen)[0] == 1
    assert "worn" not in kept(replace(POTION, prompt="axe"), warrior, queen)[1]


def test_the_candidate_whose_part_has_the_colour_that_is_said_of_it_is_kept():
    plain = np.zeros((32, 32, 4), np.uint8)
    plain[4:28, 10:22] = (120, 90, 60, 255)
    hat, boots = plain.copy(), plain.copy()
    hat[4:8, 10:22, :3] = boots[24:28, 10:22, :3] = (40, 60, 200)
    asked = replace(POTION, prompt="xyzzy man with a blue hat")
    at, scores = kept(asked, boots, hat, plain)
    assert (at, scores["part_color"]) == (1, 1.0)


def test_a_prompt_without_a_noun_or_colour_leaves_the_scores_alone(drawn: dict[str, Pixels]):
    _, scores = kept(replace(POTION, prompt="xyzzy"), drawn["red dragon"], drawn["red potion"])
    assert {"recognised", "color"}.isdisjoint(scores)


def test_a_kept_picture_without_the_noun_is_doubtful(drawn: dict[str, Pixels]):
    dragon, potion = drawn["red dragon"], drawn["red potion"]
    assert is_doubtful(kept(POTION, dragon, dragon)[1])
    assert not is_doubtful(kept(POTION, dragon, potion)[1])
    assert not is_doubtful(kept(replace(POTION, prompt="xyzzy"), dragon, potion)[1])
    assert not is_doubtful(kept(replace(POTION, prompt="farmer with a torch"), dragon, potion)[1])
    assert not is_doubtful(kept(POTION, dragon)[1])  # one candidate is not looked at


def test_a_single_candidate_is_not_looked_at(drawn: dict[str, Pixels]):
    _, scores = kept(POTION, drawn["red potion"])
    assert "recognised" not in scores


def test_what_one_candidate_of_four_shows_and_the_others_do_not_is_not_kept(drawn: dict[str, Pixels]):
    red, blue, dragon = drawn["red potion"], drawn["blue potion"], drawn["red dragon"]
    unknown = replace(POTION, prompt="xyzzy")
    assert kept(unknown, dragon, red, blue, red)[0] != 0
    at, scores = kept(unknown, dragon, red, dragon, dragon)
    assert at != 1
    assert 0.3 < scores["likeness"] < 1  # two of the three others are the same


def test_the_other_seeds_draw_the_other_candidates_the_next_best_first():
    engine = Engine(DiffusersBackend("cpu"))
    (sprite,) = draw_sprites(engine, replace(POTION, candidates=4))
    ranked = sorted(sprite.scores, reverse=True)
    assert [sprite.scores[SEEDS.index(seed)] for seed in sprite.other_seeds] == ranked[1:]
    (other,) = draw_sprites(engine, replace(POTION, seed=sprite.other_seeds[0], candidates=1))
    engine.close()
    assert not np.array_equal(other.image, sprite.image)
    assert max(sprite.other_seeds) < 2**53  # as a double of a JavaScript client
