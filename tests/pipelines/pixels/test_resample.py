"""Pixel art is made larger and smaller without new colours and without soft edges."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.pixels.resample import enlarged, reduced
from pipelines.records import Pixels
from tests.pipelines.animation.test_making import child, colors


def diagonal(side: int = 16) -> Pixels:
    picture = np.zeros((side, side, 4), np.uint8)
    y, x = np.mgrid[:side, :side]
    picture[x <= y] = (200, 40, 40, 255)
    return picture


@pytest.mark.parametrize("side", [24, 32, 48, 64, 96])
def test_an_enlarged_picture_has_the_size_and_no_other_colour(side: int) -> None:
    large = enlarged(child(), side, side)
    assert large.shape == (side, side, 4)
    assert colors(large) == colors(child())
    assert set(np.unique(large[..., 3])) == {0, 255}


def test_a_slope_stays_a_slope_when_it_is_enlarged() -> None:
    widths = (enlarged(diagonal(), 64, 64)[8:56, :, 3] > 0).sum(axis=1)
    steps = np.diff(widths.astype(int))
    assert steps.min() >= 0
    assert steps.max() <= 2  # nearest pixels would step by 4


@pytest.mark.parametrize("size", [(12, 12), (8, 8), (8, 12)])
def test_a_reduced_picture_fills_the_icon_in_its_own_colours(size: tuple[int, int]) -> None:
    small = reduced(child(), *size)
    assert small.shape == (*size, 4)
    assert colors(small) <= colors(child())
    opaque = small[..., 3] > 0
    assert opaque.any(axis=1).all() or opaque.any(axis=0).all()


def test_a_line_around_a_shape_does_not_eat_what_it_surrounds() -> None:
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[1:15, 1:15] = (20, 16, 24, 255)
    picture[3:13, 3:13] = (220, 60, 60, 255)
    red, dark = (220, 60, 60, 255), (20, 16, 24, 255)
    assert (reduced(picture, 8, 8) == red).all(axis=-1).sum() >= 36
    icon = reduced(picture, 12, 12)
    assert (icon == red).all(axis=-1).sum() >= 90  # by area alone the line takes 80 of 144
    assert (icon == dark).all(axis=-1)[0].all()


def test_nothing_drawn_stays_nothing() -> None:
    assert not reduced(np.zeros((16, 16, 4), np.uint8), 8, 8).any()
