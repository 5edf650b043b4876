"""Cliffs: every lower edge of a plateau has a whole face, in any legal map, and the face's rock suits the words."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.pixels.oklab import to_oklab
from pipelines.records import Pixels
from pipelines.tiles.cliffs import cliff_of, face_pattern, face_ramp, paint_cliffs, split_prompt
from pipelines.tiles.geometry import compose
from pipelines.tiles.layouts import LAYOUTS, sides
from pipelines.tiles.map import corner_indices, random_cells
from pipelines.tiles.seams import count_strips
from pipelines.tiles.wang import Terrain

GREEN, BLUE = (60, 160, 60), (40, 70, 200)
RAMP = np.array([(10, 0, 0), (60, 0, 0), (120, 0, 0), (180, 0, 0)], np.uint8)


def flat(color: tuple[int, int, int], size: int) -> Terrain:
    return Terrain(np.full((size, size, 4), (*color, 255), np.uint8))


def cliffs(size: int, seed: int = 1) -> list[Pixels]:
    return paint_cliffs(flat(GREEN, size), flat(BLUE, size), RAMP, seed)


@pytest.mark.parametrize("size", [8, 16, 24, 32, 48, 64])
def test_tiles_that_show_the_same_corners_at_a_side_have_the_same_strip(size: int) -> None:
    for seed in range(4):
        strips = count_strips(cliffs(size, seed), [sides(LAYOUTS["cliffs"], index) for index in range(16)])
        assert set(strips.values()) == {1}


@pytest.mark.parametrize("size", [8, 16, 32])
def test_below_every_lower_edge_of_any_map_hangs_a_whole_face(size: int) -> None:
    corners = random_cells(np.random.default_rng(5), 9, 13)
    corners[-1] = False
    picture = compose(cliffs(size), corner_indices(corners)).astype(int)
    rock = (picture[..., 0] > picture[..., 1]) & (picture[..., 0] > picture[..., 2])
    green, blue = (picture[..., 1] > picture[..., 0]), (picture[..., 2] > picture[..., 0])
    found = 0
    for x in range(picture.shape[1]):
        for y in np.flatnonzero(green[:-1, x] & rock[1:, x]):
            run = int(np.argmin(rock[y + 1 :, x]))
            # rock that ends on the plateau again is its side edge
            if run and blue[y + 1 + run, x]:
                assert run >= cliff_of(size).height - cliff_of(size).rim.rounding / 2  # less in a hollow corner
                found += 1
    assert found > 5 * size // 4


@pytest.mark.parametrize("size", [8, 16, 24, 32, 64])
def test_a_face_is_about_half_a_tile_high_and_its_pattern_wraps(size: int) -> None:
    assert cliff_of(size).height >= 0.4 * size - 1
    pattern = face_pattern(size, cliff_of(size).height, 3)
    assert set(np.unique(pattern)) <= {0, 1, 2, 3}
    # seen in any window of the row of tiles there are joints as at home
    twice = np.concatenate([pattern, pattern], axis=1)
    seam = (twice[:, size - 1] != twice[:, size]).mean()
    inner = (pattern[:, 1:] != pattern[:, :-1]).mean(axis=0).max()
    assert seam <= inner


def test_the_prompt_says_what_the_face_is_of() -> None:
    assert split_prompt("grass  on red stone") == ("grass", "red stone")
    assert split_prompt("snow") == ("snow", "")
    red, earth = (to_oklab(face_ramp(words, flat(BLUE, 8).texture)) for words in ("grass on red stone", "grass"))
    assert red[2, 1] > earth[2, 1] + 0.05
    assert (np.diff(earth[:, 0]) > 0.05).all()


def test_a_face_that_would_be_lost_before_brown_ground_is_grey() -> None:
    brown = to_oklab(face_ramp("grass", flat((150, 100, 60), 8).texture))
    assert np.abs(brown[2, 1:]).max() < 0.03
