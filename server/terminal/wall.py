"""A wall of pictures with captions: a grid where there is room for at least four, else a list of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from server.terminal.cells import half_blocks, shades, size_in_cells

if TYPE_CHECKING:
    from pipelines.records import Pixels

GAP = 2


@dataclass(frozen=True, eq=False)
class Item:
    """One place of the wall. `mark` comes before the caption: kept, deployed."""

    key: str
    caption: str
    picture: Pixels | None = None
    mark: str = " "
    note: str = ""
    """Stands at the right end of a line of a list."""


class Wall(Widget, can_focus=True):
    """Items in reading order; one is chosen."""

    DEFAULT_CSS = "Wall { width: 1fr; height: 1fr; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"wall--chosen", "wall--quiet"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Previous", show=False),
        Binding("right", "move(1)", "Next", show=False),
        Binding("up", "line(-1)", "Above", show=False),
        Binding("down", "line(1)", "Below", show=False),
        Binding("pageup", "line(-5)", "Page up", show=False),
        Binding("pagedown", "line(5)", "Page down", show=False),
        Binding("home", "move(-100000)", "First", show=False),
        Binding("end", "move(100000)", "Last", show=False),
    ]
    chosen: reactive[int] = reactive(0)
    one_line: reactive[bool] = reactive(False)
    """Captions beside each other on one line, for windows without room for pictures."""

    @dataclass
    class Chosen(Message):
        """Another item was chosen."""

        wall: Wall
        item: Item

        @property
        def control(self) -> Wall:
            """See `Message.control`."""
            return self.wall

    @dataclass
    class Reached(Message):
        """The last line came into view: more may be loaded."""

        wall: Wall

        @property
        def control(self) -> Wall:
            """See `Message.control`."""
            return self.wall

    def __init__(self, *, plain: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._plain = plain
        self.items: list[Item] = []
        self._drawn: dict[str, list[Strip]] = {}
        self._top = 0

    # what it shows

    def fill(self, items: Sequence[Item], chosen: int = 0) -> None:
        """Shows other items."""
        self.items = list(items)
        self._drawn = {}
        self._top = 0
        self.set_reactive(Wall.chosen, min(max(chosen, 0), max(len(self.items) - 1, 0)))
        self._keep_in_view()
        self.refresh()
        self._tell()

    def add(self, items: Sequence[Item]) -> None:
        """Shows further items behind the others."""
        self.items += items
        self.refresh()

    def change(self, key: str, **changes: object) -> None:
        """Changes fields of the item with this key."""
        self.items = [replace(item, **changes) if item.key == key else item for item in self.items]
        self._drawn.pop(key, None)
        self.refresh()

    @property
    def item(self) -> Item | None:
        """The chosen item."""
        return self.items[self.chosen] if self.chosen < len(self.items) else None

    # geometry, in cells

    @property
    def _cell(self) -> tuple[int, int]:
        """Columns and rows of one place of the grid, with caption and gap."""
        sizes = [size_in_cells(i.picture.shape[1], i.picture.shape[0], 1) for i in self.items if i.picture is not None]
        width = min(max((w for w, _ in sizes), default=32), 64)
        height = min(max((h for _, h in sizes), default=16), 32)
        return max(width, 16) + GAP, height + 2

    @property
    def columns(self) -> int:
        """Places in a row; 1 is a list."""
        width, height = self._cell
        across = (self.size.width + GAP) // width
        down = (self.size.height + 1) // height
        return across if across > 1 and across * down >= min(4, len(self.items)) else 1

    @property
    def _margin(self) -> int:
        """Columns left of the grid, which is in the middle."""
        if self.as_list:
            return 0
        across = min(self.columns, max(len(self.items), 1))
        return max(self.size.width + GAP - across * self._cell[0], 0) // 2

    @property
    def as_list(self) -> bool:
        """Whether it shows lines without pictures."""
        return self.columns == 1

    @property
    def _line_height(self) -> int:
        return 1 if self.as_list else self._cell[1]

    @property
    def lines_in_view(self) -> int:
        """Rows of the grid, or lines of the list, that fit."""
        return max(1, (self.size.height + (0 if self.as_list else 1)) // self._line_height)

    # moving

    def action_move(self, by: int) -> None:
        """Chooses the next or previous item."""
        if self.items:
            self.chosen = min(max(self.chosen + by, 0), len(self.items) - 1)

    def action_line(self, by: int) -> None:
        """Chooses the item in another line."""
        self.action_move(by if self.one_line else by * self.columns)

    def watch_chosen(self) -> None:
        """See `Chosen`."""
        self._keep_in_view()
        self._tell()

    def on_resize(self) -> None:
        """Keeps the chosen item in view."""
        self._keep_in_view()

    def on_click(self, event: Click) -> None:
        """Chooses what was clicked."""
        if self.one_line:
            ends = [end for _, end in self._chips()]
            self.chosen = next((i for i, end in enumerate(ends) if event.x < end), self.chosen)
            return
        line, column = self._top + event.y // self._line_height, 0
        if not self.as_list:
            column = min(max(event.x - self._margin, 0) // self._cell[0], self.columns - 1)
        index = line * self.columns + column
        if 0 <= index < len(self.items):
            self.chosen = index

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Moves on."""
        event.stop()
        self.action_line(1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Moves back."""
        event.stop()
        self.action_line(-1)

    def _tell(self) -> None:
        if (item := self.item) is not None:
            self.post_message(self.Chosen(self, item))
            if self.chosen >= len(self.items) - self.columns:
                self.post_message(self.Reached(self))

    def _keep_in_view(self) -> None:
        line = self.chosen // self.columns
        last = self._top + self.lines_in_view - 1
        if line < self._top:
            self._top = line
        elif line > last:
            self._top += line - last

    # drawing

    def render_line(self, y: int) -> Strip:
        """See `Widget.render_line`."""
        style = self.rich_style
        if self.one_line:
            return self._captions() if y == 0 else Strip.blank(self.size.width, style)
        line, within = divmod(y, self._line_height)
        first = (self._top + line) * self.columns
        parts: list[Strip] = []
        for index in range(first, min(first + self.columns, len(self.items))):
            width = self.size.width if self.as_list else self._cell[0]
            parts.append(self._part(index, within, width))
        row = Strip.join([Strip.blank(self._margin, style), *parts]) if parts else Strip.blank(self.size.width, style)
        return row.adjust_cell_length(self.size.width, style)

    def _chips(self) -> list[tuple[str, int]]:
        """Returns the captions and where they end on the one line; those before the chosen one leave a full line."""
        texts = [
            f" {'▸' if index == self.chosen else ' '}{item.mark}{item.caption} "
            for index, item in enumerate(self.items)
        ]
        first = 0
        while sum(map(len, texts[first : self.chosen + 1])) > self.size.width and first < self.chosen:
            first += 1
        ends, end = [], 0
        for index, text in enumerate(texts):
            end += len(text) if index >= first else 0
            ends.append(end)
        return [
            (text if index >= first else "", end) for index, (text, end) in enumerate(zip(texts, ends, strict=True))
        ]

    def _captions(self) -> Strip:
        chosen, quiet = (self.get_component_rich_style(f"wall--{name}") for name in ("chosen", "quiet"))
        parts = [Segment(text, chosen if i == self.chosen else quiet) for i, (text, _) in enumerate(self._chips())]
        return Strip(parts).adjust_cell_length(self.size.width, self.rich_style)

    def _part(self, index: int, within: int, width: int) -> Strip:
        """Draws one line of one place."""
        item, plain = self.items[index], self.rich_style
        chosen = index == self.chosen
        style = self.get_component_rich_style("wall--chosen" if chosen else "wall--quiet")
        inner = width if self.as_list else width - GAP
        if self.as_list or within == self._line_height - 2:
            text = f"{'▸' if chosen else ' '}{item.mark}{item.caption}"
            note = f" {item.note} " if self.as_list else ""
            note = note if len(text) + len(note) <= inner else ""
            text = text if len(text) <= inner else f"{text[: inner - 1]}…"
            caption = Strip([Segment(text.ljust(inner - len(note)) + note, style)])
            return caption.adjust_cell_length(width, plain)
        if within == self._line_height - 1 or item.picture is None:
            return Strip.blank(width, plain)
        return self._picture_line(item, within, inner).adjust_cell_length(width, plain)

    def _picture_line(self, item: Item, within: int, inner: int) -> Strip:
        assert item.picture is not None
        plain: Style = self.rich_style
        height = self._line_height - 2
        if item.key not in self._drawn:
            drawn = (shades if self._plain else half_blocks)(item.picture)
            self._drawn[item.key] = [Strip(Segment.apply_style(line, plain)) for line in drawn]
        lines = self._drawn[item.key]
        top = max((height - len(lines)) // 2, 0)
        if not 0 <= within - top < len(lines):
            return Strip.blank(inner, plain)
        line = lines[within - top]
        left = max((inner - line.cell_length) // 2, 0)
        return Strip.join([Strip.blank(left, plain), line.crop(0, inner)]).adjust_cell_length(inner, plain)
