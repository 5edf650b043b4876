"""Sheets come apart into the very pixels that were put into them, or are refused with what is left over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.animation.sheet_files import layout_of, parse_layout, playing_order
from pipelines.animation.slicing import cut, names_of, preview, slice_grid
from pipelines.errors import InvalidRequest
from pipelines.records import Pixels
from tests.loras.pictures import save

BLACK, MAGENTA, CLEAR = (0, 0, 0, 255), (255, 0, 255, 255), (0, 0, 0, 0)


def blobs(count: int, width: int = 16, height: int = 16, seed: int = 0) -> list[Pixels]:
    """Different drawings on a clear background, each of another extent, the first over the whole tile but 1 px."""
    rng = np.random.default_rng(seed)
    pictures = []
    for index in range(count):
        picture = np.zeros((height, width, 4), np.uint8)
        left, top = (1, 1) if index == 0 else rng.integers(1, 4, 2)
        right, bottom = (width - 1, height - 1) if index == 0 else (width, height) - rng.integers(1, 4, 2)
        picture[top:bottom, left:right, :3] = rng.integers(1, 200, (bottom - top, right - left, 3))
        picture[top:bottom, left:right, 3] = 255
        pictures.append(picture)
    return pictures


def full(count: int, width: int = 16, height: int = 16, seed: int = 0) -> list[Pixels]:
    """Opaque tiles with noise up to their edges."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(1, 200, (count, height, width, 4), dtype=np.uint8)
    tiles[..., 3] = 255
    return list(tiles)


