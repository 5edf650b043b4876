"""Sheets lay frames out on a grid, describe them in two forms, and say whether an animation holds together."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from pipelines.animation.sheet_files import parse_layout
from pipelines.animation.sheets import animate, animated_preview, arrange, aseprite_json, check_clips, grid, layout_json
from pipelines.animation.slicing import Run
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels


def frame(x: int, color: tuple[int, int, int] = (200, 40, 40), feet: int = 15) -> Pixels:
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[feet - 9 : feet + 1, x : x + 6] = (*color, 255)
    return picture


def test_each_clip_is_a_row_and_comes_back_frame_by_frame() -> None:
    walk, idle = [frame(3), frame(4), frame(5)], [frame(4), frame(4)]
    sheet = arrange({"walk": walk, "idle": idle})
    assert sheet.image.shape == (32, 48, 4)
    assert (sheet.clips["idle"].first, sheet.clips["idle"].last) == (3, 4)
    for made, given in zip(sheet.frames("walk") + sheet.frames("idle"), walk + idle, strict=True):
        np.testing.assert_array_equal(made, given)


def test_the_layout_names_its_picture_and_tiles() -> None:
    layout = json.loads(layout_json(arrange({"walk": [frame(3), frame(4)]}, fps=6), "hero.png"))
    assert layout == {
        "image": "hero.png",
        "tile_size": [16, 16],
        "columns": 2,
        "rows": 1,
        "animations": {"walk": {"first": 0, "last": 1, "fps": 6, "loop": True}},
    }


def test_the_aseprite_form_tags_frames_in_their_order() -> None:
    sheet = arrange({"walk": [frame(3), frame(4), frame(5)], "hurt": [frame(4), frame(3)]})
    data = json.loads(aseprite_json(sheet, "hero.png"))
    assert [(t["name"], t["from"], t["to"]) for t in data["meta"]["frameTags"]] == [("walk", 0, 2), ("hurt", 3, 4)]
    assert data["frames"][3]["frame"] == {"x": 0, "y": 16, "w": 16, "h": 16}
    assert data["frames"][0]["duration"] == 125


def test_a_clip_that_ends_plays_once_in_aseprite_and_a_loop_for_ever() -> None:
    clips = {"walk": [frame(3), frame(4)], "die": [frame(4), frame(3)]}
    data = json.loads(aseprite_json(arrange(clips, loops={"die": False}), "hero.png"))
    assert [tag.get("repeat") for tag in data["meta"]["frameTags"]] == [None, "1"]
    read = parse_layout(data, "hero.json")
    assert read
    assert [run.loop for run in read.runs] == [True, False]


def test_frames_of_different_times_are_repeated_in_their_proportion() -> None:
    pictures = [frame(x) for x in (3, 4, 5)]
    runs = [Run("walk", (0, 1, 2)), Run("die", (2, 1), loop=False)]
    sheet = animate(runs, pictures, [100, 200, 100])
    assert [int(np.flatnonzero(f.any(axis=(0, 2)))[0]) for f in sheet.frames("walk")] == [3, 4, 4, 5]
    assert [int(np.flatnonzero(f.any(axis=(0, 2)))[0]) for f in sheet.frames("die")] == [5, 4, 4]
    assert (sheet.clips["walk"].fps, sheet.clips["walk"].loop, sheet.clips["die"].loop) == (10, True, False)
    uneven = animate(runs[:1], pictures, [101, 200, 103])
    assert len(uneven.frames("walk")) == 3
    assert uneven.clips["walk"].fps == pytest.approx(3000 / 404)
    assert animate(runs[:1], pictures, [0, 0, 0], fps=5).clips["walk"].fps == 5


def test_the_preview_plays_every_frame() -> None:
    sheet = arrange({"hurt": [frame(3), frame(8)]}, loops={"hurt": False})
    with Image.open(io.BytesIO(animated_preview(sheet, longest=64))) as picture:
        assert picture.size == (64, 64)
        assert getattr(picture, "n_frames", 1) == 2


def test_a_good_loop_passes_and_each_fault_fails_its_own_gate() -> None:
    good = check_clips(arrange({"idle": [frame(4), frame(5), frame(4), frame(5)]}), frame(4))
    assert good.passed, good
    faults = {
        "one_palette": [frame(4), frame(5, (1, 2, 3))],
        "feet_on_one_line": [frame(4), frame(4, feet=13)],
        "moves": [frame(4), frame(4)],
        "every_frame_drawn": [frame(4), np.zeros((16, 16, 4), np.uint8)],
        "silhouette_steady": [frame(0), frame(9)],
        "loop_closes": [frame(x) for x in (0, 1, 2, 3, 4, 5, 6, 7)],
    }
    for gate, frames in faults.items():
        report = check_clips(arrange({"idle": frames}), frame(4))
        assert not report.gates[gate], gate


def test_what_hops_or_flies_is_not_held_to_the_floor_line() -> None:
    hop = arrange({"walk": [frame(4), frame(4, feet=13), frame(4)]})
    assert not check_clips(hop, frame(4)).passed
    assert check_clips(hop, frame(4), stands=False).passed


def test_pictures_side_by_side_are_near_a_square() -> None:
    assert grid([frame(4)] * 7).image.shape == (48, 48, 4)
    assert grid([frame(4)] * 4, columns=4).image.shape == (16, 64, 4)


def test_frames_of_two_sizes_and_no_frames_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="one size"):
        arrange({"walk": [frame(3), np.zeros((8, 8, 4), np.uint8)]})
    with pytest.raises(InvalidRequest, match="at least one frame"):
        arrange({})
