"""The commands `init-game`, `check` and `assets-ron`, over `server.deploy.bevy`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax

from pipelines.visible import visible
from server.cli.console import SafeConsole, shown
from server.deploy.bevy.doctor import examine
from server.deploy.bevy.init_game import plan
from server.deploy.bevy.init_undo import Undo, forget, last_change, remember
from server.studio import Studio

_MARKS = {"fine": "[green]fine[/]", "advice": "[yellow]advice[/]", "broken": "[bold red]broken[/]"}


def init_game(path: Path = Path(), *, yes: bool = False, check: bool = False, undo: bool = False) -> None:
    """Make a Bevy game show what is deployed into it. Shows the changes first.

    Parameters
    ----------
    path
        The game's root: the folder of its Cargo.toml.
    yes
        Change the files without asking.
    check
        Run `cargo build` afterwards, and take the changes back where the game does not build.
    undo
        Take back what the last run changed, all of it or nothing. Edits that were made since stay.
    """
    console = SafeConsole()
    with Studio() as studio:
        project = studio.require_project(path)
    if undo:
        _take_back(console, last_change(project), yes)
        return
    offered = plan(project)
    for step in offered.by_hand:
        console.print(f"[yellow]By hand:[/] {shown(step)}", highlight=False, soft_wrap=True)
    if not offered.files:
        console.print(f"Nothing is missing in {shown(project.root)}.", highlight=False, soft_wrap=True)
        return
    _show(console, offered.diff())
    if not yes and not _agreed(console, len(offered.files)):
        console.print("Nothing was changed.")
        return
    record = remember(project, offered)
    try:
        restore = offered.apply()
    except BaseException:
        forget(record)
        raise
    if check and not _builds(project.root):
        restore()
        forget(record)
        console.print("The game did not build with the changes (see above), so they were taken back.")
        raise SystemExit(1)
    console.print(
        f"Changed {len(offered.files)} files. Next: `cargo run` in {shown(project.root)}, then `dgx-pixels check`. "
        "`dgx-pixels init-game --undo` takes it back.",
        highlight=False,
        soft_wrap=True,
    )


def _take_back(console: Console, undo: Undo, yes: bool) -> None:
    if not undo.files:
        undo.apply()
        console.print(f"Nothing of it is left in {shown(undo.root)}.", highlight=False, soft_wrap=True)
        return
    _show(console, undo.diff())
    if not yes and not _agreed(console, len(undo.files)):
        console.print("Nothing was changed.")
        return
    undo.apply()
    console.print(f"Took {len(undo.files)} files of {shown(undo.root)} back.", highlight=False, soft_wrap=True)


def _show(console: Console, diff: str) -> None:
    """Prints a diff; into a pipe as it is, for `git apply`."""
    if sys.stdout.isatty():
        console.print(Syntax(diff.replace("\r", ""), "diff", background_color="default", word_wrap=True))
    else:
        sys.stdout.write(diff)


def _builds(root: Path) -> bool:
    try:
        return subprocess.run(["cargo", "build"], cwd=root, check=False).returncode == 0
    except OSError:
        sys.stderr.write("There is no cargo here; install Rust (rustup.rs) and run the command again.\n")
        return False


def _agreed(console: Console, count: int) -> bool:
    if not sys.stdin.isatty():
        console.print("Give --yes to make these changes.")
        return False
    return console.input(f"Make these changes to {count} files? (y/n) ").strip().lower() in ("y", "yes")


def assets_ron(path: Path | None = None) -> None:
    """List a game's pictures and sheets for bevy_asset_loader, as RON on standard output.

    Parameters
    ----------
    path
        The game's root; default: found from the working directory.
    """
    from server.deploy.bevy.sidecars import assets_ron as listed

    with Studio() as studio:
        sys.stdout.write(visible(listed(studio.require_project(path).assets)))


def check(path: Path | None = None) -> None:
    """Say what stands between a deployed picture and the game's screen, in the order to correct it.

    Parameters
    ----------
    path
        The game's root; default: found from the working directory.
    """
    console = SafeConsole()
    with Studio() as studio:
        findings = examine(studio.require_project(path))
    for finding in findings:
        console.print(
            f"{_MARKS[finding.state]}  [bold]{shown(finding.topic)}[/]: {shown(finding.what)}",
            highlight=False,
            soft_wrap=True,
        )
        if finding.change:
            console.print(f"        {shown(finding.change)}", highlight=False, soft_wrap=True)
        for line in finding.lines.splitlines():
            console.print(f"            {line}", highlight=False, markup=False, soft_wrap=True)
    if any(finding.state == "broken" for finding in findings):
        sys.exit(1)
