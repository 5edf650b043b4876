"""Fixing a picture: what is proved comes back exactly, what is not stays as it is, and nothing is lost silently."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InvalidRequest
from pipelines.pixels.fix import fix_pictures
from pipelines.pixels.palette import Palette
from pipelines.pixels.soft_alpha import read_soft
from pipelines.records import Pixels

COLORS = Palette.from_hex(("1a1c2c", "b13e53", "ffcd75", "38b764", "3b5dc9", "f4f4f4"))
GROUNDS = {"transparent": None, "magenta": (255, 0, 255), "white": (255, 255, 255), "gray": (128, 128, 128)}


def sprite(seed: int = 0, side: int = 32) -> Pixels:
    """A figure of overlapping blobs in five colours on a transparent background."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 4), np.uint8)
    y, x = np.mgrid[0:side, 0:side]
    for color in rng.integers(0, 5, 12):
        top, left = rng.integers(side // 4, 3 * side // 4, 2)
        radius = rng.integers(side // 12 + 1, side // 5)
        inside = (y - top) ** 2 + (x - left) ** 2 < radius**2
        picture[inside] = (*COLORS.colors[color], 255)
    return picture


def on_ground(picture: Pixels, color: tuple[int, int, int] | None) -> Pixels:
    if color is None:
        return picture
    return np.where(picture[..., 3:] == 255, picture, np.array([*color, 255], np.uint8)).astype(np.uint8)


def times(picture: Pixels, x: int, y: int | None = None) -> Pixels:
    return picture.repeat(y or x, 0).repeat(x, 1)


def resized(picture: Pixels, scale: float, how: Image.Resampling) -> Pixels:
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.array(Image.fromarray(picture).resize(size, how))


def compressed(picture: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(picture[..., :3]).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).convert("RGBA"))


def plus(side: int) -> Pixels:
    """A flat icon of few lines: a plus of one colour."""
    picture = np.zeros((side, side, 4), np.uint8)
    a, b, c, d = side // 12, 3 * side // 8, side - 3 * side // 8, side - side // 12
    picture[a:d, b:c] = picture[b:c, a:d] = (40, 90, 200, 255)
    return picture


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("side", [16, 24, 32, 64])
def test_a_finished_sprite_is_unchanged(ground: str, side: int) -> None:
    for seed in range(4):
        picture = on_ground(sprite(seed, side), GROUNDS[ground])
        fixed = fix_pictures([picture])
        np.testing.assert_array_equal(fixed.frames[0].image, picture)
        assert fixed.unchanged
        assert fixed.frames[0].report.passed


def test_finished_icons_and_shadows_are_unchanged() -> None:
    shadow = sprite(3)
    shadow[26:29, 8:24] = (0, 0, 0, 128)
    for picture in (plus(16), plus(24), shadow):
        np.testing.assert_array_equal(fix_pictures([picture]).frames[0].image, picture)


def test_finished_pictures_with_many_colors_keep_them_all() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (32, 32, 4), dtype=np.uint8)
    picture[..., 3] = 255
    np.testing.assert_array_equal(fix_pictures([picture]).frames[0].image, picture)
    np.testing.assert_array_equal(fix_pictures([times(picture, 4)]).frames[0].image, picture)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8, 13])
def test_an_exact_enlargement_comes_back_exactly(ground: str, factor: int) -> None:
    for seed, side in ((0, 16), (1, 32), (2, 48)):
        picture = on_ground(sprite(seed, side), GROUNDS[ground])
        np.testing.assert_array_equal(fix_pictures([times(picture, factor)]).frames[0].image, picture)


def test_an_enlargement_by_different_factors_comes_back_exactly() -> None:
    picture = sprite(5)
    fixed = fix_pictures([times(picture, 6, 3)])
    np.testing.assert_array_equal(fixed.frames[0].image, picture)


def test_a_sprite_in_the_corner_stays_there() -> None:
    corner = np.zeros((32, 32, 4), np.uint8)
    corner[:12, :12] = sprite(4)[10:22, 10:22]
    picture = on_ground(corner, (255, 0, 255))
    np.testing.assert_array_equal(fix_pictures([times(picture, 8)]).frames[0].image, picture)
    cleared = fix_pictures([times(picture, 8)], background="clear", width=32, height=32).frames[0].image
    np.testing.assert_array_equal(cleared, corner)


def test_colors_under_clear_pixels_do_not_count() -> None:
    picture = sprite(6)
    large = times(picture, 4)
    hidden = large[..., 3] == 0
    large[hidden, :3] = np.random.default_rng(0).integers(0, 256, (int(hidden.sum()), 3))
    np.testing.assert_array_equal(fix_pictures([large]).frames[0].image, picture)


