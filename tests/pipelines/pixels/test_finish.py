"""Finishing: what holds for every picture, and what each step is for."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pixels.finish import FinishOptions, finish, finish_together
from pipelines.pixels.outline import KINDS
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import encode_png
from pipelines.records import Pixels

SWEETIE = Palette.from_hex(("1a1c2c", "5d275d", "b13e53", "ef7d57", "ffcd75", "a7f070", "38b764", "257179"))


@st.composite
def pictures(draw: st.DrawFn, longest: int = 512) -> Pixels:
    """Noise, flat areas, gradients or blown-up sprites, with any alpha, of any size up to `longest`."""
    height, width = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    kind = draw(st.sampled_from(["noise", "blocks", "gradient", "flat"]))
    if kind == "noise":
        picture = rng.integers(0, 256, (height, width, 4))
    elif kind == "blocks":
        pitch = draw(st.integers(1, 16))
        small = rng.integers(0, 256, (height // pitch + 1, width // pitch + 1, 4))
        picture = small.repeat(pitch, 0).repeat(pitch, 1)[:height, :width]
    elif kind == "gradient":
        y, x = np.mgrid[0:height, 0:width]
        picture = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256, x * 511 // width % 256], axis=-1)
    else:
        picture = np.broadcast_to(rng.integers(0, 256, 4), (height, width, 4))
    return picture.astype(np.uint8)


options = st.builds(
    FinishOptions,
    width=st.integers(1, 64),
    height=st.integers(1, 64),
    colors=st.integers(1, 32),
    palette=st.sampled_from([None, SWEETIE]),
    pitch=st.sampled_from([None, None, 1, 2, 7.5, 8, 16]),
    outline=st.sampled_from(KINDS),
    matte=st.sampled_from(["auto", "none", "ground", "ff00ff"]),
    dither=st.sampled_from([0, 0, 2, 4, 8]),
    clean=st.booleans(),
    place=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(pictures(), options)
def test_any_picture_becomes_exactly_what_was_asked_for(picture: Pixels, asked: FinishOptions) -> None:
    first, again = finish(picture, asked), finish(picture.copy(), asked)
    assert first.image.shape == (asked.height, asked.width, 4)
    assert set(np.unique(first.image[..., 3])) <= {0, 255}
    drawn = first.image[first.image[..., 3] == 255][:, :3]
    used = {tuple(map(int, color)) for color in drawn}
    assert used <= set(first.palette.colors)
    assert len(first.palette) <= ((asked.colors or 256) if asked.palette is None else len(SWEETIE))
    assert not first.image[first.image[..., 3] == 0].any()
    assert encode_png(first.image, "{}", first.palette) == encode_png(again.image, "{}", again.palette)
    assert all(held for gate, held in first.report.gates.items() if gate != "not_empty")


@settings(max_examples=60, deadline=None)
@given(pictures(160), options)
def test_finishing_a_finished_sprite_changes_nothing(picture: Pixels, asked: FinishOptions) -> None:
    first = finish(picture, asked)
    again = finish(first.image, dataclasses.replace(asked, pitch=None))
    np.testing.assert_array_equal(again.image, first.image)


def test_pictures_finished_together_share_one_palette() -> None:
    rng = np.random.default_rng(7)
    frames = [rng.integers(0, 256, (16, 16, 4), dtype=np.uint8) for _ in range(3)]
    finished = finish_together(frames, FinishOptions(16, 16, colors=8))
    assert len({one.palette for one in finished}) == 1
    assert finish_together([], FinishOptions(16, 16)) == []
