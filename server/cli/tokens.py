"""`dgx-pixels token`: the people who share an HTTP server."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App
from rich.table import Table

from server.cli.console import SafeConsole, shown
from server.settings import Settings
from server.users import Users

app = App(name="token", help="Add, list and remove the tokens of an HTTP server's users.")


@app.command
def add(
    name: str,
    *,
    project: list[Path] | None = None,
    share: float = 1.0,
    waiting: int = 16,
    pixels_per_minute: int = 0,
) -> None:
    """Add a user and print the token, once.

    Parameters
    ----------
    name
        1 to 32 small letters, digits, - or _.
    project
        A game that the user may change; several: --project A --project B. None: an own library alone.
    share
        The share of the device: 2 gets twice the turns of 1.
    waiting
        The most requests that may wait; 0: no limit.
    pixels_per_minute
        Canvas pixels that may be drawn in a minute, candidates included; 0: no limit.
    """
    token = Users(Settings().data_dir).add(name, project or (), share, waiting, pixels_per_minute)
    SafeConsole(stderr=True).print(f"[dim]{shown(name)} sends this as bearer token. It is not shown again:[/]")
    print(token)


@app.command(name="list")
def list_users() -> None:
    """List the users."""
    table = Table("name", "games", "share", "waiting", "pixels a minute")
    for user in Users(Settings().data_dir).all():
        games = "\n".join(str(folder) for folder in user.projects) or "none"
        table.add_row(
            user.name, shown(games), f"{user.share:g}", str(user.waiting or "any"), str(user.pixels_per_minute or "any")
        )
    SafeConsole().print(table)


@app.command
def remove(name: str) -> None:
    """Remove a user; a running server refuses the token from then on.

    Parameters
    ----------
    name
        As `dgx-pixels token list` shows it.
    """
    Users(Settings().data_dir).remove(name)
    SafeConsole().print(f"{shown(name)} is removed.")
