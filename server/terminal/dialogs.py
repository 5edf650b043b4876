"""Small screens on top of another: a question, a line of text, a page to read."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static


class Question(ModalScreen[bool]):
    """A question that is answered with y or n."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, text: str, yes: str) -> None:
        """Asks `text`; `yes` says what y does."""
        super().__init__()
        self._text, self._yes = text, yes

    def compose(self) -> ComposeResult:
        """See `Widget.compose`."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._text))
            yield Static(Text.assemble(("y", "bold"), f" {self._yes}    ", ("n", "bold"), " leave it"), classes="keys")

    def action_answer(self, answer: bool) -> None:
        """Closes with the answer."""
        self.dismiss(answer)


class Line(ModalScreen[str | None]):
    """One line of text; escape gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave")]

    def __init__(self, title: str, value: str = "", example: str = "") -> None:
        super().__init__()
        self._title, self._value, self._example = title, value, example

    @property
    def takes_keys(self) -> bool:
        """Whether the field is there to take letters."""
        return self.focused is not None

    def compose(self) -> ComposeResult:
        """See `Widget.compose`."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._title))
            yield Input(self._value, placeholder=self._example)
            yield Static(Text.assemble(("enter", "bold"), " take it    ", ("esc", "bold"), " leave"), classes="keys")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Closes with the text."""
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Closes without one."""
        self.dismiss(None)


class Page(ModalScreen[None]):
    """A text to read."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,question_mark,f1,i,q", "leave", "Close")]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """See `Widget.compose`."""
        with VerticalScroll(classes="dialog page"):
            yield Static(Text(self._title, "bold"), classes="title")
            yield Static(self._text)
            yield Static(Text.assemble(("esc", "bold"), " close"), classes="keys")

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
