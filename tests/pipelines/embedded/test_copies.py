"""The count of drawings that copy a training sprite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipelines.embedded.colors import turn_hue
from pipelines.embedded.training.captions import read_words
from pipelines.embedded.training.data import Sprite
from tests.bench.embedded.copies import NEAR, copy_distances, near_copies


def test_the_quick_count_of_copies_agrees_with_the_distances():
    rng = np.random.default_rng(4)
    image = np.zeros((32, 32, 4), np.uint8)
    image[4:28, 6:20, :3] = rng.choice([(200, 40, 40), (90, 20, 30), (240, 180, 90)], (24, 14))
    image[4:28, 6:20, 3] = 255
    sprite = Sprite(image, 32, read_words("red thing", "", "", "item", (), "caption"), "a.png")
    recolored, wider, paler = image.copy(), image.copy(), image.copy()
    recolored[4:28, 6:20, :3] = turn_hue(image[4:28, 6:20, :3].reshape(-1, 3), 90).reshape(24, 14, 3)
    wider[2:30, 4:26] = (200, 40, 40, 255)
    paler[4:28, 6:20, :3] = 255 - image[4:28, 6:20, :3]
    pictures = [image, np.ascontiguousarray(image[:, ::-1]), recolored, wider, paler]
    near = near_copies(pictures, [replace(sprite, image=wider[::-1]), sprite])
    assert near.tolist() == [True, True, True, True, False]
    assert (near == (copy_distances(pictures, [replace(sprite, image=wider[::-1]), sprite], "cpu") < NEAR)).all()
