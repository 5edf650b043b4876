"""Training: jobs that teach a style, their loss and samples; start, cancel, resume, adopt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from server.desk.desk import Training
from server.terminal.dialogs import Line, Question
from server.terminal.frame import Frame
from server.terminal.picture import Picture
from server.terminal.wall import Item, Wall

if TYPE_CHECKING:
    from pipelines.records import Pixels

LOOK_AGAIN = 2.0
"""Seconds between two looks at jobs that run."""
_BARS = " ▁▂▃▄▅▆▇█"
_MARKS = {"done": "✓", "failed": "!", "cancelled": "-", "interrupted": "!"}


class TrainingScreen(Frame):
    """The fourth screen."""

    NAME = "training"
    ABOUT = (
        "A LoRA learns the look of 20 to 50 sprites. t starts one on the game's assets, or on a folder; it continues "
        "when the studio is closed. Compare (F4) shows it beside the base."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "train", "Train", tooltip="Start a job"),
        Binding("x", "cancel", "Cancel", tooltip="Stop the job; it keeps a checkpoint"),
        Binding("r", "resume", "Resume", tooltip="Go on with a stopped job"),
        Binding("a", "adopt", "Adopt", tooltip="Draw the game's sprites with this LoRA"),
        Binding("plus,equals_sign", "zoom(1)", "Larger", show=False),
        Binding("minus", "zoom(-1)", "Smaller", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, Training] = {}
        self._samples: dict[tuple[str, int], Pixels | None] = {}

    def body(self) -> ComposeResult:
        """See `Frame.body`."""
        with Horizontal(id="training"):
            yield Wall(plain=self.studio.plain, id="jobs")
            with Vertical(id="side"):
                yield Static(id="job")
                yield Picture(plain=self.studio.plain, id="sample")

    def on_mount(self) -> None:
        """Begins at the jobs, and looks again while one runs."""
        self.set_focus(self.query_one("#jobs"))
        self.set_interval(LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        if self.is_current and any(job.active for job in self._jobs.values()):
            self.look()

    def look(self) -> None:
        """Reads the jobs."""
        desk = self.studio.desk
        if self.studio.awake:
            self.studio.ask("reading the jobs", lambda _: desk.trainings(), self._fill, quiet=True)

    def _fill(self, jobs: list[Training]) -> None:
        wall = self.query_one("#jobs", Wall)
        before = wall.item.key if wall.item else ""
        self._jobs = {job.id: job for job in jobs}
        items = [Item(job.id, job.name, mark=_MARKS.get(job.status, "●"), note=_how_far(job)) for job in jobs]
        wall.fill(items, next((i for i, job in enumerate(jobs) if job.id == before), 0))
        if not jobs:
            text = "No job yet. t teaches a model the look of the game's own sprites."
            self.query_one("#job", Static).update(Text(text, "dim"))

    @property
    def _current(self) -> Training | None:
        item = self.query_one("#jobs", Wall).item
        return self._jobs.get(item.key) if item else None

    @on(Wall.Chosen, "#jobs")
    def _chosen(self, event: Wall.Chosen) -> None:
        job = self._jobs.get(event.item.key)
        if job is None:
            return
        self._show(job)
        key, desk = (job.id, job.samples), self.studio.desk
        if not job.samples:
            self.query_one("#sample", Picture).show(None)
        elif key in self._samples:
            self.query_one("#sample", Picture).show(self._samples[key])
        else:

            def finish(picture: Pixels | None) -> None:
                self._samples[key] = picture
                if (now := self._current) and now.id == job.id:
                    self.query_one("#sample", Picture).show(picture)

            self.studio.ask("reading samples", lambda _: desk.samples(job.id), finish, quiet=True)

    def _show(self, job: Training) -> None:
        width = max(self.query_one("#job").size.width - 2, 10)
        text = Text()
        text.append(f"{job.name}  ", "bold")
        text.append(f"{job.status}, {_how_far(job)}", "dim")
        if job.eta_seconds is not None:
            text.append(f", {job.eta_seconds / 60:.0f} min left", "dim")
        text.append("\n")
        if job.losses:
            text.append(f"{curve(job.losses, width)}\n", "bold")
            text.append(f"loss {job.losses[0]:.4f} at first, {job.losses[-1]:.4f} now\n", "dim")
        if job.error or job.message:
            text.append(job.error or job.message)
        self.query_one("#job", Static).update(text)

    # keys

    def action_train(self) -> None:
        """Asks for a folder and a name, and starts."""
        desk = self.studio.desk

        def folder(dataset: str | None) -> None:
            if dataset is None:
                return

            def named(name: str | None) -> None:
                if name is not None:
                    self.studio.ask(
                        "starting", lambda _: desk.train(dataset.strip(), name.strip()), lambda _: self.look()
                    )

            self.app.push_screen(Line("The LoRA's name? Empty: the game's.", "", "mygame"), named)

        self.app.push_screen(Line("Which sprites? Empty: the game's assets.", "", "assets/sprites"), folder)

    def action_cancel(self) -> None:
        """Stops the chosen job."""
        if job := self._current:
            desk = self.studio.desk
            self.studio.ask("stopping", lambda _: desk.cancel_training(job.id), lambda _: self.look())

    def action_resume(self) -> None:
        """Goes on with the chosen job."""
        if job := self._current:
            desk = self.studio.desk
            self.studio.ask("resuming", lambda _: desk.resume_training(job.id), lambda _: self.look())

    def action_adopt(self) -> None:
        """Draws the game's sprites with the chosen job's LoRA."""
        job = self._current
        if job is None or job.status != "done":
            self.studio.say("Choose a job that is done.", "warning")
            return
        desk = self.studio.desk

        def answered(yes: bool | None) -> None:
            if yes:
                self.studio.ask("adopting", lambda _: desk.adopt_lora(job.id), self._adopted)

        self.app.push_screen(Question(f"Draw the game's sprites with {job.name} from now on?", "write it"), answered)

    def _adopted(self, path: str) -> None:
        self.studio.say(f"Written into {path}. New sprites are drawn with it.", "good")

    def action_zoom(self, by: int) -> None:
        """Makes the sample larger or smaller."""
        self.query_one("#sample", Picture).change_zoom(by)


def _how_far(job: Training) -> str:
    return f"{job.done} of {job.total}" if job.status != "done" else f"{job.total} steps"


def curve(losses: Sequence[float], width: int) -> str:
    """Losses as bars, each the mean of as many steps as fit into one of `width` cells; the largest fills its cell."""
    cells = min(width, len(losses))
    bounds = [round(cell * len(losses) / cells) for cell in range(cells + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(bounds)]
    top = max(means) or 1.0
    return "".join(_BARS[max(1, min(round(mean / top * 8), 8))] for mean in means)
