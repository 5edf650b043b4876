"""`dgx-pixels animate`, `tileset`, `ui` and `pack`: the commands that make more than one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Parameter

from server.cli.console import SafeConsole, shown
from server.features.requests import AnimationRequest, PackRequest, TilesetRequest, UiRequest
from server.studio import Studio

if TYPE_CHECKING:
    from pipelines.records import OnProgress
    from server.library.records import Asset
    from server.library.store import Library

T = TypeVar("T")
_NO_REQUEST = AnimationRequest()
_NO_UI = UiRequest()


def animate(
    request: Annotated[AnimationRequest, Parameter(name="*")] = _NO_REQUEST,
    *,
    project: Path | None = None,
    out: Path | None = None,
) -> None:
    """Animate a sprite, or draw effects.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    out
        A folder: write the asset's files here too.
    """
    from server.features.animations import generate_animation

    with Studio() as studio:
        done = _with_bar(
            "animating",
            lambda report: generate_animation(studio, request, report, project=str(project) if project else None),
        )
        _print_asset(done.library, done.asset, out, list(done.notes))


def tileset(
    request: Annotated[TilesetRequest, Parameter(name="*")], *, project: Path | None = None, out: Path | None = None
) -> None:
    """Draw a tileset.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    out
        A folder: write the asset's files here too.
    """
    from server.features.tilesets import generate_tileset

    with Studio() as studio:
        done = _with_bar(
            "drawing",
            lambda report: generate_tileset(studio, request, report, project=str(project) if project else None),
        )
        _print_asset(done.library, done.asset, out, list(done.tileset.warnings))


def ui(
    request: Annotated[UiRequest, Parameter(name="*")] = _NO_UI, *, project: Path | None = None, out: Path | None = None
) -> None:
    """Make a kit of user-interface pieces, icons and a pixel font.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    out
        A folder: write the asset's files here too.
    """
    from server.features.ui import generate_ui

    with Studio() as studio:
        done = _with_bar(
            "drawing", lambda report: generate_ui(studio, request, report, project=str(project) if project else None)
        )
        _print_asset(done.library, done.asset, out, list(done.warnings))


def pack(
    request: Annotated[PackRequest, Parameter(name="*")], *, project: Path | None = None, out: Path | None = None
) -> None:
    """Pack sprites and sheets into one atlas.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    out
        A folder: write the asset's files here too.
    """
    from server.features.packing import pack_sheet

    with Studio() as studio:
        done = _with_bar(
            "packing", lambda report: pack_sheet(studio, request, report, project=str(project) if project else None)
        )
        _print_asset(done.library, done.asset, out, list(done.warnings))


def _with_bar(text: str, work: Callable[[OnProgress], T]) -> T:
    """Runs `work` while a bar shows its progress."""
    from rich.progress import Progress

    with Progress(console=SafeConsole(), transient=True) as bars:
        bar = bars.add_task(text, total=None)
        return work(
            lambda at, total, said: bars.update(bar, completed=at, total=total or None, description=shown(said or text))
        )


def _print_asset(library: Library, asset: Asset, out: Path | None, notes: list[str]) -> None:
    """Prints where an asset is, its gates that do not hold and its notes; writes its files into `out`."""
    from server.library.store import write_atomically

    console = SafeConsole()
    if out:
        out.mkdir(parents=True, exist_ok=True)
        for file in asset.files:
            write_atomically(out / file.name, library.read(asset, file.name))
    size = f"{asset.recipe.width}x{asset.recipe.height}"
    place = out or library.path(asset)
    console.print(f"[bold]{asset.id}[/]  seed {asset.recipe.seed}  {size}  {shown(place)}", highlight=False)
    failed = [name for name, held in asset.report.get("gates", {}).items() if not held]
    for note in [*notes, *(f"{name} does not hold." for name in failed)]:
        console.print(f"[yellow]{shown(note)}[/]")
    console.print("[dim]`dgx-pixels deploy ID` puts it into the game.[/]")
