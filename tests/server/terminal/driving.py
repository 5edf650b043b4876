"""Drive the studio's app with Textual's pilot, and read what the window shows."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from textual.events import Paste
from textual.pilot import Pilot

from server.terminal.app import StudioApp


class OpenStudio(Protocol):
    """See the fixture `open_studio`."""

    def __call__(
        self, size: tuple[int, int] = (80, 24), *, plain: bool = False
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
    svg = pilot.app.export_screenshot()
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg):
        rows.setdefault(float(y), []).append((float(x), html.unescape(text).replace("\xa0", " ")))
    lines = ("".join(text for _, text in sorted(row)) for _, row in sorted(rows.items()))
    return " ".join(" ".join(lines).split())


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
