"""Atlases give every frame back; their files are read by our own readers; bodies hold what is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from pipelines.animation.sheet_files import parse_layout
from pipelines.animation.slicing import cut
from pipelines.atlas.bodies import MOST_CORNERS, bodies
from pipelines.atlas.files import aseprite_json, bevy_module, bodies_json, measured, numbered, texture_packer_json
from pipelines.atlas.layers import lit, normal_layer, outline_layer, recolored, shadow_layer, team_hue
from pipelines.atlas.packing import Atlas, Frame, pack
from pipelines.errors import InvalidRequest
from pipelines.pixels.named_palettes import named_palette
from pipelines.pixels.normal_maps import looks_like_normal_map
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels
from tests.fakes import fake_picture


def frames(count: int = 20) -> list[Frame]:
    rng = np.random.default_rng(1)
    made = []
    for index in range(count):
        width, height = (int(side) for side in rng.integers(6, 40, 2))
        clip = "walk" if index < 4 else ""
        picture = fake_picture("imp", index, width, height)
        picture[picture[..., 3] == 0] = 0
        made.append(Frame(f"f{index}", picture, clip, 125))
    return made


def ball(side: int = 24) -> Pixels:
    y, x = np.mgrid[0:side, 0:side] + 0.5
    picture = np.zeros((side, side, 4), np.uint8)
    picture[(x - side / 2) ** 2 + (y - side / 2) ** 2 < (side * 0.4) ** 2] = (60, 90, 200, 255)
    return picture


@pytest.mark.parametrize("margin", [0, 1])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_every_frame_comes_back_and_none_overlap(margin: int, power_of_two: bool) -> None:
    atlas = pack(frames(), margin=margin, power_of_two=power_of_two)
    assert all((atlas.restored(frame.name) == frame.image).all() for frame in frames())
    taken = np.zeros(atlas.image.shape[:2], int)
    for p in {(p.x, p.y, p.width, p.height) for p in atlas.places.values()}:
        taken[p[1] : p[1] + p[3], p[0] : p[0] + p[2]] += 1
    assert taken.max() == 1
    if power_of_two:
        assert all(side & (side - 1) == 0 for side in atlas.image.shape[:2])


def test_equal_frames_share_their_place() -> None:
    one = fake_picture("imp", 1, 16, 16)
    atlas = pack([Frame("a", one), Frame("b", one), Frame("c", fake_picture("imp", 2, 16, 16))])
    assert atlas.places["a"] == atlas.places["b"] != atlas.places["c"]


@pytest.mark.parametrize("write", [texture_packer_json, aseprite_json])
def test_both_layouts_cut_the_atlas_into_the_same_frames(write: Callable[[Atlas, Any, str], bytes]) -> None:
    atlas = pack(frames())
    slices = parse_layout(json.loads(write(atlas, measured(atlas), "a.png")), "a.json")
    assert slices is not None
    pieces = dict(zip((piece.name for piece in slices.pieces), cut(atlas.image, slices), strict=True))
    assert len(pieces) == 20
    assert all((pieces[frame.name] == frame.image).all() for frame in frames())


def test_the_frames_of_a_clip_share_a_pivot_on_the_lowest_row() -> None:
    low, high = ball(), np.roll(ball(), -2, axis=0)
    first, second = bodies([low, high])
    assert first.pivot == second.pivot
    assert first.pivot[1] == np.flatnonzero(low[..., 3].any(axis=1))[-1] + 1
    assert first.pivot[0] == 12


def test_a_hull_of_few_corners_still_holds_every_pixel() -> None:
    for seed in range(20):
        picture = fake_picture("imp", seed, 20 + seed, 32)
        picture[np.random.default_rng(seed).random(picture.shape[:2]) < 0.6] = 0
        (body,) = bodies([picture])
        assert len(body.hull) <= MOST_CORNERS
        rows, columns = np.nonzero(picture[..., 3])
        equations = ConvexHull(np.array(body.hull)).equations
        for dx in (0, 1):
            for dy in (0, 1):
                corners = np.stack([columns + dx, rows + dy], axis=1)
                assert (corners @ equations[:, :2].T + equations[:, 2] <= 0.02).all()


def test_a_hurt_box_leaves_a_raised_sword_out() -> None:
    picture = ball(24)
    picture[0:12, 21] = (255, 255, 255, 255)
    (body,) = bodies([picture])
    assert body.collider[0] + body.collider[2] == 22
    assert body.hurt[0] + body.hurt[2] <= 21
    assert body.hurt[1] > body.collider[1]


def test_bodies_and_rust_name_every_frame() -> None:
    atlas = pack(frames())
    found = measured(atlas)
    assert set(json.loads(bodies_json(found, "a.png"))["frames"]) == {f"f{i}" for i in range(20)}
    rust = bevy_module(atlas, found, "sheets/a.png")
    assert rust.count("Frame { name:") == 20
    assert "[Frame; 20]" in rust


def test_layers_lie_around_the_sprite_and_never_on_it() -> None:
    image = np.pad(ball(), ((2, 2), (2, 2), (0, 0)))
    for layer in (outline_layer(image, (0, 0, 0)), shadow_layer(image, (0, 0, 0))):
        assert layer[..., 3].any()
        assert not ((layer[..., 3] > 0) & (image[..., 3] > 0)).any()


def test_a_normal_map_faces_right_on_the_right_and_up_at_the_top() -> None:
    image = ball(32)
    layer = normal_layer(image)
    assert looks_like_normal_map(layer)
    assert layer[16, 26, 0] > 150 > 105 > layer[16, 5, 0]
    assert layer[5, 16, 1] > 150 > 105 > layer[26, 16, 1]
    from_left, from_right = (lit(image, layer, (x, 0, 0.5)).astype(int) for x in (-1, 1))
    assert from_left[:, :16].sum() > from_right[:, :16].sum()


def test_a_shape_inside_has_slopes_of_its_own_in_a_normal_map() -> None:
    image = np.zeros((32, 32, 4), np.uint8)
    image[4:28, 4:28] = (60, 90, 200, 255)
    image[12:20, 12:20] = (200, 60, 50, 255)
    around = image.copy()
    around[12:20, 12:20] = image[5, 5]
    with_shape, plain = normal_layer(image), normal_layer(around)
    assert with_shape[16, 18, 0] > 140 > 116 > with_shape[16, 13, 0]
    assert abs(int(plain[16, 18, 0]) - 128) < 8
    # the middle of a large plain is flat: a bevel is a few pixels wide
    assert abs(int(plain[10, 16, 1]) - 128) < 24


def test_a_frames_normals_do_not_depend_on_its_neighbours() -> None:
    image = ball(16)
    pair = np.concatenate(
        [np.pad(image, ((1, 1), (1, 1), (0, 0))), np.full((18, 6, 4), (250, 250, 90, 255), np.uint8)], axis=1
    )
    np.testing.assert_array_equal(normal_layer(pair)[1:17, 1:17], normal_layer(image))


@pytest.mark.parametrize("team", ["red", "green", "yellow"])
def test_team_colours_change_the_marked_colour_alone(team: str) -> None:
    image = ball()
    image[12, 8:16] = (110, 70, 40, 255)  # a brown belt
    assert team_hue(image) == "blue"
    changed = recolored(image, "blue", team)
    assert (changed[12, 8:16] == image[12, 8:16]).all()
    assert team_hue(changed) == team
    assert (changed[..., 3] == image[..., 3]).all()
    pico = Palette.from_hex(named_palette("pico-8"))
    locked = recolored(image, "blue", team, pico)[6, 12, :3]
    assert tuple(locked.tolist()) in set(pico.colors)


def test_a_grey_sprite_has_no_team_colour() -> None:
    image = ball()
    image[image[..., 3] > 0] = (120, 120, 120, 255)
    assert team_hue(image) == ""


def test_the_numbered_picture_shows_every_frame() -> None:
    atlas: Atlas = pack(frames())
    picture = numbered(atlas)
    assert (picture[..., 3] == 255).all()
    assert picture.shape[0] > 3 * 40


def test_what_cannot_be_packed_says_why() -> None:
    with pytest.raises(InvalidRequest, match="1 to 1024"):
        pack([])
    with pytest.raises(InvalidRequest, match="2048"):
        pack([Frame(str(i), np.full((1500, 1500, 4), i, np.uint8)) for i in range(1, 4)])


def test_the_numbered_picture_of_large_frames_stays_small() -> None:
    large = [Frame(f"f{i}", np.full((1000, 600, 4), 255 - i, np.uint8)) for i in range(3)]
    assert numbered(pack(large)).size <= 4 * (1 << 23)