def laid(
    tiles: Sequence[Pixels], columns: int, gap: int = 0, margin: int = 0, color: tuple[int, ...] = CLEAR, rest: int = 0
) -> Pixels:
    """The tiles on a sheet whose gutters have one colour; `rest` more columns at the right."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    size = rows * (height + gap) - gap + 2 * margin, columns * (width + gap) - gap + 2 * margin + rest
    sheet = np.empty((*size, 4), np.uint8)
    sheet[:] = color
    for index, tile in enumerate(tiles):
        y, x = margin + index // columns * (height + gap), margin + index % columns * (width + gap)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def same(pieces: Sequence[Pixels], tiles: Sequence[Pixels]) -> bool:
    return len(pieces) == len(tiles) and all(np.array_equal(a, b) for a, b in zip(pieces, tiles, strict=True))


@settings(deadline=None, max_examples=60)
@given(
    columns=st.integers(1, 5),
    rows=st.integers(1, 4),
    width=st.sampled_from([8, 16, 17, 24]),
    height=st.sampled_from([8, 16, 24]),
    gap=st.integers(0, 3),
    margin=st.integers(0, 3),
    color=st.sampled_from([CLEAR, BLACK, MAGENTA]),
    opaque=st.booleans(),
)
def test_a_grid_of_a_known_tile_size_is_cut_at_any_gap_and_margin(
    columns: int, rows: int, width: int, height: int, gap: int, margin: int, color: tuple[int, ...], opaque: bool
) -> None:
    tiles = (full if opaque else blobs)(columns * rows, width, height)
    sheet = laid(tiles, columns, gap, margin, color)
    pieces = cut(sheet, slice_grid(sheet, "s.png", (width, height)))
    if color == CLEAR and not opaque:  # a clear gutter and a tile's own clear border look the same
        assert same([trimmed(piece)[0] for piece in pieces], [trimmed(tile)[0] for tile in tiles])
    else:
        assert same(pieces, tiles)


@pytest.mark.parametrize(("gap", "margin"), [(0, 0), (1, 1), (2, 0), (2, 1), (0, 2), (1, 0), (3, 3)])
def test_sprites_keep_their_place_in_the_tile_where_their_border_is_clear(gap: int, margin: int) -> None:
    tiles = blobs(9)
    sheet = laid(tiles, 3, gap, margin)
    assert same(cut(sheet, slice_grid(sheet, "s.png", (16, 16))), tiles)


@pytest.mark.parametrize("color", [CLEAR, BLACK, MAGENTA])
@pytest.mark.parametrize(("gap", "margin"), [(1, 1), (2, 0), (1, 0), (3, 2)])
def test_a_grid_of_opaque_tiles_is_found_by_its_gutters(color: tuple[int, ...], gap: int, margin: int) -> None:
    tiles = full(12)
    sheet = laid(tiles, 4, gap, margin, color)
    found = slice_grid(sheet, "s.png")
    assert same(cut(sheet, found), tiles)
    assert f"gap {gap} px" in found.how


@pytest.mark.parametrize(("gap", "margin"), [(0, 0), (1, 1), (2, 0)])
def test_a_grid_of_sprites_is_found_by_clear_lines(gap: int, margin: int) -> None:
    tiles = blobs(9)
    sheet = laid(tiles, 3, gap, margin)
    assert same(cut(sheet, slice_grid(sheet, "s.png")), tiles)


def test_a_row_of_frames_is_found() -> None:
    tiles = blobs(6)
    assert same(cut(laid(tiles, 6), slice_grid(laid(tiles, 6), "s.png")), tiles)


def test_empty_cells_are_left_out_and_rows_are_runs() -> None:
    sheet = laid([*blobs(4), np.zeros((16, 16, 4), np.uint8), *blobs(1, seed=7)], 3)
    found = slice_grid(sheet, "s.png", (16, 16))
    assert [run.pieces for run in found.runs] == [(0, 1, 2), (3, 4)]
    assert (found.pieces[4].x, found.pieces[4].y) == (32, 16)


def test_a_clear_rest_at_the_right_does_not_matter() -> None:
    tiles = blobs(4)
    sheet = laid(tiles, 4, rest=10)
    assert same(cut(sheet, slice_grid(sheet, "s.png", (16, 16))), tiles)


@pytest.mark.parametrize(
    ("tile", "sheet", "says"),
    [
        ((16, 16), laid(full(9), 3)[:, :44], "16x16 leave 12 columns of pixels over"),
        ((20, 18), laid(full(9), 3), "leave 8 columns and 12 rows of pixels over"),
        ((64, 64), laid(full(9), 3), "less than one tile of 64x64"),
        (None, laid(full(9), 3), "No grid can be seen"),
        ((16, 16), np.zeros((32, 32, 4), np.uint8), "every cell is empty"),
    ],
)
def test_what_proves_no_grid_is_refused(tile: tuple[int, int] | None, sheet: Pixels, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        slice_grid(sheet, "s.png", tile)


def test_a_given_gap_and_margin_rule() -> None:
    sheet = laid(full(4), 2, gap=2, margin=1, color=BLACK)
    assert same(cut(sheet, slice_grid(sheet, "s.png", (16, 16), gap=2, margin=1)), full(4))
    with pytest.raises(InvalidRequest, match="with gap 1 and margin 0"):
        slice_grid(sheet, "s.png", (16, 16), gap=1, margin=0)


def trimmed(tile: Pixels) -> tuple[Pixels, dict[str, int]]:
    shown = tile[..., 3] > 0
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    part = tile[y : rows[-1] + 1, x : columns[-1] + 1]
    return part, {"x": x, "y": y, "w": part.shape[1], "h": part.shape[0]}


def packed(tiles: Sequence[Pixels], *, trim: bool, rotate: bool, spacing: int) -> tuple[Pixels, list[dict[str, Any]]]:
    """A sheet as an editor packs it, and its frames' records; every second frame lies turned where `rotate`."""
    sheet = np.zeros((64, 400, 4), np.uint8)
    frames, x = [], spacing
    for index, tile in enumerate(tiles):
        box = {"x": 0, "y": 0, "w": tile.shape[1], "h": tile.shape[0]}
        part, box = trimmed(tile) if trim else (tile, box)
        turned = rotate and index % 2 == 1
        lying = np.rot90(part, -1) if turned else part
        sheet[spacing : spacing + lying.shape[0], x : x + lying.shape[1]] = lying
        frames.append(
            {
                "frame": {"x": x, "y": spacing, "w": box["w"], "h": box["h"]},
                "rotated": turned,
                "trimmed": trim,
                "spriteSourceSize": box,
                "sourceSize": {"w": tile.shape[1], "h": tile.shape[0]},
                "duration": 100 + index,
            }
        )
        x += lying.shape[1] + spacing
    return sheet, frames


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("form", ["array", "hash", "multipack"])
def test_an_editors_layout_gives_the_drawn_pixels_back(tmp_path: Path, trim: bool, rotate: bool, form: str) -> None:
    tiles = blobs(5, 16, 24)
    sheet, frames = packed(tiles, trim=trim, rotate=rotate, spacing=2)
    names = [f"hero {i}.aseprite" for i in range(5)]
    named = [{"filename": n, **f} for n, f in zip(names, frames, strict=True)]
    data: dict[str, Any] = {
        "array": {"frames": named, "meta": {"image": "s.png", "size": {"w": 1, "h": 1}}},
        "hash": {"frames": dict(zip(names, frames, strict=True)), "meta": {"app": "https://www.aseprite.org/"}},
        "multipack": {"textures": [{"image": "other.png", "frames": []}, {"image": "s.png", "frames": named}]},
    }[form]
    (tmp_path / "s.json").write_text(json.dumps(data), encoding="utf-8-sig")
    found = layout_of(save(tmp_path / "s.png", sheet))
    assert found
    assert same(cut(sheet, found), tiles)
    assert [piece.duration for piece in found.pieces] == [100, 101, 102, 103, 104]
    assert [(run.name, run.pieces) for run in found.runs] == [("hero", (0, 1, 2, 3, 4))]


