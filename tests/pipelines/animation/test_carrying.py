"""A change of one frame goes to every frame that shows the same pixels, and to no other pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipelines.animation.carrying import Carried, Frame, carry
from pipelines.animation.figures import Tag
from pipelines.animation.making import make_clips
from pipelines.animation.tracing import CLEAR, DRAWN, Trace, trace_clips
from pipelines.choices import FrameMethod
from pipelines.records import Pixels
from tests.pipelines.animation.test_making import child, colors

MOTIONS = ("idle", "walk", "attack", "hurt", "die")
RED, GREEN = (200, 30, 40, 255), (20, 160, 60, 255)


def traced(
    sprite: Pixels, method: FrameMethod = "warp", directions: Sequence[str] = ("",), words: str = "child"
) -> Trace:
    def make(tag: Tag):
        return make_clips(sprite, MOTIONS, 4, directions, method=method, words=words, tag=tag)

    return trace_clips(make)


def striped(height: int = 32) -> Pixels:
    """A figure 20 px wide with a head, a trunk and two legs, no two neighbouring rows of one colour."""
    sprite = np.zeros((height, 32, 4), np.uint8)
    sprite[3:11, 11:21] = sprite[11:22, 8:24] = sprite[22:30, 9:14] = sprite[22:30, 18:23] = 255
    rows = np.arange(height)
    sprite[..., 0] = np.where(sprite[..., 3] > 0, (rows * 7 + 20)[:, None], 0)
    sprite[..., 1] = np.where(sprite[..., 3] > 0, np.arange(32) * 6, 0)
    sprite[..., 2] = np.where(sprite[..., 3] > 0, 90, 0)
    return sprite


def edited(trace: Trace, frame: Frame, *changes: tuple[int, int, tuple[int, int, int, int]]) -> Pixels:
    picture = trace.frames[frame[0]][frame[1]].copy()
    for y, x, color in changes:
        picture[y, x] = color
    return picture


def carried(trace: Trace, frame: Frame, *changes: tuple[int, int, tuple[int, int, int, int]]) -> Carried:
    return carry(trace.frames, trace, {frame: edited(trace, frame, *changes)})


def red(frame: Pixels) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in np.argwhere((frame == RED).all(axis=-1))}


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("warp", "child"),
        ("auto", "green slime"),
        pytest.param("painted", "child", marks=pytest.mark.slow),
        pytest.param("puppet", "child", marks=pytest.mark.slow),
    ],
)
def test_a_trace_makes_the_same_frames_and_names_the_pixel_that_each_shows(method: FrameMethod, words: str) -> None:
    sprite = child() if method == "painted" else striped()
    directions = ("down", "up", "right", "left")
    trace = traced(sprite, method, directions, words)
    made = make_clips(sprite, MOTIONS, 4, directions, method=method, words=words)
    assert list(trace.frames) == list(made.frames)
    flat = trace.drawings.reshape(-1, 4)
    followed = 0
    for name, clip in made.frames.items():
        for frame, again, source in zip(clip, trace.frames[name], trace.sources[name], strict=True):
            np.testing.assert_array_equal(frame, again)
            np.testing.assert_array_equal(source == CLEAR, frame[..., 3] == 0)
            if name.startswith(("idle", "walk")) and method != "painted":  # these do not flash
                shown = source >= 0
                np.testing.assert_array_equal(flat[source[shown]], frame[shown])
                followed += int(shown.sum())
    assert followed > 500 or method == "painted"


def test_a_changed_pixel_changes_wherever_it_is_shown_and_nothing_else_does() -> None:
    trace = traced(striped())
    source = int(trace.sources["idle"][0][15, 16])
    done = carried(trace, ("idle", 0), (15, 16, RED))
    shown = 0
    for name, clip in trace.frames.items():
        for number, (before, after, where) in enumerate(zip(clip, done.frames[name], trace.sources[name], strict=True)):
            changed = (before != after).any(axis=-1)
            np.testing.assert_array_equal(before[~changed], after[~changed])
            assert (where[changed] == source).all()
            shown += int(changed.sum())
            assert done.changed.get((name, number), 0) == int(changed.sum())
    assert shown > len(trace.frames["walk"])
    assert red(done.frames["idle"][0]) == {(15, 16)}
    assert red(done.frames["idle"][1]) == {(16, 16)}  # the chest sinks by a pixel


def test_a_pixel_beside_the_figure_goes_with_what_it_touches() -> None:
    trace = traced(striped())
    margin = (trace.frames["idle"][0].shape[0] - 32) // 2
    top, left = margin + 3, margin + 11
    feather = [(top - 1, left + 2), (top - 2, left + 2), (top - 3, left + 3)]
    done = carried(trace, ("idle", 0), *((y, x, RED) for y, x in feather))
    assert red(done.frames["idle"][0]) == set(feather)
    assert red(done.frames["idle"][1]) == {(y + 1, x) for y, x in feather}
    fallen = red(done.frames["hurt"][2])
    assert len(fallen) >= 2
    assert fallen != set(feather)


def test_a_mirrored_clip_gets_a_mirrored_change() -> None:
    trace = traced(striped(), directions=("right", "left"))
    done = carried(trace, ("walk_right", 0), *((2, 12 + i, RED) for i in range(3)), (14, 10, RED))
    for right, left in zip(done.frames["walk_right"], done.frames["walk_left"], strict=True):
        np.testing.assert_array_equal(right[:, ::-1], left)
        assert len(red(right)) >= 3


def test_an_edit_of_an_edited_sheet_takes_the_first_back_everywhere() -> None:
    trace = traced(striped())
    spots = [(15, 16), (1, 13), (2, 13), (2, 14)]
    first = carried(trace, ("idle", 0), *((y, x, RED) for y, x in spots))
    second = carry(first.frames, trace, {("idle", 0): trace.frames["idle"][0]})
    for name, clip in trace.frames.items():
        for before, after in zip(clip, second.frames[name], strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_flash_keeps_its_colour_and_shows_only_what_is_added() -> None:
    trace = traced(striped())
    flash = trace.frames["hurt"][0]
    done = carried(trace, ("idle", 0), (15, 16, GREEN), *((y, 15, GREEN) for y in (0, 1, 2)))
    after = done.frames["hurt"][0]
    assert colors(after) == colors(flash)
    assert (after[..., 3] > 0).sum() > (flash[..., 3] > 0).sum()


def test_erased_pixels_are_erased_in_every_frame() -> None:
    trace = traced(striped())
    done = carried(trace, ("idle", 0), *((y, x, (0, 0, 0, 0)) for y in (3, 4) for x in range(11, 21)))
    for name, clip in trace.frames.items():
        for before, after in zip(clip, done.frames[name], strict=True):
            assert (after[..., 3] > 0).sum() < (before[..., 3] > 0).sum(), name


def test_what_cannot_be_followed_is_counted() -> None:
    trace = traced(child(), directions=("down",))
    arc = np.argwhere(trace.sources["attack_down"][2] == DRAWN)
    assert len(arc)
    far = (0, 0, RED)
    done = carried(trace, ("attack_down", 2), (int(arc[0][0]), int(arc[0][1]), RED), far)
    assert done.stayed == 2
    assert list(done.changed) == [("attack_down", 2)]


@pytest.mark.slow
def test_views_that_a_model_painted_are_named_and_can_be_edited_next() -> None:
    trace = traced(child(), "painted", ("down", "left", "right", "up"))
    margin = (trace.frames["idle_down"][0].shape[0] - 16) // 2
    belt = [(margin + 10, margin + x, RED) for x in range(6, 10)]
    done = carried(trace, ("idle_down", 0), *belt)
    assert set(done.apart) == {f"{motion}_{side}" for motion in MOTIONS for side in ("left", "right", "up")}
    assert all(red(frame) for frame in done.frames["walk_down"])
    side = carry(
        done.frames, trace, {("idle_left", 0): edited(trace, ("idle_left", 0), (margin + 10, margin + 8, RED))}
    )
    assert red(side.frames["idle_right"][0])
    assert "idle_down" in side.apart
    np.testing.assert_array_equal(side.frames["idle_down"][0], done.frames["idle_down"][0])
