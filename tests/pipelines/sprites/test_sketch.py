"""A drawing may begin with a rough picture, on the embedded model and on one that paints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.errors import InvalidRequest
from pipelines.models.catalog import Model
from pipelines.models.presets import SDXL_PRESETS
from pipelines.records import Pixels, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites
from pipelines.sprites.sketch import sketch_canvas
from tests.fakes import FakeBackend

SDXL = Model("sdxl", "SDXL", "x", Path(), presets=SDXL_PRESETS)
IMP = Recipe(
    "sprite", "red dragon", 32, 32, 5, steps=4, guidance=1.0, options={"sketch": {"asset": "x", "strength": 0.5}}
)


def scribble(width: int = 40, height: int = 40) -> Pixels:
    """A red square on white paper."""
    picture = np.full((height, width, 4), 255, np.uint8)
    picture[height // 4 : -height // 4, width // 4 : -width // 4, :3] = (200, 30, 30)
    return picture


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(FakeBackend())
    yield made
    made.close()


def test_paper_around_a_sketch_becomes_the_background_of_the_model() -> None:
    painted = sketch_canvas(scribble(), (64, 64), (32, 32), 2, "transparent", False)
    assert tuple(painted[0, 0]) == (255, 0, 255, 255)
    assert tuple(painted[32, 32]) == (200, 30, 30, 255)
    drawn = sketch_canvas(scribble(), (32, 32), (32, 32), 0, "transparent", True)
    assert drawn[0, 0, 3] == 0
    assert tuple(drawn[16, 16]) == (200, 30, 30, 255)
    scene = sketch_canvas(scribble(), (64, 64), (32, 32), 2, "opaque", False)
    assert tuple(scene[0, 0]) == (255, 255, 255, 255)


def test_a_sketch_keeps_its_shape_in_the_middle_of_the_window() -> None:
    wide = np.full((10, 40, 4), 255, np.uint8)
    wide[..., :3] = (10, 120, 30)
    wide[0, 0, 3] = 0
    canvas = sketch_canvas(wide, (96, 64), (40, 20), 2, "transparent", True)
    rows = np.flatnonzero(canvas[..., 3].any(axis=1))
    columns = np.flatnonzero(canvas[..., 3].any(axis=0))
    assert (columns[0], columns[-1] + 1) == (8, 88)
    assert (rows[0], rows[-1] + 1) == (22, 42)


def test_an_empty_picture_and_one_colour_are_taken_as_they_are() -> None:
    blank = np.full((8, 8, 4), 255, np.uint8)
    assert sketch_canvas(blank, (32, 32), (32, 32), 0, "transparent", True)[..., 3].all()


def test_the_drawing_begins_with_the_sketch_at_its_strength(engine: Engine) -> None:
    backend = engine.backend
    assert isinstance(backend, FakeBackend)
    draw_sprites(engine, replace(IMP, candidates=2), 2, sketch=scribble())
    (request,) = backend.requests
    assert request.strength == 0.5
    assert len(request.init) == len(request.prompts) == 4
    assert tuple(request.init[0][16, 16]) == (200, 30, 30, 255)


def test_a_larger_sprite_is_drawn_once_over_the_sketch_and_enlarged(engine: Engine) -> None:
    backend = engine.backend
    assert isinstance(backend, FakeBackend)
    (sprite,) = draw_sprites(engine, replace(IMP, width=48, height=48), sketch=scribble())
    (asked,) = backend.requests
    assert (asked.strength, asked.width) == (0.5, 32)
    assert sprite.image.shape == (48, 48, 4)


def test_a_painting_model_gets_the_sketch_on_its_canvas(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.sprites.draw.find_model", lambda name: SDXL)
    backend = engine.backend
    assert isinstance(backend, FakeBackend)
    draw_sprites(engine, replace(IMP, width=128, height=128), sketch=scribble())
    init = backend.requests[0].init[0]
    assert init.shape == (1024, 1024, 4)
    assert tuple(init[0, 0]) == (255, 0, 255, 255)


@pytest.mark.parametrize("given", [True, False])
def test_a_sketch_and_its_recipe_belong_together(engine: Engine, given: bool) -> None:
    recipe = replace(IMP, options={}) if given else IMP
    with pytest.raises(InvalidRequest, match="Give it again"):
        draw_sprites(engine, recipe, sketch=scribble() if given else None)


def test_the_embedded_model_stays_near_a_sketch_at_a_low_strength() -> None:
    engine = Engine(DiffusersBackend("cpu"))
    recipe = replace(IMP, steps=8, guidance=1.5)
    seen = scribble(32, 32)

    def distance(strength: float) -> float:
        options = {"sketch": {"asset": "x", "strength": strength}}
        (sprite,) = draw_sprites(engine, replace(recipe, options=options), sketch=seen)
        assert sprite.report.passed
        return float((sprite.image[..., 3] > 0)[8:24, 8:24].mean() - (sprite.image[..., 3] > 0).mean())

    near, far = distance(0.25), distance(1.0)
    engine.close()
    assert near > 0.6  # the square is there and nothing around it
    assert near > far
