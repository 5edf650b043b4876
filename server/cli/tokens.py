"""`dgx-pixels token`: the people who share an HTTP server."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App
from rich.table import Table

from server.agent.games import RemoteGames
from server.cli.console import SafeConsole, shown
from server.settings import Settings
from server.storage import parse_size, shown_size, used
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
    storage: str = "",
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
    storage
        What the user may keep, such as 500MB or 2GB: pictures and training jobs; default: no limit.
    """
    users = Users(Settings().data_dir)
    token = users.add(name, project or (), share, waiting, pixels_per_minute, parse_size(storage))
    SafeConsole(stderr=True).print(f"[dim]{shown(name)} sends this as bearer token. It is not shown again:[/]")
    print(token)


@app.command(name="list")
def list_users() -> None:
    """List the users."""
    table = Table("name", "games", "share", "waiting", "pixels a minute", "storage")
    data_dir = Settings().data_dir
    elsewhere = RemoteGames(data_dir)
    for user in Users(data_dir).all():
        games = "\n".join((*map(str, user.projects), *elsewhere.names(user.name))) or "none"
        kept = shown_size(used(user.name, data_dir))
        table.add_row(
            user.name,
            shown(games),
            f"{user.share:g}",
            str(user.waiting or "any"),
            str(user.pixels_per_minute or "any"),
            f"{kept} of {shown_size(user.storage)}" if user.storage else kept,
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
