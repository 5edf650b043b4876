"""The widget of one picture or one playing clip, at a whole zoom, in half blocks or shades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.events import Resize
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from server.terminal.cells import MOST_ZOOM, fit, half_blocks, shades, size_in_cells

if TYPE_CHECKING:
    from pipelines.records import Pixels


class Picture(Widget):
    """Shows frames of one size in the middle of its room; `zoom` 0 is the largest that fits.

    A picture that is larger than the room at zoom 1 is cut off at the edges: its pixels stay whole.
    """

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; }"

    def __init__(self, *, plain: bool = False, id: str | None = None, classes: str | None = None) -> None:
        """Prepares an empty picture; `plain` draws shades of text instead of colours."""
        super().__init__(id=id, classes=classes)
        self._plain = plain
        self._frames: Sequence[Pixels] = ()
        self._at = 0
        self._zoom = 0
        self._drawn: dict[tuple[int, int], list[Strip]] = {}
        self._timer: Timer | None = None
        self.pan = (0, 0)

    def show(self, picture: Pixels | None) -> None:
        """Shows a still picture, or nothing."""
        self.play(() if picture is None else (picture,), 0)

    def play(self, frames: Sequence[Pixels], fps: float) -> None:
        """Shows frames one after the other, for ever."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._frames, self._at, self._drawn, self.pan = frames, 0, {}, (0, 0)
        if len(frames) > 1 and fps > 0:
            self._timer = self.set_interval(1 / fps, self._advance)
        self.refresh()

    def _advance(self) -> None:
        self._at = (self._at + 1) % max(len(self._frames), 1)
        self.refresh()

    @property
    def zoom(self) -> int:
        """The zoom in use: cells for each pixel in width."""
        if not self._frames:
            return 1
        height, width = self._frames[0].shape[:2]
        return self._zoom or fit(width, height, self.size.width, self.size.height)

    def change_zoom(self, by: int) -> None:
        """Makes the picture larger or smaller by whole steps; 0 goes back to what fits."""
        self._zoom = min(max(self.zoom + by, 1), MOST_ZOOM) if by else 0
        self._drawn, self.pan = {}, (0, 0)
        self.refresh()

    @property
    def frame(self) -> Pixels | None:
        """The picture that is shown now."""
        return self._frames[self._at] if self._frames else None

    @property
    def cut(self) -> bool:
        """Whether the picture is larger than its room."""
        if (frame := self.frame) is None:
            return False
        columns, rows = size_in_cells(frame.shape[1], frame.shape[0], self.zoom)
        return columns > self.size.width or rows > self.size.height

    def move(self, columns: int, rows: int) -> None:
        """Looks at another part of a picture that is cut off."""
        self.pan = (self.pan[0] + columns, self.pan[1] + rows) if self.cut else (0, 0)
        self.refresh()

    def on_resize(self, _: Resize) -> None:
        """Chooses the zoom again: the largest that fits may be another one."""
        self.pan = (0, 0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """See `Widget.render_line`."""
        width, style = self.size.width, self.rich_style
        if (frame := self.frame) is None:
            return Strip.blank(width, style)
        zoom = self.zoom
        columns, rows = size_in_cells(frame.shape[1], frame.shape[0], zoom)
        left, top = (width - columns) // 2, (self.size.height - rows) // 2
        if columns > width:
            left = min(max(left - self.pan[0], width - columns), 0)
        if rows > self.size.height:
            top = min(max(top - self.pan[1], self.size.height - rows), 0)
        if not 0 <= y - top < rows:
            return Strip.blank(width, style)
        line = self._lines(zoom, columns)[y - top]
        if left < 0:
            return line.crop(-left, -left + width)
        return Strip.join([Strip.blank(left, style), line, Strip.blank(width - left - columns, style)])

    def _lines(self, zoom: int, columns: int) -> list[Strip]:
        key = (self._at, zoom)
        if key not in self._drawn:
            draw = shades if self._plain else half_blocks
            style = self.rich_style
            self._drawn[key] = [
                Strip(Segment.apply_style(line, style), columns) for line in draw(self._frames[self._at], zoom)
            ]
        return self._drawn[key]
