"""Requests: clients see the choices that the pipelines know, and each form of a value has one meaning."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from pipelines import choices
from pipelines.errors import InvalidRequest
from pipelines.invalid import explain_invalid
from pipelines.models.presets import PRESETS
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels, no_progress
from pipelines.tiles.layouts import LAYOUTS
from pipelines.tiles.projected import PROJECTED
from pipelines.tiles.wang import BORDERS
from server.features.requests import AnimationRequest, SpriteRequest
from server.features.save import shown_colors
from server.features.sprites import Drawn, generate_sprites
from server.studio import Studio
from tests.fakes import fake_picture


def test_the_choices_are_those_that_the_pipelines_know() -> None:
    assert get_args(choices.Layout) == (*LAYOUTS, *PROJECTED)
    assert set(get_args(choices.Border)) == {"auto", *BORDERS}
    assert set(get_args(choices.Preset)) == set(PRESETS)


def test_white_space_in_a_prompt_has_no_meaning() -> None:
    assert SpriteRequest(prompt="  red\n dragon ").prompt == "red dragon"


@pytest.mark.parametrize("motions", [["Idle", "walk "], "idle, walk,", ("idle", "walk")])
def test_motions_are_a_list_or_a_text_with_commas(motions: object) -> None:
    assert AnimationRequest.model_validate({"prompt": "imp", "motions": motions}).motions == ("idle", "walk")


def test_the_sprite_of_an_animation_takes_every_field_that_both_have() -> None:
    wanted = AnimationRequest(prompt="imp", size=16, seed=3, palette="none", frames=2)
    assert wanted.sprite() == SpriteRequest(prompt="imp", size=16, seed=3, palette="none")


def test_every_wrong_field_is_named_with_its_value() -> None:
    with pytest.raises(ValidationError) as error:
        SpriteRequest.model_validate({"size": "large", "outline": "dotted", "candidates": 17, "hue": 3})
    text = explain_invalid(error.value)
    assert "prompt: is required" in text
    assert "size=large: input should be a valid integer" in text
    assert "outline=dotted: input should be" in text
    assert "candidates=17: give 1 to 16" in text
    assert "hue: there is no such argument" in text


def test_an_assets_palette_is_what_its_picture_shows_in_the_palettes_order() -> None:
    picture = fake_picture("imp", 1, 16, 16)
    shown = shown_colors(picture)
    assert shown == sorted(shown)
    assert len(shown) == 4
    locked = Palette.from_hex([shown[2], "010203", shown[0]])
    assert shown_colors(picture, locked) == [shown[2], shown[0], shown[1], shown[3]]


def test_a_dithered_sprite_mixes_the_colours_of_its_palette(studio: Studio) -> None:
    def draw(dither: int) -> Drawn:
        wanted = SpriteRequest(prompt="imp", seed=1, palette="202020 505050 808080 b0b0b0 e0e0e0", dither=dither)
        return generate_sprites(studio, wanted, no_progress).sprites[0]

    plain, dithered = draw(dither=0), draw(dither=4)
    assert "dither" not in plain.asset.recipe.options
    assert dithered.asset.recipe.options["dither"] == 4
    assert dithered.asset.report["passed"]

    def steps(image: Pixels) -> int:
        return int((image[:, 1:, :3] != image[:, :-1, :3]).any(axis=-1).sum())

    assert steps(dithered.image) > 2 * steps(plain.image)
    with pytest.raises(InvalidRequest, match="dither is one of 0, 2, 4, 8, not 3"):
        draw(dither=3)


@pytest.mark.parametrize(("size", "said"), [(8, "few things can be told apart"), (12, ""), (32, ""), (64, "enlarged")])
def test_a_size_that_the_model_does_not_draw_itself_is_said(studio: Studio, size: int, said: str) -> None:
    done = generate_sprites(studio, SpriteRequest(prompt="imp", size=size, seed=1), no_progress)
    assert [said in note for note in done.notes] == ([True] if said else [])


def test_a_portrait_says_that_it_was_drawn_from_parts(studio: Studio) -> None:
    done = generate_sprites(studio, SpriteRequest(prompt="portrait of a viking", size=64, seed=1), no_progress)
    assert "drawn from parts" in done.notes[0]
    assert len(done.notes) == 1
