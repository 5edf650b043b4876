"""Creatures named by the prompt move by a rig of their own, in their own colours; others are left to other methods."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.animation.creatures import Creature, kind_of, resized
from pipelines.animation.making import make_clips
from pipelines.records import Pixels

MOTIONS = ("idle", "walk", "run", "attack", "hurt", "die")


def drawn(rows: tuple[str, ...]) -> Pixels:
    paint = {"k": (30, 20, 30), "g": (60, 180, 80), "p": (120, 60, 160), "w": (240, 240, 230)}
    sprite = np.zeros((16, 16, 4), np.uint8)
    for y, row in enumerate(rows, start=16 - len(rows)):
        for x, letter in enumerate(row):
            if letter in paint:
                sprite[y, x] = (*paint[letter], 255)
    return sprite


SLIME = drawn((
    ".....kkkkkk.....", "....kggggggk....", "...kggggggggk...", "...kgkggggkgk...", "..kggggggggggk..",
    "..kggggggggggk..", "..kkkkkkkkkkkk..",
))  # fmt: skip
BAT = drawn((
    ".......kk.......", "kk....kppk....kk", "kpk..kpppppk.kpk".replace("kpppppk.", "kpppk..."), "kppkkpwppwpkkppk",
    "kpppppppppppkppk".replace("k", "p"), ".kpkkppppppkkpk.", "..k...kppk...k..", ".......kk.......",
))  # fmt: skip
SPIDER = drawn((
    "k..k........k..k", ".k..k......k..k.", "..k..kkkkkk..k..", "...kkkppppkkk...", "....kppppppk....",
    "kkkkkpwppwpkkkkk", "....kppppppk....", "...kkkppppkkk...", "..k..kkkkkk..k..", ".k..k......k..k.",
))  # fmt: skip
COW = drawn((
    "............kk..", "..kkkkkkkkkkwwk.", ".kwwwwwwwwwwwwkk", ".kwwwwwwwwwwwwk.", ".kwwwwwwwwwwk...",
    ".kwkkwkkkwkkwk..", ".kwk.wk..wk.wk..", ".kwk.wk..wk.wk..", ".kkk.kk..kk.kk..",
))  # fmt: skip


def colors(picture: Pixels) -> set[tuple[int, ...]]:
    return {tuple(c) for c in picture[picture[..., 3] > 0].tolist()}


def feet(frame: Pixels) -> int:
    return int(np.flatnonzero((frame[..., 3] > 0).any(axis=1))[-1])


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("green slime", "blob"),
        ("purple bats", "flyer"),
        ("a giant spider", "crawler"),
        ("red dragon", "beast"),
        ("knight", None),
        ("wolf hunter in green", None),
    ],
)
def test_the_noun_of_a_prompt_names_the_rig(words: str, kind: str | None) -> None:
    assert kind_of(words) == kind


@pytest.mark.parametrize(
    ("sprite", "words"), [(SLIME, "green slime"), (BAT, "bat"), (SPIDER, "spider"), (COW, "white cow")]
)
def test_every_motion_of_a_rig_moves_and_keeps_the_creatures_colours(sprite: Pixels, words: str) -> None:
    made = make_clips(sprite, MOTIONS, 6, ("down", "left", "right", "up"), words=words)
    assert set(made.frames) == set(made.how)
    assert all("rig of a" in how for how in made.how.values())
    for name, clip in made.frames.items():
        assert any((frame != clip[0]).any() for frame in clip), name
        for frame in clip:
            assert (frame[..., 3] > 0).any()
            assert colors(frame) <= colors(sprite)
    for left, right in zip(made.frames["walk_left"], made.frames["walk_right"], strict=True):
        np.testing.assert_array_equal(left, right[:, ::-1])


def test_a_slime_hops_while_it_walks_and_ends_as_a_puddle() -> None:
    made = make_clips(SLIME, ("walk", "die"), 6, ("",), words="slime")
    lowest = [feet(frame) for frame in made.frames["walk"]]
    assert min(lowest) < max(lowest)
    tall = [np.count_nonzero((frame[..., 3] > 0).any(axis=1)) for frame in made.frames["die"]]
    assert tall[-1] <= tall[0] // 2


def test_a_bats_wing_tips_rise_and_fall_while_its_body_stays_whole() -> None:
    walk = make_clips(BAT, ("walk",), 8, ("",), words="bat").frames["walk"]
    tips = [int(np.flatnonzero((frame[..., 3] > 0).any(axis=1))[0]) for frame in walk]
    assert max(tips) - min(tips) >= 2


def test_a_spider_whose_longest_leg_is_one_stays_on_the_floor_while_it_walks() -> None:
    spider = SPIDER.copy()
    spider[15, 8:] = 0
    walk = make_clips(spider, ("walk",), 8, ("",), words="spider").frames["walk"]
    assert len({feet(frame) for frame in walk}) == 1
    assert any((frame[12:] != walk[0][12:]).any() for frame in walk)


def test_a_rig_whose_parts_are_missing_is_not_used_and_the_answer_says_which() -> None:
    made = make_clips(SLIME, ("idle",), 4, ("",), words="spider")
    assert not any("rig of a" in how for how in made.how.values())
    assert any("legs were not found" in note for note in made.notes)


def test_a_forced_method_overrides_the_rig() -> None:
    made = make_clips(SLIME, ("idle",), 4, ("",), words="slime", method="warp")
    assert "warped" in made.how["idle"]


def test_a_squashed_picture_keeps_its_outline_and_its_eyes() -> None:
    box = SLIME[9:, 2:14]
    small = resized(box, 5, 12)
    assert small.shape == (5, 12, 4)
    np.testing.assert_array_equal(small[0], box[0])
    np.testing.assert_array_equal(small[-1], box[-1])
    assert any((small[row] == box[3]).all() for row in range(5))


def test_a_creature_of_one_solid_block_has_no_wings() -> None:
    block = np.zeros((32, 32, 4), np.uint8)
    block[8:24, 8:24] = (90, 120, 200, 255)
    assert not Creature(block, "flyer", side=False).usable
