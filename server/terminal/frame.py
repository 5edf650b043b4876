"""What all screens share: the line of screens at the top, what was said last, the keys at the bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.events import Click
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

if TYPE_CHECKING:
    from server.terminal.app import StudioApp

SCREENS = {
    "create": ("f2", "Create"),
    "library": ("f3", "Library"),
    "compare": ("f4", "Compare"),
    "training": ("f5", "Training"),
    "game": ("f6", "Game"),
    "machine": ("f7", "Machine"),
}
"""name -> (key, title)."""


class Tabs(Widget):
    """The screens with their keys, and the game's name."""

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current
        self._ends: list[tuple[int, str]] = []

    def render(self) -> Text:
        """See `Widget.render`."""
        app = cast("StudioApp", self.app)
        line = Text(no_wrap=True, end="", overflow="crop")
        self._ends = []
        for name, (key, title) in SCREENS.items():
            line.append(f"  {key.upper()} ", "dim")
            line.append(title, "bold underline" if name == self._current else "")
            self._ends.append((line.cell_len, name))
        right = app.home_line
        if (room := self.size.width - line.cell_len - cell_len(right) - 1) > 0:
            line.append(" " * room)
            line.append(right, "bold" if right.startswith("●") else "dim")
        return line

    def on_click(self, event: Click) -> None:
        """Goes to the screen that was clicked."""
        name = next((name for end, name in self._ends if event.x < end), "")
        if name:
            cast("StudioApp", self.app).action_go(name)


class KeyBar(Widget):
    """The keys of what has the focus, on one line. Textual's Footer takes a widget for each, and its time with them."""

    DEFAULT_CSS = "KeyBar { dock: bottom; height: 1; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"bar--key", "bar--what"}

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[tuple[int, str]] = []

    def on_mount(self) -> None:
        """Follows the focus."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> Text:
        """See `Widget.render`."""
        line, self._ends = Text(no_wrap=True, end="", overflow="crop"), []
        key_style, what_style = (self.get_component_rich_style(f"bar--{name}") for name in ("key", "what"))
        shown: set[str] = set()
        for key, (_, binding, *_) in self.screen.active_bindings.items():
            if binding.show and binding.action not in shown:
                shown.add(binding.action)
                line.append(f" {self.app.get_key_display(binding)} ", key_style)
                line.append(f"{binding.description} ", what_style)
                self._ends.append((line.cell_len, key))
        return line

    def on_click(self, event: Click) -> None:
        """Presses the key that was clicked."""
        key = next((key for end, key in self._ends if event.x < end), "")
        if key:
            self.app.simulate_key(key)


class Frame(Screen[None]):
    """A screen with tabs above, and what was said and the keys below."""

    NAME = ""
    ABOUT = ""
    """What the screen is for: the first lines of its help."""

    @property
    def studio(self) -> StudioApp:
        """The app, by its own type."""
        return cast("StudioApp", self.app)

    @property
    def ready(self) -> bool:
        """Whether its widgets are there: not before it is first shown, nor while the app ends."""
        return self.is_running and bool(self.query(Tabs)) and bool(self.query("#said"))

    def compose(self) -> ComposeResult:
        """See `Widget.compose`."""
        yield Tabs(self.NAME)
        yield from self.body()
        yield Static(id="said")
        yield KeyBar()

    def body(self) -> ComposeResult:
        """Composes what is between the tabs and the keys."""
        yield from ()

    def on_mount(self) -> None:
        """Tells the app that there is another screen."""
        self.studio.opened.append(self)

    def on_screen_resume(self) -> None:
        """Shows what was said on another screen too, and looks again."""
        if self.ready:
            self.show_said()
            self.look()

    def look(self) -> None:
        """Asks for what the screen shows."""

    def tick(self) -> None:
        """Called ten times a second while something runs."""

    def refresh_tabs(self) -> None:
        """Redraws the tabs: the game's name or the mark of work has changed."""
        self.query_one(Tabs).refresh()

    def show_said(self) -> None:
        """Writes the last message of the app."""
        text, kind = self.studio.said
        said = self.query_one("#said", Static)
        said.update(Text(text))
        said.set_classes(kind)
