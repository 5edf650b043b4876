"""Pictures in cells: every pixel is a whole number of half cells, and the pixels can be read back."""

from __future__ import annotations

import numpy as np
import pytest

from server.desk.sheets import clips_of
from server.features.preview import on_chequers
from server.terminal.cells import CHEQUERS, fit, half_blocks, shades, size_in_cells
from server.terminal.picture import Picture
from tests.fakes import fake_picture
from tests.server.terminal.driving import OpenStudio, decode_half_blocks


@pytest.mark.parametrize("seed", range(20))
def test_half_blocks_hold_exactly_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height, zoom = (int(rng.integers(1, most)) for most in (25, 25, 5))
    picture = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    lines = half_blocks(picture, zoom)
    columns, rows = size_in_cells(width, height, zoom)
    assert [sum(len(segment.text) for segment in line) for line in lines] == [columns] * rows
    whole = height * zoom // 2 * 2  # a last half row has the terminal's own background below
    wanted = on_chequers(picture, CHEQUERS)[..., :3].repeat(zoom, 0).repeat(zoom, 1)[:whole]
    assert (decode_half_blocks(lines)[:whole] == wanted).all()


@pytest.mark.parametrize("seed", range(50))
def test_the_zoom_is_the_largest_that_fits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height, columns, rows = (int(rng.integers(1, most)) for most in (65, 65, 201, 61))
    zoom = fit(width, height, columns, rows)
    across, down = size_in_cells(width, height, zoom)
    assert zoom == 1 or (across <= columns and down <= rows)
    across, down = size_in_cells(width, height, zoom + 1)
    assert zoom == 16 or across > columns or down > rows


def test_without_colours_a_picture_is_shades_of_text() -> None:
    picture = np.zeros((4, 4, 4), np.uint8)
    picture[:, 2:] = (255, 255, 255, 255)
    picture[2:, :2] = (0, 0, 0, 255)
    assert ["".join(segment.text for segment in line) for line in shades(picture)] == ["  @@", "..@@"]


@pytest.mark.anyio
@pytest.mark.parametrize("size", [(80, 24), (200, 60), (61, 21)])
async def test_the_window_shows_each_pixel_as_the_same_number_of_cells(
    open_studio: OpenStudio, size: tuple[int, int]
) -> None:
    async with open_studio(size) as pilot:
        picture = fake_picture("golem", 3, 16, 16)
        widget = pilot.app.screen.query_one("#big", Picture)
        pilot.app.screen.query_one("#stage").remove_class("empty")
        widget.show(picture)
        await pilot.pause()
        zoom, (columns, rows) = widget.zoom, size_in_cells(16, 16, widget.zoom)
        pixels = decode_half_blocks([list(widget.render_line(y)) for y in range(widget.size.height)])
        left, top = (widget.size.width - columns) // 2, (widget.size.height - rows) // 2 * 2
        shown = pixels[top : top + 16 * zoom, left : left + columns]
        assert (shown == on_chequers(picture, CHEQUERS)[..., :3].repeat(zoom, 0).repeat(zoom, 1)).all()


def test_a_sheet_is_cut_into_the_frames_of_its_clips() -> None:
    sheet = np.arange(4 * 6 * 4, dtype=np.uint8).reshape(4, 6, 4)
    clips = {
        "idle": {"first": 0, "last": 1, "fps": 4.0},
        "walk": {"first": 3, "last": 5},
        "lost": {"first": 6, "last": 9},
    }
    layout = {"tile_size": [2, 2], "columns": 3, "animations": clips}
    frames, fps = clips_of(sheet, layout)
    assert list(frames) == ["idle", "walk"]
    assert (frames["walk"][2] == sheet[2:4, 4:6]).all()
    assert fps == {"idle": 4.0, "walk": 8.0}


@pytest.mark.anyio
async def test_a_clip_plays_on(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        frames = [fake_picture("golem", seed, 8, 8) for seed in range(3)]
        widget = pilot.app.screen.query_one("#big", Picture)
        widget.play(frames, 60)
        seen: set[int] = set()
        for _ in range(2000):
            await pilot.pause(0.005)
            seen |= {index for index, frame in enumerate(frames) if widget.frame is frame}
            if len(seen) == 3:
                break
        assert seen == {0, 1, 2}
