"""Compare: the same prompt and seeds with two to four models or LoRA stacks, blind; vote, and see the ranking."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from server.desk.desk import Contest, OnProgress, Piece, Place, Shown
from server.terminal.dialogs import Line, Question
from server.terminal.fields import Choice, Prompt
from server.terminal.frame import Frame
from server.terminal.picture import Picture
from server.terminal.work import Task

EXAMPLE = "red dragon"
COLUMNS = ("A", "B", "C", "D")
NONE = "-"
"""A column that is not used."""
_WEIGHTS = (1.0, 0.6)
_BAR = 30


class CompareScreen(Frame):
    """The third screen."""

    NAME = "compare"
    ABOUT = (
        "Choose two to four columns and press enter in the prompt. While a comparison is blind the columns are only "
        "A, B, ...: vote with 1 to 4 (0: a tie), then it says which is which. The ranking counts all votes."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(n), f"vote({n - 1})", f"Vote {COLUMNS[n - 1]}", show=n < 3, tooltip=f"Column {n} is best")
            for n in range(1, 5)
        ),
        Binding("0", "vote(-1)", "Tie", tooltip="They are equally good"),
        Binding("down,space", "row(1)", "Next seed", tooltip="The next prompt or seed"),
        Binding("up", "row(-1)", "Earlier seed", show=False, tooltip="The prompt or seed before"),
        Binding("n,escape", "new", "New", key_display="n", tooltip="Another comparison"),
        Binding("w", "write", "Write", show=False, tooltip="Write a column: embedded + mygame@0.8"),
        Binding("a", "adopt", "Adopt", tooltip="Make the winner the game's default"),
        Binding("x", "cancel", "Cancel", show=False, tooltip="Cancel the last thing in the queue"),
        Binding("shift+left", "pan(-4, 0)", "Pan", show=False, tooltip="Look at another part of large pictures"),
        Binding("shift+right", "pan(4, 0)", "Pan", show=False, tooltip="Look at another part of large pictures"),
        Binding("shift+up", "pan(0, -2)", "Pan", show=False, tooltip="Look at another part of large pictures"),
        Binding("shift+down", "pan(0, 2)", "Pan", show=False, tooltip="Look at another part of large pictures"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._contest: Contest | None = None
        self._pictures: dict[str, Shown] = {}
        self._row = 0
        self._written: list[str] = []
        self._waiting: Task | None = None

    def body(self) -> ComposeResult:
        """See `Frame.body`."""
        with Vertical(id="compare", classes="asking"):
            with Vertical(id="question"):
                yield Prompt(placeholder=EXAMPLE, id="prompt")
                for index, letter in enumerate(COLUMNS):
                    yield Choice(
                        f"Column {letter}", ("",) if index < 2 else (NONE,), empty="the game's", id=f"column{index}"
                    )
                yield Choice("Seeds", ("2", "1", "4", "8"), id="count")
                yield Choice("Size", ("", "16", "24", "32", "48", "64"), empty="the game's", id="size")
                yield Choice("Blind", ("yes", "no"), id="blind")
                yield Static(id="hint")
            with Vertical(id="contest"):
                yield Static(id="heading")
                with Horizontal(id="columns"):
                    for index in range(len(COLUMNS)):
                        with Vertical(classes="column", id=f"place{index}"):
                            yield Static(classes="label")
                            yield Picture(plain=self.studio.plain)
                yield Static(id="ranking")

    def on_mount(self) -> None:
        """Begins at the prompt."""
        self.query_one("#prompt").border_title = "What should all of them draw?"
        self.set_focus(self.query_one("#prompt"))

    def look(self) -> None:
        """Offers the models and LoRAs."""
        if self.studio.awake:
            self._offer()

    def _offer(self) -> None:
        home = self.studio.home
        with_loras = [f"{home.model} + {name}@{weight:g}" for name in home.loras for weight in _WEIGHTS]
        variants = ("", *home.models, *with_loras, *self._written)
        for index in range(len(COLUMNS)):
            choice = self.query_one(f"#column{index}", Choice)
            first = index == 1 and len(choice.values) == 1  # the second column begins with what is most different
            choice.offer(variants if index < 2 else (NONE, *variants), variants[-1] if first else None)
        few = len(home.models) < 2 and not with_loras and not self._written
        text = "There is one model and no LoRA yet: train one (F5), or write a column with w." if few else ""
        self.query_one("#hint", Static).update(Text(text, "dim"))

    # drawing

    @on(Input.Submitted, "#prompt")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        prompt = event.value.strip() or EXAMPLE
        chosen = [self.query_one(f"#column{index}", Choice).value for index in range(len(COLUMNS))]
        variants = [variant for variant in chosen if variant != NONE]
        count, size = int(self.query_one("#count", Choice).value), self.query_one("#size", Choice).value
        blind, desk = self.query_one("#blind", Choice).value == "yes", self.studio.desk

        def work(on_progress: OnProgress) -> tuple[Contest, dict[str, Shown]]:
            contest = desk.compare([prompt], variants, count, int(size) if size else None, on_progress, blind=blind)
            cells = {cell for column in contest.cells for cell in column}
            return contest, {cell: desk.show(Piece(cell, "sprite", prompt, 0, 0, 0, "")) for cell in cells}

        self._waiting = self.studio.ask(f"compare {prompt}", work, self._drawn)
        self.tick()

    def tick(self) -> None:
        """Shows how far the drawing is."""
        if (task := self._waiting) is None:
            return
        if task.state != "running":
            self._waiting = None
            self.query_one("#hint", Static).update("")
            return
        done = f"{100 * task.done // task.total} %" if task.total else ""
        self.query_one("#hint", Static).update(Text.assemble(("drawing ", "bold"), f"{done}  {task.message}"))

    def _drawn(self, result: tuple[Contest, dict[str, Shown]]) -> None:
        self._pictures = result[1]
        self._row = 0
        self.query_one("#compare").remove_class("asking")
        self.set_focus(None)
        self._take(result[0])
        self.studio.say("Which column is best? 1 to 4, or 0 for a tie.")

    # the contest

    def _take(self, contest: Contest) -> None:
        self._contest = contest
        row = contest.rows[self._row]
        text = f"{row}  ({self._row + 1} of {len(contest.rows)})" if len(contest.rows) > 1 else row
        self.query_one("#heading", Static).update(Text(text, "bold", justify="center"))
        for index in range(len(COLUMNS)):
            place = self.query_one(f"#place{index}")
            place.display = index < len(contest.cells)
            if not place.display:
                continue
            won = contest.winner and contest.winner == contest.letters[index]
            place.set_class(bool(won), "won")
            label = f"{index + 1}  {contest.labels[index]}{'  ✓' if won else ''}"
            place.query_one(".label", Static).update(Text(label, justify="center", overflow="ellipsis", no_wrap=True))
            place.query_one(Picture).show(self._pictures[contest.cells[index][self._row]].picture)
        ranking = ranking_text(contest.ranking) if contest.winner else Text("")
        self.query_one("#ranking", Static).update(ranking)

    def action_row(self, by: int) -> None:
        """Looks at another prompt or seed."""
        if self._contest is not None:
            self._row = (self._row + by) % len(self._contest.rows)
            self._take(self._contest)

    def action_vote(self, index: int) -> None:
        """Says which column is best."""
        contest = self._contest
        if contest is None or index >= len(contest.letters):
            return
        desk, letter = self.studio.desk, "tie" if index < 0 else contest.letters[index]

        def finish(voted: Contest) -> None:
            self._take(voted)
            who = "A tie" if index < 0 else voted.labels[index]
            adopt = "" if index < 0 else " a makes it the game's default."
            self.studio.say(f"{who} is kept as the vote.{adopt} n begins another.", "good")

        self.studio.ask("voting", lambda _: desk.vote(contest.id, letter), finish, quiet=True)

    def action_adopt(self) -> None:
        """Makes the winner the game's default."""
        contest = self._contest
        if contest is None or not contest.winner or contest.winner == "tie":
            self.studio.say("Vote for a column first.", "warning")
            return
        variant = contest.labels[contest.letters.index(contest.winner)].split(": ", 1)[-1]

        def answered(yes: bool | None) -> None:
            if yes:
                desk = self.studio.desk
                self.studio.ask("adopting", lambda _: desk.adopt(contest.id, contest.winner), self._adopted)

        self.app.push_screen(Question(f"Draw the game's sprites with {variant} from now on?", "write it"), answered)

    def _adopted(self, path: str) -> None:
        self.studio.say(f"Written into {path}. New sprites are drawn with it.", "good")

    def action_new(self) -> None:
        """Asks for another comparison."""
        self._contest = None
        self.query_one("#compare").add_class("asking")
        self.set_focus(self.query_one("#prompt"))

    def action_write(self) -> None:
        """Writes a column by hand."""

        column = self.focused if isinstance(self.focused, Choice) else None
        if column is None or not (column.id or "").startswith("column"):
            column = self.query_one("#column1", Choice)

        def written(text: str | None) -> None:
            if text and (variant := text.strip()):
                self._written.append(variant)
                self._offer()
                column.offer(column.values, variant)

        self.app.push_screen(Line("A model and LoRAs with weights", "", "embedded + mygame@0.8"), written)

    def action_cancel(self) -> None:
        """Cancels the last thing in the queue."""
        self.studio.cancel_last()

    def action_pan(self, columns: int, rows: int) -> None:
        """Looks at another part of pictures that are larger than their room."""
        for picture in self.query(Picture):
            picture.move(columns, rows)


def ranking_text(ranking: tuple[Place, ...]) -> Text:
    """Writes a line for each variant: its share with the 95 % interval as a bar, and its votes."""
    text = Text(no_wrap=True, overflow="crop")
    width = max((len(place.key) for place in ranking), default=0)
    for place in ranking:
        low, at, high = (min(int(value * _BAR), _BAR - 1) for value in (place.low, place.share, place.high))
        bar = "".join("●" if x == at else "─" if low <= x <= high else " " for x in range(_BAR))
        text.append(f"{place.key:<{width}} ", "bold")
        text.append(f"▏{bar}▕")
        text.append(f" {place.share:4.0%}", "bold")
        interval = f" ({place.low:.0%} to {place.high:.0%}), won {place.won:g} of {place.pairs}\n"
        text.append(interval, "dim")
    return text
