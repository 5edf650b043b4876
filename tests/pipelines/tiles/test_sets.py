"""Whole sets on made-up ground, so that nothing hangs on a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.records import Drawing, DrawRequest, Pixels, Recipe
from pipelines.tiles.geometry import NORTH, SOUTH, noise
from pipelines.tiles.layouts import LAYOUTS, find_layout
from pipelines.tiles.tileset import Tileset, draw_tileset, terrain_of
from tests.fakes import FakeBackend

COLORS = {"grass": (80, 150, 60), "water": (50, 90, 190), "brick": (150, 80, 60), "snow": (235, 240, 245)}


class Ground(FakeBackend):
    """Draws ground that wraps: waves and grain, calm water, bricks with joints at the edges of the picture."""

    def draw(self, request: DrawRequest, on_step: Any) -> Drawing:
        drawing = super().draw(request, on_step)
        images = tuple(self.ground(p, s, request.width) for p, s in zip(request.prompts, request.seeds, strict=True))
        return Drawing(images, request.model, "fake", drawing.steps, 1.0, 0.0, "fake")

    def ground(self, prompt: str, seed: int, size: int) -> Pixels:
        name = next(word for word in COLORS if word in prompt)
        rng = np.random.default_rng(seed % 2**32)
        rough = {"water": 3, "snow": 2}.get(name, 14)
        tile = (
            np.array(COLORS[name]) + noise(size, seed % 2**32)[..., None] * 12 + rng.normal(0, rough, (size, size, 1))
        )
        tile = tile + rng.normal(0, 10)
        if name == "brick":
            joint = np.arange(size) % (size // 2) == size // 2 - 1
            tile[joint] *= 0.5
        out = np.full((size, size, 4), 255, np.uint8)
        out[..., :3] = np.clip(tile, 0, 255)
        return out


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(Ground())
    yield engine
    engine.close()


def drawn(
    engine: Engine,
    layout: str,
    size: int,
    upper: str,
    lower: str,
    seed: int = 3,
    given: Mapping[str, Pixels] | None = None,
) -> Tileset:
    options = {"layout": layout, "upper": upper, "lower": lower if find_layout(layout).two else ""}
    recipe = Recipe("tileset", f"{upper} {lower}", size, size, seed, candidates=4, options=options)
    return draw_tileset(engine, recipe, given=given)


@pytest.mark.parametrize("size", [16, *(pytest.param(size, marks=pytest.mark.slow) for size in (8, 24, 32))])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_set_holds_its_gates(engine: Engine, layout: str, size: int) -> None:
    for upper, lower in (("grass", "water"), ("water", "grass"), ("brick", "snow")):
        made = drawn(engine, layout, size, upper, lower)
        assert made.report.passed, (upper, made.report)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_path_is_whole_from_side_to_side(engine: Engine, size: int) -> None:
    """Down the middle of a straight piece the ground beside it never shows."""
    made = drawn(engine, "edge16", size, "brick", "snow")
    plain = {tuple(color) for color in made.tiles[0].reshape(-1, 4).tolist()}
    middle = made.tiles[NORTH | SOUTH][:, size // 2 - 1 : size // 2 + 1].reshape(-1, 4)
    assert not plain & {tuple(color) for color in middle.tolist()}


@pytest.mark.slow
def test_no_pair_of_many_sets_stands_out(engine: Engine) -> None:
    """A border that goes a pixel up just between two tiles is a step that every map shows."""
    worst = [
        drawn(engine, "wang16", 16, upper, lower, seed).report.scores["seam_worst_pair"]
        for upper, lower in (("grass", "water"), ("snow", "water"), ("snow", "grass"))
        for seed in range(8)
    ]
    assert max(worst) <= 1.3


def test_a_chained_set_holds_its_gates_and_keeps_the_earlier_terrain(engine: Engine) -> None:
    first = drawn(engine, "wang16", 16, "brick", "water")
    shared = terrain_of(first.atlas, first.layout, 16, "upper")
    second = drawn(engine, "wang16", 16, "grass", "brick", given={"lower": shared})
    assert second.report.passed, second.report
    assert np.array_equal(second.tiles[0], first.tiles[15])
