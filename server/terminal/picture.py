"""The widget of one picture or one playing clip, at a whole zoom: graphics of the terminal, half blocks or shades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rich.control import Control
from rich.segment import Segment
from textual.events import Resize
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from server.terminal.cells import CHEQUERS, MOST_ZOOM, fit, half_blocks, shades, size_in_cells

if TYPE_CHECKING:
    from pipelines.records import Pixels
    from server.terminal.app import StudioApp
    from server.terminal.graphics import Drawing, Graphics


class Picture(Widget):
    """Shows frames of one size in the middle of its room; `zoom` 0 is the largest that fits.

    A picture that is larger than the room at zoom 1 is cut off at the edges: its pixels stay whole.
    """

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; }"

    @dataclass
    class Fitted(Message):
        """The room has another size, so what fits may be another zoom."""

        picture: Picture

        @property
        def control(self) -> Picture:
            """See `Message.control`."""
            return self.picture

    def __init__(self, *, plain: bool = False, id: str | None = None, classes: str | None = None) -> None:
        """Prepares an empty picture; `plain` draws shades of text instead of colours."""
        super().__init__(id=id, classes=classes)
        self._plain = plain
        self._frames: Sequence[Pixels] = ()
        self._at = 0
        self._zoom = 0
        self._drawn: dict[tuple[int, int], list[Strip]] = {}
        self._timer: Timer | None = None
        self._drawings: dict[int, Drawing | None] = {}
        """The terminal's graphics of the frames, as long as size, zoom and pan stay."""
        self._sent: set[int] = set()
        """Numbers of the pictures that Kitty holds."""
        self.pan = (0, 0)

    def show(self, picture: Pixels | None) -> None:
        """Shows a still picture, or nothing."""
        self.play(() if picture is None else (picture,), 0)

    def play(self, frames: Sequence[Pixels], fps: float) -> None:
        """Shows frames one after the other, for ever."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._frames, self._at, self.pan = frames, 0, (0, 0)
        self._forget()
        if len(frames) > 1 and fps > 0:
            self._timer = self.set_interval(1 / fps, self._advance)
        self.refresh()

    def _forget(self) -> None:
        """Draws all frames once more."""
        self._drawn, self._drawings = {}, {}

    @property
    def _graphics(self) -> Graphics | None:
        """The terminal's graphics; a dialog dims what is below it, which they cannot be."""
        graphics = cast("StudioApp", self.app).graphics
        return graphics if graphics is not None and self.screen.is_current else None

    def _advance(self) -> None:
        self._at = (self._at + 1) % max(len(self._frames), 1)
        self.refresh()

    @property
    def zoom(self) -> int:
        """The zoom in use: cells for each pixel in width."""
        if not self._frames:
            return 1
        height, width = self._frames[0].shape[:2]
        if (graphics := cast("StudioApp", self.app).graphics) is not None:
            from server.terminal.graphics import fit_pixels

            return self._zoom or fit_pixels(width, height, self.size.width, self.size.height, graphics.cell)
        return self._zoom or fit(width, height, self.size.width, self.size.height)

    def change_zoom(self, by: int) -> None:
        """Makes the picture larger or smaller by whole steps; 0 goes back to what fits."""
        graphics = cast("StudioApp", self.app).graphics
        most = MOST_ZOOM if graphics is None else MOST_ZOOM * graphics.cell[0]
        self._zoom = min(max(self.zoom + by, 1), most) if by else 0
        self.pan = (0, 0)
        self._forget()
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
        if (graphics := cast("StudioApp", self.app).graphics) is not None:
            columns = -(-frame.shape[1] * self.zoom // graphics.cell[0])
            rows = -(-frame.shape[0] * self.zoom // graphics.cell[1])
        else:
            columns, rows = size_in_cells(frame.shape[1], frame.shape[0], self.zoom)
        return columns > self.size.width or rows > self.size.height

    def move(self, columns: int, rows: int) -> None:
        """Looks at another part of a picture that is cut off."""
        self.pan = (self.pan[0] + columns, self.pan[1] + rows) if self.cut else (0, 0)
        self._drawings = {}
        self.refresh()

    def on_resize(self, _: Resize) -> None:
        """Chooses the zoom again: the largest that fits may be another one."""
        self.pan = (0, 0)
        self._drawings = {}
        self.refresh()
        self.post_message(self.Fitted(self))

    def render_line(self, y: int) -> Strip:
        """See `Widget.render_line`."""
        width, style = self.size.width, self.rich_style
        if (frame := self.frame) is None:
            return Strip.blank(width, style)
        if (graphics := self._graphics) is not None and (drawing := self._drawing(frame, graphics)) is not None:
            return self._graphics_line(y, drawing, graphics)
        zoom = fit(frame.shape[1], frame.shape[0], width, self.size.height) if graphics else self.zoom
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

    def _drawing(self, frame: Pixels, graphics: Graphics) -> Drawing | None:
        """Returns the frame for the terminal; None where its graphics cannot show it."""
        if self._at not in self._drawings:
            from server.features.preview import on_chequers
            from server.terminal.graphics import canvas, draw

            room = (self.size.width, self.size.height)
            whole = canvas(on_chequers(frame, CHEQUERS), self.zoom, room, self.pan, graphics.cell)
            self._drawings[self._at] = draw(whole, graphics) if whole.size else None
        return self._drawings[self._at]

    def _graphics_line(self, y: int, drawing: Drawing, graphics: Graphics) -> Strip:
        from server.terminal.graphics import placeholders, raw

        width, height, style = self.size.width, self.size.height, self.rich_style
        left, top = (width - drawing.columns) // 2, (height - drawing.rows) // 2
        if graphics.kind == "sixel":
            if y < height - 1:
                return Strip.blank(width, style)
            place = self.region.offset  # behind the last line: the cells below it are written before
            move = Control.move_to(place.x + left, place.y + top).segment.text
            last = [Segment(" " * (width - 1), style), raw(f"\x1b7{move}{drawing.data}\x1b8"), Segment(" ", style)]
            return Strip(last, width)
        if not top <= y < top + drawing.rows:
            return Strip.blank(width, style)
        cells = [placeholders(drawing, y - top)]
        if y == top and drawing.number not in self._sent:
            cells.insert(0, raw(self._exchange(drawing)))
        right = width - left - drawing.columns
        return Strip.join([Strip.blank(left, style), Strip(cells, drawing.columns), Strip.blank(right, style)])

    def _exchange(self, drawing: Drawing) -> str:
        """Returns what sends a picture to Kitty, and frees those that are shown no longer."""
        from server.terminal.graphics import kitty_delete

        used = {other.number for other in self._drawings.values() if other}
        gone = self._sent - used
        self._sent = (self._sent & used) | {drawing.number}
        return "".join(map(kitty_delete, sorted(gone))) + drawing.data
