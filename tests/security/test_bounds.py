"""Memory and time of finishing have bounds: large inputs are worked on in parts, or refused with what to change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InvalidRequest
from pipelines.pixels.dither import dither
from pipelines.pixels.fix import fix_pictures
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette, nearest_index

COLORS = tuple((r, g, b) for r in range(0, 256, 43) for g in range(0, 256, 43) for b in range(0, 256, 51))[:200]


def test_more_real_pixels_than_can_be_finished_are_refused_immediately() -> None:
    picture = np.full((4096, 4096, 4), 255, np.uint8)
    with pytest.raises(InvalidRequest, match=r"4096x4096 real pixels.*2.1 million is the most. Give a larger pitch"):
        fix_pictures([picture], pitch=1, palette=Palette("p", COLORS))


@pytest.mark.parametrize(
    ("shape", "count", "options", "said"),
    [
        ((2048, 2048, 4), 1, {"pitch": 1.5}, r"1\d+x1\d+ real pixels, 1.\d million; 1.0 .* colours are estimated"),
        ((512, 512, 4), 16, {"pitch": 1}, r"16 frames of 512x512 real pixels, 4.2 million.*fewer frames"),
        ((64, 64, 4), 1, {"width": 4096, "height": 4096}, r"4096x4096 real pixels, 16.8 million.*a smaller size"),
        ((2048, 2048, 4), 1, {"width": 2048, "height": 2048}, r"2048x2048 real pixels, 4.2 million"),
    ],
)
def test_what_would_take_minutes_is_refused_with_what_to_change(
    shape: tuple[int, ...], count: int, options: dict[str, Any], said: str
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with pytest.raises(InvalidRequest, match=said):
        fix_pictures([picture] * count, **options)


def test_the_nearest_colour_is_the_same_in_parts_and_by_the_definition() -> None:
    rng = np.random.default_rng(0)
    palette = Palette("p", COLORS)
    picture = rng.integers(0, 256, (600, 600, 4), np.uint8)  # more colours than are compared one by one
    index = nearest_index(picture, palette)
    rows = rng.integers(0, 600, 300)
    lab = to_oklab(picture[rows, rows[::-1], :3]).astype(np.float64)
    distance = np.square(lab[:, None] - palette.lab.astype(np.float64)).sum(-1)
    chosen = distance[np.arange(300), index[rows, rows[::-1]]]
    np.testing.assert_allclose(chosen, distance.min(axis=1), atol=1e-12)
    own = np.array([[(*color, 255) for color in COLORS]], np.uint8)
    assert nearest_index(own, palette)[0].tolist() == list(range(len(COLORS)))


def test_dithering_in_bands_is_dithering_as_a_whole() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (100, 700, 4), np.uint8)
    palette = Palette("p", COLORS)
    whole = dither(picture, palette, 4)
    assert np.array_equal(whole[:8], dither(picture[:8], palette, 4))
    assert np.array_equal(whole[92:], dither(picture[92:], palette, 4))


@pytest.mark.slow
def test_locking_a_picture_with_sixteen_million_colours_takes_less_than_one_and_a_half_gigabytes() -> None:
    program = (
        "import resource, numpy as np\n"
        "from pipelines.pixels.palette import Palette, lock\n"
        "codes = np.arange(4096 * 4096, dtype='<u4').reshape(4096, 4096) | np.uint32(0xFF000000)\n"
        "palette = Palette('p', tuple((i, 255 - i, i // 2) for i in range(256)))\n"
        "lock(codes.view(np.uint8).reshape(4096, 4096, 4), palette)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 1.5e9