def test_a_close_ramp_keeps_all_its_colors() -> None:
    ramp = np.full((32, 32, 4), 255, np.uint8)
    ramp[..., :3] = 240
    for step in range(28):
        ramp[2 + step, 4 : 8 + step // 2, :3] = (60 + 2 * step, 40 + 2 * step, 90 + step)
    np.testing.assert_array_equal(fix_pictures([times(ramp, 8)]).frames[0].image, ramp)


def test_a_flat_icon_comes_back_or_says_that_other_sizes_fit() -> None:
    fixed = fix_pictures([times(plus(24), 8)])
    np.testing.assert_array_equal(fixed.frames[0].image, plus(24))
    assert "48x48 (pitch 4) is possible too" in fixed.notes[0]
    bars = np.zeros((64, 64, 4), np.uint8)
    bars[16:48, 16:32] = 255
    large = fix_pictures([times(bars, 8)])
    np.testing.assert_array_equal(large.frames[0].image, times(bars, 8))
    assert "No plain pixel grid" in large.notes[0]
    np.testing.assert_array_equal(fix_pictures([times(bars, 8)], pitch=8).frames[0].image, bars)
    np.testing.assert_array_equal(fix_pictures([times(bars, 8)], width=64).frames[0].image, bars)


@pytest.mark.parametrize(
    ("how", "right"),
    [(Image.Resampling.BILINEAR, 0.99), (Image.Resampling.BICUBIC, 0.95), (Image.Resampling.LANCZOS, 0.85)],
)
@pytest.mark.parametrize("ground", GROUNDS)
def test_a_smooth_enlargement_comes_back_in_its_own_size(how: Image.Resampling, right: float, ground: str) -> None:
    for seed, scale in ((0, 8), (1, 4), (2, 10)):
        picture = on_ground(sprite(seed), GROUNDS[ground])
        image = fix_pictures([resized(picture, scale, how)]).frames[0].image
        assert image.shape == picture.shape
        near = np.abs(image.astype(int) - picture).max(axis=-1) <= 8
        assert near.mean() > right


def test_a_size_that_is_given_is_tried_first() -> None:
    picture = on_ground(sprite(7), (255, 255, 255))
    soft = resized(picture, 8, Image.Resampling.BILINEAR)
    for width, height, pitch in ((32, 32, None), (32, None, None), (None, None, 8.0)):
        fixed = fix_pictures([soft], width=width, height=height, pitch=pitch)
        assert fixed.frames[0].image.shape == (32, 32, 4)


@pytest.mark.parametrize("quality", [60, 80, 95])
def test_a_compressed_enlargement_comes_back_in_its_own_size(quality: int) -> None:
    for seed in range(3):
        picture = on_ground(sprite(seed), (128, 128, 128))
        image = fix_pictures([compressed(times(picture, 8), quality)]).frames[0].image
        assert image.shape == picture.shape


def test_paint_stays_as_it_is_and_the_answer_says_what_to_give() -> None:
    y, x = np.mgrid[0:256, 0:256]
    paint = np.stack([x, y, (x + y) // 2, np.full_like(x, 255)], axis=-1).astype(np.uint8)
    fixed = fix_pictures([paint])
    np.testing.assert_array_equal(fixed.frames[0].image, paint)
    assert not fixed.frames[0].report.passed
    assert "pitch" in fixed.notes[0]
    small = fix_pictures([paint], width=32)
    assert small.frames[0].image.shape == (32, 32, 4)
    assert not small.frames[0].report.gates["grid_proved"]


def test_text_over_an_enlarged_scene_is_not_thrown_away() -> None:
    rng = np.random.default_rng(3)
    scene = np.full((32, 32, 4), 255, np.uint8)
    scene[..., :3] = COLORS.rgb[rng.integers(0, 6, (32, 32))]
    large = times(scene, 8)
    large[40:80, 20:236][rng.random((40, 216)) < 0.4] = (255, 255, 255, 255)
    fixed = fix_pictures([large])
    np.testing.assert_array_equal(fixed.frames[0].image, large)
    assert "parts are not" in fixed.notes[0]


def test_one_side_alone_keeps_the_shape() -> None:
    wide = np.concatenate([on_ground(sprite(1), (128, 128, 128)), on_ground(sprite(2), (128, 128, 128))], axis=1)
    for width, height in ((None, 32), (64, None)):
        fixed = fix_pictures([times(wide, 8)], width=width, height=height)
        np.testing.assert_array_equal(fixed.frames[0].image, wide)
    half = fix_pictures([times(wide, 8)], height=16)
    assert half.frames[0].image.shape == (16, 32, 4)
    assert any("loses details" in note for note in half.notes)


def ring(color: tuple[int, int, int]) -> tuple[Pixels, np.ndarray, np.ndarray]:
    """A ring on a background of `color`, where it is drawn, and its hole."""
    y, x = np.mgrid[0:32, 0:32]
    distance = np.hypot(x - 15.5, y - 15.5)
    drawn, hole = (distance < 12) & (distance >= 6), distance < 6
    picture = np.full((32, 32, 4), (*color, 255), np.uint8)
    picture[drawn] = (*COLORS.colors[3], 255)
    return picture, drawn, hole


@pytest.mark.parametrize("ground", ["white", "gray"])
def test_a_hole_in_the_background_color_is_reported_and_can_be_cleared(ground: str) -> None:
    color = GROUNDS[ground]
    assert color is not None
    picture, drawn, hole = ring(color)
    fixed = fix_pictures([times(picture, 8)], background="clear")
    np.testing.assert_array_equal(fixed.frames[0].image[..., 3] == 255, drawn | hole)
    assert f"Inside the drawing {hole.sum()} pixels of the background" in fixed.notes[0]
    word = "".join(f"{channel:02x}" for channel in color)
    cleared = fix_pictures([times(picture, 8)], background=word)
    np.testing.assert_array_equal(cleared.frames[0].image[..., 3] == 255, drawn)


def test_a_near_white_drawing_on_white_is_not_part_of_the_background() -> None:
    picture = np.full((32, 32, 4), 255, np.uint8)
    y, x = np.mgrid[0:32, 0:32]
    drawn = np.hypot(x - 15.5, y - 15.5) < 11
    picture[drawn, :3] = (250, 250, 250)
    picture[10:13, 10:20, :3] = (30, 30, 40)
    fixed = fix_pictures([times(picture, 8)], background="clear")
    np.testing.assert_array_equal(fixed.frames[0].image[..., 3] == 255, drawn)


PATHS = {
    "finished": (lambda p: p, {}),
    "its own pixels": (lambda p: p, {"pitch": 1}),
    "exact": (lambda p: times(p, 8), {}),
    "pitch": (lambda p: times(p, 8), {"pitch": 8}),
    "width": (lambda p: times(p, 8), {"width": 32}),
    "bilinear": (lambda p: resized(p, 8, Image.Resampling.BILINEAR), {}),
    "compressed": (lambda p: compressed(times(p, 8), 90), {}),
    "not whole": (lambda p: resized(p, 7.6, Image.Resampling.NEAREST), {}),
}


@pytest.mark.parametrize("alpha", [254, 128, 1])
@pytest.mark.parametrize("path", PATHS)
def test_a_background_is_cleared_although_one_pixel_is_not_quite_opaque(path: str, alpha: int) -> None:
    make, options = PATHS[path]
    picture = on_ground(sprite(8), (255, 255, 255))
    whole, holed = make(picture), make(picture).copy()
    holed[3, 4, 3] = alpha
    cleared, once_holed = (fix_pictures([p], background="clear", **options).frames[0].image for p in (whole, holed))
    assert (cleared[..., 3] == 0).sum() >= (sprite(8)[..., 3] == 0).sum() - 20
    np.testing.assert_array_equal(once_holed[..., 3], cleared[..., 3])


def test_a_background_that_is_not_cleared_says_why() -> None:
    assert "transparent already" in fix_pictures([sprite(1)], background="clear").notes[0]


@pytest.mark.parametrize(("option", "solid"), [("keep", 0), ("dither", 32), ("solid", 64), ("drop", 0)])
def test_half_transparent_pixels_become_what_the_option_says(option: str, solid: int) -> None:
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[4:20, 9:22] = sprite(2)[8:24, 9:22]
    picture[24:28, 8:24] = (0, 0, 0, 128)
    for large in (picture, times(picture, 8)):
        fixed = fix_pictures([large], soft=read_soft(option))
        alpha = fixed.frames[0].image[24:28, 8:24, 3]
        assert int((alpha == 255).sum()) == solid
        assert int((alpha == 128).sum()) == (64 if option == "keep" else 0)
        assert any("half-transparent" in note for note in fixed.notes)


def test_a_glow_stays_round_a_sprite_that_is_outlined_and_placed() -> None:
    picture = sprite(2, 24)
    glow = np.zeros((24, 24), bool)
    glow[2:5, 4:20] = True
    picture[glow] = (255, 255, 0, 96)
    fixed = fix_pictures([picture], width=32, height=32, outline="outer")
    assert int((fixed.frames[0].image[..., 3] == 96).sum()) > 20


def test_a_glow_keeps_its_color_in_a_smooth_enlargement() -> None:
    """The glow's colour is nowhere in the drawing."""
    glow = sprite(3)
    glow[glow[..., 3] == 0] = (255, 200, 0, 90)
    image = fix_pictures([resized(glow, 6, Image.Resampling.BILINEAR)]).frames[0].image
    assert np.abs(image.astype(int) - glow).max() <= 2


def test_colors_beyond_the_limit_are_reported() -> None:
    rng = np.random.default_rng(4)
    picture = np.full((32, 32, 4), 255, np.uint8)
    picture[..., :3] = rng.integers(0, 256, (40, 3))[rng.integers(0, 40, (32, 32))]
    fixed = fix_pictures([times(picture, 4)], colors=16)
    assert len(fixed.frames[0].palette) <= 16
    assert "40 colours became" in fixed.notes[0]


def test_a_pitch_that_the_picture_does_not_show_is_reported() -> None:
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (200, 200, 4), dtype=np.uint8)
    noise[..., 3] = 255
    assert "no clear grid of 7 pixels" in fix_pictures([noise], pitch=7).notes[0]


def test_frames_share_one_grid_and_one_palette() -> None:
    frames = [times(on_ground(sprite(seed), (128, 128, 128)), 5) for seed in range(3)]
    fixed = fix_pictures(frames, colors=4)
    assert {one.image.shape for one in fixed.frames} == {(32, 32, 4)}
    assert len({one.palette.colors for one in fixed.frames}) == 1
    with pytest.raises(InvalidRequest, match="different sizes"):
        fix_pictures([frames[0], frames[0][:80]])


def test_an_unknown_option_for_soft_pixels_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="keep, dither, solid, drop"):
        read_soft("blend")


def test_a_small_icon_whose_lines_all_fit_is_reduced_and_the_answer_says_so() -> None:
    """Nine different lines on every fifth pixel: 20 bits against a drawing of 80x80."""
    icon = np.full((16, 16, 4), (20, 60, 90, 255), np.uint8)
    icon[2:13, 3:14, :3] = (240, 200, 40)
    icon[4:9, 6:11, :3] = (200, 30, 30)
    icon[11:12, 1:15, :3] = (250, 250, 250)
    fixed = fix_pictures([times(icon, 5)])
    np.testing.assert_array_equal(fixed.frames[0].image, icon)
    assert "80x80 (pitch 1) is possible too" in fixed.notes[0]


def test_an_icon_on_every_second_pixel_is_not_halved() -> None:
    """An icon whose lines lie nearly all on even places looks almost like an enlargement of one of half the size."""
    icon = np.full((48, 48, 4), (20, 60, 90, 255), np.uint8)
    icon[8:40, 10:38, :3] = (240, 200, 40)
    icon[14:34, 16:30, :3] = (200, 30, 30)
    icon[20:22, 4:44, :3] = (250, 250, 250)
    icon[25:26, 12:36, :3] = (250, 250, 250)
    np.testing.assert_array_equal(fix_pictures([icon]).frames[0].image, icon)
    for quality in (70, 95):
        assert fix_pictures([compressed(times(icon, 4), quality)]).frames[0].image.shape != (24, 24, 4)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_small_smooth_enlargement_is_never_taken_for_finished_silently(factor: int) -> None:
    for seed in range(4):
        picture = on_ground(sprite(seed, 16), (255, 255, 255))
        fixed = fix_pictures([resized(picture, factor, Image.Resampling.BILINEAR)])
        assert fixed.frames[0].image.shape == picture.shape or fixed.notes


@pytest.mark.slow
@pytest.mark.parametrize("quality", [60, 75, 90])
@pytest.mark.parametrize("ground", ["white", "gray"])
def test_a_small_compressed_enlargement_is_never_taken_for_finished_silently(ground: str, quality: int) -> None:
    for seed in range(8):
        picture = on_ground(sprite(seed), GROUNDS[ground])
        fixed = fix_pictures([compressed(times(picture, 2), quality)])
        assert fixed.frames[0].image.shape == picture.shape or fixed.notes


def test_a_size_that_noise_on_few_colors_makes_doubtful_is_named() -> None:
    """Ordinary noise of one level on a flat drawing of doubled pixels."""
    rng = np.random.default_rng(4)
    picture = times(on_ground(sprite(5), (128, 128, 128)), 2)
    for _ in range(60):
        y, x = rng.integers(0, 64, 2)
        picture[y, x, :3] = np.clip(picture[y, x, :3].astype(int) + rng.integers(-60, 61), 0, 255)
    fixed = fix_pictures([picture])
    assert fixed.frames[0].image.shape == (32, 32, 4) or any("32x32" in note for note in fixed.notes)
