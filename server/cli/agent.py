"""`dgx-pixels agent`: the game of this machine for a server on another."""

from __future__ import annotations

from pathlib import Path

from server.cli.console import SafeConsole, shown


def agent(name: str, *, connect: str, project: Path | None = None) -> None:
    """Let a server on another machine deploy into the game of this one.

    DGX_PIXELS_HTTP_TOKEN must hold the user's token. No port is opened. Ctrl+C ends it.

    Parameters
    ----------
    name
        What the server calls the game: the token's user and a name, such as ann/keep.
    connect
        The server's address, such as https://pixels.example.org or http://127.0.0.1:8765.
    project
        The game's root, with :15703 behind it where the running game listens on that port; default: found from the
        working directory.
    """
    from server.agent.client import Agent
    from server.agent.games import GAME
    from server.agent.work import LocalGame
    from server.desk.remote import address
    from server.errors import ServerError
    from server.project.game import find_project
    from server.settings import Settings

    if not GAME.fullmatch(name):
        raise ServerError(
            f"'{name}' is not the name of a game: give the token's user and a name of small letters, digits, - and _, "
            "such as ann/keep."
        )
    settings = Settings()
    token = settings.http_token.get_secret_value() if settings.http_token else ""
    if not token:
        raise ServerError("Set DGX_PIXELS_HTTP_TOKEN to the token that `dgx-pixels token add` printed on the server.")
    named = project or settings.project
    found = find_project(named, None)
    if found is None:
        raise ServerError("There is no Bevy game here. Start the agent in the game's folder, or give --project.")
    console = SafeConsole()
    game = LocalGame(named or found.root)
    console.print(f"[bold]{name}[/] is {shown(found.root)}. Files go into {shown(found.assets)}. Ctrl+C ends it.")
    try:
        Agent(address(connect, token), name, game, lambda text: console.print(shown(text), highlight=False)).run()
    finally:
        game.close()
