"""Tilesets on made-up textures: sides fit, blob sets are complete, files say what the picture shows."""

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pipelines.errors import InvalidRequest
from pipelines.models.catalog import embedded_model
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels, Recipe
from pipelines.tiles.blob import blob_from_corners, join_sides
from pipelines.tiles.checks import check_recipe
from pipelines.tiles.geometry import BLOB_MASKS, blob_table, compose, lay_out, noise
from pipelines.tiles.joint import ease, freeze
from pipelines.tiles.layouts import LAYOUTS, find_layout, sides, wang_colors
from pipelines.tiles.map import corner_indices, random_map
from pipelines.tiles.platform import paint_platforms
from pipelines.tiles.seams import check_tiles, count_strips, measure_seams, texture_seam
from pipelines.tiles.textures import calm_seams, embedded_wording, judge
from pipelines.tiles.tiled import Naming, write_embedded_tmx, write_sheet, write_tmx, write_tsx
from pipelines.tiles.wang import BORDERS, Terrain, paint_cells, paint_corners, paint_paths


def texture(color: tuple[int, int, int], seed: int, size: int) -> Pixels:
    tile = np.full((size, size, 4), 255, np.uint8)
    tile[..., :3] = np.clip(np.array(color) + noise(size, seed)[..., None] * 30, 0, 255)
    return tile


def terrains(size: int) -> tuple[Terrain, Terrain]:
    return Terrain(texture((90, 160, 60), 1, size)), Terrain(texture((50, 90, 200), 2, size), liquid=True)


@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("border", BORDERS)
def test_tiles_with_the_same_side_have_the_same_strip_there(size: int, border: str):
    upper, lower = terrains(size)
    corners = freeze(paint_corners(upper, lower, BORDERS[border], 5))
    blob = join_sides(blob_from_corners(corners), [sides(LAYOUTS["blob47"], i) for i in range(47)])
    sets = {"wang16": corners, "blob47": blob, "edge16": paint_paths(upper, lower, BORDERS[border], 5)}
    for name, tiles in sets.items():
        shown = [sides(LAYOUTS[name], i) for i in range(len(tiles))]
        assert set(count_strips(tiles, shown).values()) == {1}, name


def test_blob_tiles_from_quarters_are_those_painted_whole():
    upper, lower = terrains(16)
    whole = paint_cells(upper, lower, BORDERS["grassy"], 5)
    quarters = blob_from_corners(paint_corners(upper, lower, BORDERS["grassy"], 5))
    assert all(np.array_equal(a, b) for a, b in zip(whole, quarters, strict=True))


def test_platform_tiles_meet_where_ground_continues():
    upper, lower = terrains(16)
    shown = [sides(LAYOUTS["platformer"], i) for i in range(47)]
    tiles = join_sides(paint_platforms(upper, lower, 5), shown)
    assert set(count_strips(tiles, shown).values()) == {1}


def test_every_neighbourhood_has_a_blob_tile():
    assert len(BLOB_MASKS) == 47
    assert set(blob_table()) == set(range(47))


@pytest.mark.parametrize("name", [n for n in LAYOUTS if LAYOUTS[n].kind])
def test_a_random_map_puts_only_tiles_together_that_fit(name: str):
    layout = LAYOUTS[name]
    indices = random_map(layout, 48, 20, 15, seed=4)
    shown = {i: sides(layout, i) for i in set(indices.ravel().tolist()) if i >= 0}
    for left, right in zip(indices[:, :-1].ravel().tolist(), indices[:, 1:].ravel().tolist(), strict=True):
        if left >= 0 and right >= 0:
            assert shown[left][1] == shown[right][3]


def test_a_broken_seam_is_measured():
    upper, lower = terrains(16)
    tiles = paint_corners(upper, lower, BORDERS["soft"], 5)
    shown = [sides(LAYOUTS["wang16"], i) for i in range(16)]
    whole = measure_seams(tiles, shown)
    tiles[15] = tiles[15].copy()
    tiles[15][:, 0] = (255, 0, 255, 255)
    assert max(count_strips(tiles, shown).values()) == 2
    assert measure_seams(tiles, shown).worst > 2 * whole.worst


def test_ground_with_a_lone_spot_is_not_the_first_choice():
    """Repeated all over a map, one bright spot is a grid of spots."""
    grain = np.random.default_rng(0).normal(0, 6, (16, 16, 1))

    def ground(waves: float) -> Pixels:
        tile = np.full((16, 16, 4), 255, np.uint8)
        tile[..., :3] = np.array((120, 80, 40)) + noise(16, 1)[..., None] * waves + grain
        return tile

    uneven, spotted = ground(14), ground(4)
    spotted[5:7, 9:11, :3] = (190, 150, 110)
    assert np.array_equal(judge([spotted, uneven], (True, True))[0].image, uneven)


def test_one_bad_pair_fails_the_gate_however_well_the_others_fit():
    grain = np.random.default_rng(0).normal(0, 12, (16, 16, 1))

    def rough(color: tuple[int, int, int]) -> Terrain:
        tile = np.full((16, 16, 4), 255, np.uint8)
        tile[..., :3] = np.array(color) + grain
        return Terrain(tile)

    tiles = paint_corners(rough((90, 160, 60)), rough((60, 110, 190)), BORDERS["crisp"], 5)
    shown = [sides(LAYOUTS["wang16"], i) for i in range(16)]

    def gate(tiles: list[Pixels]) -> tuple[bool, dict[str, float]]:
        atlas = lay_out(tiles, 4)
        colors = tuple({(r, g, b) for r, g, b, _ in atlas.reshape(-1, 4).tolist()})
        # the palette is not what is held here
        report = check_tiles(atlas, tiles, shown, (64, 64), Palette("all", colors[:256]), 256)
        return report.gates["seams_within"], report.scores

    assert gate(tiles)[0]
    # the western side of the plain tile jumps in brightness, so that one of eight kinds of seam is bad
    for tile in tiles:
        if not (tile[:, 0] != tiles[0][:, 0]).any():
            tile[:, 0, :3] = np.clip(tile[:, 0, :3].astype(int) + 60, 0, 255)
    held, scores = gate(tiles)
    assert scores["seam_ratio"] < 1.6 < scores["seam_worst_pair"]
    assert not held


