"""Library: everything that was made for the game; look at it, make it again, change it, deploy it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.widgets import Input, Static

from pipelines.choices import Kind
from server.desk.desk import Batch, OnProgress, Piece, Shown
from server.terminal.dialogs import Line, Page
from server.terminal.facts import facts_line, swatches
from server.terminal.fields import Choice, Prompt
from server.terminal.frame import Frame
from server.terminal.picture import Picture
from server.terminal.wall import Item, Wall

if TYPE_CHECKING:
    from pipelines.records import Pixels

PAGE = 60
THUMB = 32
"""The longest side of a picture on the wall; of larger ones the first frame or corner is shown."""
_PAN = "Look at another part of a large picture"
_SAME = ("prompt", "width", "height", "model", "preset", "negative", "outline", "colors", "candidates")


class LibraryScreen(Frame):
    """The second screen."""

    NAME = "library"
    ABOUT = "Everything that was made for this game, newest first. ✓ is in the game."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/", tooltip="Search in the prompts"),
        Binding("f", "kind", "Kind", tooltip="Sprites, sheets or tilesets alone"),
        Binding("i", "recipe", "Recipe", tooltip="What makes it again"),
        Binding("d", "deploy", "Deploy", tooltip="Put it into the game, named by its prompt"),
        Binding("D", "deploy_as", "Deploy as", show=False, tooltip="Put it there under another name"),
        Binding("u", "undo", "Undo", tooltip="Take the game's last deployment back"),
        Binding("r", "again", "Again", tooltip="Draw the sprite once more with another seed"),
        Binding("e", "edit", "Edit", tooltip="Draw the sprite over with a changed prompt"),
        Binding("c", "clip", "Clip", show=False, tooltip="Play the sheet's next motion"),
        Binding("x", "cancel", "Cancel", show=False, tooltip="Cancel the last thing in the queue"),
        Binding("plus,equals_sign", "zoom(1)", "Larger", show=False),
        Binding("minus", "zoom(-1)", "Smaller", show=False),
        Binding("0", "zoom(0)", "As large as fits", show=False),
        Binding("shift+left", "pan(-4, 0)", "Pan", show=False, tooltip=_PAN),
        Binding("shift+right", "pan(4, 0)", "Pan", show=False, tooltip=_PAN),
        Binding("shift+up", "pan(0, -2)", "Pan", show=False, tooltip=_PAN),
        Binding("shift+down", "pan(0, 2)", "Pan", show=False, tooltip=_PAN),
        Binding("escape", "wall", "Back", show=False, tooltip="Back to the wall"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._pieces: dict[str, Piece] = {}
        self._shown: dict[str, Shown] = {}
        self._total = 0
        self._clip = 0
        self._note = ""
        """What plays, behind the facts of the chosen one."""

    def body(self) -> ComposeResult:
        """See `Frame.body`."""
        with Horizontal(id="library"):
            with Vertical(id="shelf"):
                yield Prompt(placeholder="search", id="search")
                yield Choice("Kind", ("", *get_args(Kind)), empty="all", id="kind")
                yield Wall(plain=self.studio.plain, id="wall")
            with Vertical(id="side"):
                yield Picture(plain=self.studio.plain, id="big")
                yield Static(id="facts")
                yield Static(id="swatches")

    def on_mount(self) -> None:
        """Begins on the wall."""
        self.set_focus(self.query_one("#wall"))

    def look(self) -> None:
        """Reads the newest assets."""
        if self.studio.awake:
            self._find()

    # finding

    def _find(self, offset: int = 0) -> None:
        text, kind = self.query_one("#search", Input).value.strip(), self.query_one("#kind", Choice).value
        desk = self.studio.desk

        def finish(found: tuple[list[Piece], int]) -> None:
            now = self.query_one("#search", Input).value.strip(), self.query_one("#kind", Choice).value
            if now == (text, kind):  # else another search has begun
                self._fill(*found, offset)

        self.studio.ask("searching", lambda _: desk.find(text, kind, PAGE, offset), finish, quiet=True)

    def _fill(self, pieces: list[Piece], total: int, offset: int) -> None:
        wall = self.query_one("#wall", Wall)
        before = wall.item.key if wall.item and not offset else ""
        self._total = total
        self._pieces = {**(self._pieces if offset else {}), **{piece.id: piece for piece in pieces}}
        items = [self._item(piece) for piece in pieces]
        if offset:
            wall.add(items)
        else:
            wall.fill(items, next((i for i, item in enumerate(items) if item.key == before), 0))
            if not items:
                self.query_one("#big", Picture).show(None)
                self.query_one("#swatches", Static).update("")
                nothing = "Nothing fits." if self.query_one("#search", Input).value else "Nothing was made yet: F2."
                self.query_one("#facts", Static).update(Text(nothing, "dim"))
        self._load_pictures()

    def _item(self, piece: Piece) -> Item:
        shown = self._shown.get(piece.id)
        size = "" if piece.kind == "sprite" else f" ({piece.kind})"
        mark = "✓" if piece.deployed else " "
        note = f"{piece.width}×{piece.height} {piece.seed}"
        return Item(piece.id, piece.prompt + size, thumb(shown) if shown else None, mark, note)

    def _load_pictures(self) -> None:
        """Reads the pictures of a grid that are not there yet, some at a time."""
        wall = self.query_one("#wall", Wall)
        missing = [item.key for item in wall.items if item.picture is None and item.key not in self._shown][:12]
        if wall.as_list or not missing:
            return
        desk, pieces = self.studio.desk, [self._pieces[key] for key in missing if key in self._pieces]

        def finish(pictures: dict[str, Shown]) -> None:
            self._shown |= pictures
            for key, shown in pictures.items():
                wall.change(key, picture=thumb(shown))
            if pictures:
                self._load_pictures()

        self.studio.ask("reading", lambda _: {piece.id: desk.show(piece) for piece in pieces}, finish, quiet=True)

    def on_resize(self, _: Resize) -> None:
        """Arranges the wall again: a list may become a grid."""
        if self.studio.awake:
            self.call_after_refresh(self._load_pictures)

    @on(Input.Changed, "#search")
    def _typed(self) -> None:
        if self.studio.awake:
            self._find()

    @on(Input.Submitted, "#search")
    def _searched(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_wall()

    @on(Choice.Changed, "#kind")
    def _other_kind(self) -> None:
        self._find()

    @on(Wall.Reached, "#wall")
    def _more(self) -> None:
        if (count := len(self.query_one("#wall", Wall).items)) < self._total:
            self._find(count)

    # the chosen one

    @property
    def _current(self) -> Piece | None:
        item = self.query_one("#wall", Wall).item
        return self._pieces.get(item.key) if item else None

    @on(Wall.Chosen, "#wall")
    def _chosen(self, event: Wall.Chosen) -> None:
        piece = self._pieces.get(event.item.key)
        if piece is None:
            return
        self._clip = 0
        if piece.id in self._shown:
            self._show(piece)
            return
        desk = self.studio.desk

        def finish(shown: Shown) -> None:
            self._shown[piece.id] = shown
            if self._current is piece:
                self._show(piece)

        self.studio.ask("reading", lambda _: desk.show(piece), finish, quiet=True)

    def _show(self, piece: Piece) -> None:
        shown, big = self._shown[piece.id], self.query_one("#big", Picture)
        self._note = ""
        if shown.clips:
            name = list(shown.clips)[self._clip % len(shown.clips)]
            big.play(shown.clips[name], shown.fps[name])
            self._note = f"{name}, {len(shown.clips[name])} frames, c plays the next"
        else:
            big.show(shown.picture)
        self._facts_again()
        self.query_one("#swatches", Static).update(swatches(piece.palette))

    @on(Picture.Fitted, "#big")
    def _facts_again(self) -> None:
        if (piece := self._current) and piece.id in self._shown:
            facts = facts_line(piece, self.query_one("#big", Picture), self._note)
            self.query_one("#facts", Static).update(facts)

    # keys

    def action_search(self) -> None:
        """Writes in the search field."""
        self.set_focus(self.query_one("#search"))

    def action_wall(self) -> None:
        """Goes back to the wall."""
        self.set_focus(self.query_one("#wall"))

    def action_kind(self) -> None:
        """Shows the next kind of assets."""
        self.query_one("#kind", Choice).action_step(1)

    def action_clip(self) -> None:
        """Plays the next motion of a sheet."""
        if (piece := self._current) and piece.id in self._shown:
            self._clip += 1
            self._show(piece)

    def action_zoom(self, by: int) -> None:
        """Makes the picture larger or smaller by whole steps."""
        self.query_one("#big", Picture).change_zoom(by)
        self._facts_again()

    def action_pan(self, columns: int, rows: int) -> None:
        """Looks at another part of a picture that is larger than its room."""
        self.query_one("#big", Picture).move(columns, rows)

    def action_recipe(self) -> None:
        """Shows what makes the asset again."""
        if (piece := self._current) and piece.id in self._shown:
            recipe = self._shown[piece.id].recipe
            text = recipe_text(recipe) if recipe else Text("It is part of a blind comparison: vote first (F4).")
            self.app.push_screen(Page(f"{piece.kind} {piece.id}", text))

    def action_deploy(self) -> None:
        """Puts the asset into the game."""
        if piece := self._current:
            self.studio.deploy(piece.id, done=self.look)

    def action_deploy_as(self) -> None:
        """Puts it there under a name of one's own."""
        if piece := self._current:
            self.studio.deploy_as(piece.id, self.look)

    def action_undo(self) -> None:
        """Takes the last deployment back."""
        self.studio.undo(self.look)

    def action_again(self) -> None:
        """Draws the sprite once more with another seed."""
        piece = self._sprite()
        recipe = self._shown[piece.id].recipe if piece and piece.id in self._shown else {}
        if piece is None or not recipe:
            return
        fields: dict[str, Any] = {name: recipe[name] for name in _SAME if recipe.get(name)}
        fields["prompt"] = str(recipe["prompt"]).removeprefix(self.studio.home.prefix).strip()
        fields["palette"] = ",".join(recipe.get("palette") or ()) or "none"
        desk = self.studio.desk
        self.studio.ask(piece.prompt, lambda report: desk.draw(fields, 1, report), self._made)

    def action_edit(self) -> None:
        """Draws over the sprite."""
        if piece := self._sprite():
            desk = self.studio.desk

            def edited(prompt: str | None) -> None:
                if prompt is not None:
                    fields = {"asset_id": piece.id, "prompt": prompt.strip()}

                    def work(on_progress: OnProgress) -> Batch:
                        return desk.edit(fields, on_progress)

                    self.studio.ask(f"edit: {prompt}", work, self._made)

            self.app.push_screen(Line("Draw it over as what? Empty: a variation.", piece.prompt), edited)

    def action_cancel(self) -> None:
        """Cancels the last thing in the queue."""
        self.studio.cancel_last()

    def _sprite(self) -> Piece | None:
        if (piece := self._current) and piece.kind != "sprite":
            self.studio.say(f"This is a {piece.kind}; only a sprite can be drawn again or over.", "warning")
            return None
        return piece

    def _made(self, batch: Batch) -> None:
        self.studio.say(f"Made {batch.pieces[0].id}: {batch.pieces[0].prompt}.", "good")
        self.query_one("#wall", Wall).fill([])  # the new one is the first, and chosen
        self.look()


def thumb(shown: Shown) -> Pixels:
    """Makes a small picture of an asset: the first frame of a sheet, the corner of what is large."""
    frames = next(iter(shown.clips.values()), [shown.picture])
    return frames[0][:THUMB, :THUMB]


def recipe_text(recipe: Mapping[str, Any]) -> Text:
    """Lists the fields of a recipe that are set, one a line."""
    text = Text()
    for name, value in recipe.items():
        if value in ("", None, [], {}, 0, 0.0):
            continue
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text.append(f"{name:>10}  ", "bold")
        text.append(f"{shown}\n")
    return text
