"""The short commands of `dgx-pixels`: each is a few lines over a feature function, printed with rich."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from server.cli.console import SafeConsole, shown
from server.features.requests import Count, DeployRequest, SpriteRequest
from server.studio import Studio


def generate(
    request: Annotated[SpriteRequest, Parameter(name="*")],
    *,
    count: Count = 1,
    project: Path | None = None,
    out: Path | None = None,
) -> None:
    """Draw a sprite.

    Parameters
    ----------
    count
        How many, 1 to 16, with seeds one after another.
    project
        The game's root; default: found from the working directory.
    out
        Write the PNG here too (of several: name_1.png, name_2.png, ...).
    """
    from rich.columns import Columns
    from rich.progress import Progress

    from server.cli.terminal import picture_text
    from server.features.sprites import generate_sprites
    from server.library.store import write_atomically

    console = SafeConsole()
    with Studio() as studio:
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task(shown(request.prompt), total=None)
            done = generate_sprites(
                studio,
                request,
                lambda at, total, text: bars.update(
                    bar, completed=at, total=total or None, description=shown(text or request.prompt)
                ),
                project=str(project) if project else None,
                count=count,
            )
        small = [one.image for one in done.sprites if one.image.shape[1] <= console.width]
        console.print(Columns([picture_text(image, console) for image in small], padding=(1, 3)))
        for number, one in enumerate(done.sprites, 1):
            recipe = one.asset.recipe
            path = done.library.path(one.asset)
            if out:
                target = out.with_stem(f"{out.stem}_{number}") if len(done.sprites) > 1 else out
                write_atomically(target, done.library.read(one.asset))
                path = target
            console.print(f"[bold]{one.asset.id}[/]  seed {recipe.seed}  {recipe.width}x{recipe.height}  {shown(path)}")
        if done.unknown_words:
            console.print(f"[yellow]Words that the model does not know:[/] {shown(', '.join(done.unknown_words))}")
        console.print(f"[dim]{done.seconds:.2f} s; `dgx-pixels deploy ID` puts one into the game.[/]")


def deploy(request: Annotated[DeployRequest, Parameter(name="*")], *, project: Path | None = None) -> None:
    """Put an asset into the game.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    """
    from server.deploy.deploy import deploy_request

    with Studio() as studio:
        done = deploy_request(studio, request, str(project) if project else None)
    _print_deployed(done.state, [done.project.assets / path for path in done.paths], done.verification.note)


def undo(path: str = "", *, project: Path | None = None, overwrite: bool = False) -> None:
    """Take the last deployment back.

    Parameters
    ----------
    path
        Of this picture, relative to assets/; default: the game's last.
    project
        The game's root; default: found from the working directory.
    overwrite
        Undo although the file was changed since.
    """
    from server.deploy.deploy import undo as take_back

    with Studio() as studio:
        done = take_back(studio, path, str(project) if project else None, overwrite=overwrite)
    _print_deployed(done.state, [done.project.assets / path for path in done.paths], done.verification.note)


def status(*, project: Path | None = None) -> None:
    """Show the game, the library and the last deployments.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    """
    from server.features.status import status as read_status

    with Studio() as studio:
        report = read_status(studio, str(project) if project else None)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    game = report["project"]
    table.add_row("version", report["version"])
    table.add_row("game", shown(f"{game['name']} ({game['root']})" if game else report["next_step"]))
    if game:
        table.add_row("assets", shown(game["assets"]))
        table.add_row("style", shown(game["style_file"] or "default (no dgx-pixels.toml)"))
    table.add_row("library", shown(f"{report['library']['assets']} assets in {report['library']['folder']}"))
    for entry in report["deployments"]:
        table.add_row("deployed", shown(f"{entry['path']}  {entry['asset_id']}  {entry['verification']}"))
    SafeConsole().print(table)


def doctor() -> None:
    """Check the machine, and say what to change."""
    from pipelines.engine.hardware import doctor as examine

    SafeConsole().print(shown(examine()))


def _print_deployed(state: str, paths: list[Path], note: str) -> None:
    console = SafeConsole()
    for path in paths:
        console.print(f"[bold]{state}[/]  {shown(path)}")
    if note:
        console.print(f"[dim]{shown(note)}[/]")