def test_a_layout_of_another_name_is_found_by_the_picture_that_it_names(tmp_path: Path) -> None:
    sheet, frames = packed(blobs(2), trim=True, rotate=False, spacing=1)
    (tmp_path / "layout.json").write_text(json.dumps({"frames": frames, "meta": {"image": "art/s.png"}}))
    (tmp_path / "level.json").write_text('{"hp": 3}')
    (tmp_path / "broken.json").write_text("{")
    assert layout_of(save(tmp_path / "s.png", sheet)) is not None
    assert layout_of(save(tmp_path / "alone.png", sheet)) is None


@pytest.mark.parametrize(
    ("direction", "repeat", "order"),
    [
        ("forward", 0, (1, 2, 3)),
        ("reverse", 0, (3, 2, 1)),
        ("pingpong", 0, (1, 2, 3, 2)),
        ("pingpong_reverse", 0, (3, 2, 1, 2)),
        ("forward", 2, (1, 2, 3, 1, 2, 3)),
        ("pingpong", 1, (1, 2, 3)),
        ("pingpong", 2, (1, 2, 3, 2, 1)),
        ("pingpong", 3, (1, 2, 3, 2, 1, 2, 3)),
    ],
)
def test_a_tag_plays_as_aseprite_plays_it(direction: str, repeat: int, order: tuple[int, ...]) -> None:
    assert playing_order(1, 3, direction, repeat) == order


def test_tags_become_runs_with_direction_and_repeat() -> None:
    _, frames = packed(blobs(4), trim=False, rotate=False, spacing=0)
    tags = [
        {"name": "walk", "from": 0, "to": 1, "direction": "pingpong"},
        {"name": "die", "from": 2, "to": 3, "direction": "reverse", "repeat": "1"},
    ]
    found = parse_layout({"frames": frames, "meta": {"frameTags": tags}}, "s.json")
    assert found
    assert [(run.name, run.pieces, run.loop) for run in found.runs] == [("walk", (0, 1), True), ("die", (3, 2), False)]


def test_animations_of_texture_packer_are_runs() -> None:
    _, frames = packed(blobs(3), trim=False, rotate=False, spacing=0)
    hashed = dict(zip(("a.png", "b.png", "c.png"), frames, strict=True))
    found = parse_layout({"frames": hashed, "animations": {"walk": ["c.png", "a.png"]}}, "s.json")
    assert found
    assert [(run.name, run.pieces) for run in found.runs] == [("walk", (2, 0))]


