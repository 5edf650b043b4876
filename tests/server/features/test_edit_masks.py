"""edit_sprite with rectangles and with a mask picture: pixels outside of them stay as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InvalidRequest, UserError
from pipelines.pixels.png import read_picture
from pipelines.records import no_progress
from server.features.edits import Edited, edit_sprite
from server.features.requests import EditRequest, SpriteRequest
from server.features.sprites import generate_sprites
from server.studio import Studio


@pytest.fixture
def sprite(studio: Studio) -> str:
    done = generate_sprites(studio, SpriteRequest(prompt="imp", size=16, seed=1), no_progress)
    return done.sprites[0].asset.id


def edited(studio: Studio, sprite: str, place: str) -> Edited:
    request = EditRequest(asset_id=sprite, prompt="red hat", strength=0.9, place=place, seed=7)
    return edit_sprite(studio, request, no_progress)


def held_to(done: Edited, mask: np.ndarray) -> bool:
    """Whether every pixel outside is bit-equal, in the file as well, and one inside changed."""
    assert np.array_equal(read_picture(done.library.read(done.asset)), done.after)
    assert np.array_equal(done.after[~mask], done.before[~mask])
    return bool((done.after[mask] != done.before[mask]).any())


def test_an_edit_is_held_to_rectangles(studio: Studio, sprite: str) -> None:
    mask = np.zeros((16, 16), bool)
    mask[4:9, 5:11] = mask[12:14, 6:8] = True
    assert held_to(edited(studio, sprite, "5,4,6,5; 6,12,2,2"), mask)


@pytest.mark.parametrize("factor", [1, 4])
def test_an_edit_is_held_to_a_mask_picture(studio: Studio, sprite: str, game: Path, factor: int) -> None:
    mask = np.zeros((16, 16), bool)
    mask[3:12, 4:10] = True
    Image.fromarray((mask * 255).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)).save(game / "mask.png")
    assert held_to(edited(studio, sprite, "mask.png"), mask)


def test_an_asset_may_be_the_mask(studio: Studio, sprite: str) -> None:
    done = edited(studio, sprite, sprite)
    assert held_to(done, done.before[..., 3] >= 128)


def test_a_part_by_name_works_as_before(studio: Studio, sprite: str) -> None:
    assert edited(studio, sprite, "top").asset.recipe.options["edit"]["place"] == "top"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing.png", "There is no file"),
        ("1,2,3", "x,y,width,height"),
        ("elbow", "names no part"),
        ("0123456789ab", "There is no asset"),
        ("123", "names no part"),
    ],
)
def test_a_place_that_cannot_be_used_is_answered_with_a_sentence(
    studio: Studio, sprite: str, place: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        edited(studio, sprite, place)


def test_a_mask_of_another_size_is_refused(studio: Studio, sprite: str, game: Path) -> None:
    Image.new("L", (20, 16), 255).save(game / "mask.png")
    with pytest.raises(InvalidRequest, match="whole multiple"):
        edited(studio, sprite, "mask.png")
