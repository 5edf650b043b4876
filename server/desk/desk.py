"""What the screens ask for: one Protocol, answered by the features (`local.py`) or by another process (`remote.py`).

Every method blocks, so screens call it in a thread (`work.py`). Errors are raised as the features and tools raise them.
Imports nothing heavy: the first screen is drawn before numpy and the features are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pipelines.records import Pixels

OnProgress = Callable[[int, int, str], None]
"""The same contract as `pipelines.records.OnProgress`."""
NO_LORAS = "none"
"""The LoRAs of a drawing without any, although the game's style has some."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One asset as a screen shows it. `deployed` are paths in the game's assets/."""

    id: str
    kind: str
    prompt: str
    width: int
    height: int
    seed: int
    model: str
    palette: tuple[str, ...] = ()
    deployed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a screen shows of an asset: its picture, and of a sheet the frames of its clips.

    `picture` is the sprite, the sheet, or the sample map of a tileset, as (height, width, 4) RGBA. `recipe` is what
    makes it again, as JSON values; empty while a blind comparison hides it.
    """

    picture: Pixels
    clips: Mapping[str, Sequence[Pixels]] = field(default_factory=dict)
    fps: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one request drew, with the pictures, and the words of the prompt that the model does not know."""

    pieces: tuple[Piece, ...]
    pictures: tuple[Pixels, ...]
    unknown_words: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Placed:
    """What a deploy or undo did, in the tools' words: `state`, the running game's answer, the next step."""

    state: str
    path: str
    asset_id: str
    verification: str = ""
    note: str = ""
    screenshot: bytes = b""


@dataclass(frozen=True, slots=True)
class Home:
    """What the screens need to know of the game and the models before anything is asked."""

    game: str = ""
    root: str = ""
    size: int = 32
    prefix: str = ""
    """What the game's style puts before every prompt."""
    model: str = "embedded"
    models: tuple[str, ...] = ("embedded",)
    presets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    palettes: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    newest: Piece | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A variant's place in the ranking: how often it would be preferred, 0..1, with the ends of its 95 % interval."""

    key: str
    share: float
    low: float
    high: float
    won: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Contest:
    """A comparison. `labels` are the columns' headings (letters alone while it is blind); `cells[column][row]` are
    asset ids, a row for each prompt and seed; `winner` is a column's letter, `tie`, or empty before the vote."""

    id: str
    labels: tuple[str, ...]
    letters: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    winner: str = ""
    ranking: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that check_project looked at. `state`: fine, advice or broken."""

    topic: str
    state: str
    what: str
    change: str = ""
    lines: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """A training job; `losses` are of its steps in order, `samples` is how many pictures of samples there are."""

    id: str
    name: str
    status: str
    done: int
    total: int
    losses: tuple[float, ...] = ()
    samples: int = 0
    eta_seconds: float | None = None
    message: str = ""
    error: str = ""
    active: bool = False
    resumable: bool = False


class Desk(Protocol):
    """What the screens ask for."""

    def home(self) -> Home:
        """Returns the game, its style and the models."""
        ...

    def warm(self) -> None:
        """Loads the model in the background."""
        ...

    def draw(self, fields: Mapping[str, Any], count: int, on_progress: OnProgress) -> Batch:
        """Draws `count` sprites; `fields` are those of `SpriteRequest`, and `loras`: `mygame@0.8 + glow`, NO_LORAS, or
        empty for those of the game's style."""
        ...

    def find(self, text: str = "", kind: str = "", limit: int = 50, offset: int = 0) -> tuple[list[Piece], int]:
        """Returns the newest assets, and how many there are in all."""
        ...

    def show(self, piece: Piece) -> Shown:
        """Reads an asset's picture, frames and recipe."""
        ...

    def edit(self, fields: Mapping[str, Any], on_progress: OnProgress) -> Batch:
        """Changes a sprite; `fields` are those of `EditRequest`. The result is a new asset."""
        ...

    def deploy(self, asset_id: str, path: str = "", *, overwrite: bool = False) -> Placed:
        """Writes an asset into the game."""
        ...

    def undo(self, path: str = "", *, overwrite: bool = False) -> Placed:
        """Takes the last deployment back."""
        ...

    def compare(
        self,
        prompts: Sequence[str],
        variants: Sequence[str],
        count: int,
        size: int | None,
        on_progress: OnProgress,
        *,
        blind: bool,
    ) -> Contest:
        """Draws the same prompts and seeds with each variant."""
        ...

    def vote(self, contest_id: str, winner: str) -> Contest:
        """Records which column is better: its letter, or `tie`."""
        ...

    def adopt(self, contest_id: str, winner: str) -> str:
        """Makes a comparison's winner (its letter) the game's default; the file that was changed."""
        ...

    def adopt_lora(self, job_id: str) -> str:
        """Draws the game's sprites with the LoRA of a finished job; the file that was changed."""
        ...

    def check(self) -> list[Finding]:
        """Finds what stands between a deployed picture and the game's screen."""
        ...

    def status(self) -> dict[str, Any]:
        """Returns engine, game, library and last deployments, as get_status answers."""
        ...

    def trainings(self) -> list[Training]:
        """Lists the training jobs, the newest first."""
        ...

    def samples(self, job_id: str) -> Pixels | None:
        """Returns the newest picture of a job's samples, or None."""
        ...

    def train(self, dataset: str, name: str) -> Training:
        """Starts a training job; an empty dataset is the game's assets."""
        ...

    def cancel_training(self, job_id: str) -> Training:
        """Asks a job to stop."""
        ...

    def resume_training(self, job_id: str) -> Training:
        """Goes on with a stopped job."""
        ...

    def close(self) -> None:
        """Gives back what is held."""
        ...
