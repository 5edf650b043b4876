"""generate_sprite with a sketch: a file is kept as an asset, and the recipe draws the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InvalidRequest, UserError
from pipelines.records import no_progress
from server.errors import LibraryError, ProjectError
from server.features.requests import SpriteRequest
from server.features.sketches import sketch_of
from server.features.sprites import Drawn, generate_each, generate_sprites
from server.features.watch import Watch
from server.studio import Studio
from tests.fakes import FakeBackend


@pytest.fixture
def scribble(game: Path) -> Path:
    picture = np.full((2000, 1500, 4), 255, np.uint8)
    picture[500:1500, 400:1100, :3] = (200, 30, 30)
    Image.fromarray(picture).save(game / "scribble.png")
    return game / "scribble.png"


def drawn(studio: Studio, sketch: str, **more: float) -> Drawn:
    request = SpriteRequest.model_validate({"prompt": "imp", "size": 16, "seed": 1, "sketch": sketch, **more})
    return generate_sprites(studio, request, no_progress).sprites[0]


def test_a_sketch_is_kept_and_found_by_the_recipe(studio: Studio, backend: FakeBackend, scribble: Path) -> None:
    recipe = drawn(studio, "scribble.png", strength=0.4).asset.recipe
    assert recipe.options["sketch"]["strength"] == 0.4
    assert "strength" not in recipe.options
    assert str(scribble.parent) not in recipe.to_json()
    scribble.unlink()
    sketch = sketch_of(studio, studio.project(), recipe)
    assert sketch is not None
    assert max(sketch.shape[:2]) == 1024
    init = backend.requests[0].init[0]
    drawn(studio, recipe.options["sketch"]["asset"], strength=0.4)
    assert np.array_equal(backend.requests[1].init[0], init)


def test_a_recipe_without_a_sketch_is_as_before(studio: Studio) -> None:
    options = drawn(studio, "").asset.recipe.options
    assert "sketch" not in options
    assert "strength" not in options


def test_several_requests_may_have_sketches_of_their_own(studio: Studio, backend: FakeBackend, scribble: Path) -> None:
    plain = SpriteRequest(prompt="imp", size=16, seed=1)
    requests = [
        plain,
        plain.model_copy(update={"sketch": "scribble.png"}),
        plain.model_copy(update={"sketch": "no.png"}),
    ]
    first, second, third = generate_each(studio, requests, no_progress)
    assert isinstance(first, Drawn)
    assert isinstance(second, Drawn)
    assert isinstance(third, UserError)
    assert [bool(request.init) for request in backend.requests] == [False, True]


@pytest.mark.parametrize("strength", [0, 1.5, -1, float("nan")])
def test_a_strength_out_of_range_is_refused(studio: Studio, scribble: Path, strength: float) -> None:
    with pytest.raises(InvalidRequest, match="more than 0, at most 1"):
        drawn(studio, "scribble.png", strength=strength)


def test_a_sketch_that_is_not_there_is_named(studio: Studio) -> None:
    with pytest.raises(UserError, match=r"There is no file 'missing\.png'"):
        drawn(studio, "missing.png")
    with pytest.raises(LibraryError, match="no asset"):
        drawn(studio, "0123456789ab")


def test_a_file_of_the_game_names_sketches_inside_the_game_alone(
    studio: Studio, scribble: Path, tmp_path: Path, game: Path
) -> None:
    (tmp_path / "secret.png").write_bytes(scribble.read_bytes())
    wanted = SpriteRequest(prompt="imp", size=16, sketch="../secret.png")
    (outcome,) = generate_each(studio, [wanted], no_progress)
    assert isinstance(outcome, ProjectError)
    project = studio.require_project()
    said: list[str] = []
    watch = Watch(studio, project, said.append)
    for name, sketch in (("bad", str(tmp_path / "secret.png")), ("good", "scribble.png")):
        file = game / f"{name}.sprite.json"
        file.write_text(f'{{"prompt": "imp", "size": 16, "sketch": "{sketch}"}}')
        watch.handle(file)
    assert "outside the game" in said[0]
    assert "written" in said[1]
