"""A figure that is rigged by its part map moves limb by limb, in its own colours, on its line."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.animation.curves import bones_of, strike_of
from pipelines.animation.puppet import Bones, pose_figure
from pipelines.animation.rig import Rig, rig_figure
from pipelines.animation.rotate import Turnable
from pipelines.embedded.motion.parts import PART, PARTS
from pipelines.records import Pixels

MARGIN = 16


def swordsman() -> tuple[Pixels, NDArray[np.float32]]:
    """A figure of flat parts, each in its own colour, with the map that says so."""
    labels = np.zeros((64, 64), int)
    for name, (y0, y1, x0, x1) in {
        "head": (18, 26, 28, 36),
        "trunk": (26, 38, 27, 37),
        "arm_left": (27, 35, 23, 27),
        "arm_right": (27, 35, 37, 41),
        "leg_left": (38, 48, 27, 31),
        "leg_right": (38, 48, 33, 37),
        "held_left": (19, 33, 20, 23),
    }.items():
        labels[y0:y1, x0:x1] = PART[name]
    sprite = np.zeros((64, 64, 4), np.uint8)
    for label in np.unique(labels[labels > 0]):
        sprite[labels == label] = (label * 25, 255 - label * 20, label * 10, 255)
    return sprite, np.eye(len(PARTS), dtype=np.float32)[labels]


def rigged(sprite: Pixels, chances: NDArray[np.float32]) -> Rig:
    rig = rig_figure(sprite, chances, PARTS)
    assert rig is not None
    return rig


def colors(picture: Pixels) -> set[tuple[int, ...]]:
    return {tuple(c) for c in picture[picture[..., 3] > 0].tolist()}


def color_of(sprite: Pixels, chances: NDArray[np.float32], part: str) -> tuple[int, ...]:
    return tuple(sprite[chances.argmax(-1) == PART[part]][0].tolist())


def test_at_rest_the_puppet_is_the_sprite() -> None:
    sprite, chances = swordsman()
    np.testing.assert_array_equal(pose_figure(rigged(sprite, chances), Bones()), sprite)


@pytest.mark.parametrize("motion", ["idle", "walk", "run", "attack", "hurt", "die"])
@pytest.mark.parametrize("facing", ["front", "side"])
def test_every_pose_keeps_the_palette_hard_alpha_and_the_line_of_the_feet(motion: str, facing: str) -> None:
    sprite, chances = swordsman()
    rig = rigged(sprite, chances)
    for strike in ("swing", "thrust", "shoot", "cast", "punch"):
        for bones in bones_of(motion, 8, facing, strike, rig.weapon):  # type: ignore[arg-type]
            frame = pose_figure(rig, bones)
            assert colors(frame) <= colors(sprite)
            assert set(np.unique(frame[..., 3]).tolist()) <= {0, 255}
            assert np.flatnonzero((frame[..., 3] > 0).any(axis=1))[-1] == rig.feet


def test_a_walk_from_the_front_lifts_one_foot_and_then_the_other() -> None:
    sprite, chances = swordsman()
    rig = rigged(sprite, chances)
    lowest = []
    for bones in bones_of("walk", 4, "front", "swing", rig.weapon):
        frame = pose_figure(rig, bones)
        both = [(frame == color_of(sprite, chances, leg)).all(-1) for leg in ("leg_left", "leg_right")]
        lowest.append([int(np.flatnonzero(mask.any(axis=1))[-1]) for mask in both])
    assert lowest[0][0] == lowest[0][1]
    assert lowest[1][0] < lowest[1][1]
    assert lowest[3][0] > lowest[3][1]


def test_a_strike_swings_the_sword_and_not_the_legs_apart() -> None:
    sprite, chances = swordsman()
    rig = rigged(sprite, chances)
    assert rig.weapon == "held_left"
    sword = color_of(sprite, chances, "held_left")
    places = []
    for bones in bones_of("attack", 5, "front", "swing", rig.weapon):
        y, x = np.nonzero((pose_figure(rig, bones) == sword).all(-1))
        places.append((float(y.mean()), float(x.mean())))
    assert max(y for y, _ in places) - min(y for y, _ in places) > 6


def test_what_is_held_on_the_right_strikes_as_the_mirror_of_the_left() -> None:
    sprite, chances = swordsman()
    flipped = chances[:, ::-1][..., [0, 1, 2, 4, 3, 6, 5, 8, 7, 9]]
    left, right = rigged(sprite, chances), rigged(np.ascontiguousarray(sprite[:, ::-1]), flipped)
    assert right.weapon == "held_right"
    one = pose_figure(left, bones_of("attack", 5, "front", "swing", left.weapon)[2])
    two = pose_figure(right, bones_of("attack", 5, "front", "swing", right.weapon)[2])
    drawn = (one[..., 3] > 0) | (two[:, ::-1, 3] > 0)
    assert ((one != two[:, ::-1]).any(-1) & drawn).sum() < 0.25 * drawn.sum()  # nearest sampling is not symmetric


def test_crumbs_of_a_part_join_what_is_around_them() -> None:
    sprite, chances = swordsman()
    chances[30, 32] = np.eye(len(PARTS))[PART["held_right"]]
    rig = rigged(sprite, chances)
    assert "held_right" not in rig.parts
    np.testing.assert_array_equal(pose_figure(rig, Bones()), sprite)


def test_a_robe_has_no_legs_and_sways() -> None:
    sprite, chances = swordsman()
    for leg in ("leg_left", "leg_right"):
        chances[chances.argmax(-1) == PART[leg]] = np.eye(len(PARTS))[PART["trunk"]]
    rig = rigged(sprite, chances)
    assert not rig.legs
    frames = [pose_figure(rig, bones) for bones in bones_of("walk", 4, "front", "swing", rig.weapon, legs=False)]
    assert len({frame.tobytes() for frame in frames}) > 2


def test_a_map_without_a_head_is_not_rigged() -> None:
    sprite, chances = swordsman()
    chances[chances.argmax(-1) == PART["head"]] = np.eye(len(PARTS))[PART["trunk"]]
    assert rig_figure(sprite, chances, PARTS) is None


def test_a_quarter_turn_is_exact_and_any_turn_brings_no_new_colour() -> None:
    sprite, _ = swordsman()
    middle = (31.5, 31.5)
    np.testing.assert_array_equal(Turnable(sprite).turned(90, middle, middle), np.rot90(sprite, -1))
    for degrees in range(5, 360, 23):
        assert colors(Turnable(sprite).turned(degrees, middle, middle)) <= colors(sprite)


@pytest.mark.parametrize(
    ("words", "weapon", "kind"),
    [
        ("knight with spear", "held_left", "thrust"),
        ("old wizard", "held_right", "cast"),
        ("archer with bow", "held_left", "shoot"),
        ("elf", "held_left", "swing"),
        ("elf", "arm_left", "punch"),
        ("knight", "trunk", "punch"),
    ],
)
def test_words_and_hands_choose_the_kind_of_attack(words: str, weapon: str, kind: str) -> None:
    assert strike_of(words, weapon) == kind
