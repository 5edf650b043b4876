"""An edit may be held to rectangles or to a mask picture."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import InvalidRequest
from pipelines.records import Pixels
from pipelines.sprites.mask import is_rectangles, mask_of_picture, mask_of_rectangles


def picture(mask: np.ndarray, transparent: bool, factor: int = 1) -> Pixels:
    made = np.full((*mask.shape, 4), 255, np.uint8)
    if transparent:
        made[..., 3] = np.where(mask, 255, 0)
    else:
        made[..., :3] = np.where(mask, 255, 0)[..., None]
    return made.repeat(factor, 0).repeat(factor, 1)


def test_rectangles_mark_their_pixels() -> None:
    mask = mask_of_rectangles("1,2,3,4; 10, 0, 2, 2", 16, 12)
    wanted = np.zeros((12, 16), bool)
    wanted[2:6, 1:4] = wanted[0:2, 10:12] = True
    assert np.array_equal(mask, wanted)


def test_a_rectangle_over_the_edge_is_cut_off() -> None:
    mask = mask_of_rectangles("-2,-2,4,4;14,10,99,99", 16, 12)
    assert mask.sum() == 4 + 4
    assert mask[0, 0]
    assert mask[11, 15]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3", "x,y,width,height"),
        ("1,2,3,4,5", "x,y,width,height"),
        ("40,40,2,2", "hold no pixel"),
        ("3,3,0,4", "hold no pixel"),
        ("3,3,-2,4", "hold no pixel"),
        (";".join(["1,1,1,1"] * 65), "too many"),
    ],
)
def test_rectangles_that_cannot_be_used_are_named(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        mask_of_rectangles(text, 16, 12)


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize("factor", [1, 5])
def test_a_mask_picture_marks_by_opaque_or_by_light_pixels(transparent: bool, factor: int) -> None:
    wanted = np.zeros((12, 16), bool)
    wanted[3:7, 2:9] = True
    assert np.array_equal(mask_of_picture(picture(wanted, transparent, factor), 16, 12), wanted)


@pytest.mark.parametrize(("shape", "said"), [((12, 17), "whole multiple"), ((24, 16), "whole"), ((6, 8), "whole")])
def test_a_mask_of_another_size_is_refused(shape: tuple[int, int], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        mask_of_picture(picture(np.ones(shape, bool), False), 16, 12)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="marks no pixel"):
        mask_of_picture(picture(np.zeros((12, 16), bool), False), 16, 12)


def test_names_and_numbers_are_told_apart() -> None:
    assert is_rectangles("1,2,3,4; 5 6 7 8")
    assert not any(map(is_rectangles, ("hat", "left boots", "mask.png", ";", "")))
