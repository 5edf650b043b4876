"""What is rigged, painted, posed or warped follows from size and kind, can be asked for by name, and is said."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.animation.figures import Clips, symmetry
from pipelines.animation.making import METHODS, make_clips
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

SIDES = ("down", "left", "right", "up")


def child() -> Pixels:
    """A symmetric front view of 16 px: dark outline, hair, face with two eyes, shirt, two legs."""
    rows = (
        "................", ".....kkkkkk.....", "....khhhhhhk....", "...khhhhhhhhk...", "...khsssssshk...",
        "...khsksskshk...", "...kksskksskk...", "....ksssssk.....".replace("ksssssk.", "kssssssk"), ".....kkkkkk.....",
        "....kbbbbbbk....", "...ksbbbbbbsk...", "...ksbbbbbbsk...", "....kbbbbbbk....", "....kppkkppk....",
        "....kppkkppk....", ".....kk..kk.....",
    )  # fmt: skip
    paint = {"k": (30, 20, 30), "h": (150, 80, 30), "s": (240, 190, 150), "b": (60, 90, 200), "p": (90, 60, 40)}
    sprite = np.zeros((16, 16, 4), np.uint8)
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            if letter in paint:
                sprite[y, x] = (*paint[letter], 255)
    return sprite


def block(size: int) -> Pixels:
    sprite = np.zeros((size, size, 4), np.uint8)
    sprite[4:-1, 4:-4] = (90, 120, 200, 255)
    return sprite


def colors(picture: Pixels) -> set[tuple[int, ...]]:
    return {tuple(c) for c in picture[picture[..., 3] > 0].tolist()}


@pytest.fixture(scope="module")
def painted() -> Clips:
    return make_clips(child(), ("idle", "walk", "run", "attack", "hurt", "die"), 4, SIDES, method="painted")


def test_a_painted_walk_begins_with_the_sprite_itself_and_holds_only_its_colours(painted: Clips) -> None:
    sprite, margin = child(), painted.margin
    wide = np.pad(sprite, ((margin, margin), (margin, margin), (0, 0)))
    np.testing.assert_array_equal(painted.frames["walk_down"][0], wide)
    np.testing.assert_array_equal(painted.frames["idle_down"][0], wide)
    for clip in painted.frames.values():
        for frame in clip:
            assert frame.shape == wide.shape
            assert colors(frame) <= colors(sprite)


@pytest.mark.slow
def test_frames_grow_only_where_a_motion_needs_room(painted: Clips) -> None:
    assert painted.margin == 4
    assert any("8 px larger" in note for note in painted.notes)
    assert make_clips(child(), ("idle", "walk"), 4, SIDES, method="painted").margin == 0


def test_a_painted_walk_stands_between_its_steps_and_right_mirrors_left(painted: Clips) -> None:
    for side in SIDES:
        stand, step, again, other = painted.frames[f"walk_{side}"]
        np.testing.assert_array_equal(stand, again)
        assert (step != stand).any()
        assert (other != step).any()
    for left, right in zip(painted.frames["walk_left"], painted.frames["walk_right"], strict=True):
        np.testing.assert_array_equal(left, right[:, ::-1])


def test_the_answer_says_for_every_clip_what_was_drawn_and_what_moved(painted: Clips) -> None:
    assert set(painted.how) == set(painted.frames)
    assert "painted" in painted.how["walk_up"]
    assert "arc" in painted.how["attack_down"]
    assert any("seed" in note for note in painted.notes)


@pytest.mark.slow
def test_the_same_seed_paints_the_same_sheet_and_a_figure_on_a_larger_canvas_stays_in_its_place() -> None:
    sprite = np.zeros((32, 32, 4), np.uint8)
    sprite[10:26, 5:21] = child()
    made = [make_clips(sprite, ("walk",), 4, ("down", "up"), method="painted", seed=4) for _ in range(2)]
    for one, two in zip(made[0].frames["walk_up"], made[1].frames["walk_up"], strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(made[0].frames["walk_down"][0], sprite)
    drawn = np.any([frame[..., 3] > 0 for frame in made[0].frames["walk_up"]], axis=0)
    assert np.flatnonzero(drawn.any(axis=1))[-1] <= 25


def test_cancelling_stops_before_the_next_pass() -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        make_clips(child(), ("walk",), 4, SIDES, method="painted", seed=77, check=check)
    assert len(calls) == 3


def test_a_side_view_is_warped_and_the_answer_says_why() -> None:
    sprite = child()
    sprite[4:8, 3:8] = (150, 80, 30, 255)
    sprite[9:13, 9:14] = (240, 190, 150, 255)
    sprite[13:, 4:8] = 0
    assert symmetry(sprite) < 0.62
    made = make_clips(sprite, ("walk",), 4, ("right", "left"))
    assert all("warped" in text for text in made.how.values())
    assert any("side view" in note for note in made.notes)


def test_a_large_creature_without_a_rig_is_warped_and_the_answer_says_so() -> None:
    made = make_clips(block(32), ("walk",), 4, ("",), words="brown bear")
    assert "warped" in made.how["walk"]
    assert any("creature" in note for note in made.notes)
    assert any("legs were not found" in note for note in made.notes)


def test_painting_a_large_figure_is_refused_with_a_size_that_works() -> None:
    with pytest.raises(InvalidRequest, match="size=16"):
        make_clips(block(32), ("walk",), 4, SIDES, method="painted")


def test_an_unknown_method_is_refused() -> None:
    assert METHODS == ("auto", "painted", "puppet", "warp")
    with pytest.raises(InvalidRequest, match="puppet"):
        make_clips(block(32), ("walk",), 4, SIDES, method="magic")  # type: ignore[arg-type]


def test_a_warp_can_be_asked_for_by_name() -> None:
    made = make_clips(child(), ("idle", "walk"), 4, ("",), method="warp")
    assert all("warped" in text for text in made.how.values())


def test_a_warped_attack_has_room_to_lunge_and_its_feet_stay_in_the_other_motions() -> None:
    made = make_clips(block(32), ("idle", "attack"), 4, ("",), words="green slime", method="warp")
    assert made.margin > 0
    wide = np.pad(block(32), ((made.margin, made.margin), (made.margin, made.margin), (0, 0)))
    np.testing.assert_array_equal(made.frames["idle"][0], wide)
    drawn = [np.flatnonzero((frame[..., 3] > 0).any(axis=0)) for frame in made.frames["attack"]]
    assert max(columns[-1] for columns in drawn) > np.flatnonzero((wide[..., 3] > 0).any(axis=0))[-1]


def test_a_small_warped_attack_draws_a_blow_in_the_sprites_own_lightest_colour() -> None:
    made = make_clips(child(), ("attack",), 5, SIDES, method="warp")
    assert "blow" in made.how["attack_left"]
    for clip in made.frames.values():
        assert max(int((frame[..., 3] > 0).sum()) for frame in clip) > int((child()[..., 3] > 0).sum())
        assert all(colors(frame) <= colors(child()) for frame in clip)
