"""Variants of one terrain: none stands out on a map, all fit, and they are not all the same."""

import numpy as np
import pytest

from pipelines.pixels.oklab import to_oklab
from pipelines.records import Pixels
from pipelines.tiles.geometry import noise
from pipelines.tiles.layouts import LAYOUTS, sides
from pipelines.tiles.seams import count_strips, measure_seams
from pipelines.tiles.textures import flatten
from pipelines.tiles.variants import match_tone, quilt


def ground(color: tuple[int, int, int], contrast: float, seed: int, size: int) -> Pixels:
    tile = np.full((size, size, 4), 255, np.uint8)
    tile[..., :3] = np.clip(np.array(color) + noise(size, seed)[..., None] * contrast, 0, 255)
    return flatten(tile, 10, None)


def variants(size: int, count: int = 4) -> list[Pixels]:
    """Out of drawings that are too bright, too dark, flat and wild."""
    base = ground((90, 150, 60), 30, 1, size)
    drawn = [
        ground(color, contrast, seed, size)
        for seed, (color, contrast) in enumerate(
            [((150, 210, 120), 30), ((40, 80, 20), 25), ((90, 150, 60), 5), ((90, 150, 60), 80)], 2
        )
    ]
    return [base, *quilt(base, [match_tone(picture, base) for picture in drawn], count - 1)]


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_no_variant_is_brighter_or_darker_than_the_others(size: int) -> None:
    tones = np.array([to_oklab(tile[..., :3]).mean(axis=(0, 1)) for tile in variants(size)])
    assert np.linalg.norm(tones - tones[0], axis=1).max() < 0.012


@pytest.mark.parametrize("size", [8, 16, 32])
def test_variants_fit_each_other_and_differ_inside(size: int) -> None:
    tiles = variants(size)
    shown = [sides(LAYOUTS["variations"], index) for index in range(len(tiles))]
    assert set(count_strips(tiles, shown).values()) == {1}
    assert measure_seams(tiles, shown).worst <= 1.6
    for i, one in enumerate(tiles):
        for other in tiles[:i]:
            assert (one != other).any(axis=-1).mean() > 0.1


def test_a_variant_goes_over_into_its_frame_without_a_seam() -> None:
    """No line of pixels inside a variant steps more than the base's own lines do."""
    base, *made = variants(32)
    values = [to_oklab(tile[..., :3]) for tile in (base, *made)]
    worst = [max(np.linalg.norm(np.diff(v, axis=a), axis=-1).mean(axis=1 - a).max() for a in (0, 1)) for v in values]
    assert max(worst[1:]) < 1.5 * worst[0]


def test_variants_have_no_colour_of_their_own() -> None:
    base, *made = variants(16)
    known = {tuple(color) for color in base.reshape(-1, 4).tolist()}
    assert {tuple(color) for tile in made for color in tile.reshape(-1, 4).tolist()} <= known
