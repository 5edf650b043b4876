"""Machine: device, memory, models, the queue, and how much was drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from server.terminal.frame import Frame
from server.terminal.training import curve

LOOK_AGAIN = 1.0
"""Seconds between two looks."""
_KEPT = 60


class MachineScreen(Frame):
    """The sixth screen."""

    NAME = "machine"
    ABOUT = "What the engine does now. It looks again every second."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "refresh", "Look again", tooltip="Look now"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._drawn: list[int] = []
        """How many pictures had been drawn at each look."""

    def body(self) -> ComposeResult:
        """See `Frame.body`."""
        with VerticalScroll(id="machine"):
            yield Static(id="engine")

    def on_mount(self) -> None:
        """Looks every second while it is shown."""
        self.set_focus(self.query_one("#machine"))
        self.set_interval(LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        if self.is_current:
            self.look()

    def look(self) -> None:
        """Asks what the engine does."""
        if self.studio.awake:
            desk = self.studio.desk
            self.studio.ask("looking", lambda _: desk.status(), self._show, quiet=True)

    def _show(self, status: dict[str, Any]) -> None:
        engine = status["engine"]
        self._drawn = [*self._drawn, int(engine.get("drawn", 0))][-_KEPT:]
        self.query_one("#engine", Static).update(engine_text(status, self._drawn))

    def action_refresh(self) -> None:
        """Looks now."""
        self.look()


def engine_text(status: dict[str, Any], drawn: list[int]) -> Text:
    """Writes what get_status says of the engine, one fact a line; `drawn` are the counts of the last looks."""
    engine = status["engine"]
    text = Text()

    def line(name: str, value: object) -> None:
        if value not in ("", None, [], {}):
            text.append(f"{name:>10}  ", "dim")
            text.append(f"{value}\n", "bold")

    state = engine.get("state", "")
    line("engine", "asleep: nothing was drawn yet" if state == "asleep" else state)
    progress = engine.get("progress") or []
    line("now", f"{engine.get('running', '')}{f', step {progress[0]} of {progress[1]}' if progress else ''}")
    line("waiting", ", ".join(engine.get("queued", ())))
    line("device", engine.get("device"))
    if "free_megabytes" in engine:
        line("free", f"{engine['free_megabytes'] / 1000:.1f} GB")
    for resident in engine.get("resident", ()):
        line("resident", f"{resident.get('model')}, {resident.get('dtype', '')}, {resident.get('megabytes', 0)} MB")
    if "drawn" in engine:
        counts = f"{engine['drawn']} drawn, {engine['cancelled']} cancelled, {engine['failed']} failed"
        line("so far", counts)
    steps = [after - before for before, after in pairwise(drawn)]
    if any(steps):
        line("a second", curve(steps, _KEPT))
    line("error", engine.get("last_error"))
    for finding in engine.get("machine") or ():
        line("advice", finding if isinstance(finding, str) else finding.get("what", finding))
    text.append("\n")
    line("library", f"{status['library']['assets']} assets in {status['library']['folder']}")
    line("version", status["version"])
    return text
