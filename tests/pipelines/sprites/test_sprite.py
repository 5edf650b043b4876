"""From a recipe to finished sprites, with the embedded model and with a fake."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine.backend import OnStep
from pipelines.engine.engine import Engine
from pipelines.errors import InvalidRequest
from pipelines.models.catalog import embedded_model
from pipelines.pixels.png import encode_png
from pipelines.records import Drawing, DrawRequest, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import Sprite, candidate_seed, draw_batch, draw_sprites, plan_pass
from pipelines.sprites.framing import background_of
from tests.fakes import FakeBackend

DRAGON = Recipe("sprite", "red dragon", 32, 32, 5, steps=3, guidance=1.0)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(DiffusersBackend("cpu"))
    yield engine
    engine.close()


@pytest.fixture
def fake() -> Iterator[Engine]:
    engine = Engine(FakeBackend())
    yield engine
    engine.close()


def png(sprite: Sprite) -> bytes:
    return encode_png(sprite.image, sprite.recipe.to_json(), sprite.palette)


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (24, 24), (32, 32), (48, 48), (64, 64), (16, 32), (33, 50)])
@pytest.mark.parametrize("prompt", ["red dragon", pytest.param("gray stone wall", marks=pytest.mark.slow)])
def test_every_size_passes_the_gates(engine: Engine, size: tuple[int, int], prompt: str):
    (sprite,) = draw_sprites(engine, replace(DRAGON, prompt=prompt, width=size[0], height=size[1]))
    assert sprite.image.shape == (size[1], size[0], 4)
    assert sprite.report.passed, sprite.report
    if prompt == "gray stone wall":
        assert (sprite.image[..., 3] == 255).all()
        assert sprite.recipe.options["ground"] == "opaque"


@pytest.mark.slow
def test_a_fresh_process_draws_the_same_bytes(engine: Engine):
    here = hashlib.sha256(png(draw_sprites(engine, DRAGON)[0])).hexdigest()
    script = (
        "import hashlib; from pipelines.sdxl.diffusion import DiffusersBackend\n"
        "from pipelines.engine.engine import Engine\n"
        "from tests.pipelines.sprites.test_sprite import DRAGON, draw_sprites, png\n"
        "print(hashlib.sha256(png(draw_sprites(Engine(DiffusersBackend('cpu')), DRAGON)[0])).hexdigest())"
    )
    root = Path(__file__).parents[3]
    there = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120, cwd=root
    )
    assert there.stdout.strip() == here


def test_a_sprite_of_several_is_drawn_again_by_its_own_recipe(engine: Engine):
    several = draw_sprites(engine, replace(DRAGON, candidates=2), 2)
    assert len({png(s) for s in several}) == 2
    for sprite in several:
        (again,) = draw_sprites(engine, Recipe.from_json(sprite.recipe.to_json()))
        assert png(again) == png(sprite)


@pytest.mark.slow
def test_sprites_of_a_batch_are_drawn_again_by_their_own_recipes(engine: Engine):
    prompts = ("red dragon", "gray stone wall", "blue Quuxosaurus potion")
    batch = draw_batch(engine, [replace(DRAGON, prompt=p, seed=9 - i, candidates=2) for i, p in enumerate(prompts)])
    assert [s.recipe.options["ground"] for s in batch] == ["transparent", "opaque", "transparent"]
    assert [s.unknown_words for s in batch] == [(), (), ("quuxosaurus",)]
    for sprite in batch:
        (again,) = draw_sprites(engine, Recipe.from_json(sprite.recipe.to_json()))
        assert png(again) == png(sprite)


def test_a_batch_is_one_drawing_of_eight_pictures_at_most():
    backend = FakeBackend()
    engine = Engine(backend)
    draw_batch(engine, [replace(DRAGON, prompt=f"{n} dragons", seed=n) for n in range(10)])
    engine.close()
    assert [len(request.prompts) for request in backend.requests] == [8, 2]


def test_only_prompt_and_seed_differ_within_a_batch(fake: Engine):
    with pytest.raises(InvalidRequest, match="nothing but prompt and seed"):
        draw_batch(fake, [DRAGON, replace(DRAGON, colors=4)])


def test_the_recipe_says_what_was_settled(engine: Engine):
    (sprite,) = draw_sprites(engine, replace(DRAGON, steps=0, guidance=0.0))
    settled = (sprite.recipe.preset, sprite.recipe.steps, sprite.recipe.guidance)
    assert settled == ("turbo", 4, 1.0)
    assert len(sprite.recipe.revision) == 12


def test_a_part_that_the_prompt_names_is_drawn_with_guidance_and_the_recipe_draws_it_again(engine: Engine):
    farmer = replace(DRAGON, prompt="farmer holding a torch", steps=0, guidance=0.0)
    (sprite,) = draw_sprites(engine, farmer)
    assert (sprite.recipe.preset, sprite.recipe.steps, sprite.recipe.guidance) == ("turbo", 4, 2.0)
    assert png(draw_sprites(engine, sprite.recipe)[0]) == png(sprite)
    (before,) = draw_sprites(engine, replace(farmer, preset="turbo", steps=4, guidance=1.0))
    assert not np.array_equal(before.image, sprite.image)


def test_a_prompt_that_names_no_part_is_drawn_alike_beside_one_that_does(engine: Engine):
    asked = [replace(DRAGON, prompt=p, steps=0, guidance=0.0) for p in ("red dragon", "farmer holding a torch")]
    dragon, farmer = draw_batch(engine, asked)
    (alone,) = draw_sprites(engine, asked[0])
    assert np.abs(dragon.image.astype(int) - alone.image).mean() < 1  # a batch of another size changes last bits
    assert png(draw_sprites(engine, dragon.recipe)[0]) == png(dragon)
    assert png(draw_sprites(engine, farmer.recipe)[0]) == png(farmer)


def test_a_locked_palette_and_an_outline_are_kept(engine: Engine):
    words = ("1a1c2c", "b13e53", "ef7d57", "f4f4f4")
    (sprite,) = draw_sprites(engine, replace(DRAGON, palette=words, outline="outer"))
    assert sprite.palette.hex == words
    assert sprite.report.passed


def test_unknown_words_are_reported(engine: Engine):
    (sprite,) = draw_sprites(engine, replace(DRAGON, prompt="red Quuxosaurus, dragon"))
    assert sprite.unknown_words == ("quuxosaurus",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 1, "height": 1}, "width is 8 to 96"),
        ({"height": 97}, "height is 8 to 96"),
        ({"prompt": " "}, "prompt is empty"),
        ({"options": {"ground": "cloudy"}}, r"background .* is one of"),
        ({"candidates": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason(fake: Engine, changes: dict[str, object], words: str):
    with pytest.raises(InvalidRequest, match=words):
        draw_sprites(fake, replace(DRAGON, **changes))  # pyright: ignore[reportArgumentType]


def test_floors_and_walls_are_opaque_and_everything_else_is_not():
    backgrounds = {
        prompt: background_of(replace(DRAGON, prompt=prompt))
        for prompt in ("gray stone wall", "Green Grass Floor.", "lava", "water elemental", "wall lizard", "firewall")
    }
    assert list(backgrounds.values()) == ["opaque", "opaque", "opaque", "transparent", "transparent", "transparent"]
    assert background_of(replace(DRAGON, options={"ground": "opaque"})) == "opaque"


class Squares(FakeBackend):
    """Draws a full square for each seed but those in `creatures`."""

    creatures = (candidate_seed(5, 2),)

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        drawing = super().draw(request, on_step)
        square = np.full((request.height, request.width, 4), 255, np.uint8)
        images = (
            image if seed in self.creatures else square
            for seed, image in zip(request.seeds, drawing.images, strict=True)
        )
        return replace(drawing, images=tuple(images))


def test_of_the_candidates_the_one_with_the_right_ground_is_kept():
    engine = Engine(Squares())
    (sprite,) = draw_sprites(engine, replace(DRAGON, candidates=3))
    engine.close()
    assert sprite.scores[2] > max(sprite.scores[:2])
    assert not (sprite.image[..., 3] == 255).all()


def test_the_progress_of_several_drawings_grows_to_one_end(fake: Engine):
    told: list[tuple[int, int]] = []
    draw_sprites(fake, replace(DRAGON, width=64, candidates=5), 2, lambda done, total, _: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (2000, 2000)


def test_larger_and_smaller_sprites_are_drawn_at_the_nearest_size_that_the_model_knows():
    model = embedded_model()
    plans = {side: (p.width, p.native) for side in (8, 16, 24, 32, 40, 64) for p in [plan_pass(model, side, 8)]}
    assert plans[8] == plans[16] == (32, 16)
    assert plans[24] == plans[32] == plans[40] == plans[64] == (32, 32)


@pytest.mark.parametrize("size", [(64, 64), (48, 48), (96, 64), (12, 12), (8, 8), (8, 12)])
def test_a_rescaled_sprite_holds_the_gates_and_only_colours_of_its_drawing(fake: Engine, size: tuple[int, int]):
    recipe = replace(DRAGON, width=size[0], height=size[1])
    (sprite,) = draw_sprites(fake, recipe)
    assert sprite.image.shape == (size[1], size[0], 4)
    assert sprite.report.passed, sprite.report.gates
    assert set(np.unique(sprite.image[..., 3])) <= {0, 255}
    if min(size) > 32:
        native = replace(DRAGON, width=size[0] * 32 // max(size), height=size[1] * 32 // max(size))
        drawn = draw_sprites(fake, native)[0].image
        shown, known = ({tuple(c) for c in i[i[..., 3] > 0].tolist()} for i in (sprite.image, drawn))
        assert shown <= known


def test_an_sdxl_draws_a_canvas_of_the_sprites_shape():
    model = replace(embedded_model(), native_sizes=(), canvases=(512, 768, 1024), presets=("quality", "draft"))
    p = plan_pass(model, 32, 32)
    assert (p.width, p.height) == (1024, 1024)
    p = plan_pass(model, 32, 32, "draft")
    assert (p.width, p.height) == (768, 768)
    p = plan_pass(model, 16, 32)
    assert (p.width, p.height) == (704, 1472)
