"""Hexagons of two terrains: any map is legal, tiles are cuts of one painting, and faults are seen."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.pixels.palette import Palette
from pipelines.records import Pixels
from pipelines.tiles.hexagons import (
    PLAIN_HEXAGON,
    HexagonPair,
    compose_hexagons,
    hexagon_indices,
    hexagon_seams,
    lattice_waves,
    neighbours,
    on_lattice,
    paint_hexagons,
    place,
)
from pipelines.tiles.wang import BORDERS, Terrain

PALETTE = Palette(
    "ramps", tuple((v, 150, 60) for v in range(20, 120, 10)) + tuple((30, v, 200) for v in range(20, 120, 10))
)


def texture(color: tuple[int, int, int], size: int, seed: int) -> Pixels:
    made = np.full((size, size, 4), 255, np.uint8)
    made[..., :3] = np.clip(np.array(color) + np.random.default_rng(seed).integers(-20, 21, (size, size, 1)), 0, 255)
    return made


def painted(size: int, flat: bool, border: str = "grassy", seed: int = 1) -> HexagonPair:
    upper, lower = Terrain(texture((60, 150, 60), size, 1)), Terrain(texture((30, 60, 200), size, 2), liquid=True)
    return paint_hexagons(upper, lower, BORDERS[border], flat, PALETTE, [seed])


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("size", [8, 16, 24, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("border", BORDERS)
def test_a_map_of_tiles_is_the_map_painted_as_one_picture(size: int, flat: bool, border: str) -> None:
    for seed in range(2):
        pair = painted(size, flat, border, seed)
        shown = compose_hexagons(pair.tiles, pair.indices, size, flat)
        drawn = shown[..., 3] > 0
        assert (shown[drawn] == pair.whole[drawn]).all()
        assert len(np.unique(pair.indices)) > 8


@pytest.mark.parametrize("flat", [False, True])
def test_neighbours_lie_at_a_side_and_know_each_other(flat: bool) -> None:
    for row, column in ((2, 2), (2, 3), (3, 2), (3, 3)):
        y, x = place(row, column, 16, flat)
        for bit, (r, c) in enumerate(neighbours(row, column, flat)):
            there_y, there_x = place(r, c, 16, flat)
            assert sorted((abs(there_y - y), abs(there_x - x))) in ([0, 16], [8, 12])
            assert neighbours(r, c, flat)[(bit + 3) % 6] == (row, column)
        # the first side is at the top, and they go round with the clock
        first = np.subtract(place(*neighbours(row, column, flat)[0], 16, flat), (y, x))
        second = np.subtract(place(*neighbours(row, column, flat)[1], 16, flat), (y, x))
        assert first[0] < 0
        assert first[1] * second[0] - first[0] * second[1] > 0


@pytest.mark.parametrize("flat", [False, True])
def test_textures_and_waves_repeat_from_hexagon_to_hexagon(flat: bool) -> None:
    size = 16
    for made in (on_lattice(texture((90, 90, 90), size, 3), flat), lattice_waves(size, flat, 5)):
        by = (size // 2, size * 3 // 4) if flat else (size * 3 // 4, size // 2)
        np.testing.assert_allclose(np.roll(made, by, (0, 1)), made, atol=1e-5)
        np.testing.assert_allclose(np.roll(made, size, 0 if flat else 1), made, atol=1e-5)


def test_the_mask_of_a_cell_names_its_upper_neighbours() -> None:
    cells = np.zeros((5, 5), np.bool_)
    cells[2, 2] = True
    assert hexagon_indices(cells, False)[2, 2] == 0
    assert hexagon_indices(cells, False)[1, 1] == PLAIN_HEXAGON
    cells[neighbours(2, 2, False)[1]] = True
    indices = hexagon_indices(cells, False)
    assert (indices[2, 2], indices[2, 3]) == (1 << 1, 1 << 4)


@pytest.mark.parametrize("flat", [False, True])
def test_a_line_along_one_side_shows_in_the_worst_pair(flat: bool) -> None:
    pair = painted(16, flat)
    spoilt = [tile.copy() for tile in pair.tiles]
    for tile in spoilt[:PLAIN_HEXAGON]:
        if flat:
            tile[0][tile[0, :, 3] > 0] = (255, 255, 255, 255)
        else:
            tile[:, -1][tile[:, -1, 3] > 0] = (255, 255, 255, 255)
    assert hexagon_seams(spoilt, 16, flat).worst > 2 * pair.seams.worst
    # of 65 x 65 pairs at three sides, those that agree on what both see
    assert pair.seams.pairs == 3 * (256 + 2 * 32 + 1)
