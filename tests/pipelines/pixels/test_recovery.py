"""From enlarged and damaged pictures back to the pixels that they were made of; and what each step is for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pipelines.errors import InvalidRequest
from pipelines.pixels.clean import drop_specks, hard_mask, settle_noise, settle_orphans
from pipelines.pixels.dither import bayer, dither
from pipelines.pixels.finish import FinishOptions, finish, finish_together, native_pixels
from pipelines.pixels.fix import fix_pictures
from pipelines.pixels.grid import find_grid
from pipelines.pixels.outline import draw_outline
from pipelines.pixels.palette import Palette, lock
from pipelines.records import Pixels

COLORS = Palette.from_hex(("1a1c2c", "b13e53", "ffcd75", "38b764", "3b5dc9", "f4f4f4"))


def drawing(seed: int = 0, side: int = 32) -> Pixels:
    """Blobs and lines in six flat colours, opaque."""
    rng = np.random.default_rng(seed)
    index = np.zeros((side, side), np.intp)
    y, x = np.mgrid[0:side, 0:side]
    for color in rng.integers(1, len(COLORS), 14):
        top, left = rng.integers(0, side, 2)
        radius = rng.integers(2, 7)
        index[(y - top) ** 2 + (x - left) ** 2 < radius**2] = color
    index[rng.integers(0, side), :] = 2
    picture = np.full((side, side, 4), 255, np.uint8)
    picture[..., :3] = COLORS.rgb[index]
    return picture


def dense(seed: int) -> Pixels:
    """Small blobs everywhere, so that nearly every line is seen."""
    rng = np.random.default_rng(seed)
    picture = drawing(seed)
    for _ in range(160):
        top, left = rng.integers(0, 31, 2)
        picture[top : top + rng.integers(1, 3), left : left + rng.integers(1, 3), :3] = COLORS.rgb[rng.integers(6)]
    return picture


def enlarged(picture: Pixels, pitch: float, warp: float = 0) -> Pixels:
    length = round(len(picture) * pitch)
    at = np.arange(length) + 0.5
    source = np.clip((at + warp * np.sin(2 * np.pi * at / length)) / pitch, 0, len(picture) - 1e-6).astype(int)
    return picture[source[:, None], source[None]]


def right(found: Pixels, truth: Pixels) -> float:
    return float((lock(found, COLORS) == truth).all(-1).mean()) if found.shape == truth.shape else 0.0


@pytest.mark.parametrize("pitch", [3, 4, 7.5, 8, 8.3, 16])
@pytest.mark.parametrize("known", [True, False])
def test_an_enlarged_drawing_comes_back_pixel_for_pixel(pitch: float, known: bool) -> None:
    truth = drawing(3)
    native, _ = native_pixels(enlarged(truth, pitch), pitch if known else None)
    np.testing.assert_array_equal(native, truth)


def test_drifting_lines_are_followed() -> None:
    truth = drawing(4)
    assert right(native_pixels(enlarged(truth, 10, warp=4), 10)[0], truth) > 0.99


def test_blur_noise_and_jpeg_are_looked_through() -> None:
    truth = drawing(5)
    soft = ndimage.gaussian_filter(enlarged(truth, 8).astype(float), (1.5, 1.5, 0))
    noisy = np.clip(soft + np.random.default_rng(0).normal(0, 6, soft.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy[..., :3]).save(file, "JPEG", quality=80)
    jpeg = np.array(Image.open(file).convert("RGBA"))
    assert right(native_pixels(jpeg, 8)[0], truth) > 0.97


def test_paint_has_no_grid_and_pixels_have() -> None:
    y, x = np.mgrid[0:256, 0:256]
    paint = np.stack([x, y, (x + y) // 2, np.full_like(x, 255)], axis=-1).astype(np.uint8)
    paint = ndimage.gaussian_filter(paint + np.random.default_rng(1).integers(0, 9, paint.shape), (3, 3, 0))
    assert not find_grid(paint.astype(np.uint8)).seen
    assert find_grid(enlarged(drawing(), 8)).seen


def keyed(ground: tuple[int, int, int]) -> tuple[Pixels, Pixels]:
    """A ring with an eye in the background's colour, on that background; and where the ring is drawn."""
    y, x = np.mgrid[0:24, 0:24]
    distance = np.hypot(x - 11.5, y - 11.5)
    ring = (distance < 9) & (distance > 4)
    picture = np.full((24, 24, 4), (*ground, 255), np.uint8)
    picture[ring, :3] = COLORS.rgb[3]
    return picture, ring


