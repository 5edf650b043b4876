"""An edit changes what it was asked to change, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pipelines.engine.engine import Engine
from pipelines.errors import InvalidRequest
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels, Recipe
from pipelines.sprites.edit import mask_of_place, recolor, redraw, repaint, resize
from tests.fakes import FakeBackend


def hero(size: int = 32) -> Pixels:
    sprite = np.zeros((size, size, 4), np.uint8)
    s = size // 16
    sprite[2 * s : 6 * s, 6 * s : 10 * s] = (230, 190, 150, 255)
    sprite[6 * s : 11 * s, 5 * s : 11 * s] = (60, 90, 200, 255)
    sprite[11 * s : 15 * s, 5 * s : 11 * s] = (90, 60, 40, 255)
    return sprite


def recipe(size: int = 32, **changes: object) -> Recipe:
    return Recipe("sprite", "blue hero", size, size, 7, **changes)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(FakeBackend())
    yield made
    made.close()


@pytest.mark.parametrize("size", [16, 24, 32, 48])
def test_pixels_outside_the_place_stay_bit_equal(engine: Engine, size: int) -> None:
    sprite = hero(size - size % 16) if size % 16 == 0 else np.pad(hero(16), ((4, 4), (4, 4), (0, 0)))
    mask = mask_of_place(sprite, "the hat")
    edited = redraw(engine, sprite, recipe(size), 0.8, mask)
    np.testing.assert_array_equal(edited.image[~mask], sprite[~mask])
    assert (edited.image[mask] != sprite[mask]).any()
    assert edited.report.passed, edited.report.gates


def test_a_drawing_begins_with_the_sprite_at_the_strength_asked_for(engine: Engine) -> None:
    backend = engine.backend
    assert isinstance(backend, FakeBackend)
    redraw(engine, hero(16), recipe(16), 0.4)
    request = backend.requests[-1]
    assert (request.strength, request.native, request.width) == (0.4, 16, 32)
    np.testing.assert_array_equal(request.init[0][::2, ::2], hero(16))


def test_a_locked_palette_holds_in_what_is_drawn_over(engine: Engine) -> None:
    words = ("e6be96", "3c5ac8", "5a3c28", "101010", "f0f0f0")
    edited = redraw(engine, hero(), recipe(palette=words), 0.9)
    assert edited.report.gates["in_palette"]


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [("the hat", (4, 16), (28, 16)), ("boots", (29, 16), (4, 16)), ("left boots", (29, 11), (29, 20))],
)
def test_words_of_place_point_at_that_part(words: str, inside: tuple[int, int], outside: tuple[int, int]) -> None:
    mask = mask_of_place(hero(), words)
    assert mask[inside]
    assert not mask[outside]


@pytest.mark.parametrize("words", ["the soul", "hat boots", ""])
def test_words_that_name_no_part_are_refused(words: str) -> None:
    with pytest.raises(InvalidRequest):
        mask_of_place(hero(), words)


def test_recolouring_swaps_one_colour_and_leaves_every_other_pixel() -> None:
    sprite = hero()
    made = recolor(sprite, recipe(), {"3c5ac8": "c83c3c"}).image
    blue = (sprite[..., :3] == (60, 90, 200)).all(axis=-1)
    assert (made[blue, :3] == (200, 60, 60)).all()
    np.testing.assert_array_equal(made[~blue], sprite[~blue])


def test_recolouring_a_colour_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InvalidRequest, match="3c5ac8"):
        recolor(hero(), recipe(), {"123456": "654321"})


def test_repainting_uses_the_new_palette_only() -> None:
    made = repaint(hero(), recipe(), Palette.from_hex(["000000", "ffffff"]))
    assert made.report.gates["in_palette"]
    np.testing.assert_array_equal(made.image[..., 3], hero()[..., 3])


def test_twice_the_size_is_the_same_sprite_in_larger_pixels() -> None:
    made = resize(hero(16), recipe(16), 32, 32)
    np.testing.assert_array_equal(made.image, hero(16).repeat(2, 0).repeat(2, 1))


def test_half_the_size_has_that_size_and_only_the_sprites_colours() -> None:
    made = resize(hero(32), recipe(32), 16, 16)
    assert made.image.shape == (16, 16, 4)
    np.testing.assert_array_equal(made.image, hero(16))


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.5])
def test_a_strength_out_of_range_is_refused(engine: Engine, strength: float) -> None:
    with pytest.raises(InvalidRequest, match="strength"):
        redraw(engine, hero(), recipe(), strength)