def test_our_own_layout_is_read() -> None:
    clips = {"die": {"first": 2, "last": 3, "fps": 4, "loop": False}}
    data = {"image": "s.png", "tile_size": [16, 16], "columns": 2, "rows": 2, "animations": clips}
    tiles = full(4)
    found = parse_layout(data, "s.sheet.json")
    assert found
    assert same(cut(laid(tiles, 2), found), tiles)
    assert [(run.name, run.pieces, run.loop) for run in found.runs] == [("die", (2, 3), False)]
    assert found.pieces[3].duration == 250


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ({"frame": {"x": 60, "y": 0, "w": 16, "h": 16}}, "outside the picture of 64x16"),
        ({"frame": {"x": 0, "y": 0, "w": 16}}, r"s\.json: frame 0 .* is not complete"),
        ({"frame": {"x": 0, "y": 0, "w": 16, "h": 0}}, "has 16x0 pixels"),
        ({"frame": {"x": 0, "y": 0, "w": 1.5, "h": 8}}, "not a whole number"),
        ({"frame": {"x": 0, "y": 0, "w": 8, "h": 8}, "sourceSize": {"w": 4, "h": 8}}, "does not fit its canvas"),
    ],
)
def test_a_layout_with_a_mistake_is_refused_by_name(frame: dict[str, Any], says: str) -> None:
    def read() -> None:
        found = parse_layout({"frames": [frame]}, "s.json")
        assert found
        cut(laid(full(4), 4), found)

    with pytest.raises(InvalidRequest, match=says):
        read()


def test_the_preview_frames_every_piece_and_dims_the_rest() -> None:
    sheet = laid(full(4), 2, gap=2, margin=2, color=MAGENTA)
    shown = preview(sheet, slice_grid(sheet, "s.png", (16, 16)), longest=114)
    assert shown.shape == (114, 114, 4)
    assert tuple(shown[0, 0, :3]) == (85, 0, 85)
    assert tuple(shown[6, 6, :3]) == (255, 64, 160)


def test_repeated_names_are_numbered() -> None:
    sheet, frames = packed(blobs(3), trim=False, rotate=False, spacing=0)
    found = parse_layout({"frames": [{"filename": "a", **frame} for frame in frames]}, "s.json")
    assert found
    assert names_of(found.pieces) == ["a", "a 2", "a 3"]
    assert len(cut(sheet, found)) == 3


def test_clear_sheets_are_cut_where_their_size_divides_them_not_at_the_drawings_edges() -> None:
    """Every drawing leaves the same air around it: cells of 6x7 with gaps fit too, but nobody lays them out so."""
    tile = np.zeros((8, 8, 4), np.uint8)
    tile[1:8, 1:7] = (*MAGENTA[:3], 255)
    tile[1:4, [1, 6]] = tile[5:7, 3] = 0
    sheet = np.tile(tile, (3, 3, 1))
    assert same(cut(sheet, slice_grid(sheet, "s.png")), [tile] * 9)


def test_tiles_that_touch_are_not_cut_in_pairs() -> None:
    """Two drawings reach across one cut each, so that only cells of twice the size are quite free."""
    rng = np.random.default_rng(3)
    tile = np.zeros((16, 16, 4), np.uint8)
    tile[2:14, 2:14] = rng.integers(0, 256, (12, 12, 4)) | np.array([0, 0, 0, 255])
    sheet = np.tile(tile, (4, 6, 1))
    sheet[8, 12:20] = sheet[12:20, 8] = (255, 255, 255, 255)
    with pytest.raises(InvalidRequest, match="Give"):
        slice_grid(sheet, "s.png")
    assert len(slice_grid(sheet, "s.png", (16, 16)).pieces) == 24


def test_a_single_cut_proves_nothing_and_the_likely_size_is_named() -> None:
    sheet = np.zeros((16, 32, 4), np.uint8)
    sheet[1:15, 1:11] = sheet[0:16, 17:31] = 255
    with pytest.raises(InvalidRequest, match=r"may be 2x1 tiles of 16x16 px.*width=16"):
        slice_grid(sheet, "s.png")
