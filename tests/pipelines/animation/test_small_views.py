"""Painted views keep what tells where a small figure looks: its eyes, its outline, and sides that a judge can tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.animation.eyes import find_eyes, with_eyes
from pipelines.animation.making import make_clips
from pipelines.animation.outlines import with_outline, without_outline
from pipelines.embedded.motion.sides import readable
from pipelines.embedded.motion.slots import SLOTS
from pipelines.embedded.motion.weights import side_net
from pipelines.embedded.training.motion_figures import draw_figure
from pipelines.records import Pixels

PAINT = {"k": (30, 20, 30), "h": (150, 80, 30), "s": (240, 190, 150), "b": (60, 90, 200), "p": (90, 60, 40)}


def drawn(*rows: str) -> Pixels:
    sprite = np.zeros((16, 16, 4), np.uint8)
    for y, row in enumerate(rows, start=16 - len(rows)):
        for x, letter in enumerate(row):
            if letter in PAINT:
                sprite[y, x] = (*PAINT[letter], 255)
    return sprite


FRONT = drawn(
    ".....hhhhhh.....", "....hhhhhhhh....", "....hssssssh....", "....hskssksh....", "....ssssssss....",
    ".....ssssss.....",
    "....sbbbbbbs....", "....sbbbbbbs....", ".....bbbbbb.....", ".....pp..pp.....", ".....pp..pp.....",
)  # fmt: skip
SIDE = drawn(
    ".....hhhhhh.....", "....hhhhhhhh....", "....sssshhhh....", "....sssshhhh....", "....ssssshhh....",
    ".....ssssh......",
    ".....bbbbb......", ".....bsbbb......", ".....bbbbb......", "......pp........", "......pp........",
)  # fmt: skip
EYE = (*PAINT["k"], 255)


def eyes_in(cell: Pixels) -> list[tuple[int, int]]:
    return [(int(y), int(x)) for y, x in np.argwhere((cell == EYE).all(axis=-1))]


def sheet(left: Pixels, back: Pixels) -> Pixels:
    return np.stack([np.stack([cell] * 3) for cell in (FRONT, left, left[:, ::-1], back)])


def test_the_eyes_of_a_front_view_are_found() -> None:
    eyes = find_eyes(FRONT)
    assert eyes is not None
    assert (eyes.top, eyes.bottom, eyes.columns) == (8, 8, (6, 9))
    assert tuple(eyes.color) == EYE
    assert find_eyes(SIDE) is None


def test_a_side_view_that_lost_its_eye_gets_one_near_the_front_of_the_face() -> None:
    eyes = find_eyes(FRONT)
    assert eyes is not None
    made = with_eyes(sheet(SIDE, FRONT), eyes)
    for left, right in zip(made[1], made[2], strict=True):
        assert eyes_in(left) == [(8, 5)]
        np.testing.assert_array_equal(left, right[:, ::-1])


def test_a_side_view_that_has_an_eye_stays_as_it_is() -> None:
    eyes = find_eyes(FRONT)
    assert eyes is not None
    seeing = SIDE.copy()
    seeing[8, 6] = EYE
    np.testing.assert_array_equal(with_eyes(sheet(seeing, FRONT), eyes)[1, 0], seeing)


def test_eyes_that_were_copied_to_the_back_are_covered_by_the_colour_beside_them() -> None:
    eyes = find_eyes(FRONT)
    assert eyes is not None
    made = with_eyes(sheet(SIDE, FRONT), eyes)
    assert eyes_in(made[3, 0]) == []
    np.testing.assert_array_equal(made[0, 0], FRONT)


def outlined(sprite: Pixels, times: int) -> Pixels:
    for _ in range(times):
        solid = np.pad(sprite[..., 3] > 0, 1)
        near = solid[1:-1, :-2] | solid[1:-1, 2:] | solid[:-2, 1:-1] | solid[2:, 1:-1]
        sprite = np.where((near & (sprite[..., 3] == 0))[..., None], np.array([40, 10, 60, 255], np.uint8), sprite)
    return sprite


def test_a_thick_outline_comes_off_and_goes_on_again_exactly() -> None:
    raised = np.roll(FRONT, -2, axis=0)
    inner, outline = without_outline(outlined(raised, 2))
    assert outline is not None
    assert outline.thickness == 2
    left = inner[..., 3] > 0
    np.testing.assert_array_equal(inner[raised[..., 3] > 0], raised[raised[..., 3] > 0])
    assert left.sum() <= (raised[..., 3] > 0).sum() + 4  # a gap between legs that the outline fills may stay filled
    np.testing.assert_array_equal(with_outline(inner, outline), outlined(raised, 2))


def test_an_outline_of_one_pixel_stays_for_the_model_to_paint() -> None:
    sprite = outlined(np.roll(FRONT, -1, axis=0), 1)
    kept, outline = without_outline(sprite)
    assert outline is None
    np.testing.assert_array_equal(kept, sprite)


@pytest.mark.slow
def test_every_painted_frame_of_a_thickly_outlined_figure_has_its_outline() -> None:
    sprite = outlined(np.roll(FRONT, -2, axis=0), 2)
    made = make_clips(sprite, ("walk",), 4, ("down", "left", "right", "up"), method="painted")
    np.testing.assert_array_equal(made.frames["walk_down"][0], sprite)
    for frame in made.frames["walk_left"]:
        solid = np.pad(frame[..., 3] > 0, 1)
        edge = (frame[..., 3] > 0) & ~(solid[1:-1, :-2] & solid[1:-1, 2:] & solid[:-2, 1:-1] & solid[2:, 1:-1])
        edge[[0, -1]] = edge[:, [0, -1]] = False
        assert ((frame == (40, 10, 60, 255)).all(axis=-1) | ~edge).all()


def test_the_side_judge_tells_the_four_views_of_figures_and_has_no_preferred_side() -> None:
    named = 0
    for seed in range(40):
        tokens, palette, _ = draw_figure(900_000 + seed)
        lab = torch.zeros(SLOTS, 3)
        lab[: len(palette)] = torch.from_numpy(palette)
        cells = torch.from_numpy(tokens).long().unsqueeze(0)
        chances = readable(side_net(), cells, lab)[0].exp()
        named += int((chances > 0.5).sum())
        mirrored = cells.flip(-1)[:, [0, 2, 1, 3]]
        assert readable(side_net(), mirrored, lab)[0].exp()[1].item() == pytest.approx(chances[2].item(), abs=0.05)
    assert named >= 120
