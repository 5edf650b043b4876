"""Fields: a prompt, and a choice among a few values on one line (left and right change it, so does a click)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive, reactive
from textual.widget import Widget
from textual.widgets import Input


class Prompt(Input):
    """An input of a fixed width that leaves `?` to the help: no prompt needs it."""

    virtual_size = Reactive(Size(0, 0))
    """Asks for no new layout of the screen at each letter, unlike Input's: the width does not follow the text."""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """See `Input.check_consume_key`."""
        return character != "?" and super().check_consume_key(key, character)


class Choice(Widget, can_focus=True):
    """`label  ‹ value ›`. The values are shown as they are, an empty one as `empty`."""

    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,minus", "step(-1)", "Previous", show=False),
        Binding("right,plus,space", "step(1)", "Next", show=False),
        Binding("up", "app.focus_previous", "Field above", show=False),
        Binding("down", "app.focus_next", "Field below", show=False),
    ]
    at: reactive[int] = reactive(0)

    @dataclass
    class Changed(Message):
        """Another value was chosen."""

        choice: Choice

        @property
        def control(self) -> Choice:
            """See `Message.control`."""
            return self.choice

    def __init__(self, label: str, values: Sequence[str], value: str = "", *, empty: str = "", id: str) -> None:
        super().__init__(id=id)
        self.label = label
        self._values = tuple(values)
        self._empty = empty
        self.set_reactive(Choice.at, self._values.index(value) if value in self._values else 0)

    @property
    def value(self) -> str:
        """The chosen value."""
        return self._values[self.at]

    @property
    def values(self) -> tuple[str, ...]:
        """All values."""
        return self._values

    def offer(self, values: Iterable[str], value: str | None = None) -> None:
        """Takes other values, and keeps the chosen one where it is among them."""
        wanted = self.value if value is None else value
        self._values = tuple(values) or ("",)
        self.set_reactive(Choice.at, self._values.index(wanted) if wanted in self._values else 0)
        self.refresh()

    def set_empty(self, text: str) -> None:
        """Sets what an empty value is shown as."""
        self._empty = text
        self.refresh()

    def action_step(self, by: int) -> None:
        """Chooses the next or the previous value."""
        self.at = (self.at + by) % len(self._values)

    def watch_at(self) -> None:
        """See `Changed`."""
        self.post_message(self.Changed(self))

    def on_click(self, event: Click) -> None:
        """Goes back on the left half, forward on the right half."""
        self.action_step(-1 if event.x < self.size.width // 2 else 1)

    def render(self) -> Text:
        """See `Widget.render`."""
        shown = self.value or self._empty
        room = self.size.width - 10
        if len(shown) > room - 4:
            shown = shown[: max(room - 5, 1)] + "…"
        line = Text(f"{self.label:<10}", no_wrap=True, end="")
        mark = self.has_focus
        line.stylize("bold" if mark else "dim")
        line.append("‹ " if mark else "  ", "bold" if mark else "")
        line.append(shown, "bold" if mark else "")
        line.append(" ›" if mark else "", "bold")
        return line
