"""Pictures as Kitty and Sixel graphics: what is sent is decoded, and compared pixel by pixel."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from pipelines.pixels.png import encode_png
from pipelines.records import Recipe
from server.features.preview import on_chequers
from server.library.store import Library
from server.terminal.cells import CHEQUERS
from server.terminal.graphics import Graphics, canvas, fit_pixels, kitty, row_marks, sixel
from server.terminal.picture import Picture
from server.terminal.probe import graphics_of
from tests.fakes import fake_picture
from tests.server.terminal.driving import OpenStudio, decode_kitty, decode_sixel, placeholder_cells

PROGRAM = Path(__file__).parent / "fake_studio.py"
CELL = (8, 16)


def in_percent(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture in the 101 levels a channel that Sixel has; transparent pixels are zeros."""
    levels = np.rint(np.rint(picture[..., :3] / 2.55) * 2.55).astype(np.uint8)
    return np.where(picture[..., 3:] >= 128, np.dstack([levels, np.full_like(levels[..., :1], 255)]), 0)


@pytest.mark.parametrize("seed", range(20))
def test_sixel_holds_exactly_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height, colors = (int(rng.integers(1, most)) for most in (70, 40, 250))
    palette = rng.integers(0, 256, (colors, 4), dtype=np.uint8)
    picture = palette[rng.integers(0, colors, (height, width))]
    picture = picture.repeat(int(rng.integers(1, 4)), 1)
    assert (decode_sixel(sixel(picture)) == in_percent(picture)).all()


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (200, 120)])
def test_kitty_holds_exactly_the_pixels(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    assert (decode_kitty(kitty(picture, 77, 3, 2))[77] == picture).all()


def test_a_picture_with_more_colours_than_registers_is_not_a_sixel() -> None:
    picture = np.full((1, 257, 4), 255, np.uint8)
    picture[0, :, 0], picture[0, :, 1] = np.arange(257) % 256, np.arange(257) // 256
    assert sixel(picture) == ""


def test_the_marks_of_rows_are_those_of_kittys_table() -> None:
    assert [hex(ord(mark)) for mark in row_marks()[:8]] == [
        *("0x305", "0x30d", "0x30e", "0x310", "0x312", "0x33d", "0x33e", "0x33f")
    ]
    assert len(row_marks()) > 100


@pytest.mark.parametrize("seed", range(30))
def test_a_canvas_is_whole_cells_and_holds_the_picture_or_its_middle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height, scale, columns, rows = (int(rng.integers(1, most)) for most in (30, 30, 9, 30, 20))
    picture = rng.integers(1, 256, (height, width, 4), dtype=np.uint8)
    whole = canvas(picture, scale, (columns, rows), (0, 0), CELL)
    assert whole.shape[1] % CELL[0] == whole.shape[0] % CELL[1] == 0
    assert whole.shape[1] <= columns * CELL[0]
    large = picture.repeat(scale, 0).repeat(scale, 1)
    top, left = (whole.shape[0] - large.shape[0]) // 2, (whole.shape[1] - large.shape[1]) // 2
    if top >= 0 and left >= 0:
        assert (whole[top : top + large.shape[0], left : left + large.shape[1]] == large).all()
        assert int((whole[..., 3] > 0).sum()) == large.shape[0] * large.shape[1]
    fitting = fit_pixels(width, height, columns, rows, CELL)
    assert fitting == 1 or (width * fitting <= columns * CELL[0] and height * fitting <= rows * CELL[1])


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["kitty", "sixel"])
async def test_the_window_shows_the_picture_enlarged_by_a_whole_number(
    open_studio: OpenStudio, kind: Literal["kitty", "sixel"]
) -> None:
    async with open_studio(graphics=Graphics(kind, CELL)) as pilot:
        picture = fake_picture("golem", 3, 16, 16)
        widget = pilot.app.screen.query_one("#big", Picture)
        pilot.app.screen.query_one("#stage").remove_class("empty")
        widget.show(picture)
        await pilot.pause()
        console = Console(color_system="truecolor", force_terminal=True)
        for zoom in (widget.zoom, 5):
            widget.change_zoom(zoom - widget.zoom)
            lines = [widget.render_line(y) for y in range(widget.size.height)]
            assert {line.cell_length for line in lines} == {widget.size.width}
            text = "\n".join(line.render(console) for line in lines)
            large = on_chequers(picture, CHEQUERS).repeat(zoom, 0).repeat(zoom, 1)
            shown = decode_sixel(text) if kind == "sixel" else list(decode_kitty(text).values())[-1]
            top, left = ((shown.shape[i] - large.shape[i]) // 2 for i in (0, 1))
            wanted = np.zeros_like(shown)
            wanted[top : top + large.shape[0], left : left + large.shape[1]] = large
            assert (shown == (in_percent(wanted) if kind == "sixel" else wanted)).all()
            if kind == "kitty":
                number = max(decode_kitty(text))
                cells = placeholder_cells(text)
                columns, rows = shown.shape[1] // CELL[0], shown.shape[0] // CELL[1]
                assert cells == [(number, row, column) for row in range(rows) for column in range(columns)]
                again = "\n".join(widget.render_line(y).render(console) for y in range(widget.size.height))
                assert not decode_kitty(again)  # Kitty holds it


@pytest.mark.parametrize(
    ("answer", "wanted", "kind"),
    [
        ("\x1b[6;16;8t\x1b[?62;4c", "auto", "sixel"),
        ("\x1b_Gi=31;OK\x1b\\\x1b[6;16;8t\x1b[?62c", "auto", "kitty"),
        ("\x1b_Gi=31;OK\x1b\\\x1b[6;16;8t\x1b[?62;4c", "auto", "sixel"),
        ("\x1b[6;16;8t\x1b[?64;1;2c", "auto", ""),
        ("\x1b[6;16;8t\x1b[?62c", "kitty", "kitty"),
        ("\x1b[6;16;8t\x1b[?62;4c", "blocks", ""),
        ("\x1b[6;0;0t\x1b[?62;4c", "auto", ""),
        ("", "auto", ""),
    ],
)
def test_the_terminals_answers_choose_the_graphics(
    answer: str, wanted: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    found = graphics_of(answer, wanted)
    assert (found.kind if found else "") == kind
    assert found is None or found.cell == (8, 16)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it needs pseudo-terminals as Linux has them")
@pytest.mark.parametrize("kind", ["kitty", "sixel"])
def test_a_terminal_with_graphics_gets_the_pixels_of_the_newest_sprite(game: Path, tmp_path: Path, kind: str) -> None:
    picture = fake_picture("golem", 1, 16, 16)
    library = Library(game / ".dgx-pixels")
    library.add("sprite", {"sprite.png": encode_png(picture)}, Recipe("sprite", "golem", 16, 16, seed=1))
    library.close()
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX")}
    program = subprocess.Popen(
        (sys.executable, PROGRAM, tmp_path / "data"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )
    os.close(slave)
    text, deadline, answered = b"", time.monotonic() + 240, False
    large = on_chequers(picture, CHEQUERS)
    while True:
        assert time.monotonic() < deadline, text[-2000:]
        if select.select([master], [], [], 1)[0]:
            text += os.read(master, 1 << 16)
        if not answered and b"\x1b[c" in text:
            graphics = b"\x1b_Gi=31;OK\x1b\\" if kind == "kitty" else b""
            os.write(master, graphics + b"\x1b[6;16;8t\x1b[?62%sc" % (b";4" if kind == "sixel" else b""))
            answered = True
        decoded = text.decode(errors="ignore")
        if kind == "sixel" and re.search(r"\x1bP0;1;0q.*\x1b\\", decoded, re.DOTALL):
            shown = decode_sixel(decoded)
            break
        if kind == "kitty" and decode_kitty(decoded) and placeholder_cells(decoded):
            shown = list(decode_kitty(decoded).values())[-1]
            break
    os.close(master)
    program.wait(240)
    solid = np.argwhere(shown[..., 3] > 0)
    (top, left), (bottom, right) = solid.min(0), solid.max(0) + 1
    scale = (right - left) // 16
    assert (bottom - top, right - left) == (16 * scale, 16 * scale)
    wanted = large.repeat(scale, 0).repeat(scale, 1)
    assert (shown[top:bottom, left:right] == (in_percent(wanted) if kind == "sixel" else wanted)).all()