@pytest.mark.parametrize("axis", [0, 1])
def test_a_joint_between_bricks_is_moved_away_from_the_edge(axis: int):
    bricks = np.full((16, 16, 4), 255, np.uint8)
    bricks[..., :3] = (150, 80, 50) + noise(16, 3)[..., None] * 6
    np.moveaxis(bricks, axis, 0)[-1, :, :3] = (60, 40, 30)
    moved = calm_seams(bricks)
    assert max(texture_seam(bricks)) > 2
    assert max(texture_seam(moved)) <= 1
    assert any(np.array_equal(np.roll(moved, (y, x), (0, 1)), bricks) for y in range(16) for x in range(16))


def test_a_texture_that_wraps_in_x_alone_is_not_moved_in_y():
    picture = texture((90, 160, 60), 1, 16)
    picture[-1] = (255, 0, 0, 255)
    assert (calm_seams(picture, (True, False))[-1] == (255, 0, 0, 255)).all()


def test_a_line_that_lies_on_an_edge_is_eased_for_all_tiles_that_share_it():
    upper, lower = terrains(16)
    tiles = [tile.copy() for tile in freeze(paint_corners(upper, lower, BORDERS["soft"], 5))]
    shown = [sides(LAYOUTS["wang16"], i) for i in range(16)]
    for tile, shows in zip(tiles, shown, strict=True):
        if shows[1] == (True, True):
            tile[1:-1, -1, :3] //= 2
    eased = ease(tiles, 1.4)
    assert measure_seams(tiles, shown).worst > 2.5
    # corners stay as they are, so a little more than asked for may be left
    assert measure_seams(eased, shown).worst < 1.8
    assert set(count_strips(eased, shown).values()) == {1}
    assert all(np.array_equal(a[::15, ::15], b[::15, ::15]) for a, b in zip(tiles, eased, strict=True))


def test_files_name_the_grid_and_the_masks():
    layout, naming = LAYOUTS["wang16"], Naming("grass water", "grass", "water", "00ff00", "0000ff")
    tsx = ET.fromstring(write_tsx(layout, naming, "tiles.png", 16, 16, 4, 4))
    assert tsx.get("tilecount") == "16"
    assert len(tsx.findall(".//wangtile")) == 16
    assert [color.get("tile") for color in tsx.iter("wangcolor")] == ["15", "0"]
    assert wang_colors(layout, 15) == (0, 1, 0, 1, 0, 1, 0, 1)
    sheet = json.loads(write_sheet(layout, naming, "tiles.png", 16, 16, 4, 4))
    assert sheet["corners"] == list(range(16))
    indices = corner_indices(np.array([[0, 1, 1], [0, 0, 1]], np.bool_))
    tmx = ET.fromstring(write_tmx(indices, "tiles.tsx", 16))
    assert (tmx.findtext(".//data") or "").split() == ["3,12"] or indices.size == 2
    whole = ET.fromstring(write_embedded_tmx(indices, layout, naming, "tiles.png", 16, 16, 4, 4))
    inside = whole.find("tileset")
    assert inside is not None
    assert (inside.get("firstgid"), inside.get("source")) == ("1", None)
    assert len(inside.findall(".//wangtile")) == 16
    assert whole.findtext(".//data") == tmx.findtext(".//data")
    assert compose([np.zeros((2, 2, 4), np.uint8)] * 16, indices).shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("size", "options", "words"),
    [
        (7, {"upper": "grass", "lower": "water"}, "The nearest is 8"),
        (16, {"upper": "grass", "lower": "Grass"}, "two different"),
        (16, {"upper": "grass", "lower": "water", "layout": "hex"}, "wang16"),
        (16, {"upper": "grass", "lower": "water", "method": "magic"}, "composite"),
        (16, {"upper": "grass", "lower": "water", "layout": "blob47", "method": "joint"}, "layout='wang16'"),
        (16, {"upper": "", "lower": "water"}, "upper terrain is empty"),
        (16, {"upper": "grass", "layout": "platformer"}, "needs lower="),
    ],
)
def test_bad_options_say_what_to_do(size: int, options: dict[str, str], words: str):
    with pytest.raises(InvalidRequest, match=words):
        check_recipe(Recipe("tileset", "x", size, size, 0, options=dict(options)), embedded_model())
    assert find_layout("wang16").columns == 4


@pytest.mark.parametrize(
    ("terrain", "asked"),
    [
        ("grass", "green grass ground"),
        ("deep water", "blue deep water ground"),
        ("snow ground", "white snow floor"),
        ("lava", "red lava floor"),
        ("brick", "brown brick wall"),
        ("red brick wall", "red brick wall"),
    ],
)
def test_a_terrain_is_asked_for_in_the_words_that_fill_its_tile(terrain: str, asked: str) -> None:
    assert embedded_wording(terrain) == asked
