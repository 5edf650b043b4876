"""Drive the studio's app with Textual's pilot, and read what the window shows."""

from __future__ import annotations

import asyncio
import base64
import html
import re
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from textual.events import Paste
from textual.pilot import Pilot

from server.terminal.app import StudioApp
from server.terminal.graphics import PLACEHOLDER, Graphics

CELL_WIDTH = 12.2
"""Of the pictures that Textual makes of a window."""


class OpenStudio(Protocol):
    """See the fixture `open_studio`."""

    def __call__(
        self, size: tuple[int, int] = (80, 24), *, plain: bool = False, graphics: Graphics | None = None
    ) -> AbstractAsyncContextManager[Pilot[None]]: ...


def studio_of(pilot: Pilot[None]) -> StudioApp:
    """The app, by its own type."""
    return cast(StudioApp, pilot.app)


async def until(pilot: Pilot[None], holds: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(240):
        while not holds():
            await pilot.pause(0.02)


async def settled(pilot: Pilot[None]) -> None:
    """Wait until nothing runs and everything is drawn."""
    await until(pilot, lambda: not studio_of(pilot).tasks)
    await pilot.pause()


async def write(pilot: Pilot[None], text: str) -> None:
    """Type the first letter of a text and paste the rest: every key redraws the window."""
    await pilot.press(text[0])
    assert pilot.app.focused
    pilot.app.focused.post_message(Paste(text[1:]))
    await pilot.pause()


def window_text(pilot: Pilot[None]) -> str:
    """What the window shows, in reading order, with single spaces."""
    return " ".join(" ".join(window_lines(pilot)).split())


def window_lines(pilot: Pilot[None]) -> list[str]:
    """The lines of the window, without spaces at their ends, read from the picture that Textual makes of it."""
    svg = pilot.app.export_screenshot()
    lines: dict[float, str] = {}
    for x, y, text in re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)" textLength=[^>]*>([^<]*)</text>', svg):
        column = round(float(x) / CELL_WIDTH)
        lines[float(y)] = lines.get(float(y), "").ljust(column) + html.unescape(text).replace("\xa0", " ")
    return [line.rstrip() for _, line in sorted(lines.items())]


def decode_half_blocks(lines: list[list[Segment]]) -> NDArray[np.uint8]:
    """The pixels of half-block lines, (2 * lines, cells, 3); other cells are black."""
    rows = []
    for line in lines:
        top: list[tuple[int, int, int]] = []
        bottom: list[tuple[int, int, int]] = []
        for text, style, _ in line:
            for letter in text:
                if letter == "▀" and style and style.color and style.bgcolor:
                    top.append(tuple(style.color.get_truecolor()))  # type: ignore[arg-type]
                    bottom.append(tuple(style.bgcolor.get_truecolor()))  # type: ignore[arg-type]
                else:
                    top.append((0, 0, 0))
                    bottom.append((0, 0, 0))
        rows += [top, bottom]
    return np.array(rows, np.uint8)


def decode_sixel(text: str) -> NDArray[np.uint8]:
    """The last Sixel picture of an output, (height, width, 4); what it does not set is transparent.

    By DEC's manual: raster attributes, colour registers in percent, repeats, `$` back to the left, `-` six rows on.
    """
    body = re.findall(r"\x1bP[0-9;]*q(.*?)\x1b\\", text, re.DOTALL)[-1]
    size = re.match(r'"1;1;(\d+);(\d+)', body)
    assert size
    picture = np.zeros((int(size[2]), int(size[1]), 4), np.uint8)
    registers: dict[int, tuple[int, int, int]] = {}
    x = top = color = 0
    for token in re.findall(r"#\d+(?:;\d+){0,4}|!\d+.|.", body[size.end() :], re.DOTALL):
        if token[0] == "#":
            color, *rgb = (int(word) for word in token[1:].split(";"))
            if rgb:
                registers[color] = (rgb[1], rgb[2], rgb[3])
        elif token == "$":
            x = 0
        elif token == "-":
            x, top = 0, top + 6
        else:
            count, bits = (int(token[1:-1]), ord(token[-1]) - 63) if token[0] == "!" else (1, ord(token) - 63)
            for row in range(6):
                if bits >> row & 1:
                    percent = registers[color]
                    picture[top + row, x : x + count] = (*(round(part * 2.55) for part in percent), 255)
            x += count
    return picture


def decode_kitty(text: str) -> dict[int, NDArray[np.uint8]]:
    """The pictures that Kitty was sent, by number, (height, width, 4)."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    keys: dict[str, str] = {}
    data = ""
    for head, payload in re.findall(r"\x1b_G([^;\x1b]*);?([^\x1b]*)\x1b\\", text):
        given = dict(pair.split("=") for pair in head.split(","))
        if given.get("a") in ("d", "q"):
            continue
        keys, data = {**keys, **given}, data + payload
        if keys.get("m") == "0":
            assert (keys["f"], keys["o"], keys["U"]) == ("32", "z", "1")
            pixels = np.frombuffer(zlib.decompress(base64.b64decode(data)), np.uint8)
            pictures[int(keys["i"])] = pixels.reshape(int(keys["v"]), int(keys["s"]), 4)
            keys, data = {}, ""
    return pictures


def placeholder_cells(text: str) -> list[tuple[int, int, int]]:
    """(picture, row, column) of each of Kitty's placeholders in an output, in its order.

    A placeholder without marks follows the one on its left.
    """
    codes = "305 30d 30e 310 312 33d 33e 33f 346 34a 34b 34c 350 351 352 357 35b 363 364 365 366"
    marks = [chr(int(code, 16)) for code in codes.split()]
    cells: list[tuple[int, int, int]] = []
    number = 0
    for token in re.findall(rf"\x1b\[[0-9;]*m|{PLACEHOLDER}[{''.join(marks)}]*", text):
        if len(token) == 3:
            cells.append((number, marks.index(token[1]), marks.index(token[2])))
        elif token == PLACEHOLDER:
            cells.append((number, cells[-1][1], cells[-1][2] + 1))
        elif found := re.search(r"38;2;(\d+);(\d+);(\d+)", token):
            number = int(found[1]) << 16 | int(found[2]) << 8 | int(found[3])
    return cells
