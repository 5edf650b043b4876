"""Game: what stands between a deployed picture and the screen, what was deployed, the last screenshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from server.desk.desk import Finding
from server.terminal.frame import Frame
from server.terminal.picture import Picture

if TYPE_CHECKING:
    from pipelines.records import Pixels

_MARKS = {"fine": ("✓", "fine"), "advice": ("○", "advice"), "broken": ("!", "broken")}


class GameScreen(Frame):
    """The fifth screen."""

    NAME = "game"
    ABOUT = "What check_project says of the game, what was deployed, and the game's picture after the last deploy."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "check", "Check", tooltip="Look at the project and ask the running game once more"),
        Binding("u", "undo", "Undo", tooltip="Take the game's last deployment back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shot = b""

    def body(self) -> ComposeResult:
        """See `Frame.body`."""
        with Horizontal(id="game"):
            with VerticalScroll(id="checks"):
                yield Static(id="findings")
            with Vertical(id="side"):
                yield Static(id="deployments")
                yield Picture(plain=self.studio.plain, id="shot")

    def on_mount(self) -> None:
        """Begins at the findings, which scroll."""
        self.set_focus(self.query_one("#checks"))

    def look(self) -> None:
        """Checks the project and reads the deployments."""
        if not self.studio.awake:
            return
        desk = self.studio.desk
        self.studio.ask("checking the game", lambda _: desk.check(), self._found, quiet=True)
        self.studio.ask("reading", lambda _: desk.status(), self._deployed, quiet=True)
        shot, room = self.studio.screenshot, self.query_one("#shot").size
        if shot and shot != self._shot:
            self._shot = shot
            side = max(min(room.width, room.height * 2 * 16 // 9), 16)
            self.studio.ask("reading", lambda _: small(shot, side), self.query_one("#shot", Picture).show, quiet=True)

    def _found(self, findings: list[Finding]) -> None:
        text = Text()
        for finding in findings:
            mark, word = _MARKS.get(finding.state, ("?", finding.state))
            text.append(f"{mark} {finding.topic}", "bold")
            text.append(f"  {word}\n", "dim")
            text.append(f"  {finding.what}\n")
            if finding.change:
                text.append(f"  {finding.change}\n", "bold")
            for line in finding.lines.splitlines():
                text.append(f"    {line}\n", "italic")
        self.query_one("#findings", Static).update(text)

    def _deployed(self, status: dict[str, Any]) -> None:
        text = Text()
        game = status["project"]
        text.append(f"{game.get('name', 'no game')}\n", "bold")
        text.append(f"{game.get('root', status['next_step'])}\n\n", "dim")
        for entry in status["deployments"]:
            text.append(f"✓ {entry['path']}\n", "bold")
            text.append(f"  {entry['asset_id']}  {entry['verification']}\n", "dim")
        if not status["deployments"]:
            text.append("Nothing is deployed: d in Create or Library does it.", "dim")
        self.query_one("#deployments", Static).update(text)

    def action_check(self) -> None:
        """Looks once more."""
        self.look()

    def action_undo(self) -> None:
        """Takes the last deployment back."""
        self.studio.undo(self.look)


def small(png: bytes, side: int) -> Pixels:
    """Makes a screenshot as small as the window: it is not a sprite, so its pixels need not stay whole."""
    from pipelines.pixels.png import read_picture
    from server.features.preview import fitted

    return fitted(read_picture(png), side)
