"""Training sprites that are drawn, resized, or cleaned of shadows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.embedded.canvas import CLEAR
from pipelines.embedded.training.captions import Words
from pipelines.embedded.training.data import Sprite, in_other_sizes, read_sprites, sprite_of, weigh
from pipelines.embedded.training.drawn.render import parse
from pipelines.embedded.training.drawn.things import drawings, entry, pictures
from pipelines.embedded.training.resize import resized

RED = (200, 40, 40, 255)


def square(side: int, canvas: int) -> np.ndarray:
    picture = np.zeros((canvas, canvas, 4), np.uint8)
    picture[:side, :side] = RED
    return picture


def test_a_drawing_fills_its_square_and_each_picture_of_it_is_another():
    guitar = next(d for d in drawings() if d.names[0] == "guitar")
    shown = [p.image for p in pictures(guitar, 32, 4, 0)]
    for picture in shown:
        rows, columns = np.nonzero(picture[..., 3])
        assert max(np.ptp(rows), np.ptp(columns)) >= 28
        assert set(np.unique(picture[..., 3])) == {0, 255}
    assert len({picture.tobytes() for picture in shown}) == 4


def test_only_the_natural_colour_of_a_drawing_goes_unsaid():
    guitar = next(d for d in drawings() if d.names[0] == "guitar")
    natural, other = list(pictures(guitar, 16, 2, 0))
    assert "guitar" in entry(natural)["captions"]
    assert all(text.startswith(other.color) for text in entry(other)["captions"])


def test_every_name_of_a_drawing_is_a_caption():
    assert len(drawings()) > 600
    for drawing in drawings():
        drawn = next(pictures(drawing, 16, 1, 0)) if drawing.names[0] == "key" else None
        if drawn:
            assert set(drawing.names) <= set(entry(drawn)["captions"])


def test_a_shape_that_cannot_be_read_is_named():
    with pytest.raises(ValueError, match="z A 1 2"):
        parse("z A 1 2")


def test_a_resized_sprite_has_no_new_colours_and_the_length_asked_for():
    picture = square(10, 16)
    picture[3:5, 3:5] = (10, 10, 10, 255)
    larger = resized(picture, 20)
    assert larger.shape[:2] == (20, 20)
    assert {tuple(c) for c in larger.reshape(-1, 4)} <= {RED, (10, 10, 10, 255), (0, 0, 0, 0)}  # corners are rounded


def test_a_small_sprite_is_also_shown_large_and_a_loose_one_filling_its_square():
    words = Words(("red", "box"), "box", kind="item")
    small = sprite_of(square(14, 16), {"text": "red box", "kind": "item"}, "a/b.png")
    assert small is not None
    assert small.native == 16
    loose = Sprite(
        np.where(square(12, 32)[..., 3:] > 0, square(12, 32), np.array(CLEAR, np.uint8)), 32, words, "a/c.png"
    )
    assert loose.loose == 20
    made = in_other_sizes([small, loose])
    assert [s.native for s in made] == [32, 32]
    assert all(s.loose == 0 and s.origin == "resized" for s in made)


def test_resized_sprites_of_a_noun_weigh_little_where_artists_drew_many():
    words = Words(("red", "box"), "box", kind="item")
    canvas = np.full((32, 32, 4), 255, np.uint8)
    own = [Sprite(canvas, 32, words, f"a/{i}.png") for i in range(40)]
    other = [Sprite(canvas, 32, words, f"b/{i}.png", origin="resized") for i in range(40)]
    weight = weigh([*own, *other])
    assert sum(weight[40:]) < 0.06 * sum(weight)


def test_a_baked_shadow_is_cut_out_and_whole_captions_are_kept(tmp_path: Path):
    folder = tmp_path / "pack"
    folder.mkdir()
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[4:28, 4:20] = RED
    picture[20:28, 20:28] = (0, 0, 0, 255)
    Image.fromarray(picture).save(folder / "knight.png")
    line = {"file_name": "knight.png", "text": "red knight", "captions": ["red knight", "knight"], "kind": "character"}
    (folder / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    mask = ["0"] * 20 + [format(0xFF << 4, "x")] * 8 + ["0"] * 4
    (tmp_path / "shadows.jsonl").write_text(json.dumps({"file": "pack/knight.png", "mask": mask}) + "\n")
    (sprite,) = read_sprites([folder])
    assert not sprite.image[20:28, 20:28, 3].any()
    assert sprite.words.captions == (("red", "knight"), ("knight",))
    assert sprite.painted
