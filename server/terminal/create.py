"""Create: a prompt becomes sprites; look at them, keep seeds, deploy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.widgets import Input, Static

from pipelines.choices import Outline
from server.desk.desk import NO_LORAS, Batch, OnProgress, Piece, Shown
from server.terminal.dialogs import Line
from server.terminal.facts import facts_line, swatches
from server.terminal.fields import Choice, Prompt
from server.terminal.frame import Frame
from server.terminal.picture import Picture
from server.terminal.wall import Item, Wall
from server.terminal.work import Task

EXAMPLE = "red dragon"
SIZES = ("", "8", "16", "24", "32", "48", "64")
COUNTS = ("4", "1", "2", "8", "16")
WELCOME = Text.assemble(
    ("Write what you want to see", "bold"),
    "\nfor example “",
    (EXAMPLE, "bold"),
    "”\n\n",
    ("enter", "bold"),
    " draws it\n",
    ("d", "bold"),
    " puts it into the game\n",
    ("?", "bold"),
    " shows all keys",
    justify="center",
)
FIELDS = ("size", "model", "loras", "preset", "palette", "outline")
"""The choices that are fields of a drawing."""
WEIGHTS = (1.0, 0.6)
"""Of each LoRA, to choose from; l writes others."""
_BAR = 10


@dataclass(frozen=True, eq=False)
class Made:
    """A sprite on the screen."""

    piece: Piece
    shown: Shown


class CreateScreen(Frame):
    """The first screen."""

    NAME = "create"
    ABOUT = (
        "Write what you want to see and press enter; an empty prompt draws the example. Plain nouns and colours draw "
        "best. Then choose with the arrow keys and press d: the sprite is in the game."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p,slash,escape", "prompt", "Prompt", key_display="p", tooltip="Back to the prompt"),
        Binding("d", "deploy", "Deploy", tooltip="Put the sprite into the game, named by its prompt"),
        Binding("D", "deploy_as", "Deploy as", show=False, tooltip="Put it into the game under another name"),
        Binding("u", "undo", "Undo", tooltip="Take the game's last deployment back"),
        Binding("k", "keep", "Keep seed", tooltip="Draw this seed again with the next prompt"),
        Binding("r", "again", "Again", tooltip="The same prompt with other seeds"),
        Binding("e", "edit", "Edit", tooltip="Draw the sprite over with a changed prompt"),
        Binding("l", "loras", "LoRAs", show=False, tooltip="Write LoRAs with weights: mygame@0.8 + glow@0.5"),
        Binding("x", "cancel", "Cancel", show=False, tooltip="Cancel the last thing in the queue"),
        Binding("plus,equals_sign", "zoom(1)", "Larger", show=False),
        Binding("minus", "zoom(-1)", "Smaller", show=False),
        Binding("0", "zoom(0)", "As large as fits", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, Made] = {}
        self._kept: dict[str, int] = {}
        self._fields: dict[str, Any] = {}
        self._waiting: Task | None = None
        """What is drawn while the stage is empty."""
        self._deploy_next = False
        self._written: list[str] = []
        """LoRA stacks that were written by hand."""
        self._tells = False
        """The welcome's place tells how far the drawing is: its lines are as many as before."""

    def body(self) -> ComposeResult:
        """See `Frame.body`."""
        home = self.studio.home
        with Horizontal(id="create"):
            with Vertical(id="form"):
                yield Prompt(placeholder=EXAMPLE, id="prompt")
                yield Choice("Size", SIZES, empty=f"{home.size} (game's)", id="size")
                yield Choice("Count", COUNTS, id="count")
                yield Choice("Model", (home.model,), id="model")
                yield Choice("LoRAs", ("", NO_LORAS), empty="game's", id="loras")
                yield Choice("Preset", ("",), empty="model's own", id="preset")
                yield Choice("Palette", ("", "none"), empty="game's", id="palette")
                yield Choice("Outline", ("", *get_args(Outline)), empty="game's", id="outline")
                yield Static(id="queue")
            with Vertical(id="stage"):
                yield Static(WELCOME, id="welcome")
                yield Picture(plain=self.studio.plain, id="big")
                yield Static(id="facts")
                yield Static(id="swatches")
                yield Wall(plain=self.studio.plain, id="seeds")

    def on_mount(self) -> None:
        """Begins at the prompt."""
        self.query_one("#prompt").border_title = "What do you want to see?"
        self.set_focus(self.query_one("#prompt"))
        self.query_one("#stage").add_class("empty")

    def look(self) -> None:
        """Takes over what the game and the models offer."""
        home = self.studio.home
        if not self.studio.awake:
            return
        self.query_one("#size", Choice).offer(SIZES)
        self.query_one("#size", Choice).set_empty(f"{home.size} (game's)")
        self.query_one("#model", Choice).offer(home.models)
        self._offer_presets()
        self._offer_loras()
        self.query_one("#palette", Choice).offer(("", "none", *home.palettes))
        if not self._made and home.newest is not None and home.newest.kind == "sprite":
            newest = home.newest
            self.studio.ask("", lambda _: self.studio.desk.show(newest), lambda s: self._greet(newest, s), quiet=True)

    @on(Choice.Changed, "#model")
    def _offer_presets(self) -> None:
        model = self.query_one("#model", Choice).value
        self.query_one("#preset", Choice).offer(("", *self.studio.home.presets.get(model, ())))

    def _offer_loras(self, chosen: str | None = None) -> None:
        offered = [f"{name}@{weight:g}" for name in self.studio.home.loras for weight in WEIGHTS]
        self.query_one("#loras", Choice).offer(dict.fromkeys(("", NO_LORAS, *offered, *self._written)), chosen)

    def _greet(self, piece: Piece, shown: Shown) -> None:
        if not self._made:
            self._take(Batch((piece,), (shown.picture,)))

    # drawing

    @on(Input.Submitted, "#prompt")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._draw(event.value.strip() or EXAMPLE)

    def _draw(self, prompt: str) -> None:
        values = {name: self.query_one(f"#{name}", Choice).value for name in FIELDS}
        fields: dict[str, Any] = {"prompt": prompt} | {name: value for name, value in values.items() if value}
        if "size" in fields:
            fields["size"] = int(fields["size"])
        count = int(self.query_one("#count", Choice).value)
        kept = list(self._kept.values())[:count]
        desk = self.studio.desk

        def work(on_progress: OnProgress) -> Batch:
            parts = [desk.draw({**fields, "seed": seed}, 1, on_progress) for seed in kept]
            if count > len(kept):
                parts.append(desk.draw(fields, count - len(kept), on_progress))
            words = dict.fromkeys(word for part in parts for word in part.unknown_words)
            return Batch(
                tuple(piece for part in parts for piece in part.pieces),
                tuple(picture for part in parts for picture in part.pictures),
                tuple(words),
                sum(part.seconds for part in parts),
            )

        self._fields = fields
        self._wait(self.studio.ask(f"{prompt} ×{count}" if count > 1 else prompt, work, self._drawn))

    def _wait(self, task: Task) -> None:
        """Clears the stage for what is drawn now, so that d never means an earlier picture."""
        self._waiting = task
        self._deploy_next = False
        self.query_one("#stage").add_class("empty")
        self.query_one("#seeds").can_focus = False
        self.set_focus(None)
        self.studio.say("")
        self.tick()

    def _drawn(self, batch: Batch) -> None:
        self._take(batch)
        if self.focused is None:  # not while the next prompt is written
            self.set_focus(self.query_one("#seeds"))
        words = ", ".join(batch.unknown_words)
        if words:
            self.studio.say(f"The model does not know: {words}. Use plainer words for these.", "warning")
        else:
            self.studio.say(f"Drawn in {batch.seconds:.1f} s. d puts it into the game, k keeps its seed.")

    def _take(self, batch: Batch) -> None:
        self._made = {
            piece.id: Made(piece, Shown(picture)) for piece, picture in zip(batch.pieces, batch.pictures, strict=True)
        }
        items = [
            Item(piece.id, str(piece.seed), picture, self._mark(piece))
            for piece, picture in zip(batch.pieces, batch.pictures, strict=True)
        ]
        self.query_one("#seeds", Wall).fill(items)
        self._show_stage()
        self._arrange()
        if self._deploy_next:
            self.action_deploy()

    def _show_stage(self) -> None:
        self._waiting = None
        self.query_one("#stage").set_class(not self._made, "empty")
        self.query_one("#welcome", Static).update(WELCOME)
        self._tells = False
        self.query_one("#seeds").can_focus = True

    def _mark(self, piece: Piece) -> str:
        return "◆" if piece.seed in self._kept.values() else "✓" if piece.deployed else " "

    @on(Wall.Chosen, "#seeds")
    def _chosen(self, event: Wall.Chosen) -> None:
        made = self._made.get(event.item.key)
        if made is None:
            return
        self.query_one("#big", Picture).show(made.shown.picture)
        self._show_facts(made.piece)

    def _show_facts(self, piece: Piece) -> None:
        self.query_one("#facts", Static).update(facts_line(piece, self.query_one("#big", Picture)))
        self.query_one("#swatches", Static).update(swatches(piece.palette))

    def on_resize(self, _: Resize) -> None:
        """Thumbnails appear where there is room."""
        self._arrange()

    def _arrange(self) -> None:
        wall = self.query_one("#seeds", Wall)
        rows = max((-(-item.picture.shape[0] // 2) for item in wall.items if item.picture is not None), default=16)
        large = self.size.height >= rows * 2 + 10 and len(wall.items) > 1
        wall.styles.height = rows + 2 if large else 1
        wall.one_line = not large
        self.query_one("#stage").set_class(self.size.height < 30, "low")

    @on(Picture.Fitted, "#big")
    def _facts_again(self) -> None:
        if (made := self._current) is not None:
            self._show_facts(made.piece)

    def tick(self) -> None:
        """Shows the queue."""
        lines = Text(no_wrap=True, overflow="ellipsis")
        for task in [task for task in self.studio.tasks if not task.quiet][-6:]:
            done = round(_BAR * task.done / task.total) if task.total else 0
            lines.append("━" * done, "bold")
            lines.append("━" * (_BAR - done), "dim")
            lines.append(f" {task.label}\n", "bold")
            lines.append(f"{'':{_BAR}} {task.message}\n", "dim")
        self.query_one("#queue", Static).update(lines, layout=False)
        if (task := self._waiting) is None:
            return
        if task.state != "running":  # it failed or was cancelled: what was there before is shown again
            self._deploy_next = False
            self._show_stage()
            return
        done = f"step {task.done} of {task.total}" if task.total > 1 else task.message
        text = Text.assemble((task.label, "bold"), f"\n{done}\n\n", ("x", "bold"), " cancels it", justify="center")
        self.query_one("#welcome", Static).update(text, layout=not self._tells)
        self._tells = True

    # keys

    @property
    def _current(self) -> Made | None:
        item = self.query_one("#seeds", Wall).item
        return self._made.get(item.key) if item else None

    def _need(self) -> Made | None:
        made = self._current if self._waiting is None else None
        if made is None:
            self.studio.say("Nothing is drawn yet. Write a prompt and press enter.", "warning")
        return made

    def action_prompt(self) -> None:
        """Writes the next prompt."""
        self.set_focus(self.query_one("#prompt"))

    def action_deploy(self) -> None:
        """Puts the chosen sprite into the game; one that is still drawn as soon as it is there."""
        if self._waiting is not None:
            self._deploy_next = True
            self.studio.say("The first one goes into the game as soon as it is drawn. x cancels.")
            return
        self._deploy_next = False
        if made := self._need():
            self.studio.deploy(made.piece.id, done=lambda: self._placed(made.piece.id))

    def action_deploy_as(self) -> None:
        """Puts it there under a name of one's own."""
        if made := self._need():
            self.studio.deploy_as(made.piece.id, lambda: self._placed(made.piece.id))

    def _placed(self, asset_id: str) -> None:
        self.query_one("#seeds", Wall).change(asset_id, mark="✓")

    def action_undo(self) -> None:
        """Takes the last deployment back."""
        self.studio.undo(lambda: None)

    def action_keep(self) -> None:
        """Keeps the seed for the next prompts, or no longer."""
        if made := self._need():
            if self._kept.pop(made.piece.id, None) is None:
                self._kept[made.piece.id] = made.piece.seed
            self.query_one("#seeds", Wall).change(made.piece.id, mark=self._mark(made.piece))
            seeds = ", ".join(str(seed) for seed in self._kept.values())
            self.studio.say(f"The next prompt draws these seeds first: {seeds}." if seeds else "No seed is kept.")

    def action_again(self) -> None:
        """Draws the same prompt with other seeds."""
        self._draw(self._fields.get("prompt") or EXAMPLE)

    def action_edit(self) -> None:
        """Draws over the chosen sprite."""
        if made := self._need():

            def edited(prompt: str | None) -> None:
                if prompt is None:
                    return
                fields = {"asset_id": made.piece.id, "prompt": prompt.strip()}
                desk = self.studio.desk
                self._wait(self.studio.ask(f"edit: {prompt}", lambda report: desk.edit(fields, report), self._drawn))

            self.app.push_screen(Line("Draw it over as what? Empty: a variation.", made.piece.prompt), edited)

    def action_loras(self) -> None:
        """Writes LoRAs with weights."""

        def written(stack: str | None) -> None:
            if stack is not None:
                self._written += [stack.strip()]
                self._offer_loras(stack.strip())

        now = self.query_one("#loras", Choice).value
        title = f"LoRAs with weights. Empty: the game's; {NO_LORAS}: without."
        self.app.push_screen(Line(title, now, "mygame@0.8 + glow@0.5"), written)

    def action_cancel(self) -> None:
        """Cancels the last thing in the queue."""
        self.studio.cancel_last()

    def action_zoom(self, by: int) -> None:
        """Makes the picture larger or smaller by whole steps."""
        self.query_one("#big", Picture).change_zoom(by)
        self._facts_again()
