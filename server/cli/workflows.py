"""Commands around workflows and the results page: run, workflows, show, validate, gallery."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from pipelines.visible import visible
from server.cli.console import SafeConsole, shown
from server.errors import ServerError
from server.studio import Studio


def run(
    workflow: str,
    *,
    set: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    project: Path | None = None,
) -> None:
    """Run a workflow, or resume one that was interrupted.

    Parameters
    ----------
    workflow
        A name of `dgx-pixels workflows`, or a JSON file.
    set
        An input, as key=value; may be given several times.
    project
        The game's root; default: found from the working directory.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from server.features.workflow_runs import run as carry_out

    console = SafeConsole()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Studio() as studio, Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(shown(workflow), total=None)

        def on_progress(done: int, total: int, said: str) -> None:
            bars.update(bar, completed=done, total=total or None, description=shown(said))

        ran = carry_out(studio, workflow, parse_settings(set or []), on_progress, str(project) if project else None)
    for item in ran.result.failed:
        console.print(f"[red]{shown(item['step'])}\\[{item['index']}][/] {shown(item['error'])}", highlight=False)
    resumed = f", {ran.result.resumed} from before" if ran.result.resumed else ""
    console.print(
        f"[bold]{shown(ran.workflow.name)}[/]: {ran.result.done} done{resumed}, {len(ran.result.failed)} failed"
    )
    console.print(f"[dim]{shown(ran.page)}[/]", soft_wrap=True)
    if ran.result.failed:
        console.print("Run the same command again to try the failed ones once more.")
        sys.exit(1)


def workflows() -> None:
    """List the workflows that come with dgx-pixels."""
    from workflows.load import parse, shipped

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "what it does", "inputs"):
        table.add_column(heading, overflow="fold")
    for name, text in shipped().items():
        workflow = parse(text)
        inputs = ", ".join(key if one.required else f"[{key}]" for key, one in workflow.inputs.items())
        table.add_row(name, workflow.title, shown(inputs))
    SafeConsole().print(table)


def show(workflow: str) -> None:
    """Print a workflow's file: a start for one of your own.

    Parameters
    ----------
    workflow
        A name of `dgx-pixels workflows`, or a file.
    """
    from workflows.load import read

    print(visible(read(workflow)[1]), end="")


def validate(workflow: str, *, project: Path | None = None) -> None:
    """Check a workflow file without running it.

    Parameters
    ----------
    workflow
        A file, or a name of `dgx-pixels workflows`.
    project
        The game's root; default: found from the working directory.
    """
    from server.features.workflow_runs import check

    with Studio() as studio:
        found = check(studio, workflow, str(project) if project else None)
    SafeConsole().print(
        f"[green]{shown(workflow)} is in order:[/] {shown(found.name)}, {len(found.steps)} steps", highlight=False
    )


def gallery(*, serve: bool = False, port: int = 0, project: Path | None = None) -> None:
    """Write the results page, or serve it on this machine.

    Parameters
    ----------
    serve
        Serve it on loopback (made for each visit) instead of writing a file.
    port
        The port to serve on; 0: any free one.
    project
        The game's root; default: found from the working directory, else the user's own library.
    """
    from server.features.comparisons.view import all_entries, vote_from_page
    from server.gallery.build import gallery_page, write_gallery
    from server.gallery.serve import gallery_server

    console = SafeConsole()
    with Studio() as studio:
        game = studio.project(str(project) if project else None)
        library, name = studio.library(game), game.name if game else ""
        if not serve:
            console.print(shown(write_gallery(library, name, all_entries(library))), soft_wrap=True)
            return

        server, address = gallery_server(
            lambda vote_url, page: gallery_page(library, name, all_entries(library), vote_url, page),
            lambda entry, winner: vote_from_page(library, entry, winner),
            port,
        )
        console.print(f"{address}  (Ctrl+C ends it)", soft_wrap=True)
        try:
            server.serve_forever()
        finally:
            server.server_close()


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Parses key=value arguments into a mapping; a value that is JSON (a number, a list, true) is read as JSON.

    Raises:
        ServerError: a word without '='.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, found, text = setting.partition("=")
        if not found or not key.strip():
            raise ServerError(f"--set {setting} is not understood. Write --set key=value.")
        try:
            values[key.strip()] = json.loads(text)
        except (ValueError, RecursionError):
            values[key.strip()] = text
    return values


def watch(*, project: Path | None = None) -> None:
    """Draw what is saved: every *.sprite.json and .aseprite of the game becomes its picture in assets/, until Ctrl+C.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    """
    from server.features.watch import SUFFIX, Watch

    console = SafeConsole()
    with Studio() as studio:
        game = studio.require_project(str(project) if project else None)
        watching = Watch(studio, game, lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True))
        watching.run(
            lambda: console.print(
                f"[dim]watching {shown(game.root)} for *{SUFFIX}, *.aseprite and palettes (Ctrl+C ends it)[/]"
            )
        )
