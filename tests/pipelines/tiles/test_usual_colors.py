"""Terrains keep their usual colour under a locked palette, or a warning says that the palette has none."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.pixels.oklab import Lab, from_oklab
from pipelines.pixels.palette import Palette, lock
from pipelines.records import Pixels
from pipelines.tiles.textures import usual_color
from pipelines.tiles.usual_colors import MOST_FOREIGN, foreign_share, keep_both, keep_usual

SWEETIE = Palette.from_hex(
    [
        "1a1c2c",
        "5d275d",
        "b13e53",
        "ef7d57",
        "ffcd75",
        "a7f070",
        "38b764",
        "257179",
        "29366f",
        "3b5dc9",
        "41a6f6",
        "73eff7",
        "f4f4f4",
        "94b0c2",
        "566c86",
        "333c57",
    ]
)
BLUES = Palette.from_hex(["1a1c2c", "29366f", "3b5dc9", "41a6f6"])


def drawn(lab: tuple[float, float, float], seed: int = 0) -> Pixels:
    """A texture around a colour (OKLab), as a model draws it: uneven in lightness, a little in hue."""
    noise = np.random.default_rng(seed).normal(0, 1, (16, 16, 3)) * (0.06, 0.02, 0.02)
    rgb = from_oklab((np.array(lab) + noise).astype(np.float32))
    return np.dstack([rgb, np.full((16, 16), 255, np.uint8)])


def usual(prompt: str) -> Lab:
    found = usual_color(prompt)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(8))
def test_sand_that_was_drawn_between_green_and_orange_is_sand(seed: int) -> None:
    texture = drawn((0.66, -0.02, 0.09), seed)
    locked = lock(texture, SWEETIE)
    assert foreign_share(locked, usual("sand")) > 0.2  # what the nearest colours alone make of it
    kept, near = keep_usual(texture, locked, usual("sand"), SWEETIE)
    assert near
    assert foreign_share(kept, usual("sand")) <= MOST_FOREIGN
    words = [bytes(color).hex() for color in np.unique(kept[..., :3].reshape(-1, 3), axis=0)]
    assert "ffcd75" in words
    assert len(words) > 1  # still a texture
    assert set(words) <= set(SWEETIE.hex)


def test_a_texture_that_has_its_colour_stays_as_it_is() -> None:
    texture = drawn((0.7, -0.14, 0.1))
    locked = lock(texture, SWEETIE)
    kept, near = keep_usual(texture, locked, usual("grass"), SWEETIE)
    assert near
    np.testing.assert_array_equal(kept, locked)


def test_a_palette_without_the_colour_is_reported() -> None:
    texture = drawn((0.8, -0.01, 0.12))
    _, near = keep_usual(texture, lock(texture, BLUES), usual("sand"), BLUES)
    assert not near


def test_stone_stays_gray() -> None:
    palette = Palette.from_hex(["1a1c2c", "8a8a8a", "5a5a60", "38b764", "b13e53"])
    texture = drawn((0.6, -0.12, 0.08))
    locked = lock(texture, palette)
    assert foreign_share(locked, usual("stone")) > 0.2
    kept, near = keep_usual(texture, locked, usual("stone"), palette)
    assert near
    assert foreign_share(kept, usual("stone")) <= MOST_FOREIGN


@pytest.mark.parametrize("seed", range(4))
def test_sand_beside_grass_is_sand_in_tiles_that_show_both(seed: int) -> None:
    """Tile 0 is sand, the last one grass, the one between half and half."""
    sand, grass = drawn((0.66, -0.02, 0.09), seed), drawn((0.7, -0.14, 0.1), seed + 50)
    both = np.hstack([sand[:, :8], grass[:, 8:]])
    tiles, near = keep_both([sand, both, grass], SWEETIE, [(0, usual("sand")), (2, usual("grass"))])
    assert near == [True, True]
    assert foreign_share(tiles[0], usual("sand")) <= MOST_FOREIGN
    assert foreign_share(tiles[1][:, :8], usual("sand")) <= 2 * MOST_FOREIGN
    np.testing.assert_array_equal(tiles[2], lock(grass, SWEETIE))
    assert (tiles[1][:, 8:] == tiles[2][:, 8:]).all(-1).mean() > 0.95


def test_two_terrains_without_their_colour_in_the_palette_are_both_reported() -> None:
    sand, grass = drawn((0.8, -0.01, 0.12)), drawn((0.7, -0.14, 0.1))
    assert keep_both([sand, grass], BLUES, [(0, usual("sand")), (1, usual("grass"))])[1] == [False, False]
