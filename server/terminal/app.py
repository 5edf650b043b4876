"""The app: screens by mode, one desk, the queue of tasks, messages and questions."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event, Key, Resize
from textual.screen import ModalScreen, Screen

from server.desk.desk import Desk, Home, OnProgress, Placed
from server.terminal.create import CreateScreen
from server.terminal.dialogs import Line, Page, Question
from server.terminal.frame import SCREENS, Frame
from server.terminal.keys import KeyOrder
from server.terminal.themes import DARK, LIGHT
from server.terminal.work import Ended, Task, start

if TYPE_CHECKING:
    from server.terminal.graphics import Graphics

TICK = 1 / 10
"""Seconds between two looks at the progress of what runs."""


def _later(module: str, name: str) -> Callable[[], Screen[Any]]:
    """Makes a screen whose module is imported when it is first shown."""
    return lambda: getattr(import_module(f"server.terminal.{module}"), name)()


class StudioApp(App[None]):
    """The studio in a terminal."""

    CSS_PATH = "studio.tcss"
    TITLE = "dgx-pixels"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "create": CreateScreen,
        "library": _later("library", "LibraryScreen"),
        "compare": _later("compare", "CompareScreen"),
        "training": _later("training", "TrainingScreen"),
        "game": _later("game", "GameScreen"),
        "machine": _later("machine", "MachineScreen"),
    }
    DEFAULT_MODE = "create"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?", priority=True),
        Binding("f1", "help", "Help", show=False, priority=True),
        *(Binding(key, f"go('{name}')", title, show=False, priority=True) for name, (key, title) in SCREENS.items()),
        Binding("ctrl+q", "quit", "Quit", priority=True),
    ]

    def __init__(
        self, desk: Desk, *, plain: bool = False, light: bool = False, graphics: Graphics | None = None
    ) -> None:
        """
        Args:
            desk: who answers.
            plain: draw pictures as shades of text.
            light: the terminal's background is light.
            graphics: what the terminal draws large pictures with; None: cells.
        """
        super().__init__()
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        self.set_reactive(App.theme, (LIGHT if light else DARK).name)  # set later, all styles would be read once more
        self.desk = desk
        self.plain = plain or self.no_color
        self.graphics = None if self.plain else graphics
        self.home = Home()
        self.awake = False
        self.opened: list[Frame] = []
        """The screens that were shown, in this order."""
        self.tasks: list[Task] = []
        self.screenshot = b""
        """The game's picture after the last deploy, a PNG; empty where it gave none."""
        self.said: tuple[str, str] = ("", "")
        self._keys = KeyOrder(self, super().on_event)
        self._was_busy = False

    @property
    def home_line(self) -> str:
        """The game's name for the top line, with a mark while something is drawn."""
        game = self.home.game or ("no game" if self.awake else "")
        return f"{'●' if self.busy else ' '} {game}"

    @property
    def busy(self) -> bool:
        """Whether something is drawn."""
        return any(task.state == "running" and not task.quiet for task in self.tasks)

    def on_mount(self) -> None:
        """Shows the first screen; the features load at the same time."""
        self.set_interval(TICK, self._tick)
        if not self.is_headless:  # a window that is closed, or a kill: the terminal is left as it was
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        self.call_after_refresh(self._wake)

    def _wake(self) -> None:
        self.ask("looking at the game", lambda _: self.desk.home(), self._at_home, quiet=True)

    def _at_home(self, home: Home) -> None:
        self.home, self.awake = home, True
        for frame in self.frames:
            frame.refresh_tabs()
            frame.look()
        self.ask("loading the model", lambda _: self.desk.warm(), quiet=True)

    # work

    def ask(
        self,
        label: str,
        work: Callable[[OnProgress], Any],
        finish: Callable[[Any], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
        *,
        quiet: bool = False,
    ) -> Task:
        """Does something in a thread.

        Args:
            finish: called with the result.
            failed: called with the error; None: the error is shown as a sentence.
            quiet: it is not listed in the queue.
        """
        task = Task(label, quiet=quiet)
        self.tasks.append(task)
        start(self.post_message, task, work, finish, failed)
        return task

    def cancel_last(self) -> None:
        """Cancels what was asked for last and still runs."""
        running = [task for task in self.tasks if not task.quiet]
        if running:
            running[-1].cancel()
        else:
            self.say("Nothing is being drawn.")

    def on_ended(self, message: Ended) -> None:
        """Shows the result of a task that has ended."""
        from pipelines.errors import Cancelled, report

        task, error = message.task, message.error
        self.tasks.remove(task)
        task.state = "done" if error is None else "cancelled" if isinstance(error, Cancelled) else "failed"
        if error is None:
            if message.finish is not None:
                message.finish(message.result)
        elif isinstance(error, Cancelled):
            self.say(f"Cancelled: {task.label}.")
        elif message.failed is not None:
            message.failed(error)
        else:
            self.say(report(error), "error")
        self._tick()

    def _tick(self) -> None:
        """Shows the progress of what runs; nothing is drawn while nothing runs."""
        busy = [task for task in self.tasks if not task.quiet]
        if not busy and not self._was_busy:
            return
        self._was_busy = bool(busy)
        for frame in self.frames[-1:]:
            frame.refresh_tabs()
            frame.tick()

    @property
    def frames(self) -> list[Frame]:
        """The screens that are there, the current one last."""
        return sorted((f for f in self.opened if f.ready), key=lambda frame: frame is self.screen)

    # talk

    def say(self, text: str, kind: str = "") -> None:
        """Shows a message above the keys. `kind`: empty, good, warning or error."""
        from pipelines.visible import visible

        self.said = (visible(text), kind)
        for frame in self.frames:
            frame.show_said()

    def deploy(self, asset_id: str, path: str = "", *, overwrite: bool = False, done: Callable[[], None]) -> None:
        """Puts an asset into the game; asks where a file is in the way."""

        def finish(placed: Placed) -> None:
            self.say_placed(placed)
            done()

        def failed(error: Exception) -> None:
            from pipelines.errors import report

            if overwrite or not in_the_way(error):
                self.say(report(error), "error")
                return
            self.push_screen(
                Question(report(error), "replace the file (undo brings it back)"),
                lambda yes: self.deploy(asset_id, path, overwrite=True, done=done) if yes else None,
            )

        self.ask("deploying", lambda _: self.desk.deploy(asset_id, path, overwrite=overwrite), finish, failed)

    def deploy_as(self, asset_id: str, done: Callable[[], None]) -> None:
        """Puts an asset into the game under a name of one's own."""

        def named(path: str | None) -> None:
            if path is not None:
                self.deploy(asset_id, path.strip(), done=done)

        self.push_screen(Line("Where in assets/? Empty: named by the prompt.", example="sprites/hero.png"), named)

    def undo(self, done: Callable[[], None]) -> None:
        """Takes the game's last deployment back."""

        def finish(placed: Placed) -> None:
            self.say_placed(placed)
            done()

        self.ask("undoing", lambda _: self.desk.undo(), finish)

    def say_placed(self, placed: Placed) -> None:
        """Says what a deploy or an undo did."""
        self.screenshot = placed.screenshot or self.screenshot
        kind = "error" if placed.verification == "reload_failed" else "good"
        self.say(f"{placed.state}: {placed.path}. {placed.note}".strip(), kind)

    # keys

    async def on_event(self, event: Event) -> None:
        """Sends keys in the order in which they were pressed."""
        if isinstance(event, Key) and not event.is_forwarded:
            await self._keys.take(event)
        else:
            await super().on_event(event)

    def on_resize(self, event: Resize) -> None:
        """Takes the new size of a cell over, as after another font size, where the terminal tells it."""
        if self.graphics is not None and (pixels := event.pixel_size) and event.size:
            width, height = pixels.width // event.size.width, pixels.height // event.size.height
            self.graphics.cell = (width, height) if width and height else self.graphics.cell

    def action_go(self, name: str) -> None:
        """Shows another screen; a dialog is answered first."""
        if not isinstance(self.screen, ModalScreen):
            self.switch_mode(name)

    def action_help(self) -> None:
        """Shows the keys of the screen."""
        if isinstance(self.screen, Page):
            self.screen.dismiss()
        elif isinstance(self.screen, Frame):
            from server.terminal.help import help_text

            self.push_screen(Page(f"Keys: {SCREENS[self.screen.NAME][1]}", help_text(self.screen)))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Yields the palette's commands: the screens, and what the current screen can do."""
        for name, (key, title) in SCREENS.items():
            yield SystemCommand(title, f"Go to {title} ({key.upper()})", lambda name=name: self.action_go(name))
        if isinstance(screen, Frame):
            for key, (_, binding, *_) in screen.active_bindings.items():
                if binding.description and not binding.action.startswith(("go(", "app.", "screen.")):
                    yield SystemCommand(binding.description, f"Key {key}", lambda key=key: self.simulate_key(key))
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Save a picture of the screen", "An SVG file", self.deliver_screenshot)

    def on_unmount(self) -> None:
        """Stops what runs, and closes the desk."""
        for task in self.tasks:
            task.cancel()
        self.desk.close()


def in_the_way(error: Exception) -> bool:
    """Returns whether a deploy failed because a file with another content is there."""
    return "overwrite=true" in str(error)
