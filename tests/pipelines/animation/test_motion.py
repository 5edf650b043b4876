"""Moving a finished sprite keeps what finishing promised: its size, its colours, hard alpha, and feet on one line."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.animation.motion import MOTIONS, animate, seen_from_behind
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels


def hero(size: int = 32) -> Pixels:
    """A head, a body and two legs in four colours, with a margin around."""
    sprite = np.zeros((size, size, 4), np.uint8)
    s = size // 16
    sprite[2 * s : 6 * s, 6 * s : 10 * s] = (230, 190, 150, 255)
    sprite[6 * s : 11 * s, 5 * s : 11 * s] = (60, 90, 200, 255)
    sprite[11 * s : 15 * s, 5 * s : 7 * s] = (90, 60, 40, 255)
    sprite[11 * s : 15 * s, 9 * s : 11 * s] = (70, 40, 30, 255)
    return sprite


def colors(picture: Pixels) -> set[tuple[int, ...]]:
    return {tuple(c) for c in picture[picture[..., 3] > 0].tolist()}


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("frames", [2, 4, 8])
def test_every_frame_keeps_size_colours_alpha_and_the_feet_line(motion: str, size: int, frames: int) -> None:
    sprite = hero(size)
    made = animate(sprite, motion, frames)
    assert len(made) == frames
    feet = np.flatnonzero((sprite[..., 3] > 0).any(axis=1))[-1]
    for frame in made:
        assert frame.shape == sprite.shape
        assert set(np.unique(frame[..., 3]).tolist()) <= {0, 255}
        assert colors(frame) <= colors(sprite)
        assert np.flatnonzero((frame[..., 3] > 0).any(axis=1))[-1] == feet


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_moves(motion: str) -> None:
    made = animate(hero(), motion, 4)
    assert any((made[0] != frame).any() for frame in made[1:])


def test_a_robe_rocks_and_is_not_cut_into_legs() -> None:
    robe = hero()
    robe[12:30, 8:24] = (20, 120, 40, 255)
    drawn = np.count_nonzero(robe[..., 3])
    made = animate(robe, "walk", 4)
    assert len({frame.tobytes() for frame in made}) > 1
    for frame in made:
        assert np.count_nonzero(frame[..., 3]) >= drawn
        floor = np.flatnonzero(frame[29, :, 3])
        assert np.diff(floor).max() == 1


def test_a_sprite_that_faces_left_moves_as_its_mirror() -> None:
    right = animate(hero(), "attack", 4)
    left = animate(hero()[:, ::-1], "attack", 4, faces_left=True)
    for a, b in zip(right, left, strict=True):
        np.testing.assert_array_equal(a, b[:, ::-1])


def test_a_sprite_that_fills_its_canvas_loses_no_pixel_over_the_edge() -> None:
    full = np.full((32, 32, 4), 255, np.uint8)
    full[:, 0, :3], full[:, -1, :3] = (200, 0, 0), (0, 0, 200)
    for frame in animate(full, "attack", 4)[1:]:
        assert {(200, 0, 0, 255), (0, 0, 200, 255)} <= colors(frame)


@pytest.mark.parametrize(("motion", "frames"), [("dance", 4), ("walk", 1), ("walk", 9)])
def test_an_unknown_motion_or_number_of_frames_is_refused(motion: str, frames: int) -> None:
    with pytest.raises(InvalidRequest):
        animate(hero(), motion, frames)


def test_an_empty_sprite_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="nothing to animate"):
        animate(np.zeros((16, 16, 4), np.uint8), "idle", 2)


def test_a_back_is_the_mirrored_sprite_with_its_face_covered_by_hair() -> None:
    sprite = hero()
    sprite[4:7, 12:20] = (120, 60, 20, 255)
    sprite[8, 14] = sprite[8, 17] = (10, 10, 10, 255)
    back = seen_from_behind(sprite)
    assert (10, 10, 10, 255) not in colors(back)
    np.testing.assert_array_equal(back[14:], sprite[14:, ::-1])
    assert colors(back) <= colors(sprite)


def test_a_body_on_one_long_and_one_short_leg_stands_on_its_line_in_every_frame() -> None:
    sprite = hero()
    sprite[26:, 18:] = 0
    for frame in animate(sprite, "walk", 8):
        assert (frame[29, :, 3] > 0).any()
