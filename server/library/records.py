"""The records of a library: what was made, and where it was deployed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from pipelines.choices import Kind

if TYPE_CHECKING:
    from pipelines.records import Recipe

KINDS = get_args(Kind)
"""What an asset can be."""

VERIFICATIONS = (
    "reloaded",
    "deployed_not_loaded_by_game",
    "game_not_running",
    "reload_failed",
    "deployed_unverified",
    "not_asked",
)
"""What is known of a deployment: the first four are a running game's answers, the last two say that none was heard."""


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One file of an asset: its name inside the asset's folder, its bytes' SHA-256 (hex) and its length in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset: the first of `files` is the picture; `id` is a short hash of recipe and files.

    `report` is the gate report (`Report.to_dict()`), `details` what only this kind of asset knows, as JSON values.
    """

    id: str
    kind: str
    files: tuple[AssetFile, ...]
    recipe: Recipe
    created: float
    report: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The MCP resource that holds the picture."""
        return f"{'tileset' if self.kind == 'tileset' else 'sprite'}://{self.id}"


@dataclass(frozen=True, slots=True)
class Verification:
    """A running game's answer about a deployed file: `state` is one of VERIFICATIONS, `note` a sentence for the user.

    `screenshot` is a PNG from inside the game, empty where there is none.
    """

    state: str
    note: str
    seconds: float = 0.0
    screenshot: bytes = b""


@dataclass(frozen=True, slots=True)
class DeployedFile:
    """One file put into a game: `path` is relative to assets/, with forward slashes.

    `sha256` is of what was written, `previous` of what was there before (empty: nothing).
    """

    path: str
    sha256: str
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """An asset's files put into a game together.

    `path` is the picture's, relative to assets/, also where the picture was there already and only a file beside it
    changed. `undone` is set by an undo.
    """

    id: int
    asset_id: str
    files: tuple[DeployedFile, ...]
    created: float
    verification: str
    undone: bool = False
    path: str = ""