def test_a_key_coloured_background_goes_inside_the_drawing_too_and_leaves_no_tint() -> None:
    picture, ring = keyed((255, 0, 255))
    soft = np.rint(ndimage.gaussian_filter(enlarged(picture, 8).astype(float), (2, 2, 0))).astype(np.uint8)
    image = finish(soft, FinishOptions(24, 24, pitch=8)).image
    np.testing.assert_array_equal(image[..., 3] == 255, ring)
    red, green, blue = (image[ring][:, channel].astype(int) for channel in range(3))
    assert (np.minimum(red, blue) - green < 20).all()


def test_a_white_background_leaves_white_eyes_alone() -> None:
    picture, ring = keyed((255, 255, 255))
    mask = finish(enlarged(picture, 8), FinishOptions(24, 24, pitch=8)).image[..., 3] == 255
    np.testing.assert_array_equal(mask, ndimage.binary_fill_holes(ring))


def test_a_tile_keeps_its_background() -> None:
    picture, _ = keyed((255, 255, 255))
    image = finish(enlarged(picture, 8), FinishOptions(24, 24, pitch=8, place=False)).image
    np.testing.assert_array_equal(image, picture)


def test_half_clear_pixels_follow_their_neighbours_and_solid_ones_do_not() -> None:
    alpha = np.zeros((7, 9), np.uint8)
    alpha[1:4, 1:4] = 255
    alpha[2, 2] = 100
    alpha[5, 5] = 150
    alpha[5, 7] = 255
    mask = hard_mask(alpha)
    assert mask[2, 2]
    assert not mask[5, 5]
    assert mask[5, 7]


def test_loose_bits_go_and_solid_sparks_stay() -> None:
    alpha = np.zeros((12, 12), np.uint8)
    alpha[2:9, 2:9] = 255
    alpha[11, 0] = 200
    alpha[0, 11] = 255
    mask = drop_specks(alpha >= 128, alpha)
    assert not mask[11, 0]
    assert mask[0, 11]


def test_noise_settles_and_eyes_survive() -> None:
    skin, close, eye = (200, 150, 120), (192, 146, 118), (20, 20, 30)
    palette = Palette("faces", (skin, close, eye))
    face = np.full((9, 9, 4), (*skin, 255), np.uint8)
    face[4, 2, :3] = face[4, 6, :3] = eye
    noisy = face.copy()
    noisy[2, 4, :3] = noisy[6, 6, :3] = close
    np.testing.assert_array_equal(settle_noise(noisy, palette), face)
    np.testing.assert_array_equal(settle_orphans(noisy), face)


def test_outlines_of_all_kinds() -> None:
    picture = np.zeros((7, 7, 4), np.uint8)
    picture[2:5, 2:5] = (*COLORS.colors[3], 255)
    outer = draw_outline(picture, "outer", COLORS)
    assert (outer[..., 3] == 255).sum() == 9 + 12
    assert tuple(outer[1, 3, :3]) == COLORS.colors[0]
    inner = draw_outline(picture, "inner", COLORS)
    assert (inner[..., 3] == 255).sum() == 9
    assert tuple(inner[2, 3, :3]) == COLORS.colors[0]
    assert tuple(inner[3, 3, :3]) == COLORS.colors[3]
    greens = Palette.from_hex(("1a1c2c", "0a3a10", "400000", "38b764"))
    assert tuple(draw_outline(picture, "selective", greens)[1, 3, :3]) == greens.colors[1]


def test_dither_weaves_two_colours_and_leaves_palette_colours_alone() -> None:
    assert sorted((bayer(4).ravel() * 16 - 0.5).tolist()) == list(range(16))
    gray = Palette("gray", ((100, 100, 100), (140, 140, 140)))
    flat = np.full((8, 8, 4), (120, 120, 120, 255), np.uint8)
    share = (dither(flat, gray, 4)[..., 0] == 140).mean()
    assert 0.3 < share < 0.7
    exact = np.full((8, 8, 4), (100, 100, 100, 255), np.uint8)
    np.testing.assert_array_equal(dither(exact, gray, 4), exact)


