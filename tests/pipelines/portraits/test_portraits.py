"""Portraits are drawn from parts by the words of the prompt, where the model has learned no faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.pixels.named_palettes import named_palette
from pipelines.portraits.busts import draw_bust
from pipelines.portraits.looks import is_portrait, look_of
from pipelines.records import LoraWeight, Recipe
from pipelines.sprites.draw import draw_batch, draw_sprites
from tests.fakes import FakeBackend

KNIGHT = Recipe("sprite", "portrait of a knight", 48, 48, seed=4, colors=24)
PEOPLE = (
    "knight", "old wizard", "witch", "king", "queen", "prince", "pirate", "viking", "girl", "granny", "boy", "man",
    "elder", "elf", "goblin", "orc", "zombie", "vampire", "skeleton", "demon", "thief", "monk", "ninja", "farmer",
    "chef",
)  # fmt: skip


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(FakeBackend())
    yield engine
    engine.close()


def backend(engine: Engine) -> FakeBackend:
    assert isinstance(engine.backend, FakeBackend)
    return engine.backend


@pytest.mark.parametrize("side", [24, 32, 64, 96])
def test_every_portrait_holds_the_gates_and_differs_from_the_others(engine: Engine, side: int) -> None:
    seen = set()
    for who in PEOPLE:
        (sprite,) = draw_sprites(engine, replace(KNIGHT, prompt=f"face of a {who}", width=side, height=side))
        assert sprite.report.passed, (who, sprite.report.gates)
        assert sprite.image.shape == (side, side, 4)
        assert not sprite.unknown_words, who
        assert (sprite.image[-1, side // 2 - 2 : side // 2 + 2, 3] == 255).all()
        seen.add(sprite.image.tobytes())
    assert len(seen) == len(PEOPLE)
    assert not backend(engine).requests


def test_a_portrait_keeps_to_the_palette_and_to_its_seed(engine: Engine) -> None:
    pico = named_palette("pico-8")
    one, again, other = (
        draw_sprites(engine, replace(KNIGHT, prompt="portrait of a man", seed=seed, palette=pico))[0]
        for seed in (1, 1, 2)
    )
    shown = {"".join(f"{c:02x}" for c in color[:3]) for color in one.image[one.image[..., 3] > 0].tolist()}
    assert shown <= set(pico)
    np.testing.assert_array_equal(one.image, again.image)
    assert (one.image != other.image).any()
    assert draw_sprites(engine, one.recipe)[0].image.tobytes() == one.image.tobytes()


def test_words_for_colours_hair_and_hats_are_read_and_others_are_told() -> None:
    look, unknown = look_of("portrait of a bearded man with red hair, green eyes and a purple hat, juggling", 0)
    assert (look.hair_color, look.eyes, look.hat_color, look.hat) == ("red", "green", "purple", "wizard")
    assert look.beard
    assert unknown == ("juggling",)
    assert look_of("face of an elf in a blue robe", 0)[0].cloth == "blue"
    assert look_of("hooded woman, dark skin", 1)[0].skin == "brown"
    assert look_of("old king with long beard", 0)[0].beard == "long"


def test_a_painted_word_changes_the_picture() -> None:
    plain, patch = (draw_bust(look_of(f"portrait of a man{more}", 3)[0], 48) for more in ("", " with an eye patch"))
    assert (plain != patch).any()


@pytest.mark.parametrize(
    ("prompt", "portrait"),
    [("portrait of a knight", True), ("goblin face", True), ("knight", False), ("portrait of a cat", False)],
)
def test_only_the_faces_of_people_are_drawn_from_parts(engine: Engine, prompt: str, portrait: bool) -> None:
    assert is_portrait(prompt) == portrait
    (sprite,) = draw_sprites(engine, replace(KNIGHT, prompt=prompt))
    assert ("parts" in sprite.recipe.options) == portrait == (not backend(engine).requests)


@pytest.mark.parametrize(
    "changed", [{"loras": (LoraWeight("faces", 1.0),)}, {"width": 16, "height": 16}, {"options": {"ground": "opaque"}}]
)
def test_a_taught_model_and_small_or_solid_pictures_are_drawn_by_the_model(engine: Engine, changed: dict) -> None:
    draw_sprites(engine, replace(KNIGHT, **changed))
    assert backend(engine).requests


def test_portraits_among_other_sprites_keep_their_place(engine: Engine) -> None:
    recipes = [replace(KNIGHT, prompt=prompt) for prompt in ("imp", "face of an orc", "sword")]
    drawn = draw_batch(engine, recipes)
    assert [sprite.recipe.prompt for sprite in drawn] == ["imp", "face of an orc", "sword"]
    assert [request.prompts for request in backend(engine).requests] == [("imp", "sword")]