def test_frames_move_together() -> None:
    frames = [np.zeros((32, 32, 4), np.uint8) for _ in range(2)]
    frames[0][8:20, 3:9] = frames[1][6:20, 3:9] = (10, 200, 30, 255)
    finished = finish_together(frames, FinishOptions(32, 32))
    feet = [np.flatnonzero((f.image[..., 3] == 255).any(axis=1)).max() for f in finished]
    assert feet[0] == feet[1]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 0}, "width is 1 to"),
        ({"colors": 300}, "colors is 1 to"),
        ({"outline": "thick"}, "outline is one of"),
        ({"dither": 3}, "dither is one of"),
        ({"matte": "greenish"}, "matte is one of"),
        ({"pitch": 0.2}, "pitch is 1 to"),
    ],
)
def test_options_out_of_range_say_what_is_allowed(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        FinishOptions(**{"width": 8, "height": 8, **wrong})  # pyright: ignore[reportArgumentType]


def test_fixing_finds_the_size_that_a_picture_really_has() -> None:
    truth = drawing(7, 40)
    fixed = fix_pictures([enlarged(truth, 9)])
    assert fixed.pitch == pytest.approx(9, abs=0.05)
    np.testing.assert_array_equal(fixed.frames[0].image, truth)


def test_fixing_real_pixels_changes_nothing() -> None:
    for seed in range(6):
        np.testing.assert_array_equal(fix_pictures([drawing(seed)]).frames[0].image, drawing(seed))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pitch", [8, 9, 11])
def test_lines_that_drift_by_half_a_cell_keep_the_number_of_cells(seed: int, pitch: int) -> None:
    truth = dense(seed)
    soft = ndimage.gaussian_filter(enlarged(truth, pitch, warp=4).astype(float), (0.7, 0.7, 0))
    assert right(fix_pictures([np.rint(soft).astype(np.uint8)]).frames[0].image, truth) > 0.99


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pitch", [8, 9, 11])
def test_a_size_that_flat_areas_hide_is_never_wrong_silently(seed: int, pitch: int) -> None:
    truth = drawing(seed + 20)
    soft = ndimage.gaussian_filter(enlarged(truth, pitch, warp=4).astype(float), (0.7, 0.7, 0))
    fixed = fix_pictures([np.rint(soft).astype(np.uint8)])
    assert fixed.frames[0].image.shape == truth.shape or fixed.notes


@pytest.mark.parametrize("sigma", [0.1, 0.15])
@pytest.mark.parametrize("pitch", [4, 5, 9, 16])
def test_blurred_pixels_come_back_one_by_one(sigma: float, pitch: int) -> None:
    for seed in range(3):
        truth = drawing(seed + 40)
        soft = ndimage.gaussian_filter(enlarged(truth, pitch).astype(float), (sigma * pitch, sigma * pitch, 0))
        assert right(fix_pictures([np.rint(soft).astype(np.uint8)]).frames[0].image, truth) == 1


@pytest.mark.parametrize("pitch", [5, 6, 12])
def test_pixels_that_are_shifted_by_part_of_a_pixel_come_back_one_by_one(pitch: int) -> None:
    truth = drawing(7)
    for shift in ((0.5, -0.9), (-0.3, 0.7)):
        moved = ndimage.shift(enlarged(truth, pitch).astype(float), (*shift, 0), order=1, mode="nearest")
        assert right(fix_pictures([np.rint(moved).astype(np.uint8)]).frames[0].image, truth) == 1


def test_lone_pixels_of_a_close_color_stay_where_the_picture_has_no_noise() -> None:
    """Grain in grass is drawn; only what noise explains is settled."""
    truth = drawing(9)
    grass = np.array([56, 183, 100, 255]), np.array([66, 195, 110, 255])
    truth[4:28, 4:28] = grass[0]
    truth[6:26:4, 6:26:4] = grass[1]
    soft = np.rint(ndimage.gaussian_filter(enlarged(truth, 10).astype(float), (1.2, 1.2, 0))).astype(np.uint8)
    image = fix_pictures([soft]).frames[0].image.astype(int)
    assert image.shape == truth.shape
    assert np.abs(image[6:26:4, 6:26:4] - grass[1]).max() <= 3
    assert np.abs(image[5:25:4, 5:25:4] - grass[0]).max() <= 3
